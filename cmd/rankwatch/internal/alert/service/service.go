// Package service brings alerts to the services of a notifier library by URL:
// Discord, Teams, Telegram, ntfy and more, and e-mail.
//
// The library, shoutrrr, takes no HTTP client and no context: it tries for
// minutes by itself, writes URLs with their tokens into its errors, and for
// some services reports a connection that broke as a success. So it runs in a
// helper process, which a context ends and in which all HTTP goes through
// package outgoing. What counts is what the services answered there, not what
// the library makes of it. Only e-mail is sent otherwise, by go-mail in this
// process.
package service

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

// Text writes a message for people. A subject is one line. A body that tells of
// fewer changes is shorter: it is asked for again with fewer, where a service
// takes no longer one.
type Text interface {
	Subject(m *digest.Message) string
	Body(m *digest.Message) (string, error)
}

// A Config is one target. URL is secret: nothing of it but the service's name
// and its host is in an error.
type Config struct {
	URL      string
	Text     Text
	Outgoing outgoing.Config // Roots count for e-mail only
	// Helper starts Command's verb: the path of this binary and the arguments.
	Helper []string
}

// A Sender is a digest.Sender.
type Sender struct {
	config Config
	kind   kind
	url    *url.URL
}

// New checks a configuration. It makes no connection.
func New(c Config) (*Sender, error) {
	k, u, err := check(c.URL)
	switch {
	case err != nil:
		return nil, err
	case c.Text == nil:
		return nil, errors.New("service: no text")
	case k.name != mailName && len(c.Helper) == 0:
		return nil, errors.New("service: no helper")
	}
	if c.Outgoing.Timeout <= 0 {
		c.Outgoing.Timeout = outgoing.DefaultTimeout
	}
	return &Sender{config: c, kind: k, url: u}, nil
}

const grace = 2 * time.Second

// Send makes one attempt. A service that took the message and broke off before
// it said so gets it again.
func (s *Sender) Send(ctx context.Context, m *digest.Message) error {
	title := oneLine(s.config.Text.Subject(m))
	text, err := s.kind.fit(m, title, s.config.Text.Body)
	if err != nil {
		return &digest.RefusedError{Reason: "template", Err: err}
	}
	// The helper tells what it timed out at, so it gets a moment more.
	ctx, cancel := context.WithTimeout(ctx, s.config.Outgoing.Timeout+grace)
	defer cancel()
	if s.kind.name == mailName {
		err = s.mail(ctx, letter{id: m.ID + "/" + m.Route, subject: title, text: text})
	} else {
		err = s.help(ctx, title, text)
	}
	if err != nil {
		return fmt.Errorf("%s: send %s: %w", s.kind.name, m.ID, err)
	}
	return nil
}

// help has the helper send a message.
func (s *Sender) help(ctx context.Context, title, text string) error {
	o := order{URL: s.config.URL, Text: text, AllowPrivate: s.config.Outgoing.AllowPrivate, Proxy: s.config.Outgoing.Proxy, Timeout: s.config.Outgoing.Timeout}
	if s.kind.title {
		o.Title = title
	}
	result, err := ask(ctx, s.config.Helper, o)
	if err != nil {
		return err
	}
	// A generic service's headers are in the query behind an @. The library takes
	// them out of the URL that the helper sees.
	var headers []string
	for name, values := range s.url.Query() {
		if strings.HasPrefix(name, "@") {
			headers = append(headers, values...)
		}
	}
	result.Error = outgoing.Conceal(errors.New(result.Error), headers...).Error()
	return result.err()
}

// An order is what the helper is told, on its standard input: nothing secret is
// among its arguments or in its environment.
type order struct {
	URL          string        `json:"url"`
	Title        string        `json:"title"`
	Text         string        `json:"text"`
	AllowPrivate bool          `json:"allow_private"`
	Proxy        bool          `json:"proxy"`
	Timeout      time.Duration `json:"timeout"`
}

// A result is what the helper answers, on its standard output.
type result struct {
	Sent   bool          `json:"sent"`
	Reason string        `json:"reason,omitempty"` // of a digest.RefusedError
	Later  bool          `json:"later,omitempty"`  // a digest.LaterError
	After  time.Duration `json:"after,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// resultOf takes an error apart.
func resultOf(err error) result {
	var refused *digest.RefusedError
	var later *digest.LaterError
	switch {
	case err == nil:
		return result{Sent: true}
	case errors.As(err, &refused):
		return result{Reason: refused.Reason, Error: refused.Err.Error()}
	case errors.As(err, &later):
		return result{Later: true, After: later.After, Error: later.Err.Error()}
	}
	return result{Error: err.Error()}
}

// err puts it together again.
func (r result) err() error {
	cause := errors.New(r.Error)
	switch {
	case r.Sent:
		return nil
	case r.Reason != "":
		return &digest.RefusedError{Reason: r.Reason, Err: cause}
	case r.Later:
		return &digest.LaterError{After: r.After, Err: cause}
	}
	return cause
}
