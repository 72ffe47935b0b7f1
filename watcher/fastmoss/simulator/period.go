package simulator

import (
	"strconv"
	"time"
)

// The types of period that the API knows.
const (
	Day   = "day"
	Week  = "week"
	Month = "month"
)

// defaultPeriodType is what a call without date_info is answered with. The API
// does not say; its own example is a month.
const defaultPeriodType = Month

// A Period is a day `2026-03-01`, an ISO week `2026-08` (ISO year and week) or
// a month `2026-03`. Its zero value means that none was asked for.
type Period struct {
	Type, Value string
}

// span returns when the period begins and when the next one does; false if p is
// not a period.
func (p Period) span(loc *time.Location) (from, to time.Time, ok bool) {
	var err error
	switch p.Type {
	case Day:
		from, err = time.ParseInLocation(time.DateOnly, p.Value, loc)
		to = from.AddDate(0, 0, 1)
	case Week:
		from, ok = monday(p.Value, loc)
		return from, from.AddDate(0, 0, 7), ok
	case Month:
		from, err = time.ParseInLocation("2006-01", p.Value, loc)
		to = from.AddDate(0, 1, 0)
	default:
		return from, to, false
	}
	return from, to, err == nil
}

func monday(value string, loc *time.Location) (time.Time, bool) {
	if len(value) != 7 || value[4] != '-' {
		return time.Time{}, false
	}
	year, err := strconv.ParseUint(value[:4], 10, 16)
	if err != nil {
		return time.Time{}, false
	}
	week, err := strconv.ParseUint(value[5:], 10, 8)
	if err != nil || week == 0 || week > 53 {
		return time.Time{}, false
	}
	// 4 January is in week 1 of its ISO year.
	jan4 := time.Date(int(year), time.January, 4, 0, 0, 0, 0, loc)
	from := jan4.AddDate(0, 0, 7*(int(week)-1)-(int(jan4.Weekday())+6)%7)
	y, w := from.ISOWeek()
	return from, y == int(year) && w == int(week)
}

// periodAt returns the period of that type that t is in.
func periodAt(typ string, t time.Time, loc *time.Location) Period {
	t = t.In(loc)
	switch typ {
	case Day:
		return Period{Day, t.Format(time.DateOnly)}
	case Week:
		y, w := t.ISOWeek()
		return Period{Week, pad(y, 4) + "-" + pad(w, 2)}
	default:
		return Period{Month, t.Format("2006-01")}
	}
}

func pad(n, width int) string {
	s := strconv.Itoa(n)
	for len(s) < width {
		s = "0" + s
	}
	return s
}

// before returns the period that precedes p, which must be a period.
func (p Period) before(loc *time.Location) Period {
	from, _, _ := p.span(loc)
	return periodAt(p.Type, from.Add(-1), loc)
}

// lastCompleted returns the newest period of that type that was over at t.
func lastCompleted(typ string, t time.Time, loc *time.Location) Period {
	return periodAt(typ, t, loc).before(loc)
}
