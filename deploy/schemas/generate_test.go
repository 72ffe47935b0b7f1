package schemas_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
)

var update = flag.Bool("update", false, "write the schemas anew")

// The schemas are made of the Go types, which give keys, types and what may be
// null, and of the table of words, which gives meaning, units and ranges.
func TestSchemasAreThoseOfTheTypes(t *testing.T) {
	t.Parallel()
	g := &generator{used: map[string]bool{}}
	docs := map[string]object{"envelope": g.envelope(), "message": g.message()}
	for _, k := range changes {
		docs[string(k)] = g.document(string(k), reflect.TypeFor[event.Change](), ends(k))
	}
	docs["board"] = g.document("board", reflect.TypeFor[event.Snapshot](), nil)
	docs["status"] = g.document("status", reflect.TypeFor[event.Condition](), nil)
	for key := range words {
		if !g.used[key] {
			t.Errorf("the words for %s are of a field that is not there", key)
		}
	}
	for _, key := range g.mute {
		t.Errorf("no words for %s", key)
	}
	for name, doc := range docs {
		got := pretty(t, doc)
		path := name + ".json"
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Error(err)
			}
			continue
		}
		if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the types say; run go test ./deploy/schemas -update (%v)", path, err)
		}
	}
}

var changes = []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index}

// ends are the fields that a kind of change has always, or never.
func ends(k event.Kind) map[string]string {
	switch k {
	case event.Entered:
		return map[string]string{"before": "never", "after": "always", "places": "never", "index_change": "never", "cause": "never"}
	case event.Dropped:
		return map[string]string{"before": "always"}
	}
	return map[string]string{"before": "always", "after": "always", "places": "always", "index_change": "always"}
}

// An object keeps its keys in order.
type object []pair

type pair struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, p := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		var v bytes.Buffer
		e := json.NewEncoder(&v)
		e.SetEscapeHTML(false)
		if err := e.Encode(p.value); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", p.key, v.Bytes())
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func pretty(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A generator makes schemas and notes which words it used, and which it
// missed.
type generator struct {
	used map[string]bool
	mute []string
	defs object // of the document under way
}

func (g *generator) say(key string) word {
	w, ok := words[key]
	if !ok && !slices.Contains(g.mute, key) {
		g.mute = append(g.mute, key)
	}
	g.used[key] = true
	return w
}

const dialect = "https://json-schema.org/draft/2020-12/schema"

func head(name, title, about string) object {
	return object{{"$schema", dialect}, {"$id", "rankwatch/v1/" + name}, {"title", title}, {"description", about}}
}

// document is the schema of a kind's data.
func (g *generator) document(name string, of reflect.Type, fixed map[string]string) object {
	g.defs = nil
	body := g.fields(of, fixed)
	w := g.say(name)
	doc := append(head(name, "rankwatch."+name+" data", w.about), body...)
	return append(doc, pair{"$defs", g.defs})
}

func (g *generator) envelope() object {
	g.defs = nil
	body := g.fields(reflect.TypeFor[event.Envelope[map[string]any]](), nil)
	return append(head("envelope", "rankwatch message envelope", g.say("envelope").about), body...)
}

// message is the schema of whole messages of all kinds.
func (g *generator) message() object {
	g.defs = nil
	var kinds, cases []any
	add := func(name string, of reflect.Type, fixed map[string]string) {
		body := append(object{{"description", g.say(name).about}}, g.fields(of, fixed)...)
		g.defs = append(g.defs, pair{name, body})
		kinds = append(kinds, "rankwatch."+name)
		then := object{{"properties", object{{"dataschema", object{{"const", "rankwatch/v1/" + name}}}, {"data", object{{"$ref", "#/$defs/" + name}}}}}}
		if fixed != nil {
			then = append(then, pair{"required", []string{"subject"}})
		}
		cases = append(cases, object{
			{"if", object{{"properties", object{{"type", object{{"const", "rankwatch." + name}}}}}}}, {"then", then},
		})
	}
	for _, k := range changes {
		add(string(k), reflect.TypeFor[event.Change](), ends(k))
	}
	add("board", reflect.TypeFor[event.Snapshot](), nil)
	add("status", reflect.TypeFor[event.Condition](), nil)
	frame := g.fields(reflect.TypeFor[event.Envelope[map[string]any]](), nil)
	g.defs = append(g.defs, pair{"envelope", frame})
	doc := head("message", "rankwatch message", g.say("message").about)
	return append(doc,
		pair{"allOf", append([]any{object{{"$ref", "#/$defs/envelope"}}}, cases...)},
		pair{"properties", object{{"type", object{{"enum", kinds}}}}},
		pair{"$defs", g.defs})
}

// fields are the schema of a struct. All keys are required but those that Go
// leaves out when empty.
func (g *generator) fields(of reflect.Type, fixed map[string]string) object {
	required := []string{}
	var props object
	name := strings.ToLower(of.Name()[:1]) + of.Name()[1:]
	name, _, _ = strings.Cut(name, "[")
	for i := range of.NumField() {
		f := of.Field(i)
		key, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		w := g.say(name + "." + key)
		s := g.schema(f.Type, w, fixed[key])
		props = append(props, pair{key, s})
		if opts != "omitempty" {
			required = append(required, key)
		}
	}
	return object{{"type", "object"}, {"required", required}, {"properties", props}}
}

// schema is that of one field. fixed says that it has a value always or never,
// whatever the type says.
func (g *generator) schema(t reflect.Type, w word, fixed string) object {
	null := t.Kind() == reflect.Pointer || w.null
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	about := object{{"description", w.about}}
	if fixed == "never" {
		return append(about, pair{"type", "null"})
	}
	null = null && fixed != "always"
	var kind string
	var more object
	switch t.Kind() {
	case reflect.String:
		kind = "string"
	case reflect.Bool:
		kind = "boolean"
	case reflect.Int, reflect.Int64:
		kind = "integer"
	case reflect.Uint64:
		kind, more = "integer", object{{"minimum", 0}}
	case reflect.Float64:
		kind = "number"
	case reflect.Map:
		kind = "object"
	case reflect.Slice:
		kind, more = "array", object{{"items", g.ref(t.Elem())}}
	case reflect.Struct:
		if null {
			return append(about, pair{"anyOf", []any{g.ref(t), object{{"type", "null"}}}})
		}
		return append(about, pair{"allOf", []any{g.ref(t)}})
	default:
		panic("no schema for " + t.String())
	}
	for _, p := range w.more {
		more = slices.DeleteFunc(more, func(q pair) bool { return q.key == p.key })
		more = append(more, p)
	}
	if null {
		return append(append(about, pair{"type", []string{kind, "null"}}), more...)
	}
	return append(append(about, pair{"type", kind}), more...)
}

// ref defines a struct once and points at it.
func (g *generator) ref(t reflect.Type) object {
	name := strings.ToLower(t.Name())
	if !slices.ContainsFunc(g.defs, func(p pair) bool { return p.key == name }) {
		i := len(g.defs)
		g.defs = append(g.defs, pair{key: name})
		g.defs[i].value = append(object{{"description", g.say(name).about}}, g.fields(t, nil)...)
	}
	return object{{"$ref", "#/$defs/" + name}}
}
