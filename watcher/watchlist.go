package watcher

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// What a watchlist has when its file says nothing else.
const (
	DefaultEvery   = time.Hour
	DefaultTop     = 100
	DefaultMaxLoss = 0.5
	DefaultConfirm = 2
)

// A Rollover says what a new period is to the one before.
type Rollover uint8

// RolloverCompare reports the changes from one period to the next;
// RolloverReset begins each period with a baseline.
const (
	RolloverCompare Rollover = iota
	RolloverReset
)

// String returns the name that watchlist files use.
func (r Rollover) String() string {
	if r == RolloverReset {
		return "reset"
	}
	return "compare"
}

// A Guard holds back a reading that loses more than MaxLoss of the members, a
// share above 0 and at most 1, until Confirm readings in a row have said so. A
// Confirm of 1 holds back nothing.
type Guard struct {
	MaxLoss float64
	Confirm int
}

// A PeriodSpec says which period a watchlist reads. With None no date_info is
// sent and the other fields are empty. Otherwise Type is day, week or month and
// Value a period of that type, or latest.
type PeriodSpec struct {
	None  bool
	Type  string
	Value string
}

// PeriodLatest is the PeriodSpec.Value that means the newest published period.
const PeriodLatest = "latest"

// Latest tells whether the period has to be looked up.
func (p PeriodSpec) Latest() bool { return !p.None && p.Value == PeriodLatest }

// Fixed is the period that a watchlist names. It is zero, as in a query without
// date_info, if it names none or the latest.
func (p PeriodSpec) Fixed() event.Period {
	if p.None || p.Latest() {
		return event.Period{}
	}
	return event.Period{Type: p.Type, Value: p.Value}
}

// String writes the period as plans and logs show it.
func (p PeriodSpec) String() string {
	if p.None {
		return "none"
	}
	return p.Type + " " + p.Value
}

// A Watchlist is one configured board. Watchlists come from ParseWatchlists; in
// one made otherwise, Cron has no effect.
type Watchlist struct {
	Name     string
	Every    time.Duration  // 0 with Cron
	Cron     string         // five fields, in Timezone; "" with Every
	Timezone *time.Location // of Cron and of the latest period; nil is UTC
	Top      int            // ranks watched
	Margin   int            // places read past Top
	Filter   fastmoss.Filter
	Period   PeriodSpec
	Rules    diff.Rules // Top and Margin as above
	Rollover Rollover
	Announce bool // the first baseline publishes entered for all
	Guard    Guard

	schedule *cron.SpecSchedule // Cron, parsed
}

// Depth is how many places a reading asks for: Top and Margin, rounded up to
// whole pages, fastmoss.MaxDepth at most.
func (w Watchlist) Depth() int { return min(w.Pages()*fastmoss.MaxPageSize, fastmoss.MaxDepth) }

// Pages is how many pages a scan has.
func (w Watchlist) Pages() int {
	return (w.Top + w.Margin + fastmoss.MaxPageSize - 1) / fastmoss.MaxPageSize
}

// Region is the region in the watchlist's subjects.
func (w Watchlist) Region() string {
	if w.Filter.Region == "" {
		return event.RegionAll
	}
	return w.Filter.Region
}

// Fingerprint is a text that changes when the next reading can't be compared
// with the last: with the filter, the period's type, top, margin or ties. The
// part before "; top=" names the list itself. It is the same in all versions of
// rankwatch.
func (w Watchlist) Fingerprint() string {
	period := w.Period.Type
	if w.Period.None {
		period = "none"
	}
	return fmt.Sprintf("%s; period=%s; top=%d; margin=%d; ties=%s",
		filterText(w.Filter), period, w.Top, w.Margin, w.Rules.Ties)
}

// A Feed is what a reading asks of the source. Watchlists with equal feeds are
// served by one reading. Timezone is empty unless the latest period depends on
// it.
type Feed struct {
	Filter   fastmoss.Filter
	Period   PeriodSpec
	Timezone string
	Depth    int
}

// Feed returns what the watchlist asks of the source.
func (w Watchlist) Feed() Feed {
	f := Feed{Filter: w.Filter, Period: w.Period, Depth: w.Depth()}
	if w.Period.Latest() {
		f.Timezone = w.location().String()
	}
	return f
}

// String writes the feed in a form that is the same in all versions of
// rankwatch; schedules are spread by it.
func (f Feed) String() string {
	s := fmt.Sprintf("%s; period=%s; depth=%d", filterText(f.Filter), f.Period, f.Depth)
	if f.Timezone != "" {
		s += "; timezone=" + f.Timezone
	}
	return s
}

// Equal tells whether two watchlists say the same, defaults included.
func (w Watchlist) Equal(o Watchlist) bool {
	if w.location().String() != o.location().String() {
		return false
	}
	w.Timezone, o.Timezone = nil, nil
	w.schedule, o.schedule = nil, nil
	return w == o
}

// ScheduleText is how often the watchlist is read, for people: `every 6h`, or the
// cron expression and its time zone.
func (w Watchlist) ScheduleText() string {
	if w.Cron != "" {
		return w.Cron + " " + w.location().String()
	}
	s := rhythmOf(w).every.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return "every " + s
}

func (w Watchlist) location() *time.Location {
	if w.Timezone == nil {
		return time.UTC
	}
	return w.Timezone
}
