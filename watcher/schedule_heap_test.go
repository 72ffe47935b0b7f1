package watcher

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func filled(t testing.TB, n int, every time.Duration, last time.Time) (*Scheduler, []Watchlist) {
	t.Helper()
	s := &Scheduler{}
	lists := make([]Watchlist, n)
	for i := range lists {
		lists[i] = listNo(i, every)
		s.Add(lists[i], last)
	}
	return s, lists
}

// run calls Due whenever the Scheduler asks for it, until the given time.
func run(s *Scheduler, until time.Time, due func(now time.Time, names []string)) {
	for {
		now, ok := s.NextAt()
		if !ok || now.After(until) {
			return
		}
		due(now, s.Due(now))
	}
}

func TestTenThousandSpreadOverTheHour(t *testing.T) {
	from := at(t, "2026-11-23T10:00:00Z")
	s, lists := filled(t, 10_000, time.Hour, from)
	perMinute := make([]int, 60)
	seen := map[string]int{}
	run(s, from.Add(2*time.Hour-time.Nanosecond), func(now time.Time, names []string) {
		if now.Sub(from) >= time.Hour { // with the first hour's jitter behind them
			perMinute[now.Minute()] += len(names)
		}
		for _, n := range names {
			seen[n]++
		}
	})
	for m, n := range perMinute {
		// Each minute expects 167 with a deviation of 13.
		if n < 100 || n > 240 {
			t.Errorf("minute %d has %d readings", m, n)
		}
	}
	for _, w := range lists {
		// The third tick's jitter may reach into the time looked at, or the second's out of it.
		if n := seen[w.Name]; n < 1 || n > 3 {
			t.Errorf("%s was due %d times in two hours", w.Name, n)
		}
	}
}

// Against the slow obvious way, with callers that come late, and watchlists that
// are added, changed, held back and removed: a watchlist is due exactly when one
// of its ticks, with jitter, has passed since it was last due.
func TestSchedulerAgainstTheObviousOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
		s := &Scheduler{}
		model := map[string]*modelItem{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				// Every list has its own feed, so that none rides along.
				w := listNo(rapid.IntRange(0, 9).Draw(t, "list"), time.Duration(rapid.IntRange(1, 600).Draw(t, "every"))*time.Second)
				last := time.Time{}
				if rapid.Bool().Draw(t, "read") {
					last = now.Add(-time.Duration(rapid.IntRange(0, 2000).Draw(t, "ago")) * time.Second)
				}
				s.Add(w, last)
				model[w.Name] = &modelItem{w: w, last: last}
			},
			"update": func(t *rapid.T) {
				w := listNo(rapid.IntRange(0, 9).Draw(t, "list"), time.Duration(rapid.IntRange(1, 600).Draw(t, "every"))*time.Second)
				s.Update(w)
				if m := model[w.Name]; m != nil {
					m.w, m.retry = w, time.Time{}
				} else {
					model[w.Name] = &modelItem{w: w}
				}
			},
			"remove": func(t *rapid.T) {
				name := listNo(rapid.IntRange(0, 9).Draw(t, "list"), 1).Name
				s.Remove(name)
				delete(model, name)
			},
			"postpone": func(t *rapid.T) {
				name := listNo(rapid.IntRange(0, 9).Draw(t, "list"), 1).Name
				until := now.Add(time.Duration(rapid.IntRange(-10, 900).Draw(t, "for")) * time.Second)
				s.Postpone(name, until)
				if m := model[name]; m != nil && until.After(m.hold) {
					m.hold = until
				}
			},
			"retry": func(t *rapid.T) {
				name := listNo(rapid.IntRange(0, 9).Draw(t, "list"), 1).Name
				again := now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "in")) * time.Second)
				s.Retry(name, again)
				if m := model[name]; m != nil {
					m.retry = again
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(15*time.Minute)).Draw(t, "wait")))
				got := s.Due(now)
				var want []string
				for name, m := range model {
					if m.due(now) {
						want = append(want, name)
						m.last, m.retry, m.hold = now, time.Time{}, time.Time{}
					}
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("at %v due %v, want %v", now, got, want)
				}
				if next, ok := s.NextAt(); ok && !next.After(now) {
					t.Fatalf("Due(%v) left something due at %v", now, next)
				}
			},
		})
	})
}

type modelItem struct {
	w                 Watchlist
	last, retry, hold time.Time
}

func (m *modelItem) due(now time.Time) bool {
	if m.hold.After(now) {
		return false
	}
	ticked := !Next(m.w, m.last).After(now)
	return ticked || !m.retry.IsZero() && !m.retry.After(now)
}

func TestSameFeedComesAlong(t *testing.T) {
	from := at(t, "2026-11-23T10:00:00Z")
	// Different intervals have different jitters, and a cron ticks beside them.
	lists := []Watchlist{listNo(1, time.Minute), listNo(1, 4*time.Minute), listNo(1, time.Hour)}
	s := &Scheduler{}
	for i := range lists {
		lists[i].Name = fmt.Sprintf("shared-%d", i)
		s.Add(lists[i], from)
	}
	s.Add(listNo(2, time.Minute), from)
	count := map[string]int{}
	var alone int
	run(s, from.Add(24*time.Hour), func(_ time.Time, names []string) {
		for _, n := range names {
			count[n]++
		}
		if slices.Contains(names, "shared-2") && len(names) < 3 || slices.Contains(names, "shared-1") && !slices.Contains(names, "shared-0") {
			alone++
		}
	})
	if alone > 0 {
		t.Errorf("%d readings were made beside one of the same feed", alone)
	}
	for name, want := range map[string]int{"shared-0": 1440, "shared-1": 360, "shared-2": 24, "list-00002": 1440} {
		if n := count[name]; n < want-1 || n > want {
			t.Errorf("%s was due %d times in a day, want %d", name, n, want)
		}
	}
}

func TestMissedTicksAreOne(t *testing.T) {
	from := at(t, "2026-11-23T10:00:00Z")
	s, lists := filled(t, 3, time.Minute, from)
	if got := s.Due(from.Add(24 * time.Hour)); len(got) != len(lists) {
		t.Errorf("due %v", got)
	}
	if next, _ := s.NextAt(); !next.After(from.Add(24*time.Hour)) || next.After(from.Add(24*time.Hour+2*time.Minute)) {
		t.Errorf("next at %v", next)
	}
}

func TestChangedFeedIsDueAtOnce(t *testing.T) {
	now := at(t, "2026-11-23T10:00:00Z")
	s, lists := filled(t, 1, time.Hour, now)
	w := lists[0]
	w.Filter.Region = "GB"
	s.Update(w)
	if got := s.Due(now); !slices.Equal(got, []string{w.Name}) {
		t.Errorf("due %v", got)
	}
	w.Rules.MinPlaces = 5
	s.Update(w)
	if got := s.Due(now); got != nil {
		t.Errorf("changed rules made %v due", got)
	}
}

// A clock that ran years ahead and is set right must not silence the worker.
func TestClockSetBack(t *testing.T) {
	now := at(t, "2026-11-23T10:00:00Z")
	s, lists := filled(t, 100, time.Hour, now)
	s.Postpone(lists[0].Name, now.Add(10*time.Minute))
	future := now.AddDate(4, 0, 0)
	s.Due(future)
	s.Postpone(lists[1].Name, future.Add(2*time.Hour))
	if got := s.Due(now); got != nil {
		t.Errorf("setting the clock made %v due", got)
	}
	next, _ := s.NextAt()
	if next.Sub(now) > time.Hour {
		t.Errorf("silent until %v", next)
	}
	if held, _ := s.At(lists[1].Name); !held.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("held until %v", held)
	}
}

// The readings before a restart were made while the clock ran ahead.
func TestLastReadInTheFuture(t *testing.T) {
	now := at(t, "2026-11-23T10:00:00Z")
	s, lists := filled(t, 2, time.Hour, now.AddDate(4, 0, 0))
	if got := s.Due(now); got != nil {
		t.Errorf("due %v", got)
	}
	for _, w := range lists {
		if due, _ := s.At(w.Name); due.Sub(now) > time.Hour+maxJitter {
			t.Errorf("%s is silent until %v", w.Name, due)
		}
	}
}

func TestAtAndUnknownNames(t *testing.T) {
	now := at(t, "2026-11-23T10:00:00Z")
	s, lists := filled(t, 1, time.Hour, now)
	if due, ok := s.At(lists[0].Name); !ok || !due.Equal(Next(lists[0], now)) {
		t.Errorf("due at %v", due)
	}
	s.Postpone("nobody", now)
	s.Retry("nobody", now)
	s.Remove("nobody")
	if _, ok := s.At("nobody"); ok {
		t.Error("nobody is due")
	}
	s.Remove(lists[0].Name)
	if _, ok := s.NextAt(); ok || s.Due(now.AddDate(1, 0, 0)) != nil {
		t.Error("a removed watchlist is due")
	}
}

func BenchmarkScheduler(b *testing.B) {
	from := at(b, "2026-11-23T10:00:00Z")
	s, _ := filled(b, 10_000, time.Hour, from)
	for b.Loop() {
		now, _ := s.NextAt()
		s.Due(now)
	}
}
