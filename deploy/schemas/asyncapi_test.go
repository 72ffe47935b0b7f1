package schemas_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rankwatch/rankwatch/deploy/schemas"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// asyncAPI is what the test looks at in the document. That it is valid, its own
// parser says: see .ci/asyncapi.
type asyncAPI struct {
	Channels map[string]struct {
		Address    string                    `yaml:"address"`
		Parameters map[string]map[string]any `yaml:"parameters"`
		Messages   map[string]reference      `yaml:"messages"`
	} `yaml:"channels"`
	Operations map[string]struct {
		Action  string    `yaml:"action"`
		Channel reference `yaml:"channel"`
	} `yaml:"operations"`
	Components struct {
		Messages map[string]struct {
			Name    string `yaml:"name"`
			Payload struct {
				AllOf []struct {
					Ref        string `yaml:"$ref"`
					Properties map[string]struct {
						Const string `yaml:"const"`
						Ref   string `yaml:"$ref"`
					} `yaml:"properties"`
				} `yaml:"allOf"`
			} `yaml:"payload"`
			Examples []struct {
				Payload any `yaml:"payload"`
			} `yaml:"examples"`
		} `yaml:"messages"`
	} `yaml:"components"`
}

type reference struct {
	Ref string `yaml:"$ref"`
}

// subjectOf is where a message is published.
func subjectOf(t *testing.T, data []byte) string {
	t.Helper()
	e, err := event.Decode[struct{ Watchlist, Region string }](data)
	if err != nil {
		t.Fatal(err)
	}
	kind := event.Kind(strings.TrimPrefix(e.Type, "rankwatch."))
	return event.Subject{Prefix: "rankwatch", Region: e.Data.Region, Watchlist: e.Data.Watchlist, Kind: kind, UID: e.Subject}.String()
}

func TestAsyncAPINamesEveryKindAndSchema(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc asyncAPI
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	for name, m := range doc.Components.Messages {
		kind := strings.TrimPrefix(m.Name, "rankwatch.")
		if of := m.Payload.AllOf; len(of) != 2 || of[0].Ref != "./schemas/envelope.json" || of[1].Properties["type"].Const != m.Name ||
			of[1].Properties["dataschema"].Const != "rankwatch/v1/"+kind || of[1].Properties["data"].Ref != "./schemas/"+kind+".json" {
			t.Errorf("the payload of %s is not an envelope with the data of a %s: %+v", name, kind, m.Payload)
		}
	}
	var received, kinds []string
	for name, o := range doc.Operations {
		if o.Action != "receive" {
			t.Errorf("%s: the document is a consumer's, which does not %s", name, o.Action)
		}
		received = append(received, strings.TrimPrefix(o.Channel.Ref, "#/channels/"))
	}
	for name, c := range doc.Channels {
		if !slices.Contains(received, name) {
			t.Errorf("nothing receives from the channel %s", name)
		}
		for _, m := range c.Messages {
			key := strings.TrimPrefix(m.Ref, "#/components/messages/")
			kinds = append(kinds, strings.TrimPrefix(doc.Components.Messages[key].Name, "rankwatch."))
		}
		if enum, ok := c.Parameters["kind"]["enum"].([]any); ok && len(enum) != len(c.Messages) {
			t.Errorf("%s: kinds %v, %d messages", name, enum, len(c.Messages))
		}
	}
	slices.Sort(kinds)
	if got := strings.Join(slices.Compact(kinds), " "); got != "board dropped entered index moved status" {
		t.Errorf("kinds %s", got)
	}
}

// The examples are valid by the schemas, and by the package that Go programs
// read them with.
func TestAsyncAPIExamplesAreMessages(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc asyncAPI
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	whole := compile(t, "message")
	var addresses []string
	for _, c := range doc.Channels {
		addresses = append(addresses, c.Address)
	}
	for name, m := range doc.Components.Messages {
		if len(m.Examples) == 0 {
			t.Errorf("%s has no example", name)
		}
		for _, e := range m.Examples {
			data, err := json.Marshal(e.Payload)
			if err != nil {
				t.Fatal(err)
			}
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if err := whole.Validate(v); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			subject := subjectOf(t, data)
			r, err := event.Parse("rankwatch", subject, data)
			if err != nil || "rankwatch."+string(r.Subject.Kind) != m.Name {
				t.Errorf("%s: %v, kind %s", name, err, r.Subject.Kind)
			}
			if !slices.ContainsFunc(addresses, func(a string) bool { return matches(a, subject) }) {
				t.Errorf("%s: %s is on no channel of %v", name, subject, addresses)
			}
		}
	}
}

// matches says whether a subject is one of an address: words in braces are any.
func matches(address, subject string) bool {
	a, s := strings.Split(address, "."), strings.Split(subject, ".")
	return slices.EqualFunc(a, s, func(a, s string) bool { return strings.HasPrefix(a, "{") || a == s })
}

func TestReadRefusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	if _, err := schemas.Read("merged"); err == nil {
		t.Error("the schema of a kind that is not there was read")
	}
}
