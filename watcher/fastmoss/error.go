package fastmoss

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Kind is what went wrong with a call, and so what the caller does about it.
// Every *Error is one of them: errors.Is(err, ErrQuota).
type Kind uint8

// The kinds of error. Only ErrThrottled, ErrUnavailable and ErrMalformed may
// pass by themselves; Page has retried them before it returns one.
const (
	// ErrParameter means that the source will never answer this request: the
	// watchlist is misconfigured.
	ErrParameter Kind = iota + 1
	// ErrNotFound means that the source has no such list: the period is not
	// published yet, or gone. It is not an empty board.
	ErrNotFound
	// ErrDenied means that the token is refused. Until the gate opens again no
	// call is made with it.
	ErrDenied
	// ErrQuota means that the token has used up what it may read. Until the gate
	// opens again no call is made with it.
	ErrQuota
	// ErrThrottled means that calls came too fast. The pace for the token has
	// been lowered.
	ErrThrottled
	// ErrUnavailable means that the service, or the way to it, gave no answer of
	// the API's own.
	ErrUnavailable
	// ErrMalformed means that the API answered, but with something that is not
	// the list page asked for.
	ErrMalformed
)

var kinds = [...]struct{ word, text, advice string }{
	{"unknown", "unknown", ""},
	{"parameter", "request refused as invalid", "check the watchlist's filter and period"},
	{"not_found", "no such list", "the period may not be published yet"},
	{"denied", "token refused", "check the token and what it may read, then reload"},
	{"quota", "limit of the token used up", "raise the limit or wait until it is renewed"},
	{"throttled", "too many calls", "lower the call rate if this stays"},
	{"unavailable", "no answer from the API", "check the URL and the way to it if this stays"},
	{"malformed", "answer is not a usable list page", "report it to the source if this stays"},
}

func (k Kind) entry() int {
	if int(k) >= len(kinds) {
		return 0
	}
	return int(k)
}

// Error makes a Kind the target of errors.Is.
func (k Kind) Error() string { return "fastmoss: " + kinds[k.entry()].text }

// Word is a stable name for metrics and statuses, such as "not_found".
func (k Kind) Word() string { return kinds[k.entry()].word }

// An Error is one call that gave no page. HTTPStatus is 0 if no answer came,
// Code is the API's own and 0 if it gave none. Message is the source's, cut and
// cleaned; it never holds the token. RetryAfter is what the source asked for,
// capped, or 0.
//
// Gate means that no call was made: an earlier one had closed the gate, and its
// answer is repeated here; of another process's call that is the text alone. Until is when the next trial call may be made; it is
// set for ErrDenied and ErrQuota.
type Error struct {
	Kind       Kind
	HTTPStatus int
	Code       int64
	Message    string
	RetryAfter time.Duration
	RequestID  string
	Gate       bool
	Until      time.Time

	told string // what another process was told: its detail, in place of ours
}

// Error says what happened, where, and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.Error())
	if d := e.detail(); d != "" {
		b.WriteString(": " + d)
	}
	if e.Gate {
		b.WriteString("; no call made")
	}
	if !e.Until.IsZero() {
		b.WriteString("; next try " + e.Until.UTC().Format(time.RFC3339))
	}
	if a := kinds[e.Kind.entry()].advice; a != "" {
		b.WriteString("; " + a)
	}
	return b.String()
}

// detail is what the source said, in one line.
func (e *Error) detail() string {
	if e.told != "" {
		return e.told
	}
	var p []string
	if e.HTTPStatus != 0 {
		p = append(p, "HTTP "+strconv.Itoa(e.HTTPStatus))
	}
	if e.Code != 0 {
		p = append(p, "code "+strconv.FormatInt(e.Code, 10))
	}
	if e.Message != "" {
		p = append(p, strconv.Quote(e.Message))
	}
	if e.RequestID != "" {
		p = append(p, "request "+e.RequestID)
	}
	return strings.Join(p, ", ")
}

// Unwrap gives the kind to errors.Is.
func (e *Error) Unwrap() error { return e.Kind }

func fault(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// redacted stands for the token wherever text could show it.
const redacted = "[redacted]"

// maxText is how much of the source's own text an error carries, in bytes.
const maxText = 300

// redact hides the token, also in the forms that URLs and JSON write it in and
// in another case.
func redact(s, token string) string {
	if token == "" {
		return s
	}
	quoted := strconv.Quote(token)
	for _, form := range []string{token, url.QueryEscape(token), url.PathEscape(token), quoted[1 : len(quoted)-1]} {
		s = regexp.MustCompile("(?i)"+regexp.QuoteMeta(form)).ReplaceAllLiteralString(s, redacted)
	}
	return s
}

// clean makes foreign text safe to show: without the token, control and
// formatting characters, and of a sane length. The token goes before the cut,
// so that the cut cannot leave half of it.
func clean(s, token string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, s)
	s = redact(s, token)
	s = strings.TrimSpace(s)
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
