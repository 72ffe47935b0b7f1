package watcher

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// listNo is one of many watchlists with feeds of their own.
func listNo(i int, every time.Duration) Watchlist {
	w := Watchlist{Name: fmt.Sprintf("list-%05d", i), Every: every, Top: 100, Period: PeriodSpec{Type: PeriodMonth, Value: PeriodLatest}}
	w.Filter.CreatorCategoryID.Value, w.Filter.CreatorCategoryID.Valid = int64(i+1), true
	return w
}

func cronList(t testing.TB, spec, zone string) Watchlist {
	t.Helper()
	schedule, err := parseCron(spec)
	if err != nil {
		t.Fatal(err)
	}
	return Watchlist{Name: "cron", Cron: spec, Timezone: location(t, zone), Top: 100, schedule: schedule}
}

func TestNeverReadIsDueAtOnce(t *testing.T) {
	if next := Next(listNo(1, time.Hour), time.Time{}); !next.IsZero() {
		t.Errorf("due at %v", next)
	}
}

func TestMissedTicksAreOverdue(t *testing.T) {
	last := at(t, "2026-11-20T10:00:00Z")
	if next := Next(listNo(1, time.Hour), last); !next.After(last) || next.Sub(last) > time.Hour+maxJitter {
		t.Errorf("last read %v, due %v", last, next)
	}
}

// Following Next from reading to reading visits each tick once, in order, with
// a jitter within its bounds.
func TestTicksNeitherLostNorDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.Int64Range(int64(time.Second), int64(100*time.Hour)).Draw(t, "every"))
		w := listNo(rapid.IntRange(0, 1000).Draw(t, "list"), every)
		r := rhythmOf(w)
		now := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "now"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos"))
		tick := r.after(now)
		for range 20 {
			next := Next(w, now)
			late := next.Sub(tick)
			if late < 0 || late >= every/10 || late >= maxJitter {
				t.Fatalf("after %v: due %v, %v after the tick %v", now, next, late, tick)
			}
			// The reading may take its time, as long as the next tick is not there.
			now = next.Add(time.Duration(rapid.Int64Range(0, int64(every/2)).Draw(t, "took")))
			tick = tick.Add(every)
			if !now.Before(tick) {
				t.Fatalf("jitter and half an interval reach the next tick")
			}
		}
	})
}

func TestSameFeedTicksTogether(t *testing.T) {
	hourly, sixHourly := listNo(7, time.Hour), listNo(7, 6*time.Hour)
	hourly.Name, hourly.Rules.MinPlaces = "other", 9
	now := at(t, "2026-11-23T10:00:00Z")
	next := Next(sixHourly, now)
	for range 6 {
		now = Next(hourly, now)
	}
	if !slices.ContainsFunc([]time.Duration{0, 1, 2, 3, 4, 5}, func(h time.Duration) bool {
		return next.Equal(Next(hourly, at(t, "2026-11-23T10:00:00Z").Add(h*time.Hour)))
	}) {
		t.Errorf("six-hourly tick %v is none of the hourly ones", next)
	}
	if now.Before(next) {
		t.Errorf("six hourly ticks end at %v, before %v", now, next)
	}
}

func TestCronAndTheClock(t *testing.T) {
	for name, c := range map[string]struct {
		spec, zone, after string
		want              []string
	}{
		"a time zone":    {"0 9 * * 1-5", "Asia/Shanghai", "2026-11-20T02:00:00Z", []string{"2026-11-23T01:00:00Z", "2026-11-24T01:00:00Z"}},
		"strictly after": {"0 9 * * *", "UTC", "2026-11-20T09:00:00Z", []string{"2026-11-21T09:00:00Z"}},
		// New York: 2026-03-08 has no 2:00 to 3:00, 2026-11-01 has 1:00 to 2:00 twice.
		"left out":           {"30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", []string{"2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"}},
		"left out, several":  {"*/20 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", []string{"2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"}},
		"shown twice":        {"30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", []string{"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
		"after the second":   {"30 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", []string{"2026-11-02T06:30:00Z"}},
		"the same day later": {"0 1,2 * * *", "America/New_York", "2026-11-01T05:30:00Z", []string{"2026-11-01T07:00:00Z"}},
		"hourly, forward":    {"0 * * * *", "America/New_York", "2026-03-08T05:30:00Z", []string{"2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"}},
		"hourly, back":       {"0 * * * *", "America/New_York", "2026-11-01T04:30:00Z", []string{"2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"}},
		"half an hour back":  {"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", []string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
		"midnight left out":  {"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", []string{"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}},
		"a day left out":     {"0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"}},
		"leap days":          {"0 0 29 2 *", "UTC", "2026-11-20T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := cronList(t, c.spec, c.zone)
			now := at(t, c.after)
			for _, want := range c.want {
				now = cronAfter(w.schedule, now, w.location())
				if !now.Equal(at(t, want)) {
					t.Fatalf("got %v, want %s", now.UTC(), want)
				}
			}
		})
	}
}

// In every zone, through every change of its clock: ticks rise, and each local
// day that has not been skipped gets its tick.
func TestCronTicksOncePerDayEverywhere(t *testing.T) {
	zones := []string{"UTC", "America/New_York", "Australia/Lord_Howe", "Europe/Berlin", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran", "America/Santiago"}
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		hour, minute := rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute")
		schedule, err := parseCron(fmt.Sprintf("%d %d * * *", minute, hour))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(1_300_000_000, 1_900_000_000).Draw(t, "now"), 0)
		for range 40 {
			next := cronAfter(schedule, now, loc)
			if !next.After(now) {
				t.Fatalf("after %v came %v", now, next)
			}
			if again := cronAfter(schedule, next.Add(-time.Second), loc); !again.Equal(next) {
				t.Fatalf("a second before %v the next tick is %v", next, again)
			}
			if gap := next.Sub(now); gap > 26*time.Hour {
				t.Fatalf("no tick from %v to %v", now.In(loc), next.In(loc))
			}
			now = next
		}
	})
}

func TestCronJitterIsSmall(t *testing.T) {
	w := cronList(t, "* * * * *", "UTC")
	now := at(t, "2026-11-23T10:00:00Z")
	for range 100 {
		tick := cronAfter(w.schedule, now, time.UTC)
		next := Next(w, now)
		if late := next.Sub(tick); late < 0 || late >= cronJitter {
			t.Fatalf("tick %v, due %v", tick, next)
		}
		now = next
	}
}

// The times must not change with a new version: a fleet would herd. They were
// computed outside of this code from the SHA-256 of the feed's text.
func TestPhaseIsStable(t *testing.T) {
	w := listNo(0, time.Hour)
	if s, want := w.Feed().String(), "creator_category_id=1; period=month latest; depth=100; timezone=UTC"; s != want {
		t.Fatalf("feed %q, want %q", s, want)
	}
	next := Next(w, at(t, "2026-11-23T10:00:00Z")).Format(time.RFC3339Nano)
	if want := "2026-11-23T10:40:35.598813444Z"; next != want {
		t.Errorf("due %s, want %s", next, want)
	}
}
