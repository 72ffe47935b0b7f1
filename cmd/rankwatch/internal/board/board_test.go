package board

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
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

func ptr[T any](v T) *T { return &v }

var at = time.Date(2026, 11, 3, 9, 0, 1, 250e6, time.UTC)

// rows writes a board: `uid rank:index` each, with ! for no member and ~ for
// the edge after it.
func rows(t *testing.T, of ...string) []event.Row {
	t.Helper()
	names := map[string]string{"a": "Ana", "b": "东京美妆 🌸", "c": "سارة", "d": "\x1b[2J=1+1\u202e", "e": "👩‍👩‍👧‍👦 a name that is longer than the column of names"}
	var out []event.Row
	for i, text := range of {
		r := event.Row{Position: i + 1, Member: !strings.Contains(text, "!"), Edge: strings.Contains(text, "~")}
		if _, err := fmt.Sscanf(strings.Trim(text, "!~"), "%s %d:%d", &r.UID, &r.Rank, &r.PotentialIndex); err != nil {
			t.Fatal(err)
		}
		r.UniqueID, r.Nickname = "@"+r.UID, names[r.UID]
		out = append(out, r)
	}
	return out
}

func sample(t *testing.T) *view {
	t.Helper()
	before := &event.Snapshot{Board: rows(t, "a 1:90", "b 2:88", "e 3:80", "x 4:79!"), Absent: []event.Absent{{UID: "d", Rank: 5, PotentialIndex: 70}}}
	v := &view{at: at, Snapshot: &event.Snapshot{
		Watchlist: "us-beauty", Region: "US", Revision: 42, Outcome: event.OutcomeChanged, Period: &event.Period{Type: "month", Value: "2026-10"}, Total: 2310,
		Counts: event.Counts{Entered: 2, Moved: 2}, Holes: []event.Hole{{Position: 5}},
		Board:  rows(t, "b 1:92", "a 2:90", "c 3:85", "d 3:85", "x 5:79", "y 6:70!", "z 7:60!~"),
		Absent: []event.Absent{{UID: "e", Rank: 3, PotentialIndex: 80, Misses: 1, Unseen: 2}},
	}}
	v.compare(before)
	return v
}

func TestABoardLooksAsInTheGoldenFiles(t *testing.T) {
	t.Parallel()
	golden(t, "plain.golden", sample(t).table(text.Style{}, false))
	golden(t, "color.golden", sample(t).table(text.Style{Unicode: true, Color: true, Width: 120}, true))
	golden(t, "narrow.golden", sample(t).table(text.Style{Unicode: true, Width: 70}, true))
	var out bytes.Buffer
	if err := sample(t).csv(&out, true); err != nil {
		t.Fatal(err)
	}
	golden(t, "csv.golden", strings.ReplaceAll(out.String(), "\r\n", "\n"))
}

func TestCSVOfABoardHasItsMembersOrAll(t *testing.T) {
	t.Parallel()
	for all, want := range map[bool]int{false: 1 + 5 + 1, true: 1 + 7 + 1} {
		var out bytes.Buffer
		if err := sample(t).csv(&out, all); err != nil {
			t.Fatal(err)
		}
		got, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(got) != want {
			t.Errorf("all %v: %d rows, %v, want %d", all, len(got), err, want)
		}
	}
}

func TestABaselineSaysNothingOfChanges(t *testing.T) {
	t.Parallel()
	v := &view{at: at, note: "a baseline", Snapshot: &event.Snapshot{Outcome: event.OutcomeBaseline, Reason: ptr(event.ReasonConfig), Board: rows(t, "a 1:90")}}
	v.compare(nil)
	if got := v.table(text.Style{}, false); strings.Contains(got, "new") || strings.Contains(got, " in,") || !strings.Contains(got, "baseline (config) | 1 member |") {
		t.Error(got)
	}
}

// message is the board of a revision as it is stored.
func message(t *testing.T, revision uint64, reason string, s event.Snapshot) *history.Message {
	t.Helper()
	s.Watchlist, s.Revision, s.Outcome = "us-beauty", revision, event.OutcomeChanged
	if reason != "" {
		s.Outcome, s.Reason = event.OutcomeBaseline, &reason
	}
	m, err := event.Origin{Prefix: "p", Region: "US", Watchlist: "us-beauty"}.Board(event.ReadingID("us-beauty", revision, 1), at.Add(time.Duration(revision)*time.Hour), &s)
	if err != nil {
		t.Fatal(err)
	}
	return &history.Message{Subject: m.Subject, Sequence: revision, Data: m.Data}
}

func samplePath(t *testing.T) *path {
	t.Helper()
	p := &path{watchlist: "us-beauty", uid: "b"}
	deep := event.Snapshot{Total: 500, Depth: 100}
	with := func(of ...string) event.Snapshot {
		return event.Snapshot{Total: 500, Depth: 100, Board: rows(t, of...)}
	}
	for i, s := range []struct {
		reason string
		board  event.Snapshot
	}{
		{event.ReasonFirst, with("b 9:80")},
		{"", with("b 7:82")},
		{"", with("b 7:83")},
		{"", event.Snapshot{Absent: []event.Absent{{UID: "b", Rank: 7}}}},
		{"", with("b 8:81")},
		{"", with("b 22:60!")},
		{"", with("b 30:60!~")},
		{"", deep},
		{"", event.Snapshot{Total: 50, Depth: 100}},
		{"", with("b 3:90")},
		{event.ReasonRollover, with("b 2:91")},
		{event.ReasonConfig, with("b 1:95")},
		{event.ReasonRestored, with("b 2:94")},
	} {
		if err := p.add(message(t, uint64(i+1), s.reason, s.board)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestAPathLooksAsInTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for file, s := range map[string]text.Style{"path.golden": {}, "path-color.golden": {Unicode: true, Color: true, Width: 100}, "path-narrow.golden": {Unicode: true, Width: 50}} {
		var out bytes.Buffer
		if err := samplePath(t).table(&out, s); err != nil {
			t.Fatal(err)
		}
		golden(t, file, out.String())
	}
	for file, write := range map[string]func(*path, *bytes.Buffer) error{
		"path-csv.golden":  func(p *path, b *bytes.Buffer) error { return p.csv(b) },
		"path-json.golden": func(p *path, b *bytes.Buffer) error { return p.json(b) },
	} {
		var out bytes.Buffer
		if err := write(samplePath(t), &out); err != nil {
			t.Fatal(err)
		}
		golden(t, file, strings.ReplaceAll(out.String(), "\r\n", "\n"))
	}
}

func TestNothingOfAMessageSteersTheTerminal(t *testing.T) {
	t.Parallel()
	p := samplePath(t)
	p.name, p.handle, p.uid = "\x1b[2J\u202e\n", "\x9b1m", "\u2066"
	var out bytes.Buffer
	if err := p.table(&out, text.Style{Unicode: true}); err != nil {
		t.Fatal(err)
	}
	out.WriteString(sample(t).table(text.Style{Unicode: true}, true))
	for _, r := range out.String() {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			t.Errorf("%q is printed", r)
		}
	}
}

func TestEveryLineFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for width := 20; width < 160; width++ {
		s := text.Style{Unicode: true, Width: width}
		var out bytes.Buffer
		if err := samplePath(t).table(&out, s); err != nil {
			t.Fatal(err)
		}
		out.WriteString(sample(t).table(s, true))
		for line := range strings.Lines(out.String()) {
			if n := text.Cells(strings.TrimSuffix(line, "\n")); n > width {
				t.Fatalf("%d cells in a terminal of %d: %q", n, width, line)
			}
		}
	}
}

func TestADrawingFitsShowsRealRanksAndItsGaps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ranks := rapid.SliceOfN(rapid.IntRange(0, 1000), 1, 400).Draw(t, "ranks") // 0 is a gap
		points, members := make([]point, len(ranks)), map[int]bool{}
		for i, r := range ranks {
			if r > 0 {
				points[i], members[r] = point{standing: member, rank: int32(r)}, true
			}
		}
		cells := rapid.IntRange(2, 120).Draw(t, "cells")
		values := spread(points, cells)
		if len(values) > cells {
			t.Fatalf("%d values in %d cells", len(values), cells)
		}
		for _, v := range values {
			if v == v && !members[int(-v)] { // not NaN
				t.Fatalf("rank %v never was", -v)
			}
		}
		if len(ranks) <= cells && len(values)%len(ranks) != 0 {
			t.Fatalf("%d revisions share %d cells", len(ranks), len(values))
		}
		drawn := draw(points, text.Style{})
		if (drawn == "") != (len(members) == 0) {
			t.Fatalf("drawn %q of %v", drawn, ranks)
		}
		lines := strings.Split(strings.TrimSuffix(drawn, "\n"), "\n")
		if len(lines) > drawRows+1 {
			t.Fatalf("%d lines:\n%s", len(lines), drawn)
		}
		for _, l := range lines {
			if len(l) > drawWidth { // all ASCII
				t.Fatalf("%d cells: %q", len(l), l)
			}
		}
		if i := strings.IndexFunc(drawn, func(r rune) bool { return r > 0x7E }); i >= 0 {
			t.Fatalf("not ASCII: %q", drawn[i:])
		}
	})
}

func TestMistakesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 22, 12, 0, 0, 0, time.UTC)
	for want, o := range map[string]options{
		"":                                 {output: "table", at: "2026-08-22T12:00:00Z"},
		"--at: \"soon\" is no time":        {output: "table", at: "soon"},
		"--at 2027-01-01: lies in":         {output: "table", at: "2027-01-01"},
		"--revision 0":                     {output: "json", byNumber: true},
		"--at and --revision":              {output: "csv", at: "1d", byNumber: true, revision: 3},
		"--uid: is empty":                  {output: "csv", byUID: true},
		"--uid: a path has no --at":        {output: "csv", byUID: true, uid: "1", all: true},
		"-o xml":                           {output: "xml"},
		"--revision 0|lies in the|-o yaml": {output: "yaml", at: "2027-01-01", byNumber: true},
	} {
		_, err := o.check(now)
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		for w := range strings.SplitSeq(want, "|") {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: %v, want %s", o, err, w)
			}
		}
	}
}
