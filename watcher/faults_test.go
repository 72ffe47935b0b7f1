package watcher_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// said compares all statuses so far.
func (s *scene) said(one, three, token string) {
	s.t.Helper()
	for name, want := range map[string]string{"one": one, "three": three, event.TokenWatchlist: token} {
		if got := strings.Join(s.ledgers[name].statuses, ", "); got != want && want != anything {
			s.t.Errorf("status of %s: %q, want %q", name, got, want)
		}
	}
}

// anything stands for statuses that are free to come and go.
const anything = "?"

// spell adds to a status that it is taken back.
func spell(said string) string {
	status, word, more := strings.Cut(said, " ")
	if !more {
		return said
	}
	return status + " " + word + ", recovered " + word
}

// Every fault of the simulator and every code, each on every call until it is
// repaired, while the lists change: what is published is the source's, the
// status is said once and taken back, and in the end all is told.
func TestEachFault(t *testing.T) {
	t.Parallel()
	const denied, quota = "denied token, recovered token", "quota quota, recovered token"
	const unavailable, throttled = "stale unavailable", "stale throttled"
	rows := []struct{ fault, one, three, token string }{
		{"", "", "", ""},
		{"30003", throttled, throttled, ""},
		{"30002", "", "", quota},
		{"30001", "", "", denied},
		{"1002", "", "", denied},
		{"40001-200", unavailable, unavailable, ""},
		{"40001-500", unavailable, unavailable, ""},
		{"10001", "rejected parameter", "rejected parameter", ""},
		{"20001", "stale unpublished", "stale unpublished", ""},
		{"429", throttled, throttled, ""},
		{"429-retry-after", throttled, throttled, ""},
		{"429-retry-date", throttled, throttled, ""},
		{"502", unavailable, unavailable, ""},
		{"504", unavailable, unavailable, ""},
		{"567-html", unavailable, unavailable, ""},
		{"html-200", unavailable, unavailable, ""},
		{"slow", "", "", ""},
		{"slow:1:delay=21s", unavailable, unavailable, ""},
		{"hung", unavailable, unavailable, ""},
		{"hung:1:delay=3s", unavailable, unavailable, ""},
		{"reset", unavailable, unavailable, ""},
		{"truncated", unavailable, unavailable, ""},
		{"cut", unavailable, unavailable, ""},
		{"wrong-content-type", "", "", ""},
		{"data-string", "rejected malformed", "rejected malformed", ""},
		{"data-null", "rejected malformed", "rejected malformed", ""},
		{"total-string", "", "", ""},
		{"duplicate-row:1:for=1", "", "", ""},
		{"duplicate-row", "", "rejected torn", ""},
		{"duplicate-row:1:page=2", "", "", ""},
		{"skipped-row", "rejected short", "rejected short", ""},
		{"board-change", "", "rejected torn", ""},
		{"stale-period", "rejected period", "rejected period", ""},
		{"empty-page", "rejected short", "rejected short", ""},
		{"empty-page:1:page=3", "", "rejected short", ""},
		{"total-change", "", "rejected torn", ""},
		{"wrong-region", "rejected filter", "rejected filter", ""},
		{"30001:1:region=GB,for=1", "", "", denied},
		{"mixed:0.4", "?", "?", ""},
		// Five scans are torn; in the sixth page 2 begins with page 1's last row.
		{"total-change:1:page=2,for=5 duplicate-row:1:page=2,after=5,for=1", "", "?", ""},
	}
	for _, k := range simulator.Kinds() {
		if !slices.ContainsFunc(rows, func(r struct{ fault, one, three, token string }) bool {
			kind, _, _ := strings.Cut(r.fault, ":")
			return kind == string(k)
		}) {
			t.Errorf("no row for %s", k)
		}
	}
	for _, row := range rows {
		t.Run(row.fault, func(t *testing.T) {
			t.Parallel()
			inScene(t, simulator.Config{}, fastmoss.StaticToken(simulator.DefaultToken), func(s *scene) {
				s.caughtUp()
				s.turn()
				s.caughtUp()
				s.faults(row.fault)
				rounds := 2
				if row.one == throttled {
					rounds = 1 // for longer, see TestThrottlingThatLasts
				}
				for range rounds {
					s.turn()
					switch row.fault {
					case "duplicate-row":
						s.lacks("one", 39)
					case "duplicate-row:1:page=2":
						s.lacks("three", 199)
					}
					s.attempted(1)
				}
				switch {
				case row.fault == "mixed:0.4":
					for range 60 {
						s.turn()
						s.attempted(1)
					}
				case row.token == "":
					s.until("what the fault leaves alone", func() bool {
						return (row.one != "" || s.ledgers["one"].caughtUp()) && (row.three != "" || s.ledgers["three"].caughtUp())
					})
				}
				s.faults("")
				s.turn()
				s.caughtUp()
				s.turn()
				s.caughtUp()
				s.said(spell(row.one), spell(row.three), row.token)
				for name, l := range s.ledgers {
					if !l.well() {
						t.Errorf("%s: not well in the end: %q", name, l.statuses)
					}
				}
			})
		})
	}
}

// The source shuffles ties on every call, and one call in three for page 1 lists
// an entry twice. No two scans in a row say so: it is never a fact.
func TestOneLieAmongShuffledTies(t *testing.T) {
	t.Parallel()
	inScene(t, simulator.Config{Ties: simulator.TiesCall}, fastmoss.StaticToken(simulator.DefaultToken), func(s *scene) {
		s.ledgers["one"].shuffled, s.ledgers["three"].shuffled = true, true
		s.faults("duplicate-row:1:region=GB,page=1,every=3")
		for range 60 {
			s.turn()
			s.caughtUp()
		}
		s.said("", anything, "")
		if n := s.sim.Strikes()[simulator.DuplicateRow]; n < 60 {
			t.Errorf("only %d lies", n)
		}
	})
}

// lacks shows a list without one of its entries: a source that lists the entry
// before it twice, every time, says that.
func (s *scene) lacks(name string, i int) {
	l := s.ledgers[name]
	l.shown = append(l.shown, without(l.shown[len(l.shown)-1], i))
}

// Throttling that lasts is a used up token: it is said once for all, a day costs
// a handful of calls, and when it is over all is told.
func TestThrottlingThatLasts(t *testing.T) {
	t.Parallel()
	inScene(t, simulator.Config{}, fastmoss.StaticToken(simulator.DefaultToken), func(s *scene) {
		s.caughtUp()
		s.faults("30003:1:sticky")
		token := s.ledgers[event.TokenWatchlist]
		s.until("quota", func() bool { return len(token.statuses) > 0 })
		from, calls := time.Now(), s.calls()
		s.until("a day", func() bool { return time.Since(from) > 24*time.Hour })
		if n := s.calls() - calls; n < 2 || n > 8 {
			t.Errorf("%d calls in a day without quota", n)
		}
		s.faults("")
		s.turn()
		s.caughtUp()
		s.said("stale throttled, recovered throttled", "stale throttled, recovered throttled", "quota quota, recovered token")
	})
}

func (s *scene) calls() int64 {
	n := s.sim.Refused()
	for _, u := range s.sim.Calls() {
		n += u.Calls
	}
	return n
}

// What one watchlist's answer asks for holds all watchlists of the token: none
// calls before, and all that fell due are read right after.
func TestRetryAfterHoldsAllWatchlists(t *testing.T) {
	t.Parallel()
	const hold = 9 * time.Minute
	for _, kind := range []simulator.Kind{simulator.TooManySeconds, simulator.TooManyDate} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			type call struct {
				region string
				after  time.Duration
			}
			var mu sync.Mutex
			var struck time.Time
			var calls []call
			onCall := func(c simulator.Call) {
				mu.Lock()
				defer mu.Unlock()
				if !struck.IsZero() {
					calls = append(calls, call{c.Query.Filter.Region, time.Since(struck)})
				}
				if c.Fault != "" {
					struck = time.Now()
				}
			}
			inScene(t, simulator.Config{OnCall: onCall}, fastmoss.StaticToken(simulator.DefaultToken), func(s *scene) {
				s.caughtUp()
				s.turn()
				s.caughtUp()
				s.faults(string(kind) + ":1:region=US,for=1,delay=" + hold.String())
				s.turn()
				s.caughtUp()
				s.said("", "", "")
				mu.Lock()
				defer mu.Unlock()
				for _, region := range []string{"US", "GB"} {
					i := slices.IndexFunc(calls, func(c call) bool { return c.region == region })
					if i < 0 || calls[i].after < hold || calls[i].after > hold+10*time.Second {
						t.Errorf("%s is called again after %v", region, calls)
					}
				}
			})
		})
	}
}

// The token is rotated three ways while readings go on: both valid for a while;
// in the middle of a scan; revoked long before the new one comes.
func TestTokenRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		err := os.WriteFile(path+".new", []byte(token+"\n"), 0o600)
		// The bubble's time, or the file would always look new.
		err = errors.Join(err, os.Chtimes(path+".new", time.Now(), time.Now()), os.Rename(path+".new", path))
		if err != nil {
			t.Error(err)
		}
	}
	put("secret-1")
	var inScan atomic.Pointer[func()]
	onCall := func(c simulator.Call) {
		if c.Page == 3 { // the file was looked at just before
			if f := inScan.Swap(nil); f != nil {
				(*f)()
			}
		}
	}
	inScene(t, simulator.Config{OnCall: onCall, Tokens: []string{"secret-1"}}, fastmoss.FileToken(path), func(s *scene) {
		put("secret-1")
		s.caughtUp()
		s.sim.SetTokens("secret-1", "secret-2")
		put("secret-2")
		old := s.sim.Calls()["secret-1"].Calls
		s.turn()
		s.caughtUp()
		if n := s.sim.Calls(); n["secret-1"].Calls != old || n["secret-2"].Calls == 0 {
			t.Errorf("calls %v after the file has changed, of the old one %d before", n, old)
		}
		swap := func() {
			s.sim.SetTokens("secret-3")
			put("secret-3")
		}
		inScan.Store(&swap)
		s.turn()
		s.caughtUp()
		if n := s.sim.Refused(); inScan.Load() != nil || n != 1 {
			t.Errorf("%d calls with a token that was replaced in the middle of a scan", n)
		}
		s.said("", "", "")

		s.sim.SetTokens("secret-4")
		refused := s.sim.Refused()
		s.turn()
		s.attempted(30)
		s.said("", "", "denied token")
		if n := s.sim.Refused() - refused; n < 1 || n > 2 {
			t.Errorf("%d calls with a revoked token in five minutes", n)
		}
		put("secret-4")
		from := time.Now()
		s.caughtUp()
		if d := time.Since(from); d > 30*time.Second {
			t.Errorf("the new token was taken after %v", d)
		}
		s.said("", "", "denied token, recovered token")
		if strings.Contains(s.log.String(), "secret-") || strings.Contains(s.published.String(), "secret-") {
			t.Error("a token is in the log or in what was published")
		}
	})
}
