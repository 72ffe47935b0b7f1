package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// tally records what it is told.
type tally []string

func (c *tally) Began(h string)           { *c = append(*c, "began "+h) }
func (c *tally) Ended(h string, code int) { *c = append(*c, fmt.Sprintf("ended %s %d", h, code)) }

func TestRequestsAreCountedByHandlerAndStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path, want string
		code       int
		answer     http.HandlerFunc
	}{
		{"/", "page", 200, func(w http.ResponseWriter, _ *http.Request) {}},
		{"/app.js", "page", 404, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }},
		{"/apiary", "page", 200, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }},
		{"/api/v1/watchlists", "api", 401, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }},
		{"/api", "api", 304, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }},
		{"/api/v1/events", "events", 200, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103) // not the answer yet
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error("a stream cannot be flushed through the counter:", err)
			}
		}},
		{"/metrics", "metrics", 503, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); w.WriteHeader(200) }},
		{"/healthz", "health", 200, func(w http.ResponseWriter, _ *http.Request) {}},
		{"/readyz", "health", 503, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
	} {
		var got tally
		counting(c.answer, &got).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, c.path, http.NoBody))
		want := tally{"began " + c.want, fmt.Sprintf("ended %s %d", c.want, c.code)}
		if !slices.Equal(got, want) || !slices.Contains(Handlers(), c.want) {
			t.Errorf("%s: %v, want %v", c.path, got, want)
		}
	}
}

func TestARequestThatPanicsIsCountedOut(t *testing.T) {
	t.Parallel()
	var got tally
	func() {
		defer func() { _ = recover() }()
		counting(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), &got).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	}()
	if len(got) != 2 {
		t.Errorf("%v: it is under way for ever", got)
	}
}
