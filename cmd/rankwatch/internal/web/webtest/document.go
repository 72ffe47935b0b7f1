package webtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rankwatch/rankwatch/deploy"
)

// A Document is the API's description, as a judge.
type Document struct {
	root     map[string]any
	compiler *jsonschema.Compiler

	mu   sync.Mutex
	seen map[string]bool // operation and status
}

// where the document is said to be.
const documentURL = "https://rankwatch.test/openapi.json"

// NewDocument reads deploy/openapi.yaml. Schemas are made closed, so that an
// answer may hold nothing that it does not name.
func NewDocument() (*Document, error) {
	data, err := yaml.YAMLToJSON(deploy.OpenAPI)
	if err != nil {
		return nil, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	closed(value)
	d := &Document{root: value.(map[string]any), compiler: jsonschema.NewCompiler(), seen: map[string]bool{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	return d, d.compiler.AddResource(documentURL, value)
}

// closed forbids what is not named wherever the document says nothing of it.
func closed(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, named := v["properties"].(map[string]any)
		if _, said := v["additionalProperties"]; named && !said && v["type"] != nil {
			v["additionalProperties"] = false
		}
		for _, inner := range v {
			closed(inner)
		}
	case []any:
		for _, inner := range v {
			closed(inner)
		}
	}
}

// Check holds an answer against the document. A path that it does not have is an
// operation of which all but 404 would be wrong.
func (d *Document) Check(method, path string, r *http.Response, body []byte) error {
	name, item := d.path(path)
	if item == nil {
		if r.StatusCode < 400 {
			return fmt.Errorf("%s is not in the document, and answers %d", path, r.StatusCode)
		}
		return d.problem(r, body)
	}
	status := strconv.Itoa(r.StatusCode)
	at := []string{"paths", name, "get", "responses", status}
	response, at, err := d.find(at)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	d.mu.Lock()
	d.seen[name+" "+status] = true
	d.mu.Unlock()
	if err := d.headers(r, response, at); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	content, _ := response["content"].(map[string]any)
	if content == nil {
		if len(body) > 0 {
			return fmt.Errorf("%s %s: %d has a body: %.100q", method, path, r.StatusCode, body)
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || content[kind] == nil {
		return fmt.Errorf("%s %s: %d is %q, want one of %v", method, path, r.StatusCode, r.Header.Get("Content-Type"), content)
	}
	if method == http.MethodHead || !strings.Contains(kind, "json") {
		return nil
	}
	return d.body(body, append(at, "content", kind, "schema"))
}

// headers checks those that the document names for the answer.
func (d *Document) headers(r *http.Response, response map[string]any, at []string) error {
	named, _ := response["headers"].(map[string]any)
	var errs []error
	for h := range named {
		value := r.Header.Get(h)
		if value == "" {
			errs = append(errs, fmt.Errorf("%d without %s", r.StatusCode, h))
			continue
		}
		_, where, err := d.find(append(slices.Clone(at), "headers", h))
		if err == nil {
			err = d.validate(value, append(where, "schema"))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (d *Document) problem(r *http.Response, body []byte) error {
	if kind := r.Header.Get("Content-Type"); kind != "application/problem+json" {
		return fmt.Errorf("%d is %q", r.StatusCode, kind)
	}
	if r.Request != nil && r.Request.Method == http.MethodHead {
		return nil
	}
	return d.body(body, []string{"components", "schemas", "Problem"})
}

func (d *Document) body(body []byte, at []string) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %.200q", err, body)
	}
	return d.validate(v, at)
}

func (d *Document) validate(v any, at []string) error {
	for i := range at {
		at[i] = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(at[i], "~", "~0"), "/", "~1"), "{", "%7B")
		at[i] = strings.ReplaceAll(at[i], "}", "%7D")
	}
	d.mu.Lock()
	s, err := d.compiler.Compile(documentURL + "#/" + strings.Join(at, "/"))
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// find walks the document, along references.
func (d *Document) find(at []string) (map[string]any, []string, error) {
	var v any = d.root
	for i, key := range at {
		m, ok := v.(map[string]any)
		if !ok || m[key] == nil {
			return nil, nil, fmt.Errorf("the document has no %s", strings.Join(at, " / "))
		}
		v = m[key]
		if m, ok := v.(map[string]any); ok {
			if ref, ok := m["$ref"].(string); ok {
				return d.find(append(strings.Split(strings.TrimPrefix(ref, "#/"), "/"), at[i+1:]...))
			}
		}
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, nil, fmt.Errorf("%s is not an object", strings.Join(at, " / "))
	}
	return m, slices.Clone(at), nil
}

var parameter = regexp.MustCompile(`\\\{[a-z]+\\\}`)

// path finds the template that a path is made of.
func (d *Document) path(path string) (string, any) {
	all := d.root["paths"].(map[string]any)
	for name, item := range all {
		if regexp.MustCompile("^" + parameter.ReplaceAllString(regexp.QuoteMeta(name), "[^/]+") + "$").MatchString(path) {
			return name, item
		}
	}
	return "", nil
}

// Unseen lists the answers that the document has and no Check has seen, but for
// those with a status that is left out.
func (d *Document) Unseen(except ...string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for name, item := range d.root["paths"].(map[string]any) {
		get := item.(map[string]any)["get"].(map[string]any)
		for status := range get["responses"].(map[string]any) {
			if !d.seen[name+" "+status] && !slices.Contains(except, status) {
				out = append(out, name+" "+status)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Examples checks every example of the document against the schema beside it.
func (d *Document) Examples() error {
	return errors.Join(d.examples(d.root, nil)...)
}

func (d *Document) examples(v any, at []string) (errs []error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	if _, ok := m["schema"]; ok {
		all, _ := m["examples"].(map[string]any)
		for name := range all {
			example, _, err := d.find(append(slices.Clone(at), "examples", name))
			if err == nil {
				err = d.validate(jsonValue(example["value"]), append(slices.Clone(at), "schema"))
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("example %s of %s: %w", name, strings.Join(at, " / "), err))
			}
		}
	}
	for key, inner := range m {
		if key != "examples" {
			errs = append(errs, d.examples(inner, append(slices.Clone(at), key))...)
		}
	}
	return errs
}

// jsonValue is v as a JSON reader would give it.
func jsonValue(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return out
}
