package fastmoss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A source is a real HTTP server on in-memory connections, so that it can live
// in a synctest bubble. It answers with the body that answer names and records
// when calls came.
type source struct {
	conns chan net.Conn
	done  chan struct{}

	mu     sync.Mutex
	answer func(r *http.Request) (status int, header http.Header, body string)
	calls  []time.Time
	tokens []string
}

func (s *source) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}
func (s *source) Close() error   { return nil }
func (s *source) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls = append(s.calls, time.Now())
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	answer := s.answer
	s.mu.Unlock()
	status, header, body := answer(r)
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// says makes body the answer to all calls from now on.
func (s *source) says(status int, body string, header ...string) {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(*http.Request) (int, http.Header, string) { return status, h, body }
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// inBubble runs test in fake time with a client of a source that answers well.
func inBubble(t *testing.T, change func(*Config), test func(t *testing.T, s *source, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &source{conns: make(chan net.Conn), done: make(chan struct{})}
		s.says(200, listOf(vendorItem))
		srv := &http.Server{Handler: s}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(s) }()
		tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			here, there := net.Pipe()
			select {
			case s.conns <- there:
				return here, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		defer func() {
			tr.CloseIdleConnections()
			close(s.done)
			srv.Close()
			<-served
		}()
		cfg := Config{BaseURL: "http://localhost", Token: StaticToken(secret), Rate: 2, HTTP: &http.Client{Transport: tr}}
		if change != nil {
			change(&cfg)
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s, c)
	})
}

func ask(t *testing.T, c *Client) error {
	t.Helper()
	_, err := c.Page(t.Context(), Query{}, 1, 100)
	return err
}

func mustAsk(t *testing.T, c *Client) {
	t.Helper()
	if err := ask(t, c); err != nil {
		t.Fatal(err)
	}
}

// heard records conditions and calls back, as a listener may.
type heard struct {
	c    *Client
	said []string
}

func (h *heard) hear(c TokenCondition) {
	h.c.Stats()
	next := "-"
	if !c.NextTry.IsZero() {
		next = c.NextTry.Sub(c.Since).String()
	}
	h.said = append(h.said, fmt.Sprintf("%s %s %s", c.Status, c.Reason, next))
}

func (h *heard) expect(t *testing.T, want ...string) {
	t.Helper()
	if fmt.Sprint(h.said) != fmt.Sprint(want) {
		t.Fatalf("heard %q, want %q", h.said, want)
	}
}

func gated(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Gate
}
