package words

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

// ErrTooLong means that a template wrote more than any target takes.
var ErrTooLong = errors.New("words: the template writes more than 256 KiB")

// ErrTooSlow means that a template did not come to its end.
var ErrTooSlow = errors.New("words: the template runs for more than 10 seconds")

const (
	maxBody  = 256 << 10
	patience = 10 * time.Second
)

// Check parses a template and tries it in both dialects on a message with every
// kind of event and status, and with every field null that can be.
func Check(source string) error {
	m := Sample(time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC))
	for _, d := range []Dialect{Plain, Mrkdwn} {
		if _, err := execute(source, m, d); err != nil {
			return err
		}
	}
	return nil
}

// execute runs a template on the safe copy of a message.
func execute(source string, m *digest.Message, d Dialect) (string, error) {
	t, err := template.New("alert").Funcs(d.funcs(Subject(m))).Parse(source)
	if err != nil {
		return "", fmt.Errorf("words: %w", err)
	}
	var b limited
	done := make(chan error, 1)
	// A template that goes on for ever cannot be ended: it goes on by itself.
	go func() { done <- t.Execute(&b, d.clean(m)) }()
	select {
	case err = <-done:
	case <-time.After(patience):
		return "", ErrTooSlow
	}
	if err != nil {
		return "", fmt.Errorf("words: %w", err)
	}
	return strings.Trim(b.String(), "\n"), nil
}

// limited refuses to grow past maxBody, which ends the template.
type limited struct{ strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxBody {
		return 0, ErrTooLong
	}
	return l.Builder.Write(p)
}

func (d Dialect) funcs(subject string) template.FuncMap {
	return template.FuncMap{
		"subject": func() string { return d.Entities(subject) },
		"title":   func(s digest.Section) string { return title(&s) },
		"facts":   func(s digest.Section) string { return facts(&s) },
		"more":    func(s digest.Section) string { return more(&s) },
		"line":    func(c text.Change) string { return d.line(&c) },
		"detail":  func(c text.Change) string { return d.detail(&c) },
		"arrow":   func(c text.Change) string { return d.sign(&c) },
		"rank":    func(c text.Change) string { return rank(&c) },
		"index":   func(c text.Change) string { return fancy.Index(c) },
		"places":  func(c text.Change) string { return text.Places(c) },
		"name":    func(c text.Change) string { return d.name(&c) },
		"link":    func(c text.Change) string { return d.link(&c) },
		"why":     func(c text.Change) string { return why(&c) },
		"status": func(n digest.Notice) string {
			e := d.notice(&n)
			return e.Line + "\n" + indent + e.Detail
		},
		"money":  func(v any) (string, error) { return figure(v, money) },
		"number": func(v any) (string, error) { return figure(v, number) },
		"short":  func(cells int, s any) string { return d.short(max(cells, 1), words(s)) },
		"escape": func(s any) string { return d.escape(d.unescape(words(s))) },
		"date":   moments,
		"period": period,
		"counts": func(c event.Counts) string { return counts(c) },
	}
}

// figure writes a number, nothing for null.
func figure(v any, write func(float64) string) (string, error) {
	switch n := v.(type) {
	case nil:
		return "", nil
	case *float64:
		if n == nil {
			return "", nil
		}
		return write(*n), nil
	case *int64:
		if n == nil {
			return "", nil
		}
		return write(float64(*n)), nil
	case *int:
		if n == nil {
			return "", nil
		}
		return write(float64(*n)), nil
	case float64:
		return write(n), nil
	case int64:
		return write(float64(n)), nil
	case int:
		return write(float64(n)), nil
	case uint64:
		return write(float64(n)), nil
	}
	return "", fmt.Errorf("%T is no number", v)
}

// words is a text, empty for null.
func words(v any) string {
	switch s := v.(type) {
	case nil:
		return ""
	case string:
		return s
	case *string:
		if s == nil {
			return ""
		}
		return *s
	}
	return fmt.Sprint(v)
}

// moments writes a time, or a text that is one.
func moments(v any) (string, error) {
	switch t := v.(type) {
	case time.Time:
		return date(t), nil
	case nil:
		return "", nil
	}
	s := words(v)
	if s == "" {
		return "", nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return "", fmt.Errorf("%q is no time", s)
	}
	return date(t), nil
}
