package demo

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rivo/uniseg"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// ev writes an event as `uid before>after`, where each side is rank:index, or
// empty.
func ev(t *testing.T, kind event.Kind, ends, nickname string) text.Change {
	t.Helper()
	uid, ends, _ := strings.Cut(ends, " ")
	before, after, _ := strings.Cut(ends, ">")
	c := text.Change{Kind: kind}
	c.Creator.UID, c.Creator.Nickname = uid, &nickname
	c.Before, c.After = place(t, before), place(t, after)
	if c.Before != nil && c.After != nil {
		places := c.Before.Rank - c.After.Rank
		step := c.After.PotentialIndex - c.Before.PotentialIndex
		c.Places, c.IndexChange = &places, &step
		c.Cause = &event.Cause{Passed: max(places, 0), PassedBy: max(-places, 0)}
	}
	c.History.PeakRank = 3
	return c
}

func place(t *testing.T, end string) *event.Place {
	t.Helper()
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

func sample(t *testing.T) (*event.Snapshot, []text.Change) {
	t.Helper()
	followers := int64(1_234_567)
	changes := []text.Change{
		ev(t, event.Dropped, "d1 88:40>", "Ana"),
		ev(t, event.Dropped, "d2 99:39>", "东京美妆 🌸"),
		ev(t, event.Entered, "e1 >7:83", "a name that is much longer than its column"),
		ev(t, event.Entered, "e2 >50:60", "\x1b[31mred\u202e"),
		ev(t, event.Moved, "m1 12:80>9:83", "سارة"),
		ev(t, event.Moved, "m2 9:81>12:81", "👩‍👩‍👧‍👦 family"),
		ev(t, event.Moved, "m3 30:70>29:70", ""),
		ev(t, event.Moved, "m4 31:70>30:70", "x"),
		ev(t, event.Moved, "m5 100:38>61:55", "long way"),
		ev(t, event.Index, "i1 4:90>4:91", "steady"),
	}
	changes[2].Creator.FollowerCount = &followers
	changes[3].History.Reentry = true
	changes[7].Cause = &event.Cause{DroppedAbove: 1}
	b := &event.Snapshot{
		Watchlist: "us-beauty", Revision: 7, Outcome: event.OutcomeChanged,
		Period: &event.Period{Type: "month", Value: "2026-10"},
		Counts: event.Counts{Entered: 2, Moved: 5, Dropped: 2, Index: 1},
	}
	return b, changes
}

func TestReadingsLookAsInTheGoldenFiles(t *testing.T) {
	b, changes := sample(t)
	for name, s := range map[string]text.Style{
		"plain":  {},
		"fancy":  {Unicode: true},
		"color":  {Unicode: true, Color: true},
		"narrow": {Unicode: true, Width: 60},
	} {
		t.Run(name, func(t *testing.T) {
			got := look{s}.reading(b, changes)
			file := filepath.Join("testdata", name+".golden")
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
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestNotesLineUpAfterNamesOfAnyWidth(t *testing.T) {
	_, changes := sample(t)
	column := -1
	for _, c := range changes {
		note := note(c)
		if note == "" {
			continue
		}
		line := look{}.Line(c, note)
		at := uniseg.StringWidth(line[:strings.LastIndex(line, note)])
		if column < 0 {
			column = at
		}
		if at != column {
			t.Errorf("the note of %q stands in column %d, the others in %d", line, at, column)
		}
	}
	if column < 0 {
		t.Fatal("no line had a note")
	}
}

func TestPlainOutputHasNoSigns(t *testing.T) {
	b, changes := sample(t)
	out := look{}.reading(b, changes)
	for _, r := range "·→–…▲▼✚✖●\x1b" {
		if strings.ContainsRune(out, r) {
			t.Errorf("plain output has %q", r)
		}
	}
}

func TestSomeOfEachKindIsShown(t *testing.T) {
	var changes []text.Change
	for i := range 40 {
		changes = append(changes, ev(t, event.Dropped, fmt.Sprintf("d%d %d:1>", i, 100+i), "n"))
	}
	for i := range 40 {
		changes = append(changes, ev(t, event.Moved, fmt.Sprintf("m%d %d:2>%d:2", i, 90-i, 10), "n"))
	}
	changes = append(changes, ev(t, event.Index, "i 1:5>1:6", "n"))
	got := map[event.Kind]int{}
	shown := pickShown(changes)
	for _, c := range shown {
		got[c.Kind]++
	}
	if len(shown) != maxLines || got[event.Dropped] == 0 || got[event.Moved] == 0 || got[event.Index] != 1 {
		t.Errorf("shown %v", got)
	}
	if shown[0].Creator.UID != "d0" || got[event.Moved] < 2 || !longest(shown) {
		t.Errorf("the most interesting ones are not there: %v", shown)
	}
}

func longest(shown []text.Change) bool {
	for _, c := range shown {
		if c.Creator.UID == "m0" {
			return true
		}
	}
	return false
}
