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
	uids   map[string]bool
	rank   bool // and the cause
	index  bool
	misses bool
}

func newUnsure(b *diff.Board, rules diff.Rules) unsure {
	u := unsure{
		uids: make(map[string]bool), rank: rules.MinPlaces > 1 || rules.IgnoreDisplaced,
		index: rules.MinChange > 1, misses: rules.DropAfter > 1,
	}
	for i := range b.Rows {
		if b.Rows[i].Member {
			u.uids[b.Rows[i].UID] = true
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
	if u.misses {
		row.Misses = int32(a.Misses)
	}
}

// guide gives the members in b what their event in this reading says was
// reported, or, without one, something that calls for none.
func (u *unsure) guide(b *diff.Board, r *Reading, rules diff.Rules) {
	if len(u.uids) == 0 || !u.rank && !u.index && !u.misses {
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
		if row := &b.Rows[i]; row.Member && u.uids[row.UID] {
			u.guideRow(row, events[row.UID], now[row.UID], rules)
		}
	}
}

func (u *unsure) guideRow(row *diff.Row, e *Event, is *event.Row, rules diff.Rules) {
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
	if is != nil && is.Rank <= int(rules.Top+rules.Margin) || !u.misses {
		return
	}
	switch dropped := e != nil && e.Kind == event.Dropped; {
	case dropped:
		row.Misses = rules.DropAfter - 1
	case row.Misses+1 >= rules.DropAfter:
		row.Misses = max(rules.DropAfter-2, 0)
	}
}
