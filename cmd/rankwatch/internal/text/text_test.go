package text_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

func TestNamesCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	if got := text.Printable("\x1b[2Ja\u202eb\u2066c\r\n\u009b\u200b\ufeff\u2028d👩‍👧"); got != "[2Jabcd👩‍👧" {
		t.Errorf("got %q", got)
	}
	hidden, uid := "\u200b\x1b", "1\x1b[2J"
	if got := text.Name(event.Creator{UID: uid, Nickname: &hidden}); got != "1[2J" {
		t.Errorf("a name of nothing visible, and a uid with an escape: %q", got)
	}
}

func TestCellsAreAsWideAsAskedAndGraphemesWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"a", "é", "e\u0301", "美", "🌸", "👩‍👩‍👧‍👦", "🇺🇸", "س", "ハ", "ﾊ", " "})
		s := strings.Join(rapid.SliceOf(part).Draw(t, "parts"), "")
		width := rapid.IntRange(0, 30).Draw(t, "width")
		if got := text.Cells(text.Pad(s, width)); got != width {
			t.Fatalf("%q in %d cells takes %d", s, width, got)
		}
		cut := text.Cut(s, width)
		if !strings.HasPrefix(s, cut) {
			t.Fatalf("%q is no beginning of %q", cut, s)
		}
		for g := uniseg.NewGraphemes(s); g.Next(); {
			if from, to := g.Positions(); from < len(cut) && len(cut) < to {
				t.Fatalf("%q cut to %q tears %q", s, cut, g.Str())
			}
		}
	})
}

func TestWhyAMoveHappened(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]event.Cause{
		"passed 4, passed by 1":                       {Passed: 4, PassedBy: 1},
		"passed 4, passed by 1, 2 entered above":      {Passed: 4, PassedBy: 1, EnteredAbove: 2},
		"displaced, 2 entered above, 1 dropped above": {EnteredAbove: 2, DroppedAbove: 1},
		"displaced":                    {},
		"passed by 3, 1 dropped above": {PassedBy: 3, DroppedAbove: 1},
	} {
		if got := strings.Join(text.Why(text.Change{Kind: event.Moved, Change: event.Change{Cause: &c}}), ", "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	gone := event.Change{Edge: true, History: event.History{PeakRank: 3}}
	if got := text.Why(text.Change{Kind: event.Dropped, Change: gone}); got[0] != "below the visible part" {
		t.Errorf("a drop past the edge: %q", got)
	}
	if got := text.Why(text.Change{Kind: event.Moved}); len(got) != 0 {
		t.Errorf("without a cause: %q", got)
	}
}

func TestAMomentIsStampedInUTC(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 3, 1, 30, 5, 999e6, time.FixedZone("", 2*60*60))
	if got := text.Stamp(at); got != "2026-11-02 23:30:05 UTC" {
		t.Error(got)
	}
}

// A full disk lets the first bytes through.
type full struct{ left int }

var errFull = errors.New("disk full")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestASheetHasItsHeaderAndKeepsItsFirstError(t *testing.T) {
	t.Parallel()
	header, n := []string{"a", "b"}, int32(-5)
	for want, rows := range map[string][][]string{
		"a,b\r\n": nil,
		"a,b\r\n-5,\r\n\"x,\"\"\",\"y\r\nz\"\r\n": {{text.Number(&n), text.Number[int64](nil)}, {"x,\"", "y\nz"}},
	} {
		var out strings.Builder
		c := text.NewCSV(&out, header)
		for _, r := range rows {
			if err := c.Write(r); err != nil {
				t.Error(err)
			}
		}
		if err := c.Close(); err != nil || out.String() != want {
			t.Errorf("got %q, %v, want %q", out.String(), err, want)
		}
	}
	if err := text.NewCSV(&full{}, header).Close(); !errors.Is(err, errFull) {
		t.Errorf("the header's error: %v", err)
	}
	c := text.NewCSV(&full{left: 1 << 16}, header)
	for err := error(nil); err == nil; {
		err = c.Write([]string{strings.Repeat("x", 1000), ""})
	}
	if err := c.Close(); !errors.Is(err, errFull) {
		t.Errorf("a row's error: %v", err)
	}
}
