package replay

import (
	"strconv"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A sheet is for spreadsheets: CSV as RFC 4180 has it, with a header, a row a
// message, and nothing in a cell whose value is null or not applicable.
//
// Texts that outsiders choose pass text.Cell, so that none of them is taken for
// a formula; everything else is as in the message.
type sheet struct {
	w      *text.CSV
	prefix string
	row    []string
}

func newSheet(t target) *sheet {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return &sheet{w: text.NewCSV(t.out, names), prefix: t.prefix, row: make([]string, 0, len(columns))}
}

// A column is a name of the header and its cell of a message.
type column struct {
	name string
	cell func(*content, *history.Message) string
}

var columns = []column{
	{"time", func(_ *content, m *history.Message) string {
		if m.Time().IsZero() {
			return ""
		}
		return event.Time(m.Time())
	}},
	{"watchlist", func(c *content, _ *history.Message) string { return text.Cell(c.subject.Watchlist) }},
	{"region", func(c *content, _ *history.Message) string { return text.Cell(c.subject.Region) }},
	{"revision", func(_ *content, m *history.Message) string {
		if n, ok := m.Revision(); ok {
			return strconv.FormatUint(n, 10)
		}
		return ""
	}},
	{"kind", func(c *content, _ *history.Message) string { return text.Cell(string(c.subject.Kind)) }},
	{"n", ofChange(func(c *event.Change) string { return strconv.Itoa(c.N) })},
	{"of", ofChange(func(c *event.Change) string { return strconv.Itoa(c.Of) })},
	{"uid", ofChange(func(c *event.Change) string { return text.Cell(c.Creator.UID) })},
	{"unique_id", ofChange(func(c *event.Change) string { return cell(c.Creator.UniqueID) })},
	{"nickname", ofChange(func(c *event.Change) string { return cell(c.Creator.Nickname) })},
	{"before_rank", ofPlace(before, func(p *event.Place) int64 { return int64(p.Rank) })},
	{"after_rank", ofPlace(after, func(p *event.Place) int64 { return int64(p.Rank) })},
	{"places", ofChange(func(c *event.Change) string { return text.Number(c.Places) })},
	{"before_position", ofPlace(before, func(p *event.Place) int64 { return int64(p.Position) })},
	{"after_position", ofPlace(after, func(p *event.Place) int64 { return int64(p.Position) })},
	{"before_potential_index", ofPlace(before, func(p *event.Place) int64 { return p.PotentialIndex })},
	{"after_potential_index", ofPlace(after, func(p *event.Place) int64 { return p.PotentialIndex })},
	{"index_change", ofChange(func(c *event.Change) string { return text.Number(c.IndexChange) })},
	{"passed", ofCause(func(c *event.Cause) int { return c.Passed })},
	{"passed_by", ofCause(func(c *event.Cause) int { return c.PassedBy })},
	{"entered_above", ofCause(func(c *event.Cause) int { return c.EnteredAbove })},
	{"dropped_above", ofCause(func(c *event.Cause) int { return c.DroppedAbove })},
	{"period_type", periods(false, func(p *event.Period) string { return p.Type })},
	{"period", periods(false, func(p *event.Period) string { return p.Value })},
	{"previous_period_type", periods(true, func(p *event.Period) string { return p.Type })},
	{"previous_period", periods(true, func(p *event.Period) string { return p.Value })},
	{"reentry", ofChange(func(c *event.Change) string { return strconv.FormatBool(c.History.Reentry) })},
	{"first_seen", ofChange(func(c *event.Change) string { return text.Cell(c.History.FirstSeen) })},
	{"peak_rank", ofChange(func(c *event.Change) string { return strconv.Itoa(c.History.PeakRank) })},
	{"revisions_on_board", ofChange(func(c *event.Change) string { return strconv.FormatUint(c.History.RevisionsOnBoard, 10) })},
	{"follower_count", ofChange(func(c *event.Change) string { return text.Number(c.Creator.FollowerCount) })},
	{"usd_gmv", ofChange(func(c *event.Change) string {
		if c.Metrics.USDGMV == nil {
			return ""
		}
		return strconv.FormatFloat(*c.Metrics.USDGMV, 'f', -1, 64)
	})},
	{"units_sold", ofChange(func(c *event.Change) string { return text.Number(c.Metrics.UnitsSold) })},
	{"video_units_sold", ofChange(func(c *event.Change) string { return text.Number(c.Metrics.VideoUnitsSold) })},
	{"live_units_sold", ofChange(func(c *event.Change) string { return text.Number(c.Metrics.LiveUnitsSold) })},
	{"avg_play_count", ofChange(func(c *event.Change) string { return text.Number(c.Metrics.AvgPlayCount) })},
	{"video_count", ofChange(func(c *event.Change) string { return text.Number(c.Metrics.VideoCount) })},
	{"edge", ofChange(func(c *event.Change) string { return strconv.FormatBool(c.Edge) })},
	{"outcome", ofBoard(func(b *event.Snapshot) string { return text.Cell(b.Outcome) })},
	{"count_entered", ofBoard(func(b *event.Snapshot) string { return strconv.Itoa(b.Counts.Entered) })},
	{"count_moved", ofBoard(func(b *event.Snapshot) string { return strconv.Itoa(b.Counts.Moved) })},
	{"count_dropped", ofBoard(func(b *event.Snapshot) string { return strconv.Itoa(b.Counts.Dropped) })},
	{"count_index", ofBoard(func(b *event.Snapshot) string { return strconv.Itoa(b.Counts.Index) })},
	{"members", func(c *content, m *history.Message) string {
		if c.board == nil {
			return ""
		}
		return strconv.Itoa(m.Members() + len(c.board.Absent))
	}},
	{"total", ofBoard(func(b *event.Snapshot) string { return strconv.Itoa(b.Total) })},
	{"status", func(c *content, _ *history.Message) string {
		if c.status == nil {
			return ""
		}
		return text.Cell(c.status.Status)
	}},
	{"reason", func(c *content, _ *history.Message) string {
		switch {
		case c.status != nil:
			return text.Cell(c.status.Reason)
		case c.board != nil:
			return cell(c.board.Reason)
		}
		return ""
	}},
	{"detail", func(c *content, _ *history.Message) string {
		switch {
		case c.strange:
			return strangeNote
		case c.status != nil:
			return text.Cell(c.status.Detail)
		}
		return ""
	}},
	{"id", func(_ *content, m *history.Message) string { return text.Cell(m.ID()) }},
	{"sequence", func(_ *content, m *history.Message) string { return strconv.FormatUint(m.Sequence, 10) }},
}

func ofChange(cell func(*event.Change) string) func(*content, *history.Message) string {
	return func(c *content, _ *history.Message) string {
		if c.change == nil {
			return ""
		}
		return cell(c.change)
	}
}

func ofBoard(cell func(*event.Snapshot) string) func(*content, *history.Message) string {
	return func(c *content, _ *history.Message) string {
		if c.board == nil {
			return ""
		}
		return cell(c.board)
	}
}

func before(c *event.Change) *event.Place { return c.Before }
func after(c *event.Change) *event.Place  { return c.After }

func ofPlace(end func(*event.Change) *event.Place, value func(*event.Place) int64) func(*content, *history.Message) string {
	return ofChange(func(c *event.Change) string {
		p := end(c)
		if p == nil {
			return ""
		}
		return strconv.FormatInt(value(p), 10)
	})
}

func ofCause(value func(*event.Cause) int) func(*content, *history.Message) string {
	return ofChange(func(c *event.Change) string {
		if c.Cause == nil {
			return ""
		}
		return strconv.Itoa(value(c.Cause))
	})
}

// periods reads a change's or a board's period, or the previous one.
func periods(previous bool, value func(*event.Period) string) func(*content, *history.Message) string {
	return func(c *content, _ *history.Message) string {
		var now, past *event.Period
		switch {
		case c.change != nil:
			now, past = c.change.Period, c.change.PreviousPeriod
		case c.board != nil:
			now, past = c.board.Period, c.board.PreviousPeriod
		}
		if previous {
			now = past
		}
		if now == nil {
			return ""
		}
		return text.Cell(value(now))
	}
}

func (s *sheet) print(m *history.Message) error {
	c := read(s.prefix, m)
	s.row = s.row[:0]
	for i := range columns {
		s.row = append(s.row, columns[i].cell(&c, m))
	}
	return s.w.Write(s.row)
}

func (s *sheet) close() error { return s.w.Close() }
