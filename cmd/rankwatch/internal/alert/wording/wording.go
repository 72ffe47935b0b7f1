// Package wording runs the templates that users write for messages.
//
// A template is Go's text/template; its dot is a digest.Message. It has the
// functions of the built-in messages, so that names are safe to print and the
// reasons read the same.
package wording

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// MaxText is the most that a template may write, bytes.
const MaxText = 256 << 10

// ErrTooLong means that a template wrote more than MaxText.
var ErrTooLong = errors.New("wording: the text is too long")

// functions are what a template can call. What comes from outside goes through
// escape.
func functions(escape func(string) string) template.FuncMap {
	style := text.Style{Unicode: true}
	return template.FuncMap{
		"name":   func(c text.Change) string { return escape(text.Name(c.Creator)) },
		"why":    func(c text.Change) string { return strings.Join(text.Why(c), ", ") },
		"sign":   func(c text.Change) string { return text.SignOf(c).Fancy },
		"places": text.Places,
		"rank":   style.Rank,
		"index":  style.Index,
		"counts": func(c event.Counts) string { return text.Counts(c) },
		"escape": func(s string) string { return escape(text.Printable(s)) },
		"join":   strings.Join,
	}
}

func parse(name, source string, escape func(string) string) (*template.Template, error) {
	return template.New(name).Funcs(functions(escape)).Parse(source)
}

func asIs(s string) string { return s }

// Render runs the message's template. Escape makes text from outside safe for
// where the result goes; nil leaves it.
func Render(m *digest.Message, escape func(string) string) (string, error) {
	if escape == nil {
		escape = asIs
	}
	t, err := parse(m.Route, m.Template, escape)
	if err != nil {
		return "", fmt.Errorf("template of route %s: %w", m.Route, err)
	}
	out, err := execute(t, m)
	if err != nil {
		return "", fmt.Errorf("template of route %s: %w", m.Route, err)
	}
	return out, nil
}

// Check tries a template on what messages may hold: readings, statuses, both.
func Check(name, source string) error {
	t, err := parse(name, source, asIs)
	if err != nil {
		return err
	}
	both := digest.Sample("sample", time.Date(2026, time.April, 14, 17, 7, 52, 0, time.UTC))
	readings, statuses := *both, *both
	readings.Notices, statuses.Sections = nil, nil
	for _, m := range []*digest.Message{both, &readings, &statuses} {
		if _, err := execute(t, m); err != nil {
			return err
		}
	}
	return nil
}

func execute(t *template.Template, m *digest.Message) (string, error) {
	var out limited
	if err := t.Execute(&out, m); err != nil {
		return "", err
	}
	return out.text.String(), nil
}

// limited ends a template that writes on and on.
type limited struct{ text strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	if l.text.Len()+len(p) > MaxText {
		return 0, ErrTooLong
	}
	return l.text.Write(p)
}
