package watcher

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// A Plan is what a set of watchlists costs. All figures are averages per day.
//
// It counts the scans of the schedule: one call per page, and one more to read
// the first page again if there are several; and the calls that look for the
// latest period, at the most that a source publishing up to four days late
// causes. It does not count retries, nor the second and third scans by which
// shuffled ties are completed.
type Plan struct {
	Price    float64 // of one call
	Rows     []PlanRow
	Readings float64
	Calls    float64
	Cost     float64
}

// A PlanRow is one watchlist's part, in the order of the file.
type PlanRow struct {
	Watchlist string
	Schedule  string
	Places    int // read from the source, whole pages
	Pages     int
	// Readings counts the watchlist's ticks, Own those of them that no other
	// watchlist's reading serves. ServedBy names the one that serves the others,
	// which asks the source for the same, and is empty if there is none.
	Readings float64
	Own      float64
	ServedBy string
	Probes   float64 // calls that look for the latest period
	Calls    float64 // all calls of the Own readings
	Cost     float64
	// EdgeNote says that the last ranks lie on the edge for want of a page, and
	// what that page costs; empty if they don't.
	EdgeNote string
}

// lateDays is how late the source publishes a period at worst.
const lateDays = 4

// MakePlan computes what the watchlists cost at a price per call, in whatever
// currency. Watchlists that ask for the same are counted once: the one that is
// read most often bears the cost, the others what they add. Cron schedules are
// averaged over the four years from now, and taken never to coincide with
// others.
func MakePlan(lists []Watchlist, price float64, now time.Time) Plan {
	p := Plan{Price: price, Rows: make([]PlanRow, len(lists))}
	rates := cronRates{now: now, known: map[string]float64{}}
	feeds := map[Feed][]int{}
	for i, w := range lists {
		p.Rows[i] = PlanRow{Watchlist: w.Name, Schedule: w.ScheduleText(), Places: w.Depth(), Pages: w.Pages(), Readings: rates.of(w)}
		feeds[w.Feed()] = append(feeds[w.Feed()], i)
	}
	for _, members := range feeds {
		p.share(lists, members, &rates)
	}
	for _, r := range p.Rows {
		p.Readings += r.Own
		p.Calls += r.Calls
	}
	p.Cost = p.Calls * price
	return p
}

// share splits the cost of one feed among the watchlists that use it, given by
// their place in lists.
func (p *Plan) share(lists []Watchlist, members []int, rates *cronRates) {
	slices.SortStableFunc(members, func(a, b int) int { return cmp.Compare(p.Rows[b].Readings, p.Rows[a].Readings) })
	var together []Watchlist
	before := 0.0
	for n, i := range members {
		w, r := lists[i], &p.Rows[i]
		together = append(together, w)
		all := rates.union(together)
		r.Own = max(all-before, 0)
		before = all
		if n > 0 {
			r.ServedBy = lists[members[0]].Name
		}
		r.Probes = r.Own * probesPerReading(w.Period)
		r.Calls = r.Own*float64(scanCalls(w.Pages())) + r.Probes
		r.Cost = r.Calls * p.Price
	}
	for _, i := range members {
		p.Rows[i].EdgeNote = p.edgeNote(lists[i], before, len(members))
	}
}

func (p *Plan) edgeNote(w Watchlist, readings float64, users int) string {
	last := w.Top + w.Margin
	if last%fastmoss.MaxPageSize != 0 {
		return ""
	}
	if last == fastmoss.MaxDepth {
		return "if more than 1000 creators match, the last ranks lie on the edge of what the source shows; no page goes further"
	}
	more := readings * float64(scanCalls(w.Pages()+1)-scanCalls(w.Pages()))
	note := fmt.Sprintf("if more than %d creators match, the last ranks lie on the edge of what is read; `margin: %d` reads one more page, for %s more calls a day",
		last, w.Margin+1, number(more))
	if p.Price > 0 {
		note += fmt.Sprintf(" (%.2f)", more*p.Price)
	}
	if users > 1 {
		note += fmt.Sprintf(", if all %d watchlists that share this reading read that far", users)
	}
	return note
}

// scanCalls is what one scan costs.
func scanCalls(pages int) int {
	if pages > 1 {
		return pages + 1
	}
	return pages
}

// probesPerReading is how many calls a reading spends at most, on average, on
// periods that are not published yet: as long as a period is late, each reading
// asks for it once; several days are late at a time, but only one week or month.
func probesPerReading(p PeriodSpec) float64 {
	switch {
	case !p.Latest():
		return 0
	case p.Type == PeriodDay:
		return lateDays
	case p.Type == PeriodWeek:
		return lateDays / 7.0
	}
	return lateDays / 30.0
}

// cronRates counts the ticks of cron schedules, each schedule once.
type cronRates struct {
	now   time.Time
	known map[string]float64
}

// of returns a watchlist's ticks per day.
func (c *cronRates) of(w Watchlist) float64 {
	r := rhythmOf(w)
	if r.schedule == nil {
		return perDay(r.every)
	}
	rate, ok := c.known[w.Cron]
	if !ok {
		rate = c.count(r.schedule)
		c.known[w.Cron] = rate
	}
	return rate
}

func (c *cronRates) count(s *cron.SpecSchedule) float64 {
	const allBits = 1<<60 - 1 // without the mark that stands for a star
	const span = 1461         // days: four years
	daily := *s
	daily.Minute, daily.Hour, daily.Location = 1, 1, time.UTC
	from := c.now.UTC().Truncate(oneDay).Add(-time.Second)
	days := 0
	for t := daily.Next(from); !t.IsZero() && t.Sub(from) <= span*oneDay; t = daily.Next(t) {
		days++
	}
	ticks := bits.OnesCount64(s.Minute&allBits) * bits.OnesCount64(s.Hour&allBits)
	return float64(ticks*days) / span
}

// union returns the ticks per day of watchlists of the same feed, where ticks of
// intervals that coincide count once.
func (c *cronRates) union(lists []Watchlist) float64 {
	var everys []int64
	crons := map[string]float64{}
	for _, w := range lists {
		if r := rhythmOf(w); r.schedule == nil {
			everys = append(everys, int64(r.every))
		} else {
			crons[w.Cron+" "+w.location().String()] = c.of(w)
		}
	}
	sum := 0.0
	for _, rate := range crons {
		sum += rate
	}
	slices.Sort(everys)
	var apart []int64
	for _, e := range everys {
		if !slices.ContainsFunc(apart, func(shorter int64) bool { return e%shorter == 0 }) {
			apart = append(apart, e)
		}
	}
	return sum + unionRate(apart)
}

// unionRate counts by inclusion and exclusion: intervals a and b meet once in
// their least common multiple, since they have a tick in common (see rhythm).
// That takes 2^n steps; more intervals than anybody has are taken to be apart.
func unionRate(everys []int64) float64 {
	sum := 0.0
	if len(everys) > 12 {
		for _, e := range everys {
			sum += perDay(time.Duration(e))
		}
		return sum
	}
	var add func(from int, multiple int64, sign float64)
	add = func(from int, multiple int64, sign float64) {
		for i := from; i < len(everys); i++ {
			m, ok := lcm(multiple, everys[i])
			if !ok {
				continue // they meet less than once in a lifetime
			}
			sum += sign * perDay(time.Duration(m))
			add(i+1, m, -sign)
		}
	}
	add(0, 1, 1)
	return sum
}

func lcm(a, b int64) (int64, bool) {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	a /= x
	if a > math.MaxInt64/b {
		return 0, false
	}
	return a * b, true
}

func perDay(every time.Duration) float64 { return float64(oneDay) / float64(every) }

// WriteText writes the plan as an aligned table, with notes below. Without a
// price it has no column for the cost.
func (p Plan) WriteText(w io.Writer) error {
	cost := func(head string, f float64) string {
		if p.Price == 0 {
			return ""
		}
		return cmp.Or(head, fmt.Sprintf("%.2f", f))
	}
	table := [][]string{{"WATCHLIST", "SCHEDULE", "PLACES", "READINGS/DAY", "CALLS/DAY", cost("COST/DAY", 0), ""}}
	for _, r := range p.Rows {
		remark := ""
		if r.ServedBy != "" {
			remark = "shares the readings of " + r.ServedBy
		}
		table = append(table, []string{
			r.Watchlist, r.Schedule, strconv.Itoa(r.Places), number(r.Readings), number(r.Calls), cost("", r.Cost), remark,
		})
	}
	table = append(table, []string{"in all", "", "", number(p.Readings), number(p.Calls), cost("", p.Cost), ""})
	var b strings.Builder
	writeTable(&b, table)
	b.WriteString("\nCounted once per reading: its pages, page 1 again if there are several, and the search for the\n" +
		"latest period if the source is four days late. Not counted: retries, and up to two more scans\n" +
		"where the source shuffles ties.\n")
	for _, r := range p.Rows {
		if r.EdgeNote != "" {
			b.WriteString("\n" + r.Watchlist + ": " + r.EdgeNote + "\n")
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// writeTable aligns columns; the numbers, from the third to the sixth, to the
// right. All cells are ASCII.
func writeTable(b *strings.Builder, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, row := range table {
		var line strings.Builder
		for i, cell := range row {
			width := widths[i]
			if i < 2 || i > 5 {
				width = -width
			}
			fmt.Fprintf(&line, "%*s  ", width, cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// number writes a figure with at most one decimal.
func number(f float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
}
