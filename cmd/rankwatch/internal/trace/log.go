package trace

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// sayEvery is how often errors are logged at most: a collector that is away
	// makes one with every batch.
	sayEvery = 5 * time.Minute
	// maxSaid is how much of an error is logged, in bytes; a collector's answer
	// may be part of it.
	maxSaid = 500
	// minSecret is below what would be taken for a secret: the rest would only
	// blot out ordinary words.
	minSecret = 4

	redacted = "[redacted]"
)

// An errorLog logs errors now and then, without the secrets.
type errorLog struct {
	log     *slog.Logger
	secrets []string

	mu     sync.Mutex
	said   time.Time
	silent int // errors since then
}

// Handle logs err unless another was logged lately.
func (l *errorLog) Handle(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	now := time.Now()
	if !l.said.IsZero() && now.Sub(l.said) < sayEvery {
		l.silent++
		l.mu.Unlock()
		return
	}
	silent := l.silent
	l.said, l.silent = now, 0
	l.mu.Unlock()
	l.log.Warn("traces not exported; readings go on", "err", l.clean(err.Error()), "unsaid", silent)
}

func (l *errorLog) clean(text string) string {
	for _, s := range l.secrets {
		text = strings.ReplaceAll(text, s, redacted)
	}
	// After that, so that no half of a secret stays.
	return strings.ToValidUTF8(text[:min(len(text), maxSaid)], "")
}

// secrets are the values of the headers that the collector is sent, in every form
// in which they may come back.
func secrets(environ []string) []string {
	var all []string
	add := func(s string) {
		if s = strings.TrimSpace(s); len(s) >= minSecret {
			all = append(all, s)
		}
	}
	for _, e := range environ {
		name, list, _ := strings.Cut(e, "=")
		if name != "OTEL_EXPORTER_OTLP_HEADERS" && name != "OTEL_EXPORTER_OTLP_TRACES_HEADERS" {
			continue
		}
		for _, header := range strings.Split(list, ",") {
			_, value, found := strings.Cut(header, "=")
			if !found {
				value = header
			}
			plain, err := url.PathUnescape(value)
			if err != nil {
				plain = value
			}
			add(value)
			add(plain)
			// `Bearer abc` is also secret without its first word.
			if words := strings.Fields(plain); len(words) > 1 {
				add(words[len(words)-1])
			}
		}
	}
	return all
}

// libraryLog takes what the libraries log. Only the constant text of an error is
// passed on: the rest may be a header that could not be understood.
type libraryLog struct{ to *errorLog }

func (h libraryLog) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (h libraryLog) Handle(_ context.Context, r slog.Record) error {
	h.to.Handle(errors.New("OpenTelemetry: " + r.Message + "; look at the OTEL_ variables"))
	return nil
}

func (h libraryLog) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h libraryLog) WithGroup(string) slog.Handler      { return h }
