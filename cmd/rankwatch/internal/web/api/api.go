package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/semaphore"

	"github.com/rankwatch/rankwatch/deploy"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
)

// A Worker knows how watchlists are doing.
type Worker interface {
	Standings() []watcher.Standing
	Standing(watchlist string) (watcher.Standing, bool)
	TokenStanding() *watcher.Condition
	Profiles(watchlist string) (map[string]watcher.Profile, uint64, error)
	Profile(watchlist, uid string) (*watcher.Profile, uint64, error)
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
	cfg     Config
	mux     *http.ServeMux
	shelves *shelves
	turns   chan struct{} // of the answers that take work
	bodies  *semaphore.Weighted
	hangs   atomic.Int64 // until when the stream is not asked where it stands, in Unix nanoseconds
}

const (
	// answerTime bounds how long one answer may take.
	answerTime = 15 * time.Second
	// maxTurns is how many answers are worked on at once, and turnTime how long
	// others wait for that: readings need the machine, too.
	maxTurns = 2
	turnTime = 2 * time.Second
	// maxBodies is how many bytes of answers may wait for clients to read them, and
	// a client has chunkTime for each chunk and bodyTime for all.
	maxBodies = 64 << 20
	chunk     = 64 << 10
	chunkTime = 5 * time.Second
	bodyTime  = time.Minute
)

// New returns an API that holds nothing until it is asked.
func New(cfg Config) *API {
	a := &API{cfg: cfg, mux: http.NewServeMux(), shelves: newShelves(maxShelves), turns: make(chan struct{}, maxTurns), bodies: semaphore.NewWeighted(maxBodies)}
	a.mux.HandleFunc("/api/v1/watchlists", a.answer(a.watchlists))
	a.mux.HandleFunc("/api/v1/watchlists/{name}/board", a.answer(a.board))
	a.mux.HandleFunc("/api/v1/watchlists/{name}/history", a.answer(a.history))
	a.mux.HandleFunc("/api/v1/creators/{uid}", a.answer(a.creator))
	a.mux.HandleFunc("/api/v1/openapi.yaml", a.document())
	return a
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := a.mux.Handler(r); pattern == "" {
		(&Fault{Status: http.StatusNotFound, Detail: "no such endpoint; /api/v1/openapi.yaml lists them"}).Write(w)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// document answers with what describes the API.
func (a *API) document() http.HandlerFunc {
	body := Body{Type: "application/yaml", Cache: revalidate, Tag: TagOf(deploy.OpenAPI), Bytes: deploy.OpenAPI}
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := ParseQuery(r.URL.RawQuery)
		if err == nil {
			err = q.Done()
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		WriteBody(w, r, body)
	}
}

// revalidate lets a client keep an answer, but ask each time whether it holds.
const revalidate = "private, no-cache"

// An answering makes the JSON value that a request asks for.
type answering func(ctx context.Context, r *http.Request, q *Query) (any, error)

func (a *API) answer(fn answering) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerTime)
		defer cancel()
		body, err := a.work(ctx, r, fn)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		defer a.bodies.Release(int64(len(body)))
		WriteBody(w, r, Body{Type: "application/json", Cache: revalidate, Tag: TagOf(body), Bytes: body})
	}
}

var errBusy = &Fault{Status: http.StatusServiceUnavailable, Detail: "too much is asked at once", Retry: turnTime}

// work makes an answer when it is its turn. Its bytes count among a.bodies.
func (a *API) work(ctx context.Context, r *http.Request, fn answering) ([]byte, error) {
	wait := time.NewTimer(turnTime)
	defer wait.Stop()
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-wait.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	out, err := fn(ctx, r, q)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(out, json.Deterministic(true), jsontext.EscapeForHTML(true))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBodies {
		return nil, badRequest("the answer would be too large: ask for less")
	}
	// In its turn, so that no more than a few answers wait for room.
	room, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	if err := a.bodies.Acquire(room, int64(len(body))); err != nil {
		return nil, errBusy
	}
	return body, nil
}

func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := FaultOf(err)
	if f.Status == http.StatusInternalServerError {
		a.cfg.Logger.Error("request failed", "path", r.URL.Path, "err", err)
	}
	f.Write(w)
}

// A Body is what an answer holds. Tag changes whenever Bytes do.
type Body struct {
	Type, Cache, Tag string
	Bytes            []byte
}

// WriteBody sends a body, or says that the client has it.
func WriteBody(w http.ResponseWriter, r *http.Request, b Body) {
	tag := `"` + b.Tag + `"`
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", b.Cache)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", b.Type)
	h.Set("Content-Length", strconv.Itoa(len(b.Bytes)))
	rc, end := http.NewResponseController(w), time.Now().Add(bodyTime)
	for rest := b.Bytes; len(rest) > 0; {
		n := min(len(rest), chunk)
		until := time.Now().Add(chunkTime)
		if until.After(end) {
			until = end
		}
		// Without deadlines, as in some tests, the server's own holds.
		_ = rc.SetWriteDeadline(until)
		if _, err := w.Write(rest[:n]); err != nil {
			return // a client that is gone is told nothing
		}
		rest = rest[n:]
	}
}

// TagOf is a tag for a content.
func TagOf(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// GzipSuffix is what the tag of a compressed answer ends with: it is another one,
// byte for byte.
const GzipSuffix = "-gzip"

// matches says that a list of tags, as a client sends it, has this one.
func matches(list, tag string) bool {
	for _, t := range strings.Split(list, ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t == "*" || strings.Replace(t, GzipSuffix+`"`, `"`, 1) == tag {
			return true
		}
	}
	return false
}
