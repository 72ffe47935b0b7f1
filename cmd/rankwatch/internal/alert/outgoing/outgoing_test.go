package outgoing_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

const secret = "s3cr3t-t0ken"

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func post(t *testing.T, c *http.Client, to string) (*http.Response, error) {
	t.Helper()
	res, err := c.Post(to, "text/plain", strings.NewReader("body"))
	if err == nil {
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	return res, err
}

func TestPrivateAddressesAreRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	called := make(chan struct{}, 9)
	s := serve(t, func(http.ResponseWriter, *http.Request) { called <- struct{}{} })
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	safe := outgoing.New(outgoing.Config{})
	// A name that resolves to this machine is what DNS rebinding ends with.
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"} {
		_, err := post(t, safe, "http://"+host+":"+port+"/"+secret)
		if err == nil {
			t.Errorf("%s was reached", host)
		} else if strings.Contains(outgoing.Strip(err).Error(), secret) {
			t.Errorf("%s: %v", host, outgoing.Strip(err))
		}
	}
	_, err = post(t, safe, s.URL+"/"+secret)
	if !errors.Is(err, outgoing.ErrAddress) || !strings.Contains(outgoing.Strip(err).Error(), "127.0.0.1") {
		t.Errorf("got %v", err)
	}
	if len(called) > 0 {
		t.Error("the server was called")
	}
	if _, err := post(t, outgoing.New(outgoing.Config{AllowPrivate: true}), s.URL); err != nil || len(called) != 1 {
		t.Errorf("allowed: %v", err)
	}
}

func TestWhichRedirectsAreFollowed(t *testing.T) {
	t.Parallel()
	other := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s came to the other host", r.Method, r.URL)
	})
	var got []string
	mux := http.NewServeMux()
	s := serve(t, mux.ServeHTTP)
	hop := func(path string, code int, to string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, code) })
	}
	hop("/307", 307, "/end")
	hop("/308", 308, s.URL+"/end")
	for _, code := range []int{301, 302, 303} {
		hop(fmt.Sprintf("/%d", code), code, "/end")
	}
	hop("/elsewhere", 307, other.URL+"/"+secret)
	hop("/port", 307, "http://127.0.0.1:1/"+secret)
	hop("/name", 307, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)+"/end")
	hop("/loop", 307, "/loop")
	hop("/three", 307, "/two")
	hop("/two", 307, "/307")
	hop("/four", 307, "/three")
	hop("/credentials", 307, strings.Replace(s.URL, "http://", "http://me:"+secret+"@", 1)+"/end")
	mux.HandleFunc("/end", func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, r.Method+" "+string(b))
	})
	c := outgoing.New(outgoing.Config{AllowPrivate: true})
	for path, followed := range map[string]bool{
		"/307": true, "/308": true, "/three": true,
		"/301": false, "/302": false, "/303": false, "/four": false, "/loop": false,
		"/elsewhere": false, "/port": false, "/name": false, "/credentials": false,
	} {
		got = nil
		_, err := post(t, c, s.URL+path)
		switch {
		case followed && (err != nil || len(got) != 1 || got[0] != "POST body"):
			t.Errorf("%s: %v %q", path, err, got)
		case !followed && (!errors.Is(err, outgoing.ErrRedirect) || len(got) > 0):
			t.Errorf("%s: %v %q", path, err, got)
		case !followed && strings.Contains(outgoing.Strip(err).Error(), secret):
			t.Errorf("%s: %v", path, outgoing.Strip(err))
		}
	}
}

func TestRedirectsBetweenSchemes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"http://a.example/x", "https://a.example/y", true},
		{"http://a.example/x", "https://A.EXAMPLE:443/y", true},
		{"https://a.example/x", "http://a.example/y", false},
		{"https://a.example/x", "http://a.example:443/y", false},
		{"http://a.example:8080/x", "https://a.example/y", false},
		{"http://a.example/x", "https://a.example:8443/y", false},
		{"https://a.example/x", "https://b.a.example/y", false},
		{"https://a.example/x", "https://a.example:443/y", true},
	} {
		from, to := httptest.NewRequest(http.MethodPost, c.from, nil), httptest.NewRequest(http.MethodPost, c.to, nil)
		if err := outgoing.Redirect(to, []*http.Request{from}); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	size := outgoing.MaxBody
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := size
		if r.URL.Path == "/more" {
			n++
		}
		_, _ = io.Copy(w, io.LimitReader(zeros{}, int64(n)))
	})
	c := outgoing.New(outgoing.Config{AllowPrivate: true})
	for path, want := range map[string]error{"/just": nil, "/more": outgoing.ErrTooLarge} {
		res, err := post(t, c, s.URL+path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if !errors.Is(err, want) || len(b) != size {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTLSIsVerifiedAndNotTooOld(t *testing.T) {
	t.Parallel()
	start := func(newest uint16) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.Config.ErrorLog = nil
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: newest}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	old, fresh := start(tls.VersionTLS11), start(tls.VersionTLS13)
	roots := x509.NewCertPool()
	roots.AddCert(fresh.Certificate())
	known := outgoing.New(outgoing.Config{AllowPrivate: true, Roots: roots})
	if _, err := post(t, known, fresh.URL); err != nil {
		t.Errorf("TLS 1.3: %v", err)
	}
	if _, err := post(t, known, old.URL); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	if _, err := post(t, outgoing.New(outgoing.Config{AllowPrivate: true}), fresh.URL); err == nil {
		t.Error("a certificate of nobody's was taken")
	}
}

// Every way in which a request can fail, and none tells the URL.
func TestStrippedErrorsNameTheHostAndNoSecret(t *testing.T) {
	t.Parallel()
	raw := func(answer string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 1024))
				_, _ = io.WriteString(c, answer)
				_ = c.Close()
			}
		}()
		return "http://" + l.Addr().String()
	}
	hung := serve(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); <-r.Context().Done() })
	c := outgoing.New(outgoing.Config{AllowPrivate: true, Timeout: 300 * time.Millisecond})
	for name, base := range map[string]string{
		"hung up":            raw(""),
		"hung":               hung.URL,
		"not HTTP":           raw("what? " + secret + "\r\n\r\n"),
		"a bad status":       raw("HTTP/1.1 " + secret + " what\r\n\r\n"),
		"a bad location":     raw("HTTP/1.1 307 X\r\nLocation: http://%zz/" + secret + "\r\n\r\n"),
		"nobody there":       "http://127.0.0.1:1",
		"no such name":       "http://no.such.name.invalid",
		"TLS to plain HTTP":  strings.Replace(raw("HTTP/1.1 400 "+secret+"\r\n\r\n"), "http:", "https:", 1),
		"a scheme of no use": "gopher://gopher.example",
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		for _, tail := range []string{"/services/" + secret, "/?token=" + secret, "/#" + secret} {
			_, err := post(t, c, strings.Replace(base, "://", "://"+secret+":"+secret+"@", 1)+tail)
			if err == nil {
				t.Errorf("%s: no error", name)
				continue
			}
			text := outgoing.Strip(fmt.Errorf("send: %w", err)).Error()
			if strings.Contains(text, secret) || strings.Contains(text, "services") || !strings.Contains(text, u.Host) {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
	for _, bad := range []string{"http://a b/" + secret, "http://host:" + secret + "/", "http://u:" + secret + "/x@host/", "%" + secret, "http://h/%zz" + secret} {
		_, err := url.Parse(bad)
		if text := outgoing.Strip(err).Error(); strings.Contains(text, "s3cr") {
			t.Errorf("%s", text)
		}
		if _, err := outgoing.ParseURL(bad); err == nil || strings.Contains(err.Error(), "s3cr") {
			t.Errorf("%v", err)
		}
	}
}

func TestStripKeepsTheCause(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:1/"+secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = outgoing.New(outgoing.Config{AllowPrivate: true}).Do(req)
	if err = outgoing.Strip(err); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if other := io.ErrUnexpectedEOF; !errors.Is(outgoing.Strip(other), other) || outgoing.Strip(nil) != nil {
		t.Error("an error of another kind was changed")
	}
	u, err := url.Parse("http://h/" + secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := outgoing.Hide(u, fmt.Errorf("%s: %w", secret, io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 4, 14, 17, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		code  int
		retry string
		want  string
	}{
		{200, "", "ok"}, {204, "", "ok"}, {299, "", "ok"},
		{429, "7", "later 7s"}, {429, "0.25", "later 250ms"}, {503, "120", "later 2m0s"}, {429, "1e300", "later 24h0m0s"},
		{429, now.Add(90 * time.Second).Format(http.TimeFormat), "later 1m30s"},
		{503, now.Add(-time.Hour).Format(http.TimeFormat), "later 0s"},
		{429, "", "plain"}, {429, "soon", "plain"}, {429, "-1", "plain"}, {429, "NaN", "plain"}, {503, "", "plain"}, {502, "5", "plain"},
		{408, "", "plain"}, {425, "", "plain"}, {500, "", "plain"}, {302, "", "plain"}, {100, "", "plain"},
		{410, "", "refused gone"}, {400, "", "refused http_400"}, {404, "5", "plain"}, {413, "", "refused http_413"}, {401, "", "plain"}, {403, "", "plain"}, {422, "", "refused http_422"},
	} {
		res := &http.Response{StatusCode: c.code, Status: secret, Header: http.Header{}, Request: httptest.NewRequest(http.MethodPost, "http://host.example/"+secret, nil)}
		if c.retry != "" {
			res.Header.Set("Retry-After", c.retry)
		}
		err := outgoing.Answer(res, now)
		var later *digest.LaterError
		var refused *digest.RefusedError
		got := "plain"
		switch {
		case err == nil:
			got = "ok"
		case errors.As(err, &later):
			got = "later " + later.After.String()
		case errors.As(err, &refused):
			got = "refused " + refused.Reason
		}
		if got != c.want {
			t.Errorf("%d %q: got %s, want %s", c.code, c.retry, got, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "host.example")) {
			t.Errorf("%d: %v", c.code, err)
		}
	}
}

func TestWhatRepeatsASecretIsConcealed(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("failed to parse %q: %w", secret, io.ErrUnexpectedEOF)
	if err := outgoing.Conceal(cause, "other", secret); strings.Contains(err.Error(), secret) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if err := outgoing.Conceal(cause, "other", "x"); err.Error() != cause.Error() {
		t.Errorf("got %v", err)
	}
}
