package strictyaml_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

func terms() strictyaml.Terms {
	return strictyaml.Terms{
		Empty: "nothing here", Second: "one is enough", Homes: map[string][]string{"top": {"open", "safe", "more"}, "safe": {"key"}},
		Secret: func(path, text string) bool { return strings.HasPrefix(path, "safe") || strings.Contains(text, "://") },
	}
}

// read walks a file with an open and a safe map, and returns what was said.
func read(t *testing.T, file string) string {
	t.Helper()
	d := strictyaml.New(terms())
	if root, ok := d.Document([]byte(file)); ok {
		if l := d.Layer(root, []string{"open", "safe", "more"}); l != nil {
			o := d.Object(l)
			o.Text("open", "x")
			if s, ok := o.Sub("safe", []string{"key"}); ok {
				s.Integer("key", 1, 5)
			}
			o.Boolean("more")
		}
	}
	if err := d.Err("f"); err != nil {
		return err.Error()
	}
	return ""
}

func TestASecretIsNotQuoted(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"safe: {key: hush}":        "f:1:13: safe.key: this is a text; use a whole number from 1 to 5",
		"safe: {key: 4711}":        "f:1:13: safe.key: this is a number; use a whole number from 1 to 5",
		"safe: hush":               "f:1:7: safe: this is a text; write a map with the keys key",
		"safe: {hush: 1}":          "f:1:8: safe: this key is unknown here; use key",
		"safe: {kye: 1}":           `f:1:8: safe: the key "kye" is unknown here; did you mean "key"?`,
		"safe: {hush: 1, hush: 2}": "f:1:8: safe: this key is unknown here; use key\nf:1:17: safe: the key (not shown) is here twice, first in line 1; keep one of them",
		"safe: {key: *hush}":       "f:1:13: safe.key: no anchor &(not shown) stands before this alias; define it first or write the value out",
		"safe: !hush {key: 3}":     "f:1:7: safe: the tag (not shown) means nothing here; remove it",
		"more: https://hush":       "f:1:7: more: this is a text; use true or false",
		"https://hush: 1":          "f:1:1: this key is unknown here; use open, safe, more",
		"open: [a]\nmore: perhaps": "f:1:7: open: this is a list; write text, as in `open: x`\nf:2:7: more: this is the text \"perhaps\"; use true or false",
		"safe: |hush\n  a":         "f:1:7: this is not YAML: invalid header option: (not shown); mind indentation, brackets and quotes",
		"":                         "f:1:1: nothing here",
		"open: a\n---\nopen: b":    "f:2:1: one is enough",
	} {
		if got := read(t, file); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", file, got, want)
		}
	}
}

func TestValuesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	d := strictyaml.New(strictyaml.Terms{})
	root, ok := d.Document([]byte("b: [6787580688797713413, x, 0x1F, 1.5]\na: null\nc: {d: 1}\n"))
	l := d.Layer(root, nil)
	if !ok || l == nil {
		t.Fatal(d.Err("f"))
	}
	o := d.Object(l, nil)
	if keys := o.Keys(); !reflect.DeepEqual(keys, []string{"a", "b", "c"}) {
		t.Errorf("keys %q", keys)
	}
	b, _ := o.Get("b")
	list, ok := b.List()
	var digits []string
	for _, v := range list {
		if s, ok := v.Digits(); ok {
			digits = append(digits, s)
		}
	}
	if !ok || !reflect.DeepEqual(digits, []string{"6787580688797713413", "x"}) || list[1].Path() != "b[1]" || list[1].Line() != 1 {
		t.Errorf("list %v, %q", ok, digits)
	}
	if a, ok := o.Get("a"); ok || !a.Null() || a.Said() || a.Line() != 2 {
		t.Errorf("null: %v", a)
	}
	if c, ok := o.Get("c"); !ok || !c.Map() || c.Words() != "a map" {
		t.Errorf("map: %v", c)
	}
	if x, ok := o.Get("x"); ok || x.Null() || !x.Said() {
		t.Errorf("absent: %v", x)
	}
	o.AddKey("c", "no %s", "c")
	if err := d.Err("f"); err == nil || err.Error() != "f:3:1: c: no c" {
		t.Errorf("got %v", err)
	}
}

func TestLimitsOfDurationsReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hi   time.Duration
		want string
	}{{366 * 24 * time.Hour, "366d"}, {36 * time.Hour, "36h"}, {90 * time.Minute, "1h30m"}, {20 * time.Second, "20s"}, {10 * time.Minute, "10m"}} {
		d := strictyaml.New(strictyaml.Terms{})
		root, _ := d.Document([]byte("a: 1000d"))
		d.Object(d.Layer(root, []string{"a"})).Duration("a", time.Second, tt.hi)
		if err := d.Err("f"); err == nil || !strings.HasSuffix(err.Error(), "use 1s to "+tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
