// Package deploy holds what comes with the binary and is served by it too.
package deploy

import _ "embed" // for OpenAPI

// OpenAPI describes the HTTP API, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
