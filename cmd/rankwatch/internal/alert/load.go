package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/config"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/deliver"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/service"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/slack"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/webhook"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/words"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/version"
)

// A setup is a configuration made ready: one sender a target, which its routes
// share.
type setup struct {
	Name     string
	Routes   []digest.Route
	Targets  map[string]digest.Sender
	RetryFor time.Duration
	threads  *threads
}

// Lookup is what an alert configuration refers to on this machine, with the
// services of the notifier library.
func Lookup() config.Lookup {
	l := config.OS()
	l.Service = func(url string) string {
		if err := service.Check(url); err != nil {
			return err.Error()
		}
		return ""
	}
	return l
}

// load makes the configuration ready that the settings name; path, if there is
// one, goes before them. It connects to nothing and returns all mistakes.
func load(s settings.Alert, path string, log *slog.Logger) (*setup, error) {
	if path != "" {
		s.File = path
	}
	c, err := config.Load(s, Lookup())
	if err != nil {
		return nil, err
	}
	return ready(c, log)
}

// shown is load for what sends nothing: without any target it has the default
// routes, to nobody.
func shown(s settings.Alert, path string, log *slog.Logger) (*setup, error) {
	set, err := load(s, path, log)
	if errors.Is(err, config.ErrNoTarget) {
		return ready(config.Default(config.Target{Name: "nobody"}), log)
	}
	return set, err
}

func ready(c *config.Config, log *slog.Logger) (*setup, error) {
	s := &setup{Name: c.Name, Routes: c.Routes, Targets: map[string]digest.Sender{}, RetryFor: c.RetryFor, threads: &threads{}}
	used := map[string]int{}
	for i := range c.Routes {
		used[c.Routes[i].Target]++
	}
	out := outgoing.Config{AllowPrivate: c.AllowPrivate}
	client := outgoing.New(out)
	var all []error
	for _, t := range c.Targets {
		if t.To == nil {
			continue // nobody, see shown
		}
		var to digest.Sender
		var err error
		switch d := t.To.(type) {
		case config.SlackWebhook:
			to, err = slack.New(slack.Config{Webhook: d.URL.Reveal(), Client: client, Log: log})
		case config.SlackBot:
			to, err = slack.New(slack.Config{Token: d.Token.Reveal(), Channel: d.Channel, API: d.API.Reveal(), Client: client, Threads: s.threads, Log: log})
		case config.Webhook:
			headers := map[string]string{}
			for name, value := range d.Headers {
				headers[name] = value.Reveal()
			}
			to, err = webhook.New(webhook.Config{
				URL: d.URL.Reveal(), Secret: d.Secret.Reveal(), PreviousSecret: d.Previous.Reveal(), Headers: headers,
				Shared: used[t.Name] > 1, Client: client, Version: version.Number(), Text: plain{},
			})
		case config.Service:
			var self string
			if self, err = os.Executable(); err == nil {
				to, err = service.New(service.Config{URL: d.URL.Reveal(), Text: plain{}, Outgoing: out, Helper: []string{self, service.Verb}})
			}
		default:
			err = fmt.Errorf("nothing sends to a %s", t.To.Kind())
		}
		if err != nil {
			all = append(all, fmt.Errorf("target %s: %w", t.Name, err))
			continue
		}
		s.Targets[t.Name] = to
	}
	return s, errors.Join(all...)
}

// plain writes messages for people without formatting.
type plain struct{}

// Subject says on one line what a message is about.
func (plain) Subject(m *digest.Message) string { return words.Subject(m) }

// Body is the rest of the message. A template that fails gives way to the built-in
// text, and the message says so.
func (plain) Body(m *digest.Message) (string, error) {
	body, err := words.Body(m, words.Plain)
	if err == nil {
		return body, nil
	}
	bare := *m
	bare.Template = ""
	body, berr := words.Body(&bare, words.Plain)
	return body + "\n(the route's template failed: " + words.Plain.Safe(err.Error()) + ")", berr
}

// said is a whole message as --dry-run and --preview print it.
func said(m *digest.Message) (string, error) {
	body, err := words.Body(m, words.Plain)
	return words.Subject(m) + "\n" + body, err
}

// threads keeps the first messages of Slack's threads in the bucket beside the
// stream, once there is a connection. A key is forgotten with the bucket only:
// there is one a channel, board and period.
type threads struct {
	kv atomic.Pointer[jetstream.KeyValue]
}

// threadLimit bounds a look-up in the bucket.
const threadLimit = 5 * time.Second

// errUnbound means that no bus was found yet.
var errUnbound = errors.New("no connection to the bus")

// bind says where the bucket is. Without one there are no threads.
func (t *threads) bind(ctx context.Context, nc *nats.Conn, stream string) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("alert: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, threadLimit)
	defer cancel()
	kv, err := js.KeyValue(ctx, deliver.Bucket(stream))
	if err != nil {
		return fmt.Errorf("alert: bucket %s: %w", deliver.Bucket(stream), err)
	}
	t.kv.Store(&kv)
	return nil
}

// Get implements slack.Threads.
func (t *threads) Get(ctx context.Context, key string) (ts string, ok bool, err error) {
	kv := t.kv.Load()
	if kv == nil {
		return "", false, errUnbound
	}
	ctx, cancel := context.WithTimeout(ctx, threadLimit)
	defer cancel()
	e, err := (*kv).Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return string(e.Value()), true, nil
}

// Put implements slack.Threads.
func (t *threads) Put(ctx context.Context, key, ts string) error {
	kv := t.kv.Load()
	if kv == nil {
		return errUnbound
	}
	ctx, cancel := context.WithTimeout(ctx, threadLimit)
	defer cancel()
	_, err := (*kv).PutString(ctx, key, ts)
	return err
}
