package watcher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

// The types of period that the source knows. Weeks are ISO weeks, Monday to
// Sunday, and are named by ISO year and week.
const (
	PeriodDay   = "day"
	PeriodWeek  = "week"
	PeriodMonth = "month"
)

// ErrUnpublished means that none of the periods looked at has been published.
// There is nothing to read; try again at the next tick.
var ErrUnpublished = errors.New("watcher: no period published")

// Lookback is how many periods back from the last completed one Latest looks:
// far enough for the source's delay of some days and a long holiday.
func Lookback(typ string) int {
	switch typ {
	case PeriodDay:
		return 14
	case PeriodWeek:
		return 8
	}
	return 6
}

// LastCompleted is the last period of a type that has ended by now in loc.
func LastCompleted(typ string, now time.Time, loc *time.Location) event.Period {
	y, m, d := now.In(loc).Date()
	switch typ {
	case PeriodDay:
		d--
	case PeriodWeek:
		d -= 7
	case PeriodMonth:
		d = 0 // the day before the first
	}
	// In UTC every day has 24 hours.
	return periodOf(typ, time.Date(y, m, d, 0, 0, 0, 0, time.UTC))
}

// Previous is the period before p. It is zero if p is none that CheckPeriod
// accepts.
func Previous(p event.Period) event.Period {
	start, err := parsePeriod(p)
	if err != nil {
		return event.Period{}
	}
	// The day before a period's first belongs to the period before.
	return periodOf(p.Type, start.AddDate(0, 0, -1))
}

// Newer tells whether a is a later period than b. Periods of different types
// are neither newer nor older; a zero b is older than any a.
func Newer(a, b event.Period) bool {
	if b == (event.Period{}) {
		return a != b
	}
	// The source writes them with leading zeros, so that they sort as text.
	return a.Type == b.Type && a.Value > b.Value
}

// CheckPeriod returns an error unless p is a day, an ISO week or a month that
// the calendar has, from the year 2000 to 9999, in the source's own form:
// 2026-03-01, 2026-08, 2026-03.
func CheckPeriod(p event.Period) error {
	_, err := parsePeriod(p)
	return err
}

// parsePeriod returns the first day of p, at midnight UTC.
func parsePeriod(p event.Period) (time.Time, error) {
	var start time.Time
	var err error
	switch p.Type {
	case PeriodDay:
		start, err = time.Parse(time.DateOnly, p.Value)
	case PeriodMonth:
		start, err = time.Parse("2006-01", p.Value)
	case PeriodWeek:
		start, err = parseWeek(p.Value)
	default:
		return start, fmt.Errorf("watcher: period type %q: use day, week or month", p.Type)
	}
	if err == nil && (periodOf(p.Type, start) != p || p.Value < "2000") {
		err = errors.New("no such period")
	}
	if err != nil {
		return start, fmt.Errorf("watcher: %s %q: %w", p.Type, p.Value, err)
	}
	return start, nil
}

func parseWeek(s string) (time.Time, error) {
	if len(s) != len("2026-08") || s[4] != '-' {
		return time.Time{}, errors.New("not a year and a week")
	}
	year, err := strconv.Atoi(s[:4])
	if err != nil {
		return time.Time{}, err
	}
	week, err := strconv.Atoi(s[5:])
	if err != nil {
		return time.Time{}, err
	}
	// The fourth of January is always in week 1.
	first := time.Date(year, time.January, 4, 0, 0, 0, 0, time.UTC)
	sinceMonday := (int(first.Weekday()) + 6) % 7
	return first.AddDate(0, 0, 7*(week-1)-sinceMonday), nil
}

// periodOf is the period of a type that a day belongs to.
func periodOf(typ string, t time.Time) event.Period {
	switch typ {
	case PeriodDay:
		return event.Period{Type: typ, Value: t.Format(time.DateOnly)}
	case PeriodWeek:
		y, w := t.ISOWeek()
		return event.Period{Type: typ, Value: fmt.Sprintf("%04d-%02d", y, w)}
	case PeriodMonth:
		return event.Period{Type: typ, Value: t.Format("2006-01")}
	}
	return event.Period{}
}

// Latest finds the newest published period, looking back from newest, the last
// completed one. Held is the period that the caller has read before, zero if
// none or of another type: it is known to be published, is never probed, and
// ends the search, as does the end of the lookback, beyond which nothing new is
// to be expected. Without held, ErrUnpublished is the error when no period in
// the lookback is published. Errors of probe end the search and are passed on.
func Latest(
	ctx context.Context, held, newest event.Period, probe func(context.Context, event.Period) (published bool, err error),
) (event.Period, error) {
	if err := CheckPeriod(newest); err != nil {
		return event.Period{}, err
	}
	if held.Type != newest.Type {
		held = event.Period{}
	}
	p := newest
	for range Lookback(newest.Type) {
		if !Newer(p, held) {
			return held, nil
		}
		published, err := probe(ctx, p)
		if err != nil {
			return event.Period{}, fmt.Errorf("look for %s %s: %w", p.Type, p.Value, err)
		}
		if published {
			return p, nil
		}
		p = Previous(p)
	}
	if held != (event.Period{}) {
		return held, nil
	}
	return event.Period{}, fmt.Errorf("%w: looked at %d periods back from %s %s",
		ErrUnpublished, Lookback(newest.Type), newest.Type, newest.Value)
}

func periodKeys() []string { return []string{"type", "value"} }

// period reads what a watchlist says of its period.
func (o fields) period() PeriodSpec {
	p := PeriodSpec{Type: PeriodMonth, Value: PeriodLatest}
	v, ok := o.Get("period")
	if !ok {
		return p
	}
	if s, ok := v.Text(); ok {
		if s == "none" {
			return PeriodSpec{None: true}
		}
		v.Add("this is %s; write none, or a map as in {type: month, value: latest}", v.Words())
		return p
	}
	o, ok = o.sub("period", periodKeys())
	if !ok {
		return p
	}
	typ, typOK := o.Choice("type", PeriodDay, PeriodWeek, PeriodMonth)
	if typOK {
		p.Type = typ
	}
	if at, from := o.Has("type"), o.Has("value"); at >= 0 && from > at && periodType(o.Layer(from)) != typ {
		// 2026-08 is a week as well as a month, so a value of the defaults means
		// nothing under another type.
		return p
	}
	s, v, ok := o.Text("value", `"2026-03"`)
	if !ok || s == PeriodLatest {
		return p
	}
	if o.Has("type") >= 0 && !typOK {
		return p // the mistake in the type has been said
	}
	named := event.Period{Type: p.Type, Value: s}
	if err := CheckPeriod(named); err != nil {
		v.Add("%s is not a %s that the calendar has; write %s, or latest", strictyaml.Quoted(s), p.Type, form(p.Type))
		return p
	}
	p.Value = s
	return p
}

// periodType is the type that goes with a layer's value.
func periodType(layer strictyaml.Object) string {
	if layer.Has("type") < 0 {
		return PeriodMonth
	}
	v, _ := layer.Get("type")
	s, _ := v.Text()
	return s
}

func form(typ string) string {
	switch typ {
	case PeriodDay:
		return "a date such as 2026-03-01"
	case PeriodWeek:
		return "an ISO year and week such as 2026-08"
	}
	return "a year and month such as 2026-03"
}
