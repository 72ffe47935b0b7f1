package watcher

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// p reads "month 2026-03"; "" is the zero period.
func p(s string) event.Period {
	typ, value, _ := strings.Cut(s, " ")
	return event.Period{Type: typ, Value: value}
}

func location(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestLastCompleted(t *testing.T) {
	for _, c := range []struct{ now, zone, want string }{
		{"2026-03-01T00:00:00Z", "UTC", "day 2026-02-28"},
		{"2024-03-01T00:00:00Z", "UTC", "day 2024-02-29"},
		{"2026-03-01T00:00:00Z", "UTC", "month 2026-02"},
		{"2026-03-31T23:59:59Z", "UTC", "month 2026-02"},
		{"2026-01-01T00:00:00Z", "UTC", "month 2025-12"},
		{"2026-03-31T16:00:00Z", "Asia/Shanghai", "month 2026-03"}, // already April there
		{"2026-04-01T03:00:00Z", "America/New_York", "month 2026-02"},
		{"2027-01-03T23:59:59Z", "UTC", "week 2026-52"}, // Sunday of 2026-53
		{"2027-01-04T00:00:00Z", "UTC", "week 2026-53"}, // Monday of 2027-01
		{"2026-01-04T12:00:00Z", "UTC", "week 2025-52"}, // Sunday of 2026-01
		{"2026-01-05T12:00:00Z", "UTC", "week 2026-01"},
		{"2011-12-31T12:00:00Z", "Pacific/Apia", "day 2011-12-31"}, // it skipped the 30th
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		want := p(c.want)
		if got := LastCompleted(want.Type, now, location(t, c.zone)); got != want {
			t.Errorf("%s in %s: got %v, want %v", c.now, c.zone, got, want)
		}
	}
}

func TestPrevious(t *testing.T) {
	for from, want := range map[string]string{
		"day 2026-03-01": "day 2026-02-28", "day 2026-01-01": "day 2025-12-31", "month 2026-01": "month 2025-12", "month 2026-03": "month 2026-02",
		"week 2027-01": "week 2026-53", "week 2026-01": "week 2025-52", "week 2021-01": "week 2020-53", "week 2026-53": "week 2026-52",
		"month 2026-13": "", "year 2026": "", "": "",
	} {
		if got := Previous(p(from)); got != p(want) {
			t.Errorf("before %s: got %v, want %s", from, got, want)
		}
	}
}

func TestCheckPeriod(t *testing.T) {
	for s, ok := range map[string]bool{
		"week 2026-53": true, "week 2020-53": true, "week 2025-53": false, "week 2026-54": false, "week 2026-00": false, "week 2026-8": false,
		"week +026-08": false, "week 2026-+8": false, "week 2026-0x": false, "day 2024-02-29": true, "day 2026-02-29": false, "day 2026-02-9": false,
		"month 2026-00": false, "month 1999-12": false, "month 2000-01": true, "week 0000-01": false, "month ": false, " 2026-03": false,
	} {
		if err := CheckPeriod(p(s)); (err == nil) != ok {
			t.Errorf("%q: %v, want valid %v", s, err, ok)
		}
	}
}

// drawPeriod draws any period with the moment in UTC from which it was drawn.
func drawPeriod(t *rapid.T) (event.Period, time.Time) {
	typ := rapid.SampledFrom([]string{PeriodDay, PeriodWeek, PeriodMonth}).Draw(t, "type")
	at := time.Unix(rapid.Int64Range(1_000_000_000, 4_000_000_000).Draw(t, "at"), 0).UTC()
	return periodOf(typ, at), at
}

func TestPeriodsFollowEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		period, at := drawPeriod(t)
		if err := CheckPeriod(period); err != nil {
			t.Fatal(err)
		}
		last := LastCompleted(period.Type, at, time.UTC)
		if Previous(period) != last {
			t.Fatalf("before %v: Previous %v, LastCompleted %v", period, Previous(period), last)
		}
		if !Newer(period, last) || Newer(last, period) || Newer(period, period) {
			t.Fatalf("order of %v and %v", last, period)
		}
		// Nothing lies between: the day after the end of one is in the other.
		start, err := parsePeriod(last)
		if err != nil {
			t.Fatal(err)
		}
		day := start
		for periodOf(period.Type, day) == last {
			day = day.AddDate(0, 0, 1)
		}
		if periodOf(period.Type, day) != period {
			t.Fatalf("%v follows %v, want %v", periodOf(period.Type, day), last, period)
		}
		if day.After(at) {
			t.Fatalf("%v ended on %v, after %v", last, day, at)
		}
	})
}

func TestNewerKnowsTypes(t *testing.T) {
	if Newer(p("week 2026-08"), p("month 2026-03")) || Newer(p("month 2026-08"), p("week 2026-03")) {
		t.Error("a week and a month were compared")
	}
	if !Newer(p("month 2026-03"), p("")) || Newer(p(""), p("month 2026-03")) || Newer(p(""), p("")) {
		t.Error("zero is not older than all")
	}
}

func TestLatest(t *testing.T) {
	for name, c := range map[string]struct {
		held, newest, published, want, probes string
	}{
		"the newest is there":         {"", "month 2026-03", "2026-03", "month 2026-03", "2026-03"},
		"it is late":                  {"", "month 2026-03", "2026-01 2026-02", "month 2026-02", "2026-03 2026-02"},
		"held is the newest":          {"month 2026-03", "month 2026-03", "2026-03", "month 2026-03", ""},
		"nothing newer than held":     {"month 2026-02", "month 2026-03", "2026-02", "month 2026-02", "2026-03"},
		"newer than held":             {"month 2025-12", "month 2026-03", "2026-02 2026-01", "month 2026-02", "2026-03 2026-02"},
		"held is newer, clock behind": {"month 2026-04", "month 2026-03", "", "month 2026-04", ""},
		"held of another type":        {"week 2026-12", "month 2026-03", "2026-03", "month 2026-03", "2026-03"},
		"nothing at all":              {"", "month 2026-03", "", "", "2026-03 2026-02 2026-01 2025-12 2025-11 2025-10"},
		"held is older than all that": {"month 2024-01", "month 2026-03", "", "month 2024-01", "2026-03 2026-02 2026-01 2025-12 2025-11 2025-10"},
		"over a long ISO year":        {"week 2026-52", "week 2027-01", "2026-53", "week 2026-53", "2027-01 2026-53"},
	} {
		t.Run(name, func(t *testing.T) {
			var probes []string
			got, err := Latest(t.Context(), p(c.held), p(c.newest), func(_ context.Context, p event.Period) (bool, error) {
				probes = append(probes, p.Value)
				return slices.Contains(strings.Fields(c.published), p.Value), nil
			})
			if got != p(c.want) || (c.want == "") != errors.Is(err, ErrUnpublished) || c.want != "" && err != nil {
				t.Errorf("got %v, %v, want %s", got, err, c.want)
			}
			if s := strings.Join(probes, " "); s != c.probes {
				t.Errorf("probed %s, want %s", s, c.probes)
			}
		})
	}
}

func TestLatestPassesErrorsOn(t *testing.T) {
	fault := errors.New("denied")
	calls := 0
	_, err := Latest(t.Context(), p(""), p("month 2026-03"), func(context.Context, event.Period) (bool, error) {
		calls++
		return false, fault
	})
	if !errors.Is(err, fault) || errors.Is(err, ErrUnpublished) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if _, err := Latest(t.Context(), p(""), p("month 2026-3"), nil); err == nil {
		t.Error("looked back from no period")
	}
}

// Whatever is published, Latest finds the newest of it and spends no call on
// what it holds or what is older.
func TestLatestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		newest, _ := drawPeriod(t)
		var all []event.Period
		for p := newest; len(all) < Lookback(newest.Type)+5; p = Previous(p) {
			all = append(all, p)
		}
		published := rapid.SliceOfN(rapid.Bool(), len(all), len(all)).Draw(t, "published")
		held, holds := event.Period{}, len(all)
		if rapid.Bool().Draw(t, "holds") {
			holds = rapid.IntRange(0, len(all)-1).Draw(t, "held")
			held, published[holds] = all[holds], true
		}
		want, probes := held, min(holds, Lookback(newest.Type))
		for i := range probes {
			if published[i] {
				want, probes = all[i], i+1
				break
			}
		}
		calls := 0
		got, err := Latest(context.Background(), held, newest, func(_ context.Context, p event.Period) (bool, error) {
			if p != all[calls] {
				t.Fatalf("call %d asks for %v, want %v", calls, p, all[calls])
			}
			calls++
			return published[calls-1], nil
		})
		if got != want || calls != probes || (want == event.Period{}) != errors.Is(err, ErrUnpublished) {
			t.Fatalf("got %v, %v after %d calls, want %v after %d", got, err, calls, want, probes)
		}
	})
}
