package replay

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/recount"
)

// A netPrinter writes net diffs in one format. What it wrote is out once close
// returns.
type netPrinter interface {
	// print takes the changes to show, and how many there are in all.
	print(s span, counts event.Counts, changes []netChange) error
	close() error
}

func newNetPrinter(format string, t target) netPrinter {
	switch format {
	case "json":
		return newNetLines(t)
	case "csv":
		return &netSheet{w: text.NewCSV(t.out, netColumns)}
	}
	return &netTable{w: bufio.NewWriter(t.out), style: t.style}
}

// netLines are JSON objects, a change a line.
type netLines struct {
	w *bufio.Writer
	e *json.Encoder
}

func newNetLines(t target) *netLines {
	l := &netLines{w: bufio.NewWriter(t.out)}
	l.e = json.NewEncoder(l.w)
	l.e.SetEscapeHTML(false)
	return l
}

func (l *netLines) print(_ span, _ event.Counts, changes []netChange) error {
	for i := range changes {
		if err := l.e.Encode(&changes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *netLines) close() error { return l.w.Flush() }

// netTable is for eyes: what was compared, then a line a change.
type netTable struct {
	w     *bufio.Writer
	style text.Style
}

func (t *netTable) print(s span, counts event.Counts, changes []netChange) error {
	from, to := describeEnd(s.from), describeEnd(s.to)
	head := []string{t.style.Paint(text.Bold, s.to.Data.Watchlist), from + t.style.Arrow() + to, text.Counts(counts)}
	if s.from.Data.Revision == s.to.Data.Revision {
		head = []string{head[0], from, "no other board since"}
	}
	if _, err := t.w.WriteString(strings.Join(head, t.style.Sep()) + "\n"); err != nil {
		return err
	}
	for i := range changes {
		c := changes[i].event()
		if _, err := t.w.WriteString(t.style.Line(c, strings.Join(text.Why(c), ", "))); err != nil {
			return err
		}
	}
	return t.w.Flush()
}

func (t *netTable) close() error { return t.w.Flush() }

// describeEnd names a board: its revision, when it was made, its period.
func describeEnd(r *recount.Reading) string {
	s := fmt.Sprintf("revision %d of %s", r.Data.Revision, short(r.Time))
	if r.Data.Period != nil {
		s += " (" + text.Printable(r.Data.Period.Value) + ")"
	}
	return s
}

// event is the change as an event would tell it.
func (c *netChange) event() text.Change {
	return text.Change{Kind: c.Kind, Change: event.Change{
		Creator: event.Creator{UID: c.Creator.UID, UniqueID: c.Creator.UniqueID, Nickname: c.Creator.Nickname},
		Before:  c.Before.event(), After: c.After.event(), Places: c.Places, IndexChange: c.IndexChange, Cause: c.Cause, Edge: c.Edge,
	}}
}

var netColumns = []string{
	"watchlist", "region", "from_revision", "from_time", "to_revision", "to_time", "kind", "uid", "unique_id", "nickname",
	"before_rank", "before_potential_index", "after_rank", "after_potential_index", "places", "index_change",
	"passed", "passed_by", "entered_above", "dropped_above", "edge",
}

// netSheet is CSV, a change a row.
type netSheet struct{ w *text.CSV }

func (s *netSheet) print(_ span, _ event.Counts, changes []netChange) error {
	for i := range changes {
		c := &changes[i]
		row := []string{
			c.Watchlist, c.Region, strconv.FormatUint(c.From.Revision, 10), c.From.Time, strconv.FormatUint(c.To.Revision, 10), c.To.Time,
			string(c.Kind), text.Cell(c.Creator.UID), cell(c.Creator.UniqueID), cell(c.Creator.Nickname),
		}
		row = append(append(row, placeCells(c.Before.event())...), placeCells(c.After.event())...)
		row = append(row, "", "", "", "", "", "", strconv.FormatBool(c.Edge))
		if c.Places != nil && c.IndexChange != nil {
			row[14], row[15] = strconv.Itoa(*c.Places), strconv.FormatInt(*c.IndexChange, 10)
		}
		if k := c.Cause; k != nil {
			for n, v := range []int{k.Passed, k.PassedBy, k.EnteredAbove, k.DroppedAbove} {
				row[16+n] = strconv.Itoa(v)
			}
		}
		if err := s.w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func (s *netSheet) close() error { return s.w.Close() }

// cell is a text that may be unknown.
func cell(s *string) string {
	if s == nil {
		return ""
	}
	return text.Cell(*s)
}

// placeCells are rank and index, empty for none.
func placeCells(p *event.Place) []string {
	if p == nil {
		return []string{"", ""}
	}
	return []string{strconv.Itoa(p.Rank), strconv.FormatInt(p.PotentialIndex, 10)}
}
