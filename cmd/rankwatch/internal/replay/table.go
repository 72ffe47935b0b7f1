package replay

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A layout is the widths of a table's columns in cells, 0 for one that is left
// out. They are fixed before the first line, since the table is as long as
// history.
type layout struct {
	time                              string // its form
	watchlist, revision, creator, why int
	rank                              int // each of both ranks
	arrow, index                      int
	between                           int // columns
	tight                             bool
}

const (
	shortTime = "01-02 15:04:05"
	eventCell = len("x dropped")
	placeCell = len("-999")
)

// layoutFor makes the columns fit into width cells, if that is possible: first
// at the cost of room, then of the year and of what is the same in all lines, and
// last of names and reasons.
func layoutFor(style text.Style, names []string) layout {
	named := 16
	if len(names) > 0 {
		named = len("WATCHLIST")
		for _, n := range names {
			named = max(named, len(n))
		}
	}
	l := layout{time: text.Seconds, watchlist: named, revision: 6, rank: 4, creator: 24, why: 40, between: 2}
	l.setArrow(style)
	for _, shrink := range []func(){
		func() { l.why = 24 },
		func() { l.creator = 16 },
		func() { l.between = 1 },
		func() {
			l.tight, l.rank, l.revision = true, 3, 4
			style.Tight = true
			l.setArrow(style)
		},
		func() { l.time = shortTime },
		func() {
			l.watchlist = min(named, len("WATCHLIST"))
			if len(names) == 1 {
				l.watchlist = 0
			}
		},
		func() { l.creator, l.why = 10, 8 },
		func() { l.why = 0 },
		func() { l.index = 0 },
	} {
		if style.Width == 0 || l.width() <= style.Width {
			break
		}
		shrink()
	}
	// What the last step left over.
	if style.Width > 0 {
		if l.why > 0 {
			l.why += min(max(style.Width-l.width(), 0), max(22-l.why, 0))
		}
		l.creator += min(max(style.Width-l.width(), 0), 24-l.creator)
	}
	return l
}

func (l *layout) setArrow(style text.Style) {
	l.arrow = text.Cells(style.Arrow())
	l.index = len("100") + l.arrow + len("100")
}

func (l *layout) width() int {
	width := 0
	for _, column := range []int{len(l.time), l.watchlist, l.revision, eventCell, l.rankCell(), l.index, l.creator, l.why} {
		if column > 0 {
			width += column + l.between
		}
	}
	return width - l.between
}

func (l *layout) rankCell() int { return l.rank + l.arrow + l.rank + 1 + placeCell }

// A table is for eyes: one line a message that can be read on its own.
type table struct {
	w      *bufio.Writer
	style  text.Style
	layout layout
	prefix string
	headed bool
}

func newTable(t target) *table {
	tab := &table{w: bufio.NewWriterSize(t.out, 1<<16), style: t.style, prefix: t.prefix, layout: layoutFor(t.style, t.names)}
	tab.style.Tight = tab.layout.tight
	return tab
}

func (t *table) close() error { return t.w.Flush() }

func (t *table) print(m *history.Message) error {
	if !t.headed {
		t.headed = true
		if err := t.line(text.Bold, "TIME (UTC)", "WATCHLIST", "REV", "EVENT", t.row("RANK", "INDEX", "CREATOR", "WHY")); err != nil {
			return err
		}
	}
	c := read(t.prefix, m)
	when := t.style.Dash()
	if at := m.Time(); !at.IsZero() {
		when = at.UTC().Format(t.layout.time)
	}
	revision := ""
	if n, ok := m.Revision(); ok {
		revision = strconv.FormatUint(n, 10)
	}
	color, sign, rest := t.tell(&c, m)
	return t.line(color, when, text.Printable(c.subject.Watchlist), revision, sign+" "+text.Printable(string(c.subject.Kind)), rest)
}

// line writes the first columns and what follows them.
func (t *table) line(color, when, watchlist, revision, kind, rest string) error {
	l := t.layout
	gap := strings.Repeat(" ", l.between)
	line := text.Fill(when, len(l.time)) + gap
	if l.watchlist > 0 {
		line += text.Fill(watchlist, l.watchlist) + gap
	}
	line += text.FillLeft(revision, l.revision) + gap + text.Fill(kind, eventCell) + gap + rest
	if t.style.Width > 0 {
		line = text.Cut(line, t.style.Width)
	}
	_, err := t.w.WriteString(t.style.Paint(color, strings.TrimRight(line, " ")) + "\n")
	return err
}

// row joins the columns of a change. The name comes late, and what follows it
// begins with a letter or is nothing, so that one written from right to left
// cannot reorder the columns.
func (t *table) row(rank, index, creator, why string) string {
	l := t.layout
	gap := strings.Repeat(" ", l.between)
	row := text.Fill(rank, l.rankCell()) + gap
	if l.index > 0 {
		row += text.Fill(index, l.index) + gap
	}
	return row + text.Pad(creator, l.creator) + gap + why
}

// tell returns what a message says: its color, its sign and its columns.
func (t *table) tell(c *content, m *history.Message) (color, sign, rest string) {
	switch {
	case c.change != nil:
		return t.change(text.Change{Kind: c.subject.Kind, Change: *c.change}, c.strange)
	case c.board != nil:
		rest = board(c.board, m.Members()+len(c.board.Absent), t.style)
		color, sign = text.Bold, t.style.Pick("■", "#")
	case c.status != nil:
		rest, color, sign = condition(c.status), text.Red, "!"
		if c.status.Status == event.StatusRecovered {
			color = text.Green
		}
	default:
		rest, sign = text.Printable(m.ID()), "?"
	}
	if c.strange {
		rest = strings.TrimLeft(rest+"; "+strangeNote, "; ")
	}
	return color, sign, rest
}

// strangeNote stands by what another version wrote.
const strangeNote = "not of the shape that this version knows"

func (t *table) change(c text.Change, strange bool) (color, sign, rest string) {
	s := text.SignOf(c)
	why := text.Why(c)
	if strange {
		why = append(why, strangeNote)
	}
	rank := fmt.Sprintf("%s%s%s %*s", text.FillLeft(t.style.Rank(c.Before), t.layout.rank), t.style.Arrow(), text.Fill(t.style.Rank(c.After), t.layout.rank), placeCell, text.Places(c))
	return s.Color, t.style.Pick(s.Fancy, s.Plain), t.row(rank, t.style.Index(c), text.Name(c.Creator), strings.Join(why, ", "))
}

// board says what a reading came to.
func board(b *event.Snapshot, members int, style text.Style) string {
	outcome := b.Outcome
	if b.Reason != nil {
		outcome += " (" + *b.Reason + ")"
	}
	parts := []string{outcome + ": " + text.Counts(b.Counts), text.Some(members, "member")}
	if b.Outcome == event.OutcomeBaseline && b.Counts == (event.Counts{}) {
		parts = []string{outcome + ": " + text.Some(members, "member")}
	}
	if b.PreviousPeriod != nil && b.Period != nil && *b.PreviousPeriod != *b.Period {
		parts = append(parts, "period "+b.PreviousPeriod.Value+style.Arrow()+b.Period.Value)
	}
	if b.Unchanged > 0 {
		parts = append(parts, fmt.Sprintf("after %d unchanged", b.Unchanged))
	}
	return text.Printable(strings.Join(parts, ", "))
}

// condition says what a status says.
func condition(s *event.Condition) string {
	line := s.Status
	if s.Reason != "" {
		line += " (" + s.Reason + ")"
	}
	if s.Detail != "" {
		line += ": " + s.Detail
	}
	if s.NextTry != nil {
		line += "; next try " + short(*s.NextTry)
	}
	return text.Printable(line)
}

func short(stamp string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return stamp
	}
	return t.UTC().Format(text.Seconds)
}
