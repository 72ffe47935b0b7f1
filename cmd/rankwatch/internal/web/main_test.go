package web_test

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
)

// document judges every answer of this package's tests.
var document *webtest.Document

// TestMain fails too if the document has an answer that no test has got.
func TestMain(m *testing.M) {
	var err error
	if document, err = webtest.NewDocument(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if unseen := document.Unseen("500"); code == 0 && len(unseen) > 0 && flag.Lookup("test.run").Value.String() == "" {
		fmt.Fprintf(os.Stderr, "no test got these answers of the document: %q\n", unseen)
		code = 1
	}
	os.Exit(code)
}

// A site is a server on a loopback address, with a worker and a bus.
type site struct {
	t    *testing.T
	url  string
	bus  *webtest.Bus
	crew *webtest.Crew
}

func newSite(t *testing.T, change ...func(*web.Config)) *site {
	t.Helper()
	s := &site{t: t, bus: webtest.StartBus(t)}
	s.crew = webtest.NewCrew(s.bus.Conn, "us-beauty", "br-all")
	cfg := web.Config{Worker: s.crew, Stream: webtest.Stream, Prefix: webtest.Prefix, Version: "test", Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := web.Handler(cfg, l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	s.url = srv.URL
	return s
}

func withToken(h settings.HTTP) func(*web.Config) {
	return func(c *web.Config) { c.HTTP = h }
}

// An answer is what came back.
type answer struct {
	*http.Response
	body []byte
}

// ask sends a request and holds the answer against the document. A header named
// Host is the host.
func (s *site) ask(method, target string, header ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(r)
}

// noRedirects shows a redirect as it is.
var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (s *site) do(r *http.Request) answer {
	s.t.Helper()
	got, err := noRedirects.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer got.Body.Close()
	a := answer{Response: got}
	if got.Header.Get("Content-Type") != "text/event-stream" {
		if a.body, err = io.ReadAll(got.Body); err != nil {
			s.t.Fatal(err)
		}
	}
	if got.Header.Get("Content-Encoding") == "" && r.URL.Path != "/" {
		if err := document.Check(r.Method, r.URL.EscapedPath(), got, a.body); err != nil {
			s.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
	}
	return a
}

func (s *site) get(target string, header ...string) answer {
	s.t.Helper()
	return s.ask(http.MethodGet, target, header...)
}

// want fails unless the answer has a status and, if it is a problem, a detail.
func (a answer) want(t *testing.T, status int, detail string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(string(a.body), detail) {
		t.Errorf("%s: %d %.300s, want %d with %q", a.Request.URL, a.StatusCode, a.body, status, detail)
	}
}
