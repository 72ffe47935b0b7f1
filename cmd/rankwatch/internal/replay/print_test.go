package replay

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var origin = event.Origin{Prefix: "p", Region: "US", Watchlist: "us-beauty"}

func ptr[T any](v T) *T { return &v }

// change writes an event as `before>after`, where each side is rank:index or
// empty.
func change(t *testing.T, kind event.Kind, ends, nickname string, mod ...func(*event.Change)) event.Message {
	t.Helper()
	place := func(end string) *event.Place {
		if end == "" {
			return nil
		}
		p := &event.Place{}
		if _, err := fmt.Sscanf(end, "%d:%d", &p.Rank, &p.PotentialIndex); err != nil {
			t.Fatal(err)
		}
		p.Position = p.Rank
		return p
	}
	before, after, _ := strings.Cut(ends, ">")
	c := event.Change{
		Watchlist: "us-beauty", Region: "US", Revision: 7, N: 1, Of: 9, Period: &event.Period{Type: "month", Value: "2026-10"},
		Creator: event.Creator{UID: "6787580688797713413", UniqueID: ptr("handle"), Nickname: &nickname},
		Before:  place(before), After: place(after), History: event.History{FirstSeen: "2026-10-01T00:00:00.000Z", PeakRank: 3, RevisionsOnBoard: 4},
	}
	if c.Before != nil && c.After != nil {
		c.Places, c.IndexChange = ptr(c.Before.Rank-c.After.Rank), ptr(c.After.PotentialIndex-c.Before.PotentialIndex)
		c.Cause = &event.Cause{Passed: max(*c.Places, 0), PassedBy: max(-*c.Places, 0)}
	}
	for _, m := range mod {
		m(&c)
	}
	m, err := origin.Change(kind, "us-beauty/7", at, &c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var at = time.Date(2026, 11, 3, 9, 0, 1, 250e6, time.UTC)

// sample is a history with all that is awkward to print.
func sample(t *testing.T) []*history.Message {
	t.Helper()
	board := func(b event.Snapshot) event.Message {
		m, err := origin.Board(event.ReadingID("us-beauty", b.Revision, 1), at, &b)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	status, err := origin.Status(at, &event.Condition{
		Watchlist: "us-beauty", Region: "US", Status: event.StatusStale, Reason: "torn", Detail: "page 2\x1b[2J of 3 differs\u202e", Since: "2026-11-03T09:00:01Z", NextTry: ptr("2026-11-03T09:05:00Z"),
	})
	if err != nil {
		t.Fatal(err)
	}
	of := func(c *event.Change) {
		c.Creator.FollowerCount, c.Metrics.USDGMV = ptr(int64(1_234_567)), ptr(244052.07)
		c.Metrics.UnitsSold, c.Metrics.VideoUnitsSold, c.Metrics.LiveUnitsSold = ptr(int64(6138)), ptr(int64(5207)), ptr(int64(931))
	}
	all := []event.Message{
		board(event.Snapshot{
			Watchlist: "us-beauty", Region: "US", Revision: 6, Outcome: event.OutcomeBaseline, Reason: ptr(event.ReasonFirst), Total: 2310,
			Period: &event.Period{Type: "month", Value: "2026-09"}, Board: []event.Row{{UID: "1", Member: true}, {UID: "2"}}, Absent: []event.Absent{{UID: "3"}},
		}),
		change(t, event.Dropped, "88:40>", "Ana"),
		change(t, event.Dropped, "99:39>", "东京美妆 🌸", func(c *event.Change) { c.Edge = true }),
		change(t, event.Dropped, "20:39>121:30", "=HYPERLINK(\"http://x\")", func(c *event.Change) { c.Creator.UniqueID = ptr("@sum") }),
		change(t, event.Entered, ">7:83", "a name that is much longer than its column, and goes on", of),
		change(t, event.Entered, ">50:60", "\x1b[31mred\u202e\r\n\u009b", func(c *event.Change) { c.History.Reentry = true }),
		change(t, event.Moved, "12:80>9:83", "سارة", func(c *event.Change) { c.Cause = &event.Cause{Passed: 4, PassedBy: 1} }),
		change(t, event.Moved, "9:81>12:81", "👩‍👩‍👧‍👦 family", func(c *event.Change) { c.Cause = &event.Cause{PassedBy: 2, EnteredAbove: 1} }),
		change(t, event.Moved, "1000:7>1:100", "-1+1", func(c *event.Change) { c.Creator.UID = "a.b c%" }),
		change(t, event.Index, "4:90>4:91", ""),
		board(event.Snapshot{
			Watchlist: "us-beauty", Region: "US", Revision: 7, Outcome: event.OutcomeChanged, Total: 2311, Unchanged: 3, Counts: event.Counts{Entered: 2, Moved: 3, Dropped: 3, Index: 1},
			Period: &event.Period{Type: "month", Value: "2026-10"}, PreviousPeriod: &event.Period{Type: "month", Value: "2026-09"},
			Board: []event.Row{{UID: "1", Nickname: `"member":true`, Member: true}},
		}),
		status,
		// Of another version.
		{Subject: "p.US.us-beauty.merged.1", Data: []byte(`{"id":"us-beauty/8/merged/1","time":"2026-11-03T09:00:02Z","data":7}`)},
		{Subject: "p.US.us-beauty.moved.1", Data: []byte(`{"id":"us-beauty/8/moved/1","time":"2026-11-03T09:00:02Z","data":{"creator":{"nickname":"half"},"before":{"rank":"first"},"places":2}}`)},
		{Subject: "p.US.us-beauty.board", Data: []byte(`{"id":"us-beauty/8/board","data":{"outcome":"changed","counts":[1],"board":[]}}`)},
		{Subject: "elsewhere", Data: []byte("not JSON at all \x1b[2J")},
	}
	out := make([]*history.Message, len(all))
	for i, m := range all {
		out[i] = &history.Message{Subject: m.Subject, Sequence: uint64(i + 2), Stored: at, Data: m.Data}
	}
	return out
}

func printed(t *testing.T, format string, s text.Style, names ...string) string {
	t.Helper()
	var out bytes.Buffer
	p := newPrinter(format, target{out: &out, style: s, prefix: "p", names: names})
	for _, m := range sample(t) {
		if err := p.print(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestHistoryLooksAsInTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for file, got := range map[string]string{
		"plain.golden":  printed(t, "table", text.Style{}),
		"color.golden":  printed(t, "table", text.Style{Unicode: true, Color: true, Width: 170}),
		"100.golden":    printed(t, "table", text.Style{Unicode: true, Width: 100}),
		"narrow.golden": printed(t, "table", text.Style{Unicode: true, Width: 60}, "us-beauty"),
		"csv.golden":    strings.ReplaceAll(printed(t, "csv", text.Style{}), "\r\n", "\n"),
	} {
		file = filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
	}
}

func TestLinesFitTheTerminalAndTheirColumnsLineUp(t *testing.T) {
	t.Parallel()
	for width := 20; width < 200; width++ {
		out := printed(t, "table", text.Style{Unicode: true, Width: width}, "us-beauty")
		for line := range strings.Lines(out) {
			if n := text.Cells(strings.TrimSuffix(line, "\n")); n > width {
				t.Fatalf("%d cells in a terminal of %d: %q", n, width, line)
			}
		}
	}
	why := -1
	for line := range strings.Lines(printed(t, "table", text.Style{})) {
		for _, note := range []string{"WHY", "below the visible", "best rank", "has 1.2M", "back again", "passed"} {
			before, _, ok := strings.Cut(line, note)
			if !ok {
				continue
			}
			if why < 0 {
				why = text.Cells(before)
			}
			if got := text.Cells(before); got != why {
				t.Errorf("%q stands in column %d, the others in %d", note, got, why)
			}
			break
		}
	}
	if why < 0 {
		t.Error("no line had a note")
	}
}

func TestNothingOfAMessageSteersTheTerminal(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"table", "csv"} {
		for _, r := range strings.ReplaceAll(printed(t, format, text.Style{Unicode: true}), "\r\n", "\n") {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
				t.Errorf("%s prints %q", format, r)
			}
		}
	}
}

func TestJSONIsTheStoredBytes(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	for _, m := range sample(t) {
		want.Write(m.Data)
		want.WriteByte('\n')
	}
	if got := printed(t, "json", text.Style{Unicode: true, Color: true, Width: 20}); got != want.String() {
		t.Errorf("got\n%s", got)
	}
}

func TestCSVHasARowAMessageAndNoFormula(t *testing.T) {
	t.Parallel()
	out := printed(t, "csv", text.Style{})
	if got, want := strings.Count(out, "\r\n"), strings.Count(out, "\n"); got != want {
		t.Errorf("%d lines of %d end as RFC 4180 has it", got, want)
	}
	r := csv.NewReader(strings.NewReader(out))
	rows, err := r.ReadAll() // which checks that all rows are as long
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(rows)-1, len(sample(t)); got != want {
		t.Errorf("%d rows of %d messages", got, want)
	}
	number := map[string]bool{"places": true, "index_change": true}
	for _, row := range rows[1:] {
		for i, cell := range row {
			if !number[rows[0][i]] && cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("%s: %q could be run", rows[0][i], cell)
			}
		}
	}
}

func TestCSVOfNothingHasAHeader(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := newPrinter("csv", target{out: &out}).close(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "time,watchlist,region,revision,kind,") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("got %q", out.String())
	}
}

func TestAFailedWriteIsReported(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"table", "json", "csv"} {
		p := newPrinter(format, target{out: full{}, prefix: "p"})
		var err error
		for _, m := range sample(t) {
			err = p.print(m)
		}
		if cerr := p.close(); err == nil && cerr == nil {
			t.Errorf("%s: nobody noticed", format)
		}
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
