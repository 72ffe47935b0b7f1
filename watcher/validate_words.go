package watcher

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// describe says what a node is, in a few words.
func nodeWords(n ast.Node) string {
	if s, ok := scalarText(n); ok {
		return "the text " + quoted(s)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	}
	return "something else"
}

// quote cuts s to a length that a message can bear.
func quoted(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}

// homes are the maps in which the keys of a watchlist file live.
func homes() map[string][]string {
	return map[string][]string{
		"the watchlist":               watchlistKeys(),
		"filter":                      filterKeys(),
		"filter.follower_count_range": rangeKeys(),
		"period":                      periodKeys(),
		"rules":                       ruleKeys(),
		"rules.moved":                 movedKeys(),
		"rules.index":                 indexKeys(),
		"rules.dropped":               droppedKeys(),
		"guard":                       guardKeys(),
	}
}

// unknownKey tells of a key that is none of those allowed, and which one was
// meant.
func unknownKey(name string, allowed []string) string {
	said := "the key " + quoted(name) + " is unknown here"
	var in []string
	for home, keys := range homes() {
		if slices.Contains(keys, name) {
			in = append(in, home)
		}
	}
	if len(in) > 0 {
		slices.Sort(in)
		return said + "; it belongs in " + strings.Join(in, " or ")
	}
	if s := didYouMean(name, allowed); s != "" {
		return said + s
	}
	return said + "; use " + strings.Join(allowed, ", ")
}

// didYouMean names the word that s was probably meant to be, if there is one.
func didYouMean(s string, words []string) string {
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
			return 0, fmt.Errorf("watcher: duration %q: use a number and a unit, such as 30s, 15m, 6h or 1d", s)
		}
		return d, nil
	}
	days, err := strconv.ParseUint(count, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("watcher: duration %q: days are a whole number up to 65535 before the d", s)
	}
	d := time.Duration(days) * oneDay
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 {
		return 0, fmt.Errorf("watcher: duration %q: after the days, use a number and a unit, such as 12h", s)
	}
	if d+more < d {
		return 0, fmt.Errorf("watcher: duration %q: it is too long", s)
	}
	return d + more, nil
}
