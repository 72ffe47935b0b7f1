package web

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
)

func TestATokenFileIsReadAgainWithinASecond(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const first, second = "first-token-0123456789", "second-token-0123456789"
	write(first)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		k := newToken(settings.HTTP{TokenFile: path}, slog.New(slog.NewTextHandler(&log, nil)))
		is := func(given string, want bool) {
			t.Helper()
			if got, err := k.is(given); got != want || err != nil {
				t.Errorf("%s is the token: %v, %v", given, got, err)
			}
		}
		is(first, true)
		write("  " + second + "\n")
		time.Sleep(tokenCheck)
		is(first, false)
		is(second, true)
		for _, bad := range []string{"", "short", first + " " + second, strings.Repeat("x", maxToken+1)} {
			write(bad)
			time.Sleep(tokenCheck)
			for _, given := range []string{bad, "", second} {
				if ok, err := k.is(given); ok || err == nil {
					t.Errorf("a file with %.30q accepts %.30q", bad, given)
				}
			}
		}
		if n := strings.Count(log.String(), "http token unusable"); n != 1 {
			t.Errorf("said %d times that the token is unusable", n)
		}
		if strings.Contains(log.String(), second) {
			t.Error("the token is in the log")
		}
		write(second)
		time.Sleep(tokenCheck)
		is(second, true)
	})
}

func TestAPanicIsAProblemWithoutDetail(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g := &guard{log: slog.New(slog.NewTextHandler(&log, nil)), next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			_, _ = io.WriteString(w, "half of ")
		}
		panic("something private")
	})}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusInternalServerError || w.Header().Get("Content-Type") != "application/problem+json" || strings.Contains(w.Body.String(), "private") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "something private") {
		t.Error("the log does not say why")
	}
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("half an answer ended with %v, want the connection cut", err)
		}
	}()
	g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/half", nil))
}

func TestListenNamesItsVariable(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]settings.HTTP{
		"RANKWATCH_HTTP_LISTEN":     {Listen: taken.Addr().String()},
		"RANKWATCH_HTTP_TOKEN_FILE": {Listen: "127.0.0.1:0", TokenFile: short},
	} {
		_, err := Listen(t.Context(), bad)
		var usage *exit.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if l, err := Listen(t.Context(), settings.HTTP{}); l != nil || err != nil {
		t.Errorf("off listens: %v, %v", l, err)
	}
	var off *Listener
	if err := errors.Join(Run(t.Context(), off, Config{}), off.Close()); err != nil {
		t.Error(err)
	}
}

func TestAWarningIsLoggedOnceIfEverybodyMayLook(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		http settings.HTTP
		warn int
	}{
		{settings.HTTP{Listen: "127.0.0.1:0"}, 0},
		{settings.HTTP{Listen: "0.0.0.0:0"}, 1},
		{settings.HTTP{Listen: "0.0.0.0:0", Token: settings.NewSecret("0123456789abcdef")}, 0},
	} {
		l, err := Listen(t.Context(), c.http)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		l.announce(slog.New(slog.NewTextHandler(&log, nil)))
		if n := strings.Count(log.String(), "level=WARN"); n != c.warn {
			t.Errorf("%s: %d warnings, want %d:\n%s", c.http.Listen, n, c.warn, &log)
		}
		if !strings.Contains(log.String(), `msg="http listening" url=http://`) {
			t.Errorf("no line with the URL:\n%s", &log)
		}
		l.Close()
	}
}

// With room for two: who asks is not kept out by who only holds connections, but
// by those that are being answered.
func TestWhoAsksNothingMakesRoom(t *testing.T) {
	t.Parallel()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answer, asked := make(chan struct{}), make(chan struct{}, 10)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			asked <- struct{}{}
			<-answer
		}
	})
	l := &limited{Listener: raw, most: 2}
	srv := &http.Server{Handler: answering(h), ConnContext: withConn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
		if l.open != 0 || l.resting.Len() != 0 {
			t.Errorf("%d connections are counted in the end, %d of them at rest", l.open, l.resting.Len())
		}
	})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	gone := func(c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection is open: %v", err)
		}
	}
	ask := func(path string) (int, error) {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + raw.Addr().String() + path)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	first, second := dial(), dial()
	io.WriteString(second, "GET / HTTP/1.1\r\nHo") // and never ends
	if code, err := ask("/"); code != http.StatusOK {
		t.Errorf("an answer: %d, %v", code, err)
	}
	gone(first)
	slow := make(chan int, 2)
	for range 2 {
		go func() {
			code, _ := ask("/slow")
			slow <- code
		}()
		<-asked
	}
	gone(second)
	gone(dial())
	close(answer)
	for range 2 {
		if code := <-slow; code != http.StatusOK {
			t.Errorf("an answer that was under way: %d", code)
		}
	}
}

func TestStaticFilesHaveTheirTypeAndTag(t *testing.T) {
	t.Parallel()
	h, err := static(fstest.MapFS{"index.html": {Data: []byte("<p>")}, "js/a.js": {Data: []byte("1")}, "b.bin": {Data: []byte("2")}})
	if err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]string{"/": "text/html; charset=utf-8", "/js/a.js": "text/javascript; charset=utf-8", "/b.bin": "application/octet-stream", "/js": "", "/index.html": ""} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if kind == "" {
			if w.Code != http.StatusNotFound {
				t.Errorf("%s: %d", path, w.Code)
			}
			continue
		}
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != kind {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		again := httptest.NewRequest(http.MethodGet, path, nil)
		again.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, again); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s again: %d %q", path, w.Code, w.Body)
		}
	}
}
