package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
)

// A Worker knows how watchlists are doing.
type Worker interface {
	Standings() []watcher.Standing
	Standing(watchlist string) (watcher.Standing, bool)
	TokenStanding() *watcher.Condition
	Profiles(watchlist string) (map[string]watcher.Profile, uint64, error)
}

// A Config holds what an API answers from. Reader opens the stream's history, or
// returns what it opened before; its errors are history's.
type Config struct {
	Worker  Worker
	Reader  func(ctx context.Context) (*history.Reader, error)
	Version string
	Logger  *slog.Logger
}

// An API answers the requests below /api/v1/.
type API struct {
	cfg Config
	mux *http.ServeMux
}

// answerTime bounds how long one answer may take.
const answerTime = 15 * time.Second

// New returns an API that holds nothing until it is asked.
func New(cfg Config) *API {
	a := &API{cfg: cfg, mux: http.NewServeMux()}
	a.mux.HandleFunc("/api/v1/watchlists", a.answer(a.watchlists))
	a.mux.HandleFunc("/api/v1/watchlists/{name}/board", a.answer(a.board))
	a.mux.HandleFunc("/api/v1/watchlists/{name}/history", a.answer(a.history))
	return a
}

// Handle adds an endpoint.
func (a *API) Handle(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := a.mux.Handler(r); pattern == "" {
		(&Fault{Status: http.StatusNotFound, Detail: "no such endpoint; /api/v1/openapi.yaml lists them"}).Write(w)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// revalidate lets a client keep an answer, but ask each time whether it holds.
const revalidate = "private, no-cache"

// An answer is a JSON value and how long it may be kept.
type answer struct {
	value any
	cache string
}

func (a *API) answer(fn func(ctx context.Context, r *http.Request, q *Query) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerTime)
		defer cancel()
		q, err := ParseQuery(r.URL.RawQuery)
		var out answer
		if err == nil {
			out, err = fn(ctx, r, q)
		}
		var body []byte
		if err == nil {
			body, err = json.Marshal(out.value, json.Deterministic(true), jsontext.EscapeForHTML(true))
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		write(w, r, out.cache, body)
	}
}

func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := FaultOf(err)
	if f.Status == http.StatusInternalServerError {
		a.cfg.Logger.Error("request failed", "path", r.URL.Path, "err", err)
	}
	f.Write(w)
}

// write sends a body under its own tag, or says that the client has it.
func write(w http.ResponseWriter, r *http.Request, cache string, body []byte) {
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", cache)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that is gone is told nothing
}

// matches says that a list of tags, as a client sends it, has this one.
func matches(list, tag string) bool {
	for _, t := range strings.Split(list, ",") {
		if t = strings.TrimPrefix(strings.TrimSpace(t), "W/"); t == tag || t == "*" {
			return true
		}
	}
	return false
}
