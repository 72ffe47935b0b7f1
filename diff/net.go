package diff

import (
	"cmp"
	"slices"
)

// Net is the one difference between two boards of a list, however many readings
// lie between them: who became a member, who is one no more, and whose rank or
// index is another, by what the boards themselves say of membership. Rules play
// no part. A creator that either board does not show stands where it was last
// reported. cut says that the later reading did not show all of its list.
//
// Folding the changes over the members of before gives those of after. They are
// in the order of a reading's.
func Net(before, after Board, cut bool) []Change {
	n := netter{before: before, after: after, cut: cut}
	n.explain()
	var out []Change
	for i := range after.Rows {
		if c, ok := n.change(int32(i)); ok {
			out = append(out, c)
		}
	}
	for i := range before.Rows {
		if row := &before.Rows[i]; row.Member && n.entryOf[i] == None {
			out = append(out, Change{Kind: Dropped, UID: row.UID, Before: row.stands(), Edge: cut, Row: None, From: int32(i)})
		}
	}
	slices.SortStableFunc(out, func(x, y Change) int {
		if x.Kind != y.Kind || x.Kind != Dropped {
			// Whom the later board does not show has no position: last.
			return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(uint32(x.After.Position-1), uint32(y.After.Position-1)), cmp.Compare(x.After.Rank, y.After.Rank))
		}
		return cmp.Or(cmp.Compare(x.Before.Rank, y.Before.Rank), cmp.Compare(x.UID, y.UID))
	})
	return out
}

// netter holds the rows of after against those of before.
type netter struct {
	Comparer
	before, after Board
	cut           bool
}

// stands is where the row is, or was last reported.
func (r *Row) stands() Place {
	if r.Listed || !r.Member {
		return r.place()
	}
	return r.Reported
}

func (n *netter) explain() {
	rows := n.after.Rows
	entries := make([]Entry, len(rows))
	for i := range rows {
		entries[i].UID = rows[i].UID
	}
	n.match(n.before.Rows, entries)
	n.Comparer.before = n.before
	n.old, n.want = make([]int32, len(rows)), make([]bool, len(rows))
	n.list.ranks, n.list.slots = make([]int32, len(rows)), make([]slot, len(rows)+len(n.after.Holes))
	for i := range rows {
		// Who is not on both lists stands in nobody's way.
		if r := n.rowOf[i]; rows[i].Listed && r != None && n.before.Rows[r].Listed {
			n.old[i], n.list.ranks[i], n.want[i] = n.before.Rows[r].Rank, rows[i].Rank, true
		}
	}
	n.step(&n.Comparer)
}

// change is what the two ends say of the creator in row i of after.
func (n *netter) change(i int32) (Change, bool) {
	is, from := &n.after.Rows[i], n.rowOf[i]
	c := Change{UID: is.UID, Row: i, From: from}
	if is.Listed || is.Member {
		c.After = is.stands()
	}
	member := from != None && n.before.Rows[from].Member
	if member {
		c.Before = n.before.Rows[from].stands()
	}
	switch {
	case !member && !is.Member:
		return c, false
	case !member:
		c.Kind = Entered
		return c, true
	case !is.Member:
		c.Kind, c.Edge = Dropped, n.cut && !is.Listed
	case c.Before.Rank != c.After.Rank:
		c.Kind = Moved
	case c.Before.Index != c.After.Index:
		c.Kind = Indexed
	default:
		return c, false
	}
	if n.want[i] {
		c.Cause, c.CauseKnown = n.causes[i], true
	}
	return c, true
}
