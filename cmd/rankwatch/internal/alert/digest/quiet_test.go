package digest_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestQuietHoursEnd(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	night := digest.Quiet{From: 22 * 60, To: 7 * 60, Zone: berlin}
	workdays := night
	workdays.Days = []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	weekend := digest.Quiet{From: 0, To: 24 * 60, Zone: berlin, Days: []time.Weekday{time.Saturday, time.Sunday}}
	gap := digest.Quiet{From: 60, To: 2*60 + 30, Zone: berlin} // 02:30 is left out on 2026-03-29, and twice on 2026-10-25
	lunch := digest.Quiet{From: 12 * 60, To: 13 * 60, Zone: berlin}
	for _, tt := range []struct {
		name    string
		q       *digest.Quiet
		at, end string // in Berlin; the same: not quiet
	}{
		{"none", nil, "2026-04-14 23:00", "2026-04-14 23:00"},
		{"before", &night, "2026-04-14 21:59", "2026-04-14 21:59"},
		{"as it begins", &night, "2026-04-14 22:00", "2026-04-15 07:00"},
		{"after midnight", &night, "2026-04-15 00:00", "2026-04-15 07:00"},
		{"as it ends", &night, "2026-04-15 07:00", "2026-04-15 07:00"},
		{"noon", &lunch, "2026-04-15 12:59", "2026-04-15 13:00"},
		{"friday night", &workdays, "2026-04-18 03:00", "2026-04-18 07:00"},
		{"saturday night", &workdays, "2026-04-18 23:00", "2026-04-18 23:00"},
		{"sunday night", &workdays, "2026-04-20 03:00", "2026-04-20 03:00"},
		{"days that follow each other", &weekend, "2026-04-18 09:00", "2026-04-20 00:00"},
		{"the clock goes forward", &night, "2026-03-28 23:00", "2026-03-29 07:00"},
		{"the clock goes back", &night, "2026-10-24 23:00", "2026-10-25 07:00"},
		{"the end is left out", &gap, "2026-03-29 01:30", "2026-03-29 03:00"},
	} {
		read := func(s string) time.Time {
			at, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		if got, want := tt.q.End(read(tt.at)), read(tt.end); !got.Equal(want) {
			t.Errorf("%s: at %s they end at %s, want %s", tt.name, tt.at, got.In(berlin), want)
		}
	}
	// 02:15 for the first time; then the clock shows 02:00 to 02:30 once more.
	first := time.Date(2026, 10, 25, 0, 15, 0, 0, time.UTC)
	if got := gap.End(first); !got.Equal(first.Add(15 * time.Minute)) {
		t.Errorf("the first 02:15 ends at %s", got)
	}
	if got := gap.End(first.Add(time.Hour)); !got.Equal(first.Add(75 * time.Minute)) {
		t.Errorf("the second 02:15 ends at %s", got)
	}
}

func TestQuietHoursThatNeverEndAreKnown(t *testing.T) {
	t.Parallel()
	week := []time.Weekday{0, 1, 2, 3, 4, 5, 6}
	for _, tt := range []struct {
		q    *digest.Quiet
		want bool
	}{
		{nil, false},
		{&digest.Quiet{From: 0, To: 24 * 60, Zone: time.UTC}, true},
		{&digest.Quiet{From: 600, To: 600, Zone: time.UTC}, true},
		{&digest.Quiet{From: 600, To: 600, Zone: time.UTC, Days: week}, true},
		{&digest.Quiet{From: 600, To: 600, Zone: time.UTC, Days: week[1:]}, false},
		{&digest.Quiet{From: 600, To: 599, Zone: time.UTC}, false},
		{&digest.Quiet{From: 0, To: 24*60 - 1, Zone: time.UTC}, false},
	} {
		if got := tt.q.Always(); got != tt.want {
			t.Errorf("%+v: %v", tt.q, got)
		}
		if end := tt.q.End(at); tt.want && end.Before(at.Add(14*24*time.Hour)) {
			t.Errorf("%+v ends at %s", tt.q, end)
		}
	}
}

// quietAt is the definition: what the clock shows.
func quietAt(q *digest.Quiet, t time.Time) bool {
	t = t.In(q.Zone)
	on := func(d time.Weekday) bool {
		for _, x := range q.Days {
			if x == d {
				return true
			}
		}
		return len(q.Days) == 0
	}
	now := t.Hour()*60 + t.Minute()
	yesterday := time.Date(t.Year(), t.Month(), t.Day()-1, 12, 0, 0, 0, time.UTC).Weekday()
	if q.From < q.To {
		return on(t.Weekday()) && q.From <= now && now < q.To
	}
	return on(t.Weekday()) && now >= q.From || on(yesterday) && now < q.To
}

func TestQuietEndsAtTheFirstMomentThatIsNotQuiet(t *testing.T) {
	t.Parallel()
	var zones []*time.Location
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia"} {
		zones = append(zones, zone(t, name))
	}
	rapid.Check(t, func(t *rapid.T) {
		q := &digest.Quiet{From: rapid.IntRange(0, 24*60-1).Draw(t, "from"), To: rapid.IntRange(0, 24*60).Draw(t, "to"), Zone: rapid.SampledFrom(zones).Draw(t, "zone")}
		for d := range time.Weekday(7) {
			if rapid.Bool().Draw(t, fmt.Sprint(d)) {
				q.Days = append(q.Days, d)
			}
		}
		if q.Always() {
			t.Skip("they never end")
		}
		// Around changes of the clock more often than not, and the day that Samoa
		// left out at the end of 2011.
		start := time.Unix(rapid.Int64Range(1_310_000_000, 1_790_000_000).Draw(t, "time"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		if _, change := start.In(q.Zone).ZoneBounds(); !change.IsZero() && rapid.IntRange(0, 3).Draw(t, "near") > 0 {
			start = change.Add(time.Duration(rapid.Int64Range(-int64(26*time.Hour), int64(3*time.Hour)).Draw(t, "by")))
		}
		end := q.End(start)
		if end.Before(start) || quietAt(q, end) || !quietAt(q, start) && !end.Equal(start) {
			t.Fatalf("%v of %v: ends at %v", start.In(q.Zone), q, end.In(q.Zone))
		}
		for at := start; at.Before(end); at = at.Truncate(time.Minute).Add(time.Minute) {
			if !quietAt(q, at) {
				t.Fatalf("%v of %v: ends at %v, but %v is not quiet", start.In(q.Zone), q, end.In(q.Zone), at.In(q.Zone))
			}
		}
	})
}
