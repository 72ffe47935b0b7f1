package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/api"
)

// policy lets the page load nothing but what comes from here, run no script that
// stands in it, and be part of no other page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// maxURL is how long path and query may be together, in bytes.
const maxURL = 8 << 10

// A guard stands before all that is served.
type guard struct {
	next  http.Handler
	hosts map[string]bool // that may be asked for; nil: any
	token *token          // nil: none is needed
	log   *slog.Logger
}

// ServeHTTP refuses what is not for us, and hands on the rest.
func (g *guard) ServeHTTP(raw http.ResponseWriter, r *http.Request) {
	w := &statusWriter{ResponseWriter: raw}
	defer g.recover(w, r)
	headers(w.Header())
	if f := g.refuse(w, r); f != nil {
		f.Write(w)
		return
	}
	g.next.ServeHTTP(w, r)
}

func headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()")
}

// refuse says why a request is not answered, nil if it is.
func (g *guard) refuse(w http.ResponseWriter, r *http.Request) *api.Fault {
	if r.ContentLength != 0 {
		// What is left of the body must not hold the connection up.
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
	}
	where := r.URL.EscapedPath()
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		return &api.Fault{Status: http.StatusMethodNotAllowed, Detail: "everything here is read-only: use GET or HEAD"}
	case len(r.RequestURI) > maxURL:
		return &api.Fault{Status: http.StatusRequestURITooLong, Detail: fmt.Sprintf("path and query are longer than %d bytes", maxURL)}
	case r.ContentLength != 0:
		return &api.Fault{Status: http.StatusBadRequest, Detail: "a request has no body here"}
	case g.hosts != nil && !g.hosts[hostOf(r.Host)]:
		return &api.Fault{Status: http.StatusMisdirectedRequest, Detail: "this server listens on loopback and is not known by that name; RANKWATCH_HTTP_HOSTS names more"}
	case where != "/" && (path.Clean(where) != strings.TrimSuffix(where, "/") || !strings.HasPrefix(where, "/") || where == "//"):
		// A router would clean it and redirect. Nobody who means us needs that.
		return &api.Fault{Status: http.StatusNotFound, Detail: "no such path"}
	case g.token != nil && (strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/metrics"):
		return g.authorise(w, r)
	}
	return nil
}

func (g *guard) authorise(w http.ResponseWriter, r *http.Request) *api.Fault {
	ok, err := g.token.is(bearer(r))
	switch {
	case err != nil:
		return &api.Fault{Status: http.StatusServiceUnavailable, Detail: "the token to compare with cannot be read", Retry: tokenCheck}
	case !ok:
		w.Header().Set("WWW-Authenticate", `Bearer realm="rankwatch"`)
		return &api.Fault{Status: http.StatusUnauthorized, Detail: "this needs the header `Authorization: Bearer TOKEN` with the token that RANKWATCH_HTTP_TOKEN or its file holds"}
	}
	return nil
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// recover makes a 500 of a panic. What was being sent already is cut off, so that
// nobody takes it for whole.
func (g *guard) recover(w *statusWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	g.log.Error("a request panicked", "path", r.URL.Path, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	(&api.Fault{Status: http.StatusInternalServerError, Detail: "the server could not answer; its log says why"}).Write(w)
}

// hostsOf are the names that a listener may be asked for: any, if it can be
// reached from elsewhere. One on loopback is reached by what runs on the machine
// only, but a browser there does what any site tells it to, under the site's name.
func hostsOf(at net.Addr, more []string) map[string]bool {
	a, ok := at.(*net.TCPAddr)
	if !ok || !a.IP.IsLoopback() {
		return nil
	}
	hosts := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, a.IP.String(): true}
	for _, h := range more {
		hosts[strings.Trim(h, "[]")] = true
	}
	return hosts
}

// hostOf is a Host header without its port.
func hostOf(h string) string {
	if host, _, err := net.SplitHostPort(h); err == nil {
		h = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(h, "[]"), "."))
}
