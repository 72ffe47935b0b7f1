package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rankwatch/rankwatch/deploy/schemas"
	"github.com/rankwatch/rankwatch/publisher/event"
)

var at = time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC)

// compile reads a schema as an independent validator does.
func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	data, err := schemas.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("mem:///"+name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///" + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ptr[T any](v T) *T { return &v }

// samples are a message of each kind with all that it may have.
func samples(t *testing.T) map[string][]byte {
	t.Helper()
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "w"}
	out := map[string][]byte{}
	add := func(k event.Kind, m event.Message, err error) {
		if err != nil {
			t.Fatal(err)
		}
		out[string(k)] = m.Data
	}
	month := &event.Period{Type: "month", Value: "2026-03"}
	for _, k := range changes {
		c := &event.Change{
			Watchlist: "w", Region: "US", Revision: 42, Reading: "R", N: 1, Of: 2, Period: month, PreviousPeriod: month,
			Creator: event.Creator{
				UID: "a.b", UniqueID: ptr("ab"), Nickname: ptr("A ✨"), Avatar: ptr("https://example.com/a"), Region: ptr("US"),
				Category: &event.Category{ID: 4, Name: "Beauty"}, FollowerCount: ptr(int64(7)), URL: "https://example.com",
			},
			Metrics: event.Metrics{
				USDGMV: ptr(1.5), UnitsSold: ptr(int64(1)), VideoUnitsSold: ptr(int64(1)), LiveUnitsSold: ptr(int64(1)), AvgPlayCount: ptr(int64(1)),
				VideoCount: ptr(int64(1)), EcommerceType: ptr(int64(1)), SalesCategoryL3: []event.Category{{ID: 4, Name: "Beauty"}},
			},
			Before: &event.Place{Rank: 2, Position: 2, PotentialIndex: 3}, After: &event.Place{Rank: 1, Position: 1, PotentialIndex: 4},
			Places: ptr(1), IndexChange: ptr(int64(1)), Cause: &event.Cause{Passed: 1},
			History: event.History{FirstSeen: event.Time(at), PeakRank: 1, RevisionsOnBoard: 3},
		}
		if k == event.Entered {
			c.Before, c.Places, c.IndexChange, c.Cause = nil, nil, nil, nil
		}
		m, err := o.Change(k, "w/42", at, c)
		add(k, m, err)
	}
	board, err := o.Board("w/42", at, &event.Snapshot{
		Watchlist: "w", Region: "US", Revision: 42, PreviousRevision: ptr(uint64(41)), Reading: "R", Writer: "W", Outcome: event.OutcomeBaseline,
		Reason: ptr(event.ReasonConfig), Period: month, PreviousPeriod: month, FetchedAt: event.Time(at), Total: 3, Depth: 3,
		Rules:  event.Rules{Top: 3, Ties: "shared", Moved: event.Moves{MinPlaces: 1}, Index: event.Steps{MinChange: 1}, Dropped: event.Misses{After: 1}},
		Absent: []event.Absent{{UID: "x", Rank: 2, PotentialIndex: 2, Misses: 1, Unseen: 1}}, Holes: []event.Hole{{Position: 2, PotentialIndex: 2}},
		Interim: []event.Interim{{UID: "x", Unseen: 1}}, EventsDigest: event.Digest(nil), PreviousDigest: ptr(event.Digest(nil)),
		Board: []event.Row{{UID: "a", UniqueID: "ab", Nickname: "A", Rank: 1, Position: 1, PotentialIndex: 4, Member: true, Edge: true}},
	})
	add(event.Board, board, err)
	status, err := o.Status(at, &event.Condition{
		Watchlist: "w", Region: "US", Status: event.StatusStale, Reason: "torn", Detail: "…", Since: event.Time(at), NextTry: ptr(event.Time(at)),
	})
	add(event.Status, status, err)
	return out
}

// What may be null, and what may be missing, by the contract. `[]` is any row.
var (
	nullable = []string{
		"data.period", "data.previous_period", "data.creator.unique_id", "data.creator.nickname", "data.creator.avatar", "data.creator.region",
		"data.creator.category", "data.creator.follower_count", "data.metrics.usd_gmv", "data.metrics.units_sold", "data.metrics.video_units_sold",
		"data.metrics.live_units_sold", "data.metrics.avg_play_count", "data.metrics.video_count", "data.metrics.ecommerce_type",
		"data.metrics.sales_category_l3", "data.cause", "data.previous_revision", "data.previous_digest", "data.next_try",
	}
	nullableIn = map[string][]string{"dropped": {"data.after", "data.places", "data.index_change"}, "board": {"data.reason"}}
	missable   = []string{"data.board.[].edge"}
)

func TestWhatIsBrokenIsRefused(t *testing.T) {
	t.Parallel()
	whole := compile(t, "message")
	for kind, data := range samples(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			of := compile(t, kind)
			root, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			valid := func() (message, data bool) {
				object := root.(map[string]any)
				inner, has := object["data"]
				return whole.Validate(root) == nil, has && of.Validate(inner) == nil
			}
			if m, d := valid(); !m || !d {
				t.Fatalf("the sample is refused: %v", whole.Validate(root))
			}
			tried := 0
			expect := func(path, how string, want bool) {
				tried++
				m, d := valid()
				if m != want || strings.HasPrefix(path+".", "data.") && d != want {
					t.Errorf("%s %s: taken as a message %t, as data %t", path, how, m, d)
				}
			}
			walk(root, "", func(path string, set func(any), remove func(), old any) {
				if remove != nil {
					remove()
					bare := path == "subject" && (kind == "board" || kind == "status")
					expect(path, "removed", bare || slices.Contains(missable, path))
					set(old)
				}
				for _, v := range []any{"text ", json.Number("7.5"), true, map[string]any{}, []any{}, []any{json.Number("7")}} {
					if typeOf(v) != typeOf(old) && path != "data.metrics.usd_gmv" || path == "data.metrics.usd_gmv" && typeOf(v) != "number" {
						// An empty list is what a list may be; all else is another type.
						set(v)
						expect(path, fmt.Sprintf("as %v", v), false)
					}
				}
				set(nil)
				never := kind == "entered" && old == nil
				expect(path, "as null", never || slices.Contains(nullable, path) || slices.Contains(nullableIn[kind], path))
				set(old)
			})
			if m, d := valid(); !m || !d {
				t.Fatal("the sample did not survive the test")
			}
			t.Logf("%d changes", tried)
		})
	}
}

// typeOf is the JSON type; a number with a fraction is not an integer.
func typeOf(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		if strings.Contains(v.String(), ".") {
			return "number"
		}
		return "integer"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	}
	return "null"
}

// walk visits every value. remove is nil for rows of a list.
func walk(v any, path string, visit func(path string, set func(any), remove func(), old any)) {
	switch c := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(c)) {
			p := strings.TrimPrefix(path+"."+k, ".")
			walk(c[k], p, visit)
			visit(p, func(x any) { c[k] = x }, func() { delete(c, k) }, c[k])
		}
	case []any:
		for i := range c {
			walk(c[i], path+".[]", visit)
			visit(path+".[]", func(x any) { c[i] = x }, nil, c[i])
		}
	}
}

// Consumers ignore what they don't know, and so do the schemas.
func TestWhatIsAddedIsTaken(t *testing.T) {
	t.Parallel()
	whole := compile(t, "message")
	for kind, data := range samples(t) {
		root, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		add := func(v any) {
			if o, ok := v.(map[string]any); ok {
				o["added"] = map[string]any{"x": nil}
				n++
			}
		}
		walk(root, "", func(path string, _ func(any), _ func(), old any) { add(old) })
		add(root)
		if err := whole.Validate(root); err != nil || n < 2 {
			t.Errorf("%s, %d keys added: %v", kind, n, err)
		}
	}
}

func TestEverySchemaIsNamedAsMessagesNameIt(t *testing.T) {
	t.Parallel()
	for kind, data := range samples(t) {
		e, err := event.Decode[json.RawMessage](data)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := schemas.Read(kind)
		if err != nil {
			t.Fatal(err)
		}
		var s struct {
			ID string `json:"$id"`
		}
		if err := json.Unmarshal(raw, &s); err != nil || s.ID != e.DataSchema {
			t.Errorf("%s: $id %q, dataschema %q (%v)", kind, s.ID, e.DataSchema, err)
		}
		compile(t, "envelope")
	}
}
