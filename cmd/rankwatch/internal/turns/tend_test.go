package turns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/publisher/fleet"
)

// wantOneReader asserts that of the watchlists that are due at once one of each feed
// is called, and the others wait for it.
func wantOneReader(t *testing.T, c *Crew, began time.Time) {
	t.Helper()
	names := c.cfg.Watcher.Names()
	armed, err := c.queue.Armed(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	called, err := c.queue.Called(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	reads := map[string]int{}
	for _, name := range names {
		s, waits := armed[name]
		if !waits || s.At.Sub(s.Due) < grace/2 {
			reads[c.cfg.Watcher.FeedOf(name)]++
			if !waits {
				s = called[name]
			}
		}
		if s.Due.Before(began) || s.Due.After(time.Now()) || s.Order != 3 || s.At.Sub(s.Due) > grace {
			t.Errorf("%s is due at %v, called at %v, of file %d", name, s.Due, s.At, s.Order)
		}
		if plan, _ := c.cfg.Watcher.Plan(name); s.Plan != plan {
			t.Errorf("%s has plan %q, not %q", name, s.Plan, plan)
		}
	}
	if len(reads) != 2 {
		t.Errorf("%d feeds are read, not 2", len(reads))
	}
	for feed, n := range reads {
		if n != 1 {
			t.Errorf("%s is called %d times", feed, n)
		}
	}
}

func TestOfMissingWatchlistsOneReadsForAll(t *testing.T) {
	t.Parallel()
	c := aQueuedCrew(t)
	began := time.Now()
	for range 2 { // the second time nothing is missing
		if err := c.armMissing(t.Context(), c.cfg.Watcher.Names()); err != nil {
			t.Fatal(err)
		}
		wantOneReader(t, c, began)
	}
	if n := c.Stats().Armed; n != 4 {
		t.Errorf("%d were armed, not 4", n)
	}
}

func TestOfChangedWatchlistsOneReadsForAll(t *testing.T) {
	t.Parallel()
	c := aQueuedCrew(t)
	began := time.Now()
	names := c.cfg.Watcher.Names()
	for _, name := range names {
		plan, _ := c.cfg.Watcher.Plan(name)
		if err := c.queue.Begin(t.Context(), fleet.Schedule{Watchlist: name, At: began.Add(time.Hour), Due: began.Add(time.Hour), Plan: plan}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.rearm(t.Context(), names); err != nil {
		t.Fatal(err)
	}
	if n := c.Stats().Armed; n != 0 {
		t.Errorf("%d were armed without a change", n)
	}
	c.cfg.Watcher.Reload(parsed(t, strings.ReplaceAll(someLists, "2026-03", "2026-04")))
	if err := c.rearm(t.Context(), names); err != nil {
		t.Fatal(err)
	}
	wantOneReader(t, c, began)
	if n := c.Stats().Armed; n != 4 {
		t.Errorf("%d were armed, not 4", n)
	}
}

// Only when they are read has changed; what was read last is long ago, or not.
func TestOfWatchlistsOfAnotherIntervalOneReadsForAll(t *testing.T) {
	t.Parallel()
	for every, past := range map[string]bool{"1m": true, "12h": false} {
		c := aQueuedCrew(t)
		names := []string{"one", "two"}
		read := time.Now().Add(-30 * time.Minute)
		for _, name := range names {
			plan, _ := c.cfg.Watcher.Plan(name)
			s := fleet.Schedule{Watchlist: name, At: read.Add(time.Hour), Due: read.Add(time.Hour), Plan: plan}
			s.Carry = fmt.Appendf(nil, `{"record":{"tick":%q,"fingerprint":"f"}}`, read.Format(time.RFC3339Nano))
			if err := c.queue.Begin(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		c.cfg.Watcher.Reload(parsed(t, strings.Replace(someLists, "every: 1h", "every: "+every, 1)))
		began := time.Now()
		if err := c.rearm(t.Context(), names); err != nil {
			t.Fatal(err)
		}
		var first, second fleet.Schedule
		for _, name := range names {
			s, is, err := c.queue.Latest(t.Context(), name)
			if err != nil || !is {
				t.Fatal(name, is, err)
			}
			if first.Watchlist == "" || s.At.Before(first.At) {
				first, second = s, first
			} else {
				second = s
			}
		}
		if !first.Due.Equal(second.Due) || second.At.Sub(first.At) != grace || !first.At.Equal(first.Due) {
			t.Errorf("every %s: %+v and %+v", every, first, second)
		}
		if first.Due.Before(began) || past != first.Due.Before(began.Add(time.Minute)) {
			t.Errorf("every %s: due in %v", every, time.Until(first.Due))
		}
	}
}
