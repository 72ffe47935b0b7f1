package strictyaml

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A Layer is one mapping with its merge keys applied.
type Layer struct {
	path   string
	at     *token.Token
	fields map[string]field
}

type field struct {
	key  *token.Token
	node ast.Node
}

type layerKey struct {
	node *ast.MappingNode
	path string
}

// Layer reads v as a mapping that has none but the given keys, any if they are
// nil. Nil means that it isn't a mapping, which has been noted.
func (d *Decoder) Layer(v Value, keys []string) *Layer {
	m, ok := v.node.(*ast.MappingNode)
	if !ok {
		switch {
		case v.node == nil:
		case keys == nil:
			v.Add("this is %s; write a map", v.Words())
		default:
			v.Add("this is %s; write a map with the keys %s", v.Words(), strings.Join(keys, ", "))
		}
		return nil
	}
	key := layerKey{m, v.path}
	if l, ok := d.layers[key]; ok {
		return l
	}
	l := &Layer{path: v.path, at: v.at(), fields: map[string]field{}}
	d.layers[key] = l
	d.fill(l, m, map[*ast.MappingNode]bool{})
	for name, f := range l.fields {
		if keys != nil && !slices.Contains(keys, name) {
			d.add(f.key, d.keyPath(v.path, name), "%s", d.unknownKey(v.path, name, keys))
			delete(l.fields, name)
		}
	}
	return l
}

// fill adds the fields of m to l: its own, then those of its merge keys that
// are not there yet. Met are the mappings merged so far.
func (d *Decoder) fill(l *Layer, m *ast.MappingNode, met map[*ast.MappingNode]bool) {
	if met[m] {
		return
	}
	met[m] = true
	own := map[string]*token.Token{}
	var merges []ast.Node
	for _, kv := range m.Values {
		if _, ok := kv.Key.(*ast.MergeKeyNode); ok {
			merges = append(merges, kv.Value)
			continue
		}
		t := keyToken(kv.Key)
		if first := own[t.Value]; first != nil {
			d.add(t, d.keyPath(l.path, t.Value), "the key %s is here twice, first in line %d; keep one of them",
				d.shownQuoted(l.path, t.Value), first.Position.Line)
			continue
		}
		own[t.Value] = t
		if _, ok := l.fields[t.Value]; !ok {
			l.fields[t.Value] = field{key: t, node: kv.Value}
		}
	}
	for _, n := range merges {
		d.merge(l, n, met)
	}
}

func (d *Decoder) merge(l *Layer, n ast.Node, met map[*ast.MappingNode]bool) {
	v := d.resolve(n, joinPath(l.path, "<<"))
	switch n := v.node.(type) {
	case nil:
	case *ast.MappingNode:
		d.fill(l, n, met)
	case *ast.SequenceNode:
		for _, e := range n.Values {
			v := d.resolve(e, v.path)
			if m, ok := v.node.(*ast.MappingNode); ok {
				d.fill(l, m, met)
			} else if v.node != nil {
				v.Add("this is %s; only maps can be merged", v.Words())
			}
		}
	default:
		v.Add("this is %s; only maps can be merged", v.Words())
	}
}

func keyToken(k ast.MapKeyNode) *token.Token {
	if c, ok := k.(*ast.MappingKeyNode); ok && c.Value != nil {
		return c.Value.GetToken()
	}
	return k.GetToken()
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// An Object is a mapping laid over others of the same meaning: a watchlist's
// over that of the defaults. The first layer wins, key by key.
type Object struct {
	d      *Decoder
	layers []*Layer
}

// Object lays layers over each other, the first on top; nil ones are left out.
// There must be another.
func (d *Decoder) Object(layers ...*Layer) Object {
	return Object{d: d, layers: slices.DeleteFunc(layers, func(l *Layer) bool { return l == nil })}
}

// Add notes a mistake in the object as a whole.
func (o Object) Add(format string, args ...any) {
	o.d.add(o.layers[0].at, o.layers[0].path, format, args...)
}

// Path is where the upper layer is in the file's structure.
func (o Object) Path() string { return o.layers[0].path }

// Layer is layer i alone, 0 the upper one.
func (o Object) Layer(i int) Object { return Object{d: o.d, layers: o.layers[i : i+1]} }

// Keys returns the keys of all layers, sorted.
func (o Object) Keys() []string {
	var keys []string
	for _, l := range o.layers {
		keys = slices.AppendSeq(keys, maps.Keys(l.fields))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Has tells which layer holds the key, -1 if none does. An explicit null is a
// key that is there without a value.
func (o Object) Has(key string) int {
	return slices.IndexFunc(o.layers, func(l *Layer) bool { _, ok := l.fields[key]; return ok })
}

// Get finds a key's value. An explicit null counts as absent, though its node is
// returned, and hides what lower layers say, so that a watchlist can take back a
// default; a value that was forgotten is a mistake.
func (o Object) Get(key string) (Value, bool) {
	i := o.Has(key)
	if i < 0 {
		return Value{d: o.d}, false
	}
	return o.value(o.layers[i], key)
}

func (o Object) value(l *Layer, key string) (Value, bool) {
	f := l.fields[key]
	path := o.d.keyPath(l.path, key)
	if f.node == nil {
		o.d.add(f.key, path, "the value is missing; write one, or remove the key")
		return Value{d: o.d}, false
	}
	v := o.d.resolve(f.node, path)
	if n, ok := v.node.(*ast.NullNode); ok {
		if n.Token.Type == token.ImplicitNullType {
			o.d.add(f.key, path, "the value is missing; write one, or remove the key")
			return Value{d: o.d}, false
		}
		return v, false
	}
	return v, v.node != nil
}

// Sub finds a key's mapping, laid over those of the lower layers.
func (o Object) Sub(key string, keys []string) (Object, bool) {
	sub := Object{d: o.d}
	for _, l := range o.layers {
		if _, ok := l.fields[key]; !ok {
			continue
		}
		v, ok := o.value(l, key)
		if !ok {
			break
		}
		if _, isMap := v.node.(*ast.MappingNode); !isMap && len(sub.layers) > 0 {
			break // said when the layer itself was checked
		}
		m := o.d.Layer(v, keys)
		if m == nil {
			break
		}
		sub.layers = append(sub.layers, m)
	}
	return sub, len(sub.layers) > 0
}

// Text reads a string; "" with false if it is absent or wrong.
func (o Object) Text(key, example string) (string, Value, bool) {
	v, ok := o.Get(key)
	if !ok {
		return "", v, false
	}
	s, ok := scalarText(v.node)
	if !ok {
		v.Add("this is %s; write text, as in `%s: %s`", v.Words(), key, example)
	}
	return s, v, ok
}

func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), true
	}
	return "", false
}

// Integer reads a whole number between lo and hi.
func (o Object) Integer(key string, lo, hi int64) (int64, bool) {
	v, ok := o.Get(key)
	if !ok {
		return 0, false
	}
	i, ok := scalarInteger(v.node)
	if !ok || i < lo || i > hi {
		v.Add("this is %s; use %s", v.Words(), span(lo, hi))
		return 0, false
	}
	return i, true
}

func scalarInteger(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch x := i.Value.(type) {
	case int64:
		return x, true
	case uint64:
		return int64(min(x, math.MaxInt64)), x <= math.MaxInt64
	}
	return 0, false
}

func span(lo, hi int64) string {
	switch {
	case hi == math.MaxInt64:
		return fmt.Sprintf("a whole number, %d or more", lo)
	case hi == lo+1:
		return fmt.Sprintf("%d or %d", lo, hi)
	}
	return fmt.Sprintf("a whole number from %d to %d", lo, hi)
}

// Boolean reads true or false.
func (o Object) Boolean(key string) (val, ok bool) {
	v, ok := o.Get(key)
	if !ok {
		return false, false
	}
	b, ok := v.node.(*ast.BoolNode)
	if !ok {
		v.Add("this is %s; use true or false", v.Words())
		return false, false
	}
	return b.Value, true
}

// Choice reads one of several words.
func (o Object) Choice(key string, words ...string) (string, bool) {
	v, ok := o.Get(key)
	if !ok {
		return "", false
	}
	s, ok := scalarText(v.node)
	if !ok || !slices.Contains(words, s) {
		v.Add("this is %s; use %s%s", v.Words(), strings.Join(words, " or "), DidYouMean(s, words))
		return "", false
	}
	return s, true
}

// Number reads a number.
func (o Object) Number(key string) (float64, Value, bool) {
	v, ok := o.Get(key)
	if !ok {
		return 0, v, false
	}
	if i, ok := scalarInteger(v.node); ok {
		return float64(i), v, true
	}
	f, ok := v.node.(*ast.FloatNode)
	if !ok {
		v.Add("this is %s; write a number", v.Words())
		return 0, v, false
	}
	return f.Value, v, true
}

// Duration reads a duration between lo and hi, as ParseDuration does.
func (o Object) Duration(key string, lo, hi time.Duration) (time.Duration, bool) {
	v, ok := o.Get(key)
	if !ok {
		return 0, false
	}
	s, ok := v.Text()
	d, err := ParseDuration(s)
	switch {
	case !ok || err != nil:
		v.Add("this is %s; write a number and a unit, such as 30s, 15m, 6h or 1d", v.Words())
		return 0, false
	case d < lo || d > hi:
		v.Add("%s is out of range; use %s to %s", v.Quote(), durationWords(lo), durationWords(hi))
		return 0, false
	}
	return d, true
}

// A zone is a time zone, loaded once for a whole file; each load would cost
// some kilobytes.
type zone struct {
	loc *time.Location
	err error
}

// Zone reads the name of a time zone; UTC with false if it is absent or wrong.
func (o Object) Zone(key string) (*time.Location, bool) {
	s, v, ok := o.Text(key, "Asia/Shanghai")
	if !ok {
		return time.UTC, false
	}
	z, ok := o.d.zones[s]
	if !ok {
		if s == "" || strings.EqualFold(s, "local") {
			// Two processes would read it differently.
			z.err = errors.New("it names no place")
		} else {
			z.loc, z.err = time.LoadLocation(s)
		}
		o.d.zones[s] = z
	}
	if z.err != nil {
		v.Add("%s is not a time zone; use a name of the IANA database, such as Asia/Shanghai or UTC", v.Quote())
		return time.UTC, false
	}
	return z.loc, true
}

// AddKey notes a mistake in a key that the object has.
func (o Object) AddKey(key, format string, args ...any) {
	l := o.layers[max(o.Has(key), 0)]
	at := l.at
	if f, ok := l.fields[key]; ok {
		at = f.key
	}
	o.d.add(at, o.d.keyPath(l.path, key), format, args...)
}
