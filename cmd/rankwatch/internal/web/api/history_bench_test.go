package api

import (
	"net/http"
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// BenchmarkHistory draws all of a board of 1000 places over 100 revisions: cold is
// what the first one to look waits for, warm all others.
func BenchmarkHistory(b *testing.B) {
	bus := webtest.StartBus(b)
	for n := range 100 {
		s := event.Snapshot{Watchlist: "w", Region: "US", Revision: uint64(n + 1), Outcome: event.OutcomeChanged, Board: webtest.Rows(900, webtest.UIDs(1000, n)...)}
		for i := range s.Board {
			s.Board[i].Nickname = "itzel ✨ santana"
		}
		bus.Board(s)
	}
	const all, ten = "/api/v1/watchlists/w/history?top=1000", "/api/v1/watchlists/w/history?top=10"
	for _, bench := range []struct {
		name, target string
		cold         bool
	}{{"cold/top=1000", all, true}, {"cold/top=10", ten, true}, {"warm/top=1000", all, false}, {"warm/top=10", ten, false}} {
		b.Run(bench.name, func(b *testing.B) {
			a := bus.api(configured("w"))
			get(a, bench.target)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				if bench.cold {
					a.shelves = newShelves(maxShelves)
				}
				w := get(a, bench.target)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
				size = w.Body.Len()
			}
			b.ReportMetric(float64(size)/1024, "kB")
		})
	}
}
