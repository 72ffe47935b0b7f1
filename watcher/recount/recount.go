// Package recount computes published history again: it puts stored messages
// together to readings, folds and recomputes them, and compares the result with
// what was published, or tells what other rules would have published.
//
// It rests on the stored messages alone and does no I/O: the same messages give
// the same answer anywhere.
package recount

import (
	"fmt"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Message is one as the stream holds it.
type Message struct {
	Subject  string
	Sequence uint64
	Stored   time.Time
	Data     []byte
}

// An Event is a change that a board names.
type Event struct {
	Raw  Message
	Kind event.Kind
	event.Envelope[event.Change]
}

// A Reading is one stored reading. Unnamed counts events before it that no board
// names: attempts that were given up half-way, on a server that takes no whole
// reading at once. Cut, Kept and Whole are the Ledger's.
type Reading struct {
	Raw Message
	event.Envelope[event.Snapshot]
	Events  []Event
	Unnamed int

	Cut, Kept, Whole bool
}

// A Fault is something in stored history that is not as it must be.
type Fault struct {
	Watchlist string
	Revision  uint64 // 0 for a status
	ID        string // of the message, if it has one
	Sequence  uint64 // of the message in the stream
	What      string
}

// Error tells where and what.
func (f *Fault) Error() string {
	at := f.Watchlist
	if f.Revision != 0 {
		at += fmt.Sprintf(" revision %d", f.Revision)
	}
	if f.ID != "" {
		at += ", " + f.ID
	}
	return fmt.Sprintf("%s (stream sequence %d): %s", at, f.Sequence, f.What)
}

func (r *Reading) fault(format string, args ...any) *Fault {
	return &Fault{Watchlist: r.Data.Watchlist, Revision: r.Data.Revision, ID: r.ID, Sequence: r.Raw.Sequence, What: fmt.Sprintf(format, args...)}
}

func (e *Event) fault(format string, args ...any) *Fault {
	f := &Fault{Watchlist: e.Data.Watchlist, Revision: e.Data.Revision, ID: e.ID, Sequence: e.Raw.Sequence, What: fmt.Sprintf(format, args...)}
	if n, _, ok := event.ParseReadingID(e.ID); ok {
		f.Revision = n
	}
	return f
}

// event is a fault of one of the reading's events.
func (r *Reading) event(e *Event, format string, args ...any) *Fault {
	f := e.fault(format, args...)
	f.Watchlist, f.Revision = r.Data.Watchlist, r.Data.Revision
	return f
}

// baseline says whether the board replaces all before it.
func (r *Reading) baseline() bool { return r.Data.Outcome == event.OutcomeBaseline }

func (r *Reading) reason() string {
	if r.Data.Reason == nil {
		return ""
	}
	return *r.Data.Reason
}

// first says whether nothing was published of the watchlist before.
func (r *Reading) first() bool {
	return r.baseline() && r.Data.Revision == 1 && r.reason() == event.ReasonFirst
}

// List is the list that was read, as diff takes it.
func (r *Reading) List() diff.Reading {
	s := &r.Data
	out := diff.Reading{Entries: make([]diff.Entry, len(s.Board)), Cut: s.Total > s.Depth, Revision: s.Revision}
	if at := r.At(); !at.IsZero() {
		out.At = at.UnixMilli()
	}
	for i := range s.Board {
		row := &s.Board[i]
		out.Entries[i] = diff.Entry{UID: row.UID, Index: row.PotentialIndex, Position: int32(row.Position)}
	}
	for _, h := range s.Holes {
		out.Holes = append(out.Holes, diff.Hole{Index: h.PotentialIndex, Position: int32(h.Position)})
	}
	return out
}

// Board is the board as the message shows it. What was last reported of a
// member is taken to be where it stands; what is remembered beyond that
// (misses of those still seen, causes, peaks) is not in it.
func (r *Reading) Board() diff.Board {
	s := &r.Data
	b := diff.Board{Rows: make([]diff.Row, 0, len(s.Board)+len(s.Absent)), Holes: r.List().Holes}
	for i := range s.Board {
		row := &s.Board[i]
		at := diff.Place{Rank: int32(row.Rank), Position: int32(row.Position), Index: row.PotentialIndex}
		b.Rows = append(b.Rows, diff.Row{
			UID: row.UID, Index: at.Index, Rank: at.Rank, Position: at.Position, Listed: true, Edge: row.Edge,
			Member: row.Member, CauseKnown: row.Member, Reported: member(row.Member, at),
		})
	}
	for i := range s.Absent {
		a := &s.Absent[i]
		b.Rows = append(b.Rows, diff.Row{
			UID: a.UID, Index: a.PotentialIndex, Rank: int32(a.Rank), Member: true,
			Misses: int32(a.Misses), Unseen: int32(a.Unseen),
			Reported: diff.Place{Rank: int32(a.Rank), Index: a.PotentialIndex},
		})
	}
	return b
}

func member(is bool, at diff.Place) diff.Place {
	if !is {
		return diff.Place{}
	}
	return at
}

// Rules are the rules that the reading was compared by.
func (r *Reading) Rules() (diff.Rules, error) {
	w := &r.Data.Rules
	out := diff.Rules{
		Top: int32(w.Top), Margin: int32(w.Margin), MinPlaces: int32(w.Moved.MinPlaces), IgnoreDisplaced: w.Moved.IgnoreDisplaced,
		MinChange: w.Index.MinChange, DropAfter: int32(w.Dropped.After),
	}
	switch w.Ties {
	case diff.Shared.String():
	case diff.Ordinal.String():
		out.Ties = diff.Ordinal
	default:
		return out, fmt.Errorf("ties %q are not known", w.Ties)
	}
	if out.Top < 1 || out.Margin < 0 || out.MinPlaces < 1 || out.MinChange < 1 || out.DropAfter < 1 {
		return out, fmt.Errorf("rules out of range: %+v", *w)
	}
	return out, nil
}

// KindOf is the message kind of a change.
func KindOf(k diff.Kind) event.Kind {
	return [...]event.Kind{diff.Dropped: event.Dropped, diff.Entered: event.Entered, diff.Moved: event.Moved, diff.Indexed: event.Index}[k]
}

// PlaceOf writes a place as messages do: nil for none.
func PlaceOf(p diff.Place) *event.Place {
	if p.Rank == 0 {
		return nil
	}
	return &event.Place{Rank: int(p.Rank), Position: int(p.Position), PotentialIndex: p.Index}
}

// CauseOf writes a cause as messages do.
func CauseOf(c diff.Cause) *event.Cause {
	return &event.Cause{
		Passed: int(c.Passed), PassedBy: int(c.PassedBy), EnteredAbove: int(c.EnteredAbove), DroppedAbove: int(c.DroppedAbove),
	}
}
