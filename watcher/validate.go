package watcher

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

// A Problem is one mistake in a watchlist file. Line and Column start at 1 and
// count characters. Path is the place in the file's structure, such as
// watchlists[2].filter.region, and empty where the whole file is meant. Text
// says what is wrong and what to do.
type Problem struct {
	Line, Column int
	Path, Text   string
}

// A FileError lists all mistakes of a watchlist file, in the order of the file.
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

// A decoder walks a syntax tree and collects every mistake, where a library's
// decoding into structs stops at the first. It follows only the keys that it
// knows, so that aliases of aliases cost nothing.
type yamlDecoder struct {
	problems []Problem
	seen     map[Problem]bool
	anchors  map[string][]*ast.AnchorNode
	layers   map[yamlLayerKey]*yamlLayer
	zones    map[string]zone
}

func newYAMLDecoder() *yamlDecoder {
	return &yamlDecoder{
		seen:    map[Problem]bool{},
		anchors: map[string][]*ast.AnchorNode{},
		layers:  map[yamlLayerKey]*yamlLayer{},
		zones:   map[string]zone{},
	}
}

func (d *yamlDecoder) err(file string) error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &FileError{File: file, Problems: d.problems}
}

func (d *yamlDecoder) addAt(line, column int, path, text string) {
	// Defaults and anchors are met once for each watchlist that uses them; the
	// mistake is still one.
	key := Problem{Line: line, Column: column, Text: text}
	if d.seen[key] {
		return
	}
	d.seen[key] = true
	d.problems = append(d.problems, Problem{Line: line, Column: column, Path: path, Text: text})
}

func (d *yamlDecoder) add(at *token.Token, path, format string, args ...any) {
	line, column := 1, 1
	if at != nil && at.Position != nil {
		line, column = at.Position.Line, at.Position.Column
	}
	d.addAt(line, column, path, fmt.Sprintf(format, args...))
}

const emptyFile = "there are no watchlists; write at least one, as in `watchlists: [{name: my-board}]`"

// document parses data as one YAML document.
func (d *yamlDecoder) document(data []byte) (yamlValue, bool) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if i := invalidUTF8(data); i >= 0 {
		line := 1 + bytes.Count(data[:i], []byte("\n"))
		column := 1 + utf8.RuneCount(data[bytes.LastIndexByte(data[:i], '\n')+1:i])
		d.addAt(line, column, "", "this is not UTF-8 text; save the file as UTF-8 YAML")
		return yamlValue{}, false
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			d.add(syntax.GetToken(), "", "this is not YAML: %s; mind indentation, brackets and quotes", syntax.GetMessage())
		} else {
			d.addAt(1, 1, "", "this is not YAML: "+err.Error())
		}
		return yamlValue{}, false
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body == nil:
			body = doc.Body
		default:
			d.add(doc.Start, "", "a second YAML document begins here; a watchlist file has one, put all watchlists into it")
			return yamlValue{}, false
		}
	}
	if body == nil {
		d.addAt(1, 1, "", emptyFile)
		return yamlValue{}, false
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

// A value is a node without the anchors, aliases and tags around it, and the
// path by which people know it. A nil node stands for a mistake already said.
type yamlValue struct {
	node ast.Node
	path string
}

func (v yamlValue) at() *token.Token {
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

func (d *yamlDecoder) resolve(n ast.Node, path string) yamlValue {
	first := n
	for range maxHops {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			target := d.anchor(v)
			if target == nil {
				d.add(v.GetToken(), path, "no anchor &%s stands before this alias; define it first or write the value out", v.Value.GetToken().Value)
				return yamlValue{path: path}
			}
			n = target
		case *ast.TagNode:
			if v.GetToken().Value == "!!str" {
				if s, ok := v.Value.(ast.ScalarNode); ok {
					t := s.GetToken()
					return yamlValue{node: ast.String(t), path: path}
				}
			} else if !strings.HasPrefix(v.GetToken().Value, "!!") {
				d.add(v.GetToken(), path, "the tag %s means nothing here; remove it", v.GetToken().Value)
			}
			n = v.Value
		case nil:
			d.add(first.GetToken(), path, "the value is missing; write one, or remove the key")
			return yamlValue{path: path}
		default:
			return yamlValue{node: n, path: path}
		}
	}
	d.add(first.GetToken(), path, "this alias leads back to itself; write the value out")
	return yamlValue{path: path}
}

// anchor finds what an alias means: the last anchor of its name before it.
func (d *yamlDecoder) anchor(alias *ast.AliasNode) ast.Node {
	var target ast.Node
	for _, a := range d.anchors[alias.Value.GetToken().Value] {
		if a.GetToken().Position.Offset < alias.GetToken().Position.Offset {
			target = a.Value
		}
	}
	return target
}
