package strictyaml

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// Words say what the value is, in a few words.
func (v Value) Words() string {
	secret := v.d.terms.Secret
	if s, ok := scalarText(v.node); ok {
		if secret != nil && secret(v.path, s) {
			return "a text"
		}
		return "the text " + Quoted(s)
	}
	switch n := v.node.(type) {
	case *ast.MappingNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		if secret != nil && secret(v.path, n.GetToken().Value) {
			return "a number"
		}
		return "the number " + n.GetToken().Value
	}
	return "something else"
}

// Quote is a value's text as a message may bear it.
func (v Value) Quote() string {
	s, _ := scalarText(v.node)
	if v.d.shown(v.path, s) != s {
		return hidden
	}
	return Quoted(s)
}

// Quoted cuts s to a length that a message can bear, and quotes it.
func Quoted(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}

// hidden stands where a message would quote a secret.
const hidden = "(not shown)"

// shown is s, unless it is secret at path.
func (d *Decoder) shown(path, s string) string {
	if d.terms.Secret != nil && d.terms.Secret(path, s) {
		return hidden
	}
	return s
}

func (d *Decoder) shownQuoted(path, s string) string {
	if d.shown(path, s) != s {
		return hidden
	}
	return strconv.Quote(s)
}

// keyPath is path with a key, unless the key is what must not be shown: a
// secret in the place of a key.
func (d *Decoder) keyPath(path, key string) string {
	if d.shown(path, key) != key && !d.known(key) {
		return path
	}
	return joinPath(path, key)
}

func (d *Decoder) known(key string) bool {
	for _, keys := range d.terms.Homes {
		if slices.Contains(keys, key) {
			return true
		}
	}
	return false
}

// unquoted is a parser's message without what it quotes of a file that holds
// secrets.
func (d *Decoder) unquoted(message string) string {
	if d.terms.Secret == nil {
		return message
	}
	message, _, _ = strings.Cut(message, "\n")
	before, _, quotes := strings.Cut(message, `"`)
	if quotes {
		return before + hidden
	}
	return message
}

// unknownKey tells of a key that is none of those allowed, and which one was
// meant.
func (d *Decoder) unknownKey(path, name string, allowed []string) string {
	said := "the key " + Quoted(name) + " is unknown here"
	var in []string
	for home, keys := range d.terms.Homes {
		if slices.Contains(keys, name) {
			in = append(in, home)
		}
	}
	if len(in) > 0 {
		slices.Sort(in)
		return said + "; it belongs in " + strings.Join(in, " or ")
	}
	if s := DidYouMean(name, allowed); s != "" {
		return said + s
	}
	if d.shown(path, name) != name {
		said = "this key is unknown here"
	}
	return said + "; use " + strings.Join(allowed, ", ")
}

// DidYouMean asks whether s was meant to be the word that it resembles; it is
// empty if there is none.
func DidYouMean(s string, words []string) string {
	best, at := "", 1+max(1, utf8.RuneCountInString(s)/3)
	for _, w := range words {
		if n := edits(strings.ToLower(s), strings.ToLower(w)); n < at {
			best, at = w, n
		}
	}
	if best == "" || s == "" {
		return ""
	}
	return "; did you mean " + strconv.Quote(best) + "?"
}

// edits is how many letters must be added, removed, replaced or swapped with
// their neighbour to turn a into b. Words over 64 letters are past all help.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return max(len(x), len(y))
	}
	var before, last []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		before, last, row = last, row, make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(y)]
}

const oneDay = 24 * time.Hour

// ParseDuration reads a Go duration such as 90s or 6h30m, which may begin with
// days, as in 7d or 1d12h. A day is 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	count, rest, ok := strings.Cut(s, "d")
	if !ok {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("duration %q: use a number and a unit, such as 30s, 15m, 6h or 1d", s)
		}
		return d, nil
	}
	days, err := strconv.ParseUint(count, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("duration %q: days are a whole number up to 65535 before the d", s)
	}
	d := time.Duration(days) * oneDay
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 {
		return 0, fmt.Errorf("duration %q: after the days, use a number and a unit, such as 12h", s)
	}
	if d+more < d {
		return 0, fmt.Errorf("duration %q: it is too long", s)
	}
	return d + more, nil
}

// durationWords writes a limit as people do: 366d, 6h, 1s.
func durationWords(d time.Duration) string {
	if d >= oneDay && d%oneDay == 0 {
		return strconv.FormatInt(int64(d/oneDay), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
