package watcher

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const planFile = `
defaults: {every: 6h, top: 250, period: {type: month, value: 2026-03}}
watchlists:
  - {name: us-beauty, filter: {region: US}}
  - {name: us-beauty-fast, every: 1h, filter: {region: US}, rules: {moved: {min_places: 5}}}
  - {name: gb-top, top: 100, filter: {region: GB}}
  - {name: de-days, top: 50, every: 1d, filter: {region: DE}, period: {type: day, value: latest}}
  - {name: everything, top: 1000, cron: "0 9 * * 1-5", timezone: Asia/Shanghai, period: none}
  - {name: mx-edge, top: 150, margin: 50, every: 12h, filter: {region: MX}}
`

func TestPlanTable(t *testing.T) {
	p := MakePlan(parse(t, planFile), 0.14, at(t, "2026-11-23T10:00:00Z"))
	var b strings.Builder
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/plan.golden", b.String())
}

// The figures of planFile, by hand.
func TestPlanFigures(t *testing.T) {
	p := MakePlan(parse(t, planFile), 0.5, at(t, "2026-11-23T10:00:00Z"))
	for i, want := range []struct {
		readings, own, calls float64
		servedBy             string
	}{
		{4, 0, 0, "us-beauty-fast"},          // each of its ticks is one of the hourly ones
		{24, 24, 24 * (3 + 1), ""},           // three pages and the first again
		{4, 4, 4, ""},                        // one page
		{1, 1, 1 + 4, ""},                    // up to four days are late at a time
		{5.0 / 7, 5.0 / 7, 5.0 / 7 * 11, ""}, // ten pages and the first again
		{2, 2, 2 * (2 + 1), ""},              // two pages and the first again
	} {
		r := p.Rows[i]
		if !near(r.Readings, want.readings) || !near(r.Own, want.own) || !near(r.Calls, want.calls) || !near(r.Cost, want.calls/2) || r.ServedBy != want.servedBy {
			t.Errorf("%s: %+v, want %+v", r.Watchlist, r, want)
		}
	}
	calls := 24*4 + 4 + 5 + 5.0/7*11 + 6
	if !near(p.Calls, calls) || !near(p.Cost, calls/2) || !near(p.Readings, 24+4+1+5.0/7+2) {
		t.Errorf("in all: %v readings, %v calls, %v", p.Readings, p.Calls, p.Cost)
	}
}

// near allows for four years not being whole weeks.
func near(a, b float64) bool { return math.Abs(a-b) < 0.02 }

func TestEdgeNotes(t *testing.T) {
	for own, want := range map[string]string{
		"top: 99":               "",
		"top: 101":              "",
		"top: 150, margin: 49":  "",
		"top: 950, margin: 49":  "",
		"top: 100":              "`margin: 1` reads one more page, for 48 more calls a day", // from 1 call to 3
		"top: 150, margin: 50":  "`margin: 51` reads one more page, for 24 more calls a day",
		"top: 900":              "`margin: 1` reads one more page, for 24 more calls a day",
		"top: 1000":             "no page goes further",
		"top: 900, margin: 100": "no page goes further",
	} {
		note := MakePlan([]Watchlist{one(t, "name: a, every: 1h, "+own)}, 0, time.Now()).Rows[0].EdgeNote
		if (want == "") != (note == "") || !strings.Contains(note, want) {
			t.Errorf("%s: %q, want %q", own, note, want)
		}
	}
}

// The page that an edge note advises costs what it says.
func TestEdgeNoteIsTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := listNo(1, time.Duration(rapid.IntRange(60, 100_000).Draw(t, "every"))*time.Second)
		w.Top = rapid.IntRange(1, 9).Draw(t, "pages") * 100
		before := MakePlan([]Watchlist{w}, 0, time.Now())
		w.Margin++
		after := MakePlan([]Watchlist{w}, 0, time.Now())
		if want := "for " + number(after.Calls-before.Calls) + " more calls a day"; !strings.Contains(before.Rows[0].EdgeNote, want) {
			t.Fatalf("%q, want %q", before.Rows[0].EdgeNote, want)
		}
	})
}

// What the plan counts is what the Scheduler does: readings of one feed, each
// serving all that are due with it.
func TestPlanAgreesWithTheScheduler(t *testing.T) {
	for _, minutes := range [][]int{{60}, {60, 60}, {60, 30, 10}, {4, 6}, {6, 10, 15}, {7, 60, 14, 9}} {
		from := at(t, "2026-11-23T10:00:00Z")
		s := &Scheduler{}
		var lists []Watchlist
		for i, m := range minutes {
			w := listNo(1, time.Duration(m)*time.Minute)
			w.Name += strings.Repeat("x", i)
			lists = append(lists, w)
			s.Add(w, from)
		}
		const days = 30
		readings := 0
		run(s, from.Add(days*oneDay), func(time.Time, []string) { readings++ })
		want := MakePlan(lists, 0, from).Readings
		if got := float64(readings) / days; math.Abs(got-want) > want*0.002+0.1 {
			t.Errorf("every %v minutes: planned %v readings a day, made %v", minutes, want, got)
		}
	}
}

func TestPlanCronRates(t *testing.T) {
	for spec, want := range map[string]float64{
		"0 9 * * *": 1, "*/15 * * * *": 96, "0,30 9-17 * * 1-5": 18 * 5.0 / 7, "0 9 1 * *": 12 / 365.25, "0 0 29 2 *": 1.0 / 1461,
	} {
		r := MakePlan([]Watchlist{one(t, `name: a, cron: "`+spec+`"`)}, 0, at(t, "2026-11-23T10:00:00Z")).Rows[0]
		if math.Abs(r.Readings-want) > want*0.005 {
			t.Errorf("%s: %v readings a day, want %v", spec, r.Readings, want)
		}
	}
}

func TestManyIntervalsAreBoundedFromAbove(t *testing.T) {
	var lists []Watchlist
	sum := 0.0
	for i := range 40 {
		w := listNo(1, time.Duration(3600+i)*time.Second)
		w.Name += strings.Repeat("x", i)
		lists = append(lists, w)
		sum += perDay(w.Every)
	}
	if got := MakePlan(lists, 0, time.Now()).Readings; got > sum || got < sum*0.9 {
		t.Errorf("%v readings a day, want at most %v", got, sum)
	}
}

type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

func TestPlanWithoutPriceSpeaksOfNoCost(t *testing.T) {
	var b strings.Builder
	if err := MakePlan(parse(t, planFile), 0, time.Now()).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Contains(s, "COST") || strings.Contains(s, "0.00") || !strings.Contains(s, "CALLS/DAY") {
		t.Errorf("got\n%s", s)
	}
}

func TestPlanReportsWriteErrors(t *testing.T) {
	fault := errors.New("disk full")
	if err := MakePlan(parse(t, planFile), 0, time.Now()).WriteText(fullDisk{fault}); !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
}
