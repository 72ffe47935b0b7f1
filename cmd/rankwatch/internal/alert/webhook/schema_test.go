package webhook_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/webhook"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// load reads the published schema, as a document and ready to validate.
func load(t *testing.T) (map[string]any, *jsonschema.Schema) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "..", "deploy", "schemas", "alert.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("alert.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("alert.json")
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any), s
}

func instance(t *testing.T, b *webhook.Body) any {
	t.Helper()
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBodiesMatchTheirSchema(t *testing.T) {
	t.Parallel()
	doc, s := load(t)
	bare := message(0)
	bare.Notices = nil
	bare.Sections[0].Shown = []text.Change{{Kind: event.Dropped, Change: event.Change{Creator: event.Creator{UID: "1"}}}}
	bare.Sections[0].Reading.Board = event.Snapshot{}
	for name, m := range map[string]*digest.Message{"full": message(3), "all that can be null": bare, "a status alone": {ID: "s", Notices: message(0).Notices}} {
		if err := s.Validate(instance(t, webhook.BodyOf(m, "text"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Both know the same keys, so that neither gets one without the other.
	sameKeys(t, doc, doc, instance(t, webhook.BodyOf(message(1), "")), "")
}

func sameKeys(t *testing.T, doc, schema map[string]any, v any, at string) {
	t.Helper()
	for {
		ref, ok := schema["$ref"].(string)
		if options, many := schema["anyOf"].([]any); many {
			schema = options[0].(map[string]any)
			continue
		}
		if !ok {
			break
		}
		schema = doc["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	switch v := v.(type) {
	case map[string]any:
		props, ok := schema["properties"].(map[string]any)
		if !ok {
			t.Fatalf("%s is no object in the schema", at)
		}
		got, want := slices.Sorted(maps.Keys(v)), slices.Sorted(maps.Keys(props))
		var required []string
		for _, r := range schema["required"].([]any) {
			required = append(required, r.(string))
		}
		slices.Sort(required)
		if !slices.Equal(got, want) || !slices.Equal(required, want) {
			t.Errorf("%s: the type has %q, the schema %q and requires %q", at, got, want, required)
			return
		}
		for k := range v {
			sameKeys(t, doc, props[k].(map[string]any), v[k], at+"/"+k)
		}
	case []any:
		if len(v) == 0 {
			t.Fatalf("%s is empty, so its elements are not compared", at)
		}
		sameKeys(t, doc, schema["items"].(map[string]any), v[0], at+"/0")
	}
}

func TestTheSchemaRefusesWhatIsNotABody(t *testing.T) {
	t.Parallel()
	_, s := load(t)
	for _, change := range []func(b map[string]any){
		func(b map[string]any) { delete(b, "id") },
		func(b map[string]any) { b["type"] = "other" },
		func(b map[string]any) { b["timestamp"] = "2026-04-14" },
		func(b map[string]any) { b["readings"] = nil },
		func(b map[string]any) { delete(event0(b), "creator") },
		func(b map[string]any) { event0(b)["kind"] = "board" },
		func(b map[string]any) { event0(b)["before"].(map[string]any)["rank"] = 0 },
	} {
		b := instance(t, webhook.BodyOf(message(1), "")).(map[string]any)
		change(b)
		if s.Validate(b) == nil {
			t.Errorf("%v is valid", b)
		}
	}
}

func event0(b map[string]any) map[string]any {
	return b["readings"].([]any)[0].(map[string]any)["events"].([]any)[0].(map[string]any)
}
