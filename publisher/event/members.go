package event

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"
)

// Members says who is on the board: what a consumer that starts with it holds.
// Of a member that the reading did not show the position is 0.
func (s *Snapshot) Members() map[string]Place {
	held := make(map[string]Place, len(s.Board))
	for i := range s.Board {
		if r := &s.Board[i]; r.Member {
			held[r.UID] = Place{Rank: r.Rank, Position: r.Position, PotentialIndex: r.PotentialIndex}
		}
	}
	for _, a := range s.Absent {
		held[a.UID] = Place{Rank: a.Rank, PotentialIndex: a.PotentialIndex}
	}
	return held
}

// Members holds who is on one watchlist's board by folding its messages. Feed
// it the last board first, then everything after it in order: all kinds, since
// it counts them. The zero value is ready. It is for one goroutine.
//
// Ranks and indexes are what was last reported of a creator: exact with the
// default rules, within the rules' dead bands otherwise. Positions are as of the
// creator's last event.
type Members struct {
	watchlist string
	held      map[string]Place
	last      mark
	open      map[string]map[int]Received // events by reading and n, until a board names them
}

// mark is how far a Members has come.
type mark struct {
	lineage  int
	revision uint64
	at       time.Time
}

// A Reading is one reading of a watchlist as its board closed it: the events
// that the board names, in order. Of the first board that a Members gets they
// may have come before it, and are not there.
type Reading struct {
	Board   Received
	Changes []Received
}

// A GapError means that messages before a board did not arrive. The board was
// taken as it is, so that Members is right again; what happened in between is
// in the stream, if it is still there.
type GapError struct {
	Watchlist string
	Held      uint64 // the revision held before
	Revision  uint64 // that of the board
	Events    int    // that came of the reading
	Of        int    // that the board counts
}

// Error tells what is missing.
func (e *GapError) Error() string {
	if e.Revision != e.Held+1 {
		return fmt.Sprintf("event: %s: revision %d came after %d", e.Watchlist, e.Revision, e.Held)
	}
	return fmt.Sprintf("event: %s revision %d: %d of %d events came", e.Watchlist, e.Revision, e.Events, e.Of)
}

// Add takes the next message. A board returns its Reading, together with a
// *GapError if something before it is missing. Anything else returns nil:
// events wait for their board, and those that none names are dropped; statuses
// and what is held already change nothing, so redelivery does no harm.
//
// A message of another watchlist is an error.
func (m *Members) Add(r Received) (*Reading, error) {
	if m.watchlist == "" {
		m.watchlist = r.Subject.Watchlist
	}
	if r.Subject.Watchlist != m.watchlist {
		return nil, fmt.Errorf("event: %s: fed a message of %s", m.watchlist, r.Subject.Watchlist)
	}
	switch {
	case r.Change != nil:
		m.keep(r)
	case r.Board != nil:
		return m.close(r)
	}
	return nil, nil
}

func (m *Members) keep(r Received) {
	revision, lineage, ok := ParseReadingID(r.ID)
	if ok && m.last.reaches(lineage, revision) {
		return
	}
	if m.open == nil {
		m.open = make(map[string]map[int]Received)
	}
	of := m.open[r.Change.Reading]
	if of == nil {
		of = make(map[int]Received)
		m.open[r.Change.Reading] = of
	}
	of[r.Change.N] = r
}

// close applies a reading at its board.
func (m *Members) close(r Received) (*Reading, error) {
	b := r.Board
	revision, lineage, ok := ParseReadingID(r.ID)
	if !ok || revision != b.Revision {
		return nil, fmt.Errorf("%w: id %q of revision %d", ErrMessage, r.ID, b.Revision)
	}
	now := mark{lineage, revision, r.Time}
	if m.last.covers(now, b) {
		return nil, nil
	}
	events := m.open[b.Reading]
	m.open = nil
	out := &Reading{Board: r}
	for _, n := range slices.Sorted(maps.Keys(events)) {
		out.Changes = append(out.Changes, events[n])
	}
	gap := m.gap(out, now)
	if m.held == nil || gap != nil || b.Outcome == OutcomeBaseline {
		m.held = b.Members()
	} else {
		m.apply(out.Changes)
	}
	m.last = now
	if gap != nil {
		return out, gap
	}
	return out, nil
}

// covers says whether the board is held already. A board that is the first of
// its watchlist, and later than what is held, is of a stream begun anew.
func (m mark) covers(b mark, s *Snapshot) bool {
	if s.Reason != nil && *s.Reason == ReasonFirst && b.at.After(m.at) {
		return false
	}
	return m.reaches(b.lineage, b.revision)
}

func (m mark) reaches(lineage int, revision uint64) bool {
	return lineage < m.lineage || lineage == m.lineage && revision <= m.revision
}

func (m *Members) gap(r *Reading, now mark) *GapError {
	if m.held == nil {
		return nil
	}
	b := r.Board.Board
	var previous uint64
	if b.PreviousRevision != nil {
		previous = *b.PreviousRevision
	}
	of := b.Counts.Total()
	// Where history broke off, what is held may be past it; that is no gap.
	restored := b.Outcome == OutcomeBaseline && now.lineage > m.last.lineage
	if len(r.Changes) == of && (previous == m.last.revision || restored && previous < m.last.revision) {
		return nil
	}
	return &GapError{Watchlist: m.watchlist, Held: m.last.revision, Revision: b.Revision, Events: len(r.Changes), Of: of}
}

func (m *Members) apply(changes []Received) {
	for i := range changes {
		c := changes[i].Change
		uid := c.Creator.UID
		switch changes[i].Subject.Kind {
		case Dropped:
			delete(m.held, uid)
		case Entered, Moved:
			m.held[uid] = *c.After
		case Index:
			// The rank may have moved within the rules' dead band, which a later
			// Moved counts from.
			p := m.held[uid]
			p.PotentialIndex, p.Position = c.After.PotentialIndex, c.After.Position
			m.held[uid] = p
		}
	}
}

// Revision is that of the last board taken; 0 before the first.
func (m *Members) Revision() uint64 { return m.last.revision }

// Len is the number of members.
func (m *Members) Len() int { return len(m.held) }

// Place says where a creator stands, and whether it is a member.
func (m *Members) Place(uid string) (Place, bool) {
	p, ok := m.held[uid]
	return p, ok
}

// All yields every member with its place, in no order.
func (m *Members) All() iter.Seq2[string, Place] { return maps.All(m.held) }
