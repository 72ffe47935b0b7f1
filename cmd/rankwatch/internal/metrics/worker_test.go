package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// Whatever a real worker meets is counted under words that were there at zero
// before, once for each attempt, and no counter ever goes back.
func TestEveryOutcomeIsCountedUnderWordsThatWereThere(t *testing.T) {
	t.Parallel()
	sim := simulator.New(simulator.Config{World: simulator.WorldConfig{Step: -1}})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	var w *watcher.Worker
	client, err := fastmoss.New(fastmoss.Config{
		BaseURL: server.URL, Token: fastmoss.StaticToken(simulator.DefaultToken), Rate: 1000, Attempts: 1,
		OnCondition: func(c fastmoss.TokenCondition) { w.TokenCondition(c) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	db, err := state.Open(state.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	readings, attempts := NewReadings(), make(chan watcher.Attempt, 100)
	list := func(top int) []watcher.Watchlist {
		lists, err := watcher.ParseWatchlists("test", fmt.Appendf(nil, "watchlists: [{name: us, every: 24h, top: %d, filter: {region: US}}]", top))
		if err != nil {
			t.Fatal(err)
		}
		return lists
	}
	w, err = watcher.New(watcher.Config{
		Watchlists: list(5), Source: client, Store: worker.Store(db), Prefix: "rankwatch", Writer: "w", Concurrency: 1,
		MaxPayload: func() int { return 1 << 20 }, Adopt: func(context.Context, string) error { return nil }, Committed: func() {},
		Observe: func(a watcher.Attempt) { readings.Observe(a); attempts <- a },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, db.Close()); err != nil {
			t.Error(err)
		}
	}()
	<-attempts
	at := func() map[string]string {
		return own(scrape(t, &scene{standings: w.Standings(), source: client.Stats()}, readings))
	}
	start := at()
	for n, row := range []struct{ fault, outcome, reason string }{
		{"", "baseline", "config"},
		{"502", "stale", "unavailable"},
		{"429", "stale", "throttled"},
		{"20001", "stale", "unpublished"},
		{"10001", "rejected", "parameter"},
		{"html-200", "stale", "unavailable"},
		{"data-null", "rejected", "malformed"},
		{"wrong-region", "rejected", "filter"},
		{"30002", "paused", "quota"},
		{"1002", "paused", "token"},
		{"", "baseline", "config"},
	} {
		before := at()
		if err := sim.SetFaults(faults(t, row.fault)...); err != nil {
			t.Fatal(err)
		}
		client.Reset()
		w.Reload(list(6 + n))
		a := <-attempts
		if a.Outcome != row.outcome || a.Reason != row.reason {
			t.Errorf("fault %q: %s %s, want %s %s: %v", row.fault, a.Outcome, a.Reason, row.outcome, row.reason, a.Err)
		}
		after := at()
		name := fmt.Sprintf(`rankwatch_readings_total{outcome=%q,reason=%q}`, a.Outcome, a.Reason)
		if start[name] == "" {
			t.Errorf("%s was not there before its first increase", name)
		}
		if value(t, after, name)-value(t, before, name) != 1 {
			t.Errorf("fault %q: %s went from %s to %s", row.fault, name, before[name], after[name])
		}
		for name := range before {
			if strings.Contains(name, "_total") && value(t, after, name) < value(t, before, name) {
				t.Errorf("fault %q: %s went back from %s to %s", row.fault, name, before[name], after[name])
			}
		}
	}
	w.Reload(nil)
	for name := range at() {
		if strings.Contains(name, `"us"`) {
			t.Errorf("%s outlives its watchlist", name)
		}
	}
}

func faults(t *testing.T, kind string) []simulator.Fault {
	t.Helper()
	if kind == "" {
		return nil
	}
	f, err := simulator.ParseFault(kind)
	if err != nil {
		t.Fatal(err)
	}
	return []simulator.Fault{f}
}

func value(t *testing.T, all map[string]string, name string) float64 {
	t.Helper()
	if all[name] == "" {
		return 0
	}
	v, err := strconv.ParseFloat(all[name], 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}
