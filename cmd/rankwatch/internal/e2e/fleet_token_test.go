package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A gated source counts calls and refuses the token while it is told to.
type gated struct {
	*httptest.Server
	denied         atomic.Bool
	calls, refused atomic.Int64
}

func newGated(t *testing.T) *gated {
	t.Helper()
	s := newReady(t)
	g := &gated{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.denied.Load() {
			g.refused.Add(1)
			answer(w, 30001, nil)
			return
		}
		g.calls.Add(1)
		s.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// fleetOf starts workers that share a watchlist file.
func fleetOf(t *testing.T, n int, source string, b *bus, lists, rate, atOnce string) (all []*worker) {
	t.Helper()
	for range n {
		s := newSetup(t, source, lists).external(b.url(), "RANKWATCH", "rankwatch")
		s.env["RANKWATCH_CLUSTER"], s.env["RANKWATCH_FASTMOSS_RATE"], s.env["RANKWATCH_FASTMOSS_CONCURRENCY"] = "true", rate, atOnce
		all = append(all, s.start(t))
	}
	return all
}

// Lists of one filter are read by one call for all of them, whichever worker has
// the turn. A token that is refused stops every worker, is told once, and when it
// works again for one it does for all.
func TestFleetReadsOnceAndStopsTogether(t *testing.T) {
	t.Parallel()
	withoutDetector(t)
	source, b := newGated(t), newBus(t, nil)
	var lists strings.Builder
	lists.WriteString("defaults: {every: 1s, period: none}\nwatchlists:\n")
	const feeds, each = 4, 5
	for i := range feeds * each {
		fmt.Fprintf(&lists, "  - {name: w%02d, top: %d, filter: {region: US, follower_count_range: {min: %d}}}\n", i, 50+i/feeds, i%feeds)
	}
	workers := fleetOf(t, 3, source.URL, b, lists.String(), "200", "12")
	nc, err := nats.Connect(b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	// Messages are counted from here on by subject: core subscribers see each once.
	boards, err := nc.SubscribeSync("rankwatch.*.*.board")
	if err != nil {
		t.Fatal(err)
	}
	statuses, err := nc.SubscribeSync("rankwatch.*.*.status")
	if err != nil {
		t.Fatal(err)
	}
	news, err := nc.SubscribeSync("_turns.rankwatch.news")
	if err != nil {
		t.Fatal(err)
	}
	for range feeds * each {
		if _, err := boards.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
	// Some rounds: each reading of a feed serves its five lists.
	from, read := source.calls.Load(), 0
	for until := time.Now().Add(8 * time.Second); time.Now().Before(until); {
		if m, err := news.NextMsg(time.Second); err == nil && strings.Contains(string(m.Data), `"outcome":"unchanged"`) {
			read++
		}
	}
	calls := source.calls.Load() - from
	if perCall := float64(read) / float64(calls); read == 0 || perCall < 3 {
		t.Errorf("%d readings of lists by %d calls; 5 lists share a filter", read, calls)
	} else {
		t.Logf("%d readings of lists by %d calls", read, calls)
	}

	source.denied.Store(true)
	if s := tokenStatus(t, statuses); s.Status != event.StatusDenied {
		t.Fatalf("status %q", s.Status)
	}
	// What was under way when the first call was refused may be refused as well, and
	// those who have not heard of it yet.
	settled := source.refused.Load()
	for quiet := time.Now().Add(3 * time.Second); time.Now().Before(quiet); {
		if now := source.refused.Load(); now != settled {
			settled, quiet = now, time.Now().Add(3*time.Second)
		}
		<-time.After(50 * time.Millisecond)
	}
	if settled > 12 {
		t.Errorf("%d calls after the token was refused", settled)
	}
	source.denied.Store(false)
	from = source.calls.Load()
	workers[1].hup(t)
	if s := tokenStatus(t, statuses); s.Status != event.StatusRecovered {
		t.Fatalf("status %q", s.Status)
	}
	for deadline := time.Now().Add(patience); source.calls.Load() < from+4*feeds; {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls since the token works again", source.calls.Load()-from)
		}
		<-time.After(20 * time.Millisecond)
	}
	if m, err := statuses.NextMsg(time.Second); err == nil {
		t.Errorf("one status more: %s", m.Data)
	}
	for _, w := range workers {
		w.stop(t)
	}
}

func tokenStatus(t *testing.T, statuses *nats.Subscription) event.Condition {
	t.Helper()
	m, err := statuses.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	var e event.Envelope[event.Condition]
	if err := json.Unmarshal(m.Data, &e); err != nil || e.Data.Watchlist != event.TokenWatchlist {
		t.Fatalf("%s: %s, %v", m.Subject, m.Data, err)
	}
	return e.Data
}
