package feed_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/feed"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
)

// A site serves a feed of a bus.
type site struct {
	*webtest.Bus
	t     testing.TB
	srv   *httptest.Server
	stop  context.CancelFunc
	ended chan struct{} // has an entry for each connection that the feed is done with

	mu  sync.Mutex
	url string
}

func newSite(t testing.TB, cfg feed.Config) *site {
	t.Helper()
	s := &site{Bus: webtest.StartBus(t), t: t, ended: make(chan struct{}, 1<<16)}
	s.serve(cfg)
	t.Cleanup(func() { s.close() })
	return s
}

// serve starts a server, of a feed that reads from the bus if nothing else is said.
func (s *site) serve(cfg feed.Config) {
	if cfg.Reader == nil {
		cfg.Reader = s.Reader
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	f := feed.New(cfg)
	s.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.ServeHTTP(w, r)
		s.ended <- struct{}{}
	}))
	serving, stop := context.WithCancel(context.Background())
	s.srv.Config.BaseContext = func(net.Listener) context.Context { return serving }
	s.stop = stop
	s.srv.Start()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = s.srv.URL
}

func (s *site) at() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// close ends the server at once, whoever is connected.
func (s *site) close() {
	s.stop()
	s.srv.Close()
}

// restart has another server take the place of this one, as with a worker that is
// started again.
func (s *site) restart(cfg feed.Config) {
	s.close()
	s.serve(cfg)
}

// An event is one that a client got. Heartbeats have only a comment.
type received struct {
	id, kind, data, comment, retry string
	hasID                          bool
}

func (e received) sequence(t testing.TB) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(e.id, 10, 64)
	if err != nil {
		t.Fatalf("id %q: %v", e.id, err)
	}
	return n
}

// A listener is one connection.
type listener struct {
	t    testing.TB
	cut  context.CancelFunc
	in   *bufio.Reader
	body *http.Response
	late *time.Timer
}

// listen connects. A listener that gets nothing for too long is cut.
func (s *site) listen(query, lastID string) *listener {
	s.t.Helper()
	l, err := s.try(query, lastID)
	if err != nil {
		s.t.Fatal(err)
	}
	if l.body.StatusCode != http.StatusOK || l.body.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%s: %d", query, l.body.StatusCode)
	}
	return l
}

func (s *site) try(query, lastID string) (*listener, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.at()+"/?"+query, nil)
	if err != nil {
		return nil, err
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	got, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return nil, err
	}
	return &listener{t: s.t, cut: cancel, in: bufio.NewReader(got.Body), body: got, late: time.AfterFunc(webtest.Patience, cancel)}, nil
}

// next reads one block, of whatever kind.
func (l *listener) next() (received, error) {
	l.late.Reset(webtest.Patience)
	defer l.late.Stop()
	var e received
	for {
		line, err := l.in.ReadString('\n')
		if err != nil {
			return e, err // half an event counts for nothing
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return e, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			e.comment = ":" + value
		case "id":
			e.id, e.hasID = value, true
		case "event":
			e.kind = value
		case "data":
			e.data += value
		case "retry":
			e.retry = value
		default:
			return e, fmt.Errorf("line %q", line)
		}
	}
}

// must reads the next block that is not a heartbeat.
func (l *listener) must() received {
	l.t.Helper()
	for {
		e, err := l.next()
		if err != nil {
			l.t.Fatal(err)
		}
		if e.comment == "" {
			return e
		}
	}
}

// begin reads the first block and returns the id that it tells.
func (l *listener) begin() string {
	l.t.Helper()
	e := l.must()
	if !e.hasID || e.kind != "" || e.data != "" || e.retry != "2000" {
		l.t.Fatalf("the first block is %+v", e)
	}
	return e.id
}
