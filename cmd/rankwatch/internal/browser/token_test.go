package browser

import (
	"crypto/subtle"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

const (
	token = "not much of a secret"
	wrong = "something else altogether"
)

// locked stands before a server and lets only those to its API who have the token.
func locked(t *testing.T, base string) string {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	behind := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := r.Header.Get("Authorization")
		if strings.HasPrefix(r.URL.Path, "/api/") && subtle.ConstantTimeCompare([]byte(sent), []byte("Bearer "+token)) == 0 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		behind.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

func TestATokenIsAskedForAndKeptToTheTab(t *testing.T) {
	t.Parallel()
	b := open(t, locked(t, theDemo(t).page))
	b.forgiven = true // a browser tells its console of each 401
	b.visit("#/board/us-beauty")
	b.until(`document.activeElement?.name === 'token'`)
	b.until(`document.querySelector('[data-link]').innerText === 'Token needed'`)
	b.shoot("token")
	enter := func(text string) {
		b.do(chromedp.Clear(`input[name=token]`), chromedp.SendKeys(`input[name=token]`, text), chromedp.KeyEvent("\r"))
	}
	enter(wrong)
	b.until(`document.querySelector('#token-wrong') !== null`)
	enter(token)
	b.ready()
	b.until(`document.querySelector('[data-link]').dataset.link === 'live'`)
	if got := eval[string](b, `location.href + JSON.stringify(localStorage) + document.cookie`); strings.Contains(got, token) || strings.Contains(got, url.QueryEscape(token)) {
		t.Errorf("the token is in %s", got)
	}
	b.do(chromedp.Reload())
	b.ready() // the tab still knows it
}
