package watcher

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

// Readings are put off by a jitter of at most a tenth of the interval and
// maxJitter; after a cron tick at most cronJitter, a tenth of the shortest
// distance that five fields can express.
const (
	maxJitter  = 30 * time.Second
	cronJitter = 6 * time.Second
)

// Next returns when a watchlist is due that was last read at the given time. It
// depends on nothing else, so that it is the same after a restart.
//
// A zero last means that it was never read; it is due at once, and Next is zero.
// A result before the present means that ticks were missed; they are made up by
// one reading, at once. A reading made within the jitter of a tick has served
// that tick.
func Next(w Watchlist, last time.Time) time.Time {
	if last.IsZero() {
		return time.Time{}
	}
	r := rhythmOf(w)
	tick := r.after(last)
	return tick.Add(r.jitter(tick))
}

// A rhythm computes a watchlist's ticks. They are fixed points in time: those of
// interval Every lie at phase, phase + Every, and so on since 1970, where the
// phase is drawn from the feed. So watchlists of different feeds are spread
// over the interval, while those of the same feed tick together, also when one
// interval is a multiple of the other.
type rhythm struct {
	every    time.Duration
	seed     uint64
	schedule *cron.SpecSchedule // instead of every
	loc      *time.Location
}

func rhythmOf(w Watchlist) rhythm {
	sum := sha256.Sum256([]byte(w.Feed().String()))
	r := rhythm{every: w.Every, seed: binary.BigEndian.Uint64(sum[:]), schedule: w.schedule, loc: w.location()}
	if r.every <= 0 {
		r.every = DefaultEvery
	}
	return r
}

// after returns the first tick after t.
func (r rhythm) after(t time.Time) time.Time {
	if r.schedule != nil {
		return cronAfter(r.schedule, t, r.loc)
	}
	every := int64(r.every)
	phase := int64(r.seed % uint64(every))
	since := (t.UnixNano() - phase) % every
	if since < 0 {
		since += every
	}
	return time.Unix(0, t.UnixNano()-since+every).UTC()
}

// jitter is what a tick is put off by. It is drawn from the tick, so that
// watchlists of the same feed stay together, and is shorter than the way to the
// next tick.
func (r rhythm) jitter(tick time.Time) time.Duration {
	most := cronJitter
	if r.schedule == nil {
		most = min(r.every/10, maxJitter)
	}
	// The finalizer of SplitMix64: neighbouring ticks get unrelated jitters.
	x := r.seed ^ uint64(tick.UnixNano())
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return time.Duration(x % uint64(most))
}

// parseCron reads five fields: minute, hour, day of month, month, day of week.
func parseCron(s string) (*cron.SpecSchedule, error) {
	fields := strings.Fields(s)
	if len(fields) != 5 {
		return nil, fmt.Errorf("it has %d fields", len(fields))
	}
	for _, f := range fields {
		// The parser takes an empty part for none at all.
		for part := range strings.SplitSeq(f, ",") {
			if part == "" {
				return nil, fmt.Errorf("the field %s has an empty part", strictyaml.Quoted(f))
			}
		}
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	parsed, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return nil, err
	}
	schedule, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, errors.New("it is not made of fields")
	}
	// The zone is applied by cronAfter.
	schedule.Location = time.UTC
	if schedule.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, errors.New("the calendar has no such day")
	}
	return schedule, nil
}

// cronAfter returns the first time after t that the schedule means in loc, with
// cron's usual rule for changes of the clock: a schedule bound to certain hours
// fires once for each time on the clock, also if the clock shows it twice, and
// right after the gap if the clock leaves it out; one for every hour keeps its
// distance in real time.
func cronAfter(s *cron.SpecSchedule, t time.Time, loc *time.Location) time.Time {
	const everyHour = 1<<24 - 1
	if s.Hour&everyHour == everyHour {
		inZone := *s
		inZone.Location = loc
		return inZone.Next(t).UTC()
	}
	// What the clock shows, taken for UTC, where no clock ever changes.
	local := t.In(loc)
	y, m, d := local.Date()
	shown := time.Date(y, m, d, local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), time.UTC)
	for {
		shown = s.Next(shown)
		if at := firstShown(shown, loc); at.After(t) {
			return at.UTC()
		}
		// The clock shows the hour of t for the second time.
	}
}

// firstShown returns when the clock in loc first shows the given time, or where
// it jumps over it.
func firstShown(shown time.Time, loc *time.Location) time.Time {
	y, m, d := shown.Date()
	near := time.Date(y, m, d, shown.Hour(), shown.Minute(), shown.Second(), 0, loc)
	start, end := near.ZoneBounds()
	offsets := []time.Time{near}
	if !start.IsZero() {
		offsets = append(offsets, start.Add(-time.Second))
	}
	if !end.IsZero() {
		offsets = append(offsets, end)
	}
	var first time.Time
	for _, o := range offsets {
		_, offset := o.In(loc).Zone()
		at := shown.Add(-time.Duration(offset) * time.Second)
		_, really := at.In(loc).Zone()
		if really == offset && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	switch {
	case !first.IsZero():
		return first
	case near.In(loc).Format(time.DateTime) > shown.Format(time.DateTime):
		return start
	}
	return end
}
