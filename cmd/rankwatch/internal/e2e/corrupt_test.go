package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A sample is a real message that was as wanted.
type sample struct {
	message sent
	want    want
	checker *checker
}

func (c *checker) clone() *checker {
	d := *c
	d.times, d.readings, d.names, d.ids = maps.Clone(c.times), maps.Clone(c.readings), maps.Clone(c.names), maps.Clone(c.ids)
	d.lines = bytes.Clone(c.lines)
	return &d
}

// open are the values that the contract does not fix, or that it does not have.
var open = []string{"data.depth", "data.duplicates", "data.skipped", "data.absent", "data.holes", "data.interim"}

// corrupt changes every single value of the sample, one at a time, and expects
// the checker to see each: a comparison that overlooks a field proves nothing.
func (s sample) corrupt(t *testing.T) {
	t.Helper()
	if err := s.checker.clone().check(s.message, s.want); err != nil {
		t.Errorf("%s: not a good sample: %v", s.want.kind, err)
		return
	}
	d := json.NewDecoder(bytes.NewReader(s.message.data))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	tried := 0
	leaves(root, nil, func(path []string, set func(any), old any) {
		if slices.ContainsFunc(open, func(p string) bool { return strings.HasPrefix(strings.Join(path, "."), p) }) {
			return
		}
		tried++
		set(other(old))
		data, err := json.Marshal(root)
		set(old)
		if err != nil {
			t.Fatal(err)
		}
		m := s.message
		m.data = data
		if s.checker.clone().check(m, s.want) == nil {
			t.Errorf("%s: the checker overlooks %s", s.want.kind, strings.Join(path, "."))
		}
	})
	t.Logf("%s: %d values, the checker sees a change of each", s.want.kind, tried)
}

// leaves visits every value that holds no others.
func leaves(v any, path []string, visit func(path []string, set func(any), old any)) {
	each := func(key string, child any, set func(any)) {
		p := append(slices.Clone(path), key)
		switch c := child.(type) {
		case map[string]any, []any:
			leaves(c, p, visit)
		default:
			visit(p, set, child)
		}
	}
	switch c := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(c)) {
			each(k, c[k], func(x any) { c[k] = x })
		}
	case []any:
		for i := range c {
			each("row", c[i], func(x any) { c[i] = x })
		}
	}
}

// other is a value of the same type, but another one; for null a number.
func other(v any) any {
	switch v := v.(type) {
	case string:
		return v + "x"
	case bool:
		return !v
	case json.Number:
		return json.Number("1" + strings.TrimPrefix(v.String(), "-"))
	}
	return json.Number("7")
}
