package web

import (
	"net/http"
	"strings"
)

// A Counter counts requests by what answers them, one of Handlers. Each that
// began ends, with the status that the client was told.
type Counter interface {
	Began(handler string)
	Ended(handler string, status int)
}

const (
	handlerPage    = "page"
	handlerAPI     = "api"
	handlerEvents  = "events"
	handlerHealth  = "health"
	handlerMetrics = "metrics"
)

// Handlers are the words that a Counter is told.
func Handlers() []string {
	return []string{handlerPage, handlerAPI, handlerEvents, handlerHealth, handlerMetrics}
}

func handlerOf(path string) string {
	switch {
	case path == "/metrics":
		return handlerMetrics
	case path == "/healthz", path == "/readyz":
		return handlerHealth
	case path == "/api/v1/events":
		return handlerEvents
	case path == "/api", strings.HasPrefix(path, "/api/"):
		return handlerAPI
	}
	return handlerPage
}

// counting counts what next answers, refusals too.
func counting(next http.Handler, c Counter) http.Handler {
	if c == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := handlerOf(r.URL.Path)
		c.Began(handler)
		s := &statusWriter{ResponseWriter: w}
		defer func() {
			if s.status == 0 {
				s.status = http.StatusOK
			}
			c.Ended(handler, s.status)
		}()
		next.ServeHTTP(s, r)
	})
}

// A statusWriter remembers the status of the answer, 0 before it has begun.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK { // what comes before is not the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets an http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
