package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web"
	"github.com/rankwatch/rankwatch/publisher/event"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
)

// paths has one of every endpoint.
var paths = []string{
	"/api/v1/watchlists", "/api/v1/watchlists/us-beauty/board", "/api/v1/watchlists/us-beauty/history", "/api/v1/creators/1",
	"/api/v1/events", "/api/v1/openapi.yaml", "/healthz", "/readyz", "/metrics", "/",
}

const secret = "a-secret-of-the-test-0123456789"

var metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = io.WriteString(w, "rankwatch_up 1\n")
})

func open(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/"
}

func TestEveryEndpointIsGuarded(t *testing.T) {
	t.Parallel()
	s := newSite(t, withToken(settings.HTTP{Token: settings.NewSecret(secret)}), func(c *web.Config) { c.Metrics = metrics })
	for _, p := range paths {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
			got := s.ask(method, p)
			got.want(t, http.StatusMethodNotAllowed, "read-only")
			if got.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s allows %q", method, p, got.Header.Get("Allow"))
			}
		}
		for _, host := range []string{"evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example:80", "[::2]"} {
			s.get(p, "Host", host).want(t, http.StatusMisdirectedRequest, "RANKWATCH_HTTP_HOSTS")
		}
		s.get(p+"?x="+strings.Repeat("y", 8<<10)).want(t, http.StatusRequestURITooLong, "8192")
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+p, strings.NewReader("a body"))
		if err != nil {
			t.Fatal(err)
		}
		s.do(r).want(t, http.StatusBadRequest, "no body")
		for _, header := range []string{"", "Basic " + secret, "Bearer", "Bearer wrong", "Bearer " + secret + "x", "Bearer " + secret[1:]} {
			got := s.get(p, "Authorization", header)
			if open(p) {
				if got.StatusCode != http.StatusOK {
					t.Errorf("%s without a token: %d", p, got.StatusCode)
				}
				continue
			}
			got.want(t, http.StatusUnauthorized, "Authorization")
			if !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s does not say how to authorise", p)
			}
			if strings.Contains(string(got.body), secret) {
				t.Errorf("%s tells the token", p)
			}
		}
		// Probes and scrapers may add what they like; a client of the API is told its slip.
		want := http.StatusOK
		if strings.HasPrefix(p, "/api/") {
			want = http.StatusBadRequest
		}
		if got := s.get(p+"?x=1", "Authorization", "Bearer "+secret); got.StatusCode != want {
			t.Errorf("%s with a parameter that it does not know: %d, want %d", p, got.StatusCode, want)
		}
		if got := s.ask(http.MethodHead, p, "Authorization", "bearer "+secret); got.StatusCode == http.StatusUnauthorized {
			t.Errorf("HEAD %s with the token: %d", p, got.StatusCode)
		}
	}
}

func TestEveryAnswerHasTheHeadersThatProtectThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, p := range append(slices.Clone(paths), "/no-such", "/api/v1/no-such") {
		if p == "/api/v1/events" {
			continue // it does not end
		}
		h := s.get(p).Header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", p, name, h.Get(name))
			}
		}
		if !strings.Contains(h.Get("Permissions-Policy"), "camera=()") {
			t.Errorf("%s permits %q", p, h.Get("Permissions-Policy"))
		}
	}
}

func TestNamesOfALoopbackServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, withToken(settings.HTTP{Hosts: []string{"rankwatch.example", "[fe80::1]"}}))
	for _, host := range []string{"localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:9", "[::1]:8080", "[::1]", "rankwatch.example:443", "Rankwatch.Example", "[fe80::1]:80"} {
		if got := s.get("/healthz", "Host", host); got.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", host, got.StatusCode)
		}
	}
}

func TestPathsAreTakenAsTheyAre(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, p := range []string{
		"//evil.example/", "/../healthz", "/./healthz", "/api//v1/watchlists", "/healthz/..", "/x/../healthz", "/healthz/", "//", "/%2e%2e/healthz", "/index.html",
		"/..%2fhealthz", "/assets", "/assets/index.html", "/api/v1/watchlists/", "/api/v1/watchlists/us-beauty", "/api/v1", "/api/", "/api",
	} {
		got := s.get(p)
		if got.StatusCode != http.StatusNotFound || got.Header.Get("Location") != "" {
			t.Errorf("%s: %d, to %q", p, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

func TestATokenFileIsUsedAsItIsNow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, withToken(settings.HTTP{TokenFile: path}), func(c *web.Config) { c.Metrics = metrics })
	s.bus.Board(event.Snapshot{Watchlist: "us-beauty", Region: "US", Revision: 1, Board: webtest.Rows(1, "1")})
	if got := s.get("/api/v1/watchlists", "Authorization", "Bearer "+secret); got.StatusCode != http.StatusOK {
		t.Errorf("with the token: %d", got.StatusCode)
	}
	s.get("/metrics", "Authorization", "Bearer "+secret).want(t, http.StatusOK, "rankwatch_up 1")
	gone := newSite(t, withToken(settings.HTTP{TokenFile: path + ".gone"}))
	for _, p := range paths {
		if got := gone.get(p, "Authorization", "Bearer "+secret); open(p) != (got.StatusCode == http.StatusOK) {
			t.Errorf("%s without a file: %d", p, got.StatusCode)
		} else if !open(p) {
			got.want(t, http.StatusServiceUnavailable, "token")
		}
	}
}

func TestReadinessSaysWhy(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *web.Config) { c.Ready = func(context.Context) error { return errors.New("NATS is away") } })
	s.get("/readyz").want(t, http.StatusServiceUnavailable, "NATS is away")
	s.get("/healthz").want(t, http.StatusOK, "ok")
	newSite(t).get("/metrics").want(t, http.StatusNotFound, "")
}
