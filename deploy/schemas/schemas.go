// Package schemas holds the JSON Schemas (2020-12) of what rankwatch publishes.
//
// The schema of a message's data is named by its dataschema: rankwatch/v1/moved
// is moved.json. envelope.json is the CloudEvents frame of all of them, and
// message.json any whole message. Each file stands alone. They are strict about
// what is there (every key, and its type) and open for what may be added: keys,
// and words in lists that the contract does not close.
package schemas

import (
	"embed"
	"fmt"
)

//go:embed *.json
var files embed.FS

// Read returns the schema of a kind of message's data (entered, moved, dropped,
// index, board, status), of the envelope, or of any whole message.
func Read(name string) ([]byte, error) {
	b, err := files.ReadFile(name + ".json")
	if err != nil {
		return nil, fmt.Errorf("schemas: read %s: %w", name, err)
	}
	return b, nil
}
