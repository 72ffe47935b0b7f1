package recount

import (
	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// unsure are the members whose last report lies before history, and what of it
// the first board leaves open: its position always, the rest only where its
// rules may have kept something back. Each is learned from the first event that
// tells it.
type unsure struct {
	uids  map[string]bool
	rank  bool // and the cause
	index bool
	// misses are members that stood past the margin: how long they had is known
	// once they come back, are gone from the list, or drop.
	misses map[string]bool
}

func newUnsure(b *diff.Board, rules diff.Rules) unsure {
	u := unsure{
		uids: make(map[string]bool), rank: rules.MinPlaces > 1 || rules.IgnoreDisplaced,
		index: rules.MinChange > 1, misses: make(map[string]bool),
	}
	for i := range b.Rows {
		row := &b.Rows[i]
		if !row.Member {
			continue
		}
		u.uids[row.UID] = true
		if row.Listed && row.Rank > rules.Top+rules.Margin && rules.DropAfter > 1 {
			u.misses[row.UID] = true
		}
	}
	return u
}

// learn takes what an event tells. An `index` says nothing of what has added up
// to a move so far.
func (u *unsure) learn(e *Event) {
	if e.Kind != event.Index || !u.rank {
		delete(u.uids, e.Data.Creator.UID)
	}
}

// adopt takes what a board tells of a member that it does not show.
func (u *unsure) adopt(row *diff.Row, a *event.Absent) {
	if u.rank {
		row.Reported.Rank = int32(a.Rank)
	}
	if u.index {
		row.Reported.Index = a.PotentialIndex
	}
	if u.misses[row.UID] {
		row.Misses = int32(a.Misses)
		delete(u.misses, row.UID)
	}
}

// guide gives the members in b what their event in this reading says was
// reported, or, without one, something that calls for none.
func (u *unsure) guide(b *diff.Board, r *Reading, rules diff.Rules) {
	if len(u.misses) == 0 && (len(u.uids) == 0 || !u.rank && !u.index) {
		return
	}
	events := make(map[string]*Event, len(r.Events))
	for i := range r.Events {
		events[r.Events[i].Data.Creator.UID] = &r.Events[i]
	}
	now := make(map[string]*event.Row, len(r.Data.Board))
	for i := range r.Data.Board {
		now[r.Data.Board[i].UID] = &r.Data.Board[i]
	}
	for i := range b.Rows {
		row := &b.Rows[i]
		if row.Member && u.uids[row.UID] {
			u.guideReport(row, events[row.UID], now[row.UID])
		}
		if row.Member && u.misses[row.UID] {
			u.guideMisses(row, events[row.UID], now[row.UID], rules)
		}
	}
}

func (u *unsure) guideReport(row *diff.Row, e *Event, is *event.Row) {
	rank, index := row.Reported.Rank, row.Reported.Index
	switch {
	case e != nil && e.Data.Before != nil:
		rank, index = int32(e.Data.Before.Rank), e.Data.Before.PotentialIndex
	case is != nil:
		rank, index = int32(is.Rank), is.PotentialIndex
	}
	if u.rank {
		// A move that was held back, since it was mere displacement, was so from
		// its beginning; one that was told may not have been.
		held := e != nil && e.Kind == event.Index
		row.Reported.Rank, row.Cause, row.CauseKnown = rank, diff.Cause{}, held
	}
	if u.index {
		row.Reported.Index = index
	}
}

func (u *unsure) guideMisses(row *diff.Row, e *Event, is *event.Row, rules diff.Rules) {
	switch dropped := e != nil && e.Kind == event.Dropped; {
	case is != nil && is.Rank <= int(rules.Top+rules.Margin):
		delete(u.misses, row.UID)
	case dropped:
		row.Misses = rules.DropAfter - 1
		delete(u.misses, row.UID)
	case row.Misses+1 >= rules.DropAfter:
		row.Misses = max(rules.DropAfter-2, 0)
	}
}
