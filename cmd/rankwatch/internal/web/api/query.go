package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Query is a request's parameters. Each is taken once; one that nobody takes
// is a mistake, and so is one that is given twice where it has one value.
type Query struct {
	values url.Values
	errs   []string
}

// ParseQuery reads the part of a URL behind the question mark.
func ParseQuery(raw string) (*Query, error) {
	v, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("the query is not well-formed")
	}
	return &Query{values: v}, nil
}

// Wrong notes a mistake for Done to tell.
func (q *Query) Wrong(format string, args ...any) {
	q.errs = append(q.errs, fmt.Sprintf(format, args...))
}

// Text takes a parameter that has one value, and whether it is there.
func (q *Query) Text(name string) (string, bool) {
	v, ok := q.values[name]
	delete(q.values, name)
	if len(v) > 1 {
		q.Wrong("%s is given %d times", name, len(v))
	}
	if !ok {
		return "", false
	}
	if v[0] == "" {
		q.Wrong("%s is empty", name)
	}
	return v[0], true
}

// List takes a parameter that may be repeated.
func (q *Query) List(name string, most int) []string {
	v := q.values[name]
	delete(q.values, name)
	if len(v) > most {
		q.Wrong("%s is given %d times, %d is the most", name, len(v), most)
		return nil
	}
	if slices.Contains(v, "") {
		q.Wrong("%s is empty", name)
	}
	if slices.ContainsFunc(v, func(s string) bool { return !utf8.ValidString(s) }) {
		q.Wrong("%s is not UTF-8", name)
	}
	slices.Sort(v)
	return slices.Compact(v)
}

// Number takes a whole number from least to most, or other if it is not there.
func (q *Query) Number(name string, least, most, other uint64) uint64 {
	text, ok := q.Text(name)
	if !ok {
		return other
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most {
		q.Wrong("%s is not a whole number from %d to %d", name, least, most)
		return other
	}
	return n
}

// Done says what was wrong, with those that nobody took.
func (q *Query) Done() error {
	names := make([]string, 0, len(q.values))
	for n := range q.values {
		names = append(names, strconv.QuoteToASCII(short(n)))
	}
	slices.Sort(names)
	if len(names) > 0 {
		q.Wrong("unknown parameter %s", strings.Join(names[:min(len(names), 5)], ", "))
	}
	if len(q.errs) == 0 {
		return nil
	}
	return badRequest(strings.Join(q.errs, "; "))
}

// short cuts what a client sent to what is worth repeating.
func short(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
