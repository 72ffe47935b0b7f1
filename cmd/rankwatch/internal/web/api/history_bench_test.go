package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/api"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// BenchmarkHistory draws a board of 1000 places over 100 revisions: cold is what
// the first one to look waits for, warm all others.
func BenchmarkHistory(b *testing.B) {
	bus := webtest.StartBus(b)
	for n := range 100 {
		s := event.Snapshot{Watchlist: "w", Region: "US", Revision: uint64(n + 1), Board: webtest.Rows(900, webtest.UIDs(1000, n)...)}
		for i := range s.Board {
			s.Board[i].UniqueID, s.Board[i].Nickname = "itzesantana11", "itzel ✨ santana"
		}
		bus.Board(s)
	}
	make := func() http.Handler {
		return api.New(api.Config{Worker: webtest.NewCrew(bus.Conn, "w"), Reader: bus.Reader, Logger: slog.New(slog.DiscardHandler)})
	}
	const all, ten = "/api/v1/watchlists/w/history?top=1000", "/api/v1/watchlists/w/history?top=10"
	for _, bench := range []struct {
		name, target string
		cold         bool
	}{{"cold/top=1000", all, true}, {"cold/top=10", ten, true}, {"warm/top=1000", all, false}, {"warm/top=10", ten, false}} {
		b.Run(bench.name, func(b *testing.B) {
			h := make()
			ask(b, h, bench.target)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				if bench.cold {
					h = make()
				}
				size = ask(b, h, bench.target)
			}
			b.ReportMetric(float64(size)/1024, "kB")
		})
	}
}

// BenchmarkBoard tells the newest board of 1000 places, of which 50 moved.
func BenchmarkBoard(b *testing.B) {
	bus := webtest.StartBus(b)
	uids := webtest.UIDs(1000, 0)
	var moved []webtest.Event
	for i := range 50 {
		moved = append(moved, webtest.Moved(uids[i], i+2, i+1))
	}
	bus.Board(event.Snapshot{Watchlist: "w", Region: "US", Revision: 1, Board: webtest.Rows(900, uids...)}, moved...)
	h := api.New(api.Config{Worker: webtest.NewCrew(bus.Conn, "w"), Reader: bus.Reader, Logger: slog.New(slog.DiscardHandler)})
	b.ReportAllocs()
	for b.Loop() {
		ask(b, h, "/api/v1/watchlists/w/board")
	}
}

func ask(b *testing.B, h http.Handler, target string) int {
	b.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	if w.Code != http.StatusOK {
		b.Fatal(w.Code, w.Body)
	}
	return w.Body.Len()
}
