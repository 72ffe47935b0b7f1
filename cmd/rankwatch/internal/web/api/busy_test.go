package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
)

type nobody struct{}

func (nobody) Standings() []watcher.Standing                               { return nil }
func (nobody) Standing(string) (watcher.Standing, bool)                    { return watcher.Standing{}, false }
func (nobody) TokenStanding() *watcher.Condition                           { return nil }
func (nobody) Profile(_, _ string) (*watcher.Profile, uint64, error)       { return nil, 0, nil }
func (nobody) Profiles(string) (map[string]watcher.Profile, uint64, error) { return nil, 0, nil }

func get(a *API, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

// Answers that clients do not read take a bounded room; what does not fit waits a
// moment and is then refused, and its turn is free again.
func TestAnswersWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Worker: nobody{}, Logger: slog.New(slog.DiscardHandler), Reader: func(context.Context) (*history.Reader, error) { return nil, history.ErrGone }})
		if !a.bodies.TryAcquire(maxBodies) {
			t.Fatal("there is no room at first")
		}
		for range 2 * maxTurns {
			if w := get(a, "/api/v1/watchlists"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "2" {
				t.Fatalf("without room: %d %v", w.Code, w.Header())
			}
		}
		a.bodies.Release(maxBodies)
		for range 2 * maxTurns {
			if w := get(a, "/api/v1/watchlists"); w.Code != http.StatusOK {
				t.Fatalf("with room: %d %s", w.Code, w.Body)
			}
		}
		if !a.bodies.TryAcquire(maxBodies) {
			t.Error("an answer that was sent still takes room")
		}
	})
}

// A server that hangs is away for the overview, which waits for it once in a while
// and not each time.
func TestTheOverviewDoesNotHangWithTheBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		a := New(Config{Worker: nobody{}, Logger: slog.New(slog.DiscardHandler), Reader: func(ctx context.Context) (*history.Reader, error) {
			asked++
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		began := time.Now()
		for range 20 {
			if w := get(a, "/api/v1/watchlists"); w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		if took := time.Since(began); took != askTime || asked != 1 {
			t.Errorf("20 answers took %s and asked %d times", took, asked)
		}
		time.Sleep(hangTime)
		get(a, "/api/v1/watchlists")
		if asked != 2 {
			t.Errorf("asked %d times, want 2: it may be well again", asked)
		}
	})
}
