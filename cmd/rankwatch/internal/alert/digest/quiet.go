package digest

import (
	"slices"
	"time"
)

// Quiet are hours in which nothing is sent; what came is sent together when
// they end. They are the times that the clock in Zone shows from From until To,
// minutes since midnight, 0 to 1440; a To at or before From is in the next day.
// Days are those on which From lies; none is every day.
type Quiet struct {
	From, To int
	Zone     *time.Location
	Days     []time.Weekday
}

const (
	minutesADay = 24 * 60
	// maxQuiet bounds End for hours that never end: twice around the week.
	maxQuiet = 14 * 24 * time.Hour
)

// End returns when the quiet hours that t lies in end, or t itself. Hours that
// begin when others end go on; those that never end, which Always tells, end in
// two weeks.
func (q *Quiet) End(t time.Time) time.Time {
	if q == nil {
		return t
	}
	at := t
	for at.Sub(t) < maxQuiet {
		rest := q.rest(at)
		if rest == 0 {
			return at
		}
		next := at.Add(rest)
		// What the clock shows is only told up to its next change.
		if _, change := at.In(q.Zone).ZoneBounds(); !change.IsZero() && change.Before(next) {
			next = change
		}
		at = next.In(t.Location())
	}
	return at
}

// Always tells that the clock shows no time outside the quiet hours.
func (q *Quiet) Always() bool {
	if q == nil {
		return false
	}
	// A week without a change of the clock, in steps of the finest grain.
	utc := Quiet{From: q.From, To: q.To, Zone: time.UTC, Days: q.Days}
	week := time.Date(2026, time.January, 5, 0, 0, 0, 0, time.UTC)
	for minute := range 7 * minutesADay {
		if utc.rest(week.Add(time.Duration(minute)*time.Minute)) == 0 {
			return false
		}
	}
	return true
}

// rest is how long the clock has to go until it shows the end of the quiet hours
// that t lies in, 0 if it lies in none.
func (q *Quiet) rest(t time.Time) time.Duration {
	local := t.In(q.Zone)
	h, m, s := local.Clock()
	now := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second + time.Duration(local.Nanosecond())
	from, to := time.Duration(q.From)*time.Minute, time.Duration(q.To)*time.Minute
	today := local.Weekday()
	yesterday := (today + 6) % 7
	const day = 24 * time.Hour
	switch {
	case to > from && q.on(today) && from <= now && now < to:
		return to - now
	case to <= from && q.on(yesterday) && now < to:
		return to - now
	case to <= from && q.on(today) && now >= from:
		return to + day - now
	}
	return 0
}

func (q *Quiet) on(d time.Weekday) bool { return len(q.Days) == 0 || slices.Contains(q.Days, d) }
