// Package strictyaml reads configuration files for people: YAML in which an
// unknown key is a mistake, and all mistakes are told at once, each with its
// place and what to do.
//
// It knows no file's keys. Who knows them walks the document through Object,
// whose methods note what is wrong and go on.
package strictyaml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A Problem is one mistake in a file. Line and Column start at 1 and
// count characters. Path is the place in the file's structure, such as
// watchlists[2].filter.region, and empty where the whole file is meant. Text
// says what is wrong and what to do.
type Problem struct {
	Line, Column int
	Path, Text   string
}

// A FileError lists all mistakes of a file, in the order of the file.
// Nothing of such a file is used.
type FileError struct {
	File     string
	Problems []Problem
}

// Error has one line for each problem: file:line:column: path: text.
func (e *FileError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, p.Line, p.Column)
		if p.Path != "" {
			b.WriteString(p.Path + ": ")
		}
		b.WriteString(p.Text)
	}
	return b.String()
}

// Terms are what the messages about a kind of file need to know of it.
type Terms struct {
	// Empty is said of a file without content, Second of a second document in it.
	Empty, Second string
	// Homes are the maps of the file with their keys, for those who put a key into
	// the wrong one.
	Homes map[string][]string
	// Secret tells what no message may quote: all text at a path, or text that
	// looks like a secret wherever it is. Nil means that nothing is secret.
	Secret func(path, text string) bool
}

// A Decoder walks a syntax tree and collects every mistake, where a library's
// decoding into structs stops at the first. It follows only the keys that it
// knows, so that aliases of aliases cost nothing.
type Decoder struct {
	terms    Terms
	problems []Problem
	seen     map[Problem]bool
	anchors  map[string][]*ast.AnchorNode
	layers   map[layerKey]*Layer
	zones    map[string]zone
}

// New returns a decoder for one file.
func New(t Terms) *Decoder {
	return &Decoder{
		terms:   t,
		seen:    map[Problem]bool{},
		anchors: map[string][]*ast.AnchorNode{},
		layers:  map[layerKey]*Layer{},
		zones:   map[string]zone{},
	}
}

// Err returns a *FileError with all mistakes found so far, nil if there are
// none.
func (d *Decoder) Err(file string) error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &FileError{File: file, Problems: d.problems}
}

func (d *Decoder) addAt(line, column int, path, text string) {
	// Defaults and anchors are met once for each watchlist that uses them; the
	// mistake is still one.
	key := Problem{Line: line, Column: column, Text: text}
	if d.seen[key] {
		return
	}
	d.seen[key] = true
	d.problems = append(d.problems, Problem{Line: line, Column: column, Path: path, Text: text})
}

func (d *Decoder) add(at *token.Token, path, format string, args ...any) {
	line, column := 1, 1
	if at != nil && at.Position != nil {
		line, column = at.Position.Line, at.Position.Column
	}
	d.addAt(line, column, path, fmt.Sprintf(format, args...))
}

// Document parses data as one YAML document. False means that it isn't one.
func (d *Decoder) Document(data []byte) (Value, bool) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if i := invalidUTF8(data); i >= 0 {
		line := 1 + bytes.Count(data[:i], []byte("\n"))
		column := 1 + utf8.RuneCount(data[bytes.LastIndexByte(data[:i], '\n')+1:i])
		d.addAt(line, column, "", "this is not UTF-8 text; save the file as UTF-8 YAML")
		return Value{}, false
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			d.add(syntax.GetToken(), "", "this is not YAML: %s; mind indentation, brackets and quotes", d.unquoted(syntax.GetMessage()))
		} else {
			d.addAt(1, 1, "", "this is not YAML: "+d.unquoted(err.Error()))
		}
		return Value{}, false
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body == nil:
			body = doc.Body
		default:
			d.add(doc.Start, "", "%s", d.terms.Second)
			return Value{}, false
		}
	}
	if body == nil {
		d.addAt(1, 1, "", d.terms.Empty)
		return Value{}, false
	}
	ast.Walk(anchorFinder(d.anchors), body)
	return d.resolve(body, ""), true
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

type anchorFinder map[string][]*ast.AnchorNode

func (f anchorFinder) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		name := a.Name.GetToken().Value
		f[name] = append(f[name], a)
	}
	return f
}

// A Value is a node without the anchors, aliases and tags around it, and the
// path by which people know it. A nil node stands for a mistake already said.
type Value struct {
	d    *Decoder
	node ast.Node
	path string
}

// Add notes a mistake in the value.
func (v Value) Add(format string, args ...any) { v.d.add(v.at(), v.path, format, args...) }

// Path is where the value is in the file's structure.
func (v Value) Path() string { return v.path }

// Line is where the value begins.
func (v Value) Line() int {
	if t := v.at(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

// Said tells that there is no value because of a mistake already noted.
func (v Value) Said() bool { return v.node == nil }

// Null tells an explicit null.
func (v Value) Null() bool {
	_, null := v.node.(*ast.NullNode)
	return null
}

// Map tells that the value is a mapping.
func (v Value) Map() bool {
	_, ok := v.node.(*ast.MappingNode)
	return ok
}

// Text is the value if it is a string.
func (v Value) Text() (string, bool) { return scalarText(v.node) }

// Digits is the value if it is a string, or a number written with nothing but
// digits: an id that somebody did not quote.
func (v Value) Digits() (string, bool) {
	if n, ok := v.node.(*ast.IntegerNode); ok {
		s := n.GetToken().Value
		return s, strings.Trim(s, "0123456789") == ""
	}
	return scalarText(v.node)
}

// List returns the entries of a list.
func (v Value) List() ([]Value, bool) {
	seq, ok := v.node.(*ast.SequenceNode)
	if !ok {
		return nil, false
	}
	list := make([]Value, 0, len(seq.Values))
	for i, n := range seq.Values {
		list = append(list, v.d.resolve(n, fmt.Sprintf("%s[%d]", v.path, i)))
	}
	return list, true
}

func (v Value) at() *token.Token {
	switch n := v.node.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		// The node's own token may be a colon in the middle of its first line.
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	}
	return v.node.GetToken()
}

// maxHops is how many anchors, aliases and tags may surround a value. No sane
// file comes near; an alias to itself does.
const maxHops = 32

func (d *Decoder) resolve(n ast.Node, path string) Value {
	first := n
	for range maxHops {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			target := d.anchor(v)
			if target == nil {
				d.add(v.GetToken(), path, "no anchor &%s stands before this alias; define it first or write the value out", d.shown(path, v.Value.GetToken().Value))
				return Value{d: d, path: path}
			}
			n = target
		case *ast.TagNode:
			if v.GetToken().Value == "!!str" {
				if s, ok := v.Value.(ast.ScalarNode); ok {
					t := s.GetToken()
					return Value{d: d, node: ast.String(t), path: path}
				}
			} else if !strings.HasPrefix(v.GetToken().Value, "!!") {
				d.add(v.GetToken(), path, "the tag %s means nothing here; remove it", d.shown(path, v.GetToken().Value))
			}
			n = v.Value
		case nil:
			d.add(first.GetToken(), path, "the value is missing; write one, or remove the key")
			return Value{d: d, path: path}
		default:
			return Value{d: d, node: n, path: path}
		}
	}
	d.add(first.GetToken(), path, "this alias leads back to itself; write the value out")
	return Value{d: d, path: path}
}

// anchor finds what an alias means: the last anchor of its name before it.
func (d *Decoder) anchor(alias *ast.AliasNode) ast.Node {
	var target ast.Node
	for _, a := range d.anchors[alias.Value.GetToken().Value] {
		if a.GetToken().Position.Offset < alias.GetToken().Position.Offset {
			target = a.Value
		}
	}
	return target
}
