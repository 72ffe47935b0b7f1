package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
	"github.com/rankwatch/rankwatch/publisher/history"
)

func TestWhoWaitsTooLongForATurnIsToldToComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := func(context.Context) (*history.Reader, error) { return nil, history.ErrGone }
		a := New(Config{Worker: webtest.NewCrew(nil, "w"), Reader: gone, Logger: slog.New(slog.DiscardHandler)})
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/watchlists", nil))
			return w
		}
		for range maxTurns {
			a.turns <- struct{}{}
		}
		began := time.Now()
		if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "2" || time.Since(began) != turnTime {
			t.Errorf("%d after %v: %s", w.Code, time.Since(began), w.Body)
		}
		time.AfterFunc(turnTime/2, func() { <-a.turns })
		if w := ask(); w.Code != http.StatusOK {
			t.Errorf("with a turn in time: %d %s", w.Code, w.Body)
		}
	})
}
