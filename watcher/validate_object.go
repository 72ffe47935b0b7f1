package watcher

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A layer is one mapping with its merge keys applied.
type yamlLayer struct {
	path   string
	at     *token.Token
	fields map[string]yamlField
}

type yamlField struct {
	key  *token.Token
	node ast.Node
}

type yamlLayerKey struct {
	node *ast.MappingNode
	path string
}

// layer reads v as a mapping that has none but the given keys. Nil means that
// it isn't a mapping, which has been said.
func (d *yamlDecoder) layer(v yamlValue, keys []string) *yamlLayer {
	m, ok := v.node.(*ast.MappingNode)
	if !ok {
		if v.node != nil {
			d.add(v.at(), v.path, "this is %s; write a map with the keys %s", nodeWords(v.node), strings.Join(keys, ", "))
		}
		return nil
	}
	key := yamlLayerKey{m, v.path}
	if l, ok := d.layers[key]; ok {
		return l
	}
	l := &yamlLayer{path: v.path, at: v.at(), fields: map[string]yamlField{}}
	d.layers[key] = l
	d.fill(l, m, map[*ast.MappingNode]bool{})
	for name, f := range l.fields {
		if !slices.Contains(keys, name) {
			d.add(f.key, joinPath(v.path, name), "%s", unknownKey(name, keys))
			delete(l.fields, name)
		}
	}
	return l
}

// fill adds the fields of m to l: its own, then those of its merge keys that
// are not there yet. Met are the mappings merged so far.
func (d *yamlDecoder) fill(l *yamlLayer, m *ast.MappingNode, met map[*ast.MappingNode]bool) {
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
			d.add(t, joinPath(l.path, t.Value), "the key %q is here twice, first in line %d; keep one of them", t.Value, first.Position.Line)
			continue
		}
		own[t.Value] = t
		if _, ok := l.fields[t.Value]; !ok {
			l.fields[t.Value] = yamlField{key: t, node: kv.Value}
		}
	}
	for _, n := range merges {
		d.merge(l, n, met)
	}
}

func (d *yamlDecoder) merge(l *yamlLayer, n ast.Node, met map[*ast.MappingNode]bool) {
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
				d.add(v.at(), v.path, "this is %s; only maps can be merged", nodeWords(v.node))
			}
		}
	default:
		d.add(v.at(), v.path, "this is %s; only maps can be merged", nodeWords(n))
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

// An object is a mapping laid over others of the same meaning: a watchlist's
// over that of the defaults. The first layer wins, key by key.
type yamlObject struct {
	d      *yamlDecoder
	layers []*yamlLayer
}

func (o yamlObject) path() string     { return o.layers[0].path }
func (o yamlObject) at() *token.Token { return o.layers[0].at }

// has tells which layer holds the key, -1 if none does. An explicit null is a
// key that is there without a value.
func (o yamlObject) has(key string) int {
	return slices.IndexFunc(o.layers, func(l *yamlLayer) bool { _, ok := l.fields[key]; return ok })
}

// get finds a key's value. An explicit null counts as absent, though its node is
// returned, and hides what lower layers say, so that a watchlist can take back a
// default; a value that was forgotten is a mistake.
func (o yamlObject) get(key string) (yamlValue, bool) {
	i := o.has(key)
	if i < 0 {
		return yamlValue{}, false
	}
	return o.value(o.layers[i], key)
}

func (o yamlObject) value(l *yamlLayer, key string) (yamlValue, bool) {
	f := l.fields[key]
	path := joinPath(l.path, key)
	if f.node == nil {
		o.d.add(f.key, path, "the value is missing; write one, or remove the key")
		return yamlValue{}, false
	}
	v := o.d.resolve(f.node, path)
	if n, ok := v.node.(*ast.NullNode); ok {
		if n.Token.Type == token.ImplicitNullType {
			o.d.add(f.key, path, "the value is missing; write one, or remove the key")
			return yamlValue{}, false
		}
		return v, false
	}
	return v, v.node != nil
}

// object finds a key's mapping, laid over those of the lower layers.
func (o yamlObject) object(key string, keys []string) (yamlObject, bool) {
	sub := yamlObject{d: o.d}
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
		m := o.d.layer(v, keys)
		if m == nil {
			break
		}
		sub.layers = append(sub.layers, m)
	}
	return sub, len(sub.layers) > 0
}

// text reads a string; "" with false if it is absent or wrong.
func (o yamlObject) text(key, example string) (string, yamlValue, bool) {
	v, ok := o.get(key)
	if !ok {
		return "", v, false
	}
	s, ok := scalarText(v.node)
	if !ok {
		o.d.add(v.at(), v.path, "this is %s; write text, as in `%s: %s`", nodeWords(v.node), key, example)
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

// integer reads a whole number between lo and hi.
func (o yamlObject) integer(key string, lo, hi int64) (int64, bool) {
	v, ok := o.get(key)
	if !ok {
		return 0, false
	}
	i, ok := scalarInteger(v.node)
	if !ok || i < lo || i > hi {
		o.d.add(v.at(), v.path, "this is %s; use %s", nodeWords(v.node), span(lo, hi))
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

// boolean reads true or false.
func (o yamlObject) boolean(key string) (val, ok bool) {
	v, ok := o.get(key)
	if !ok {
		return false, false
	}
	b, ok := v.node.(*ast.BoolNode)
	if !ok {
		o.d.add(v.at(), v.path, "this is %s; use true or false", nodeWords(v.node))
		return false, false
	}
	return b.Value, true
}

// choice reads one of several words.
func (o yamlObject) choice(key string, words ...string) (string, bool) {
	v, ok := o.get(key)
	if !ok {
		return "", false
	}
	s, ok := scalarText(v.node)
	if !ok || !slices.Contains(words, s) {
		o.d.add(v.at(), v.path, "this is %s; use %s%s", nodeWords(v.node), strings.Join(words, " or "), didYouMean(s, words))
		return "", false
	}
	return s, true
}

// number reads a number.
func (o yamlObject) number(key string) (float64, yamlValue, bool) {
	v, ok := o.get(key)
	if !ok {
		return 0, v, false
	}
	if i, ok := scalarInteger(v.node); ok {
		return float64(i), v, true
	}
	f, ok := v.node.(*ast.FloatNode)
	if !ok {
		o.d.add(v.at(), v.path, "this is %s; write a number", nodeWords(v.node))
		return 0, v, false
	}
	return f.Value, v, true
}
