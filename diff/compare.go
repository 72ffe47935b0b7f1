package diff

import (
	"cmp"
	"slices"
)

// patience is the number of readings running after which an unseen creator
// counts as absent even though holes might hide it.
const patience = 3

// Baseline makes a board of the first reading, or of one that shall not be
// compared. Members are the entries up to rules.Top outside the cut-off tie.
// With announce it reports each of them as Entered.
func Baseline(r Reading, rules Rules, announce bool) Result {
	var l listing
	l.read(Board{}, r, rules.Ties, nil, nil)
	res := Result{Changed: true, Dirty: true}
	res.Board = Board{Rows: make([]Row, len(r.Entries)), Holes: l.holes}
	for i, e := range r.Entries {
		row := Row{UID: e.UID, Index: e.Index, Rank: l.ranks[i], Position: e.Position, Listed: true, Edge: l.cutOff(e.Index)}
		if row.Rank <= rules.Top && !row.Edge {
			row.enter(r)
			if announce {
				res.Changes = append(res.Changes, Change{Kind: Entered, UID: e.UID, After: row.Reported, Row: int32(i), From: None})
			}
		}
		res.Board.Rows[i] = row
	}
	return res
}

func (r *Row) place() Place { return Place{Rank: r.Rank, Position: r.Position, Index: r.Index} }

func (r *Row) enter(in Reading) {
	r.Member, r.CauseKnown, r.Cause = true, true, Cause{}
	r.Misses, r.Unseen = 0, 0
	r.Reported, r.Peak = r.place(), r.Rank
	r.Since, r.FirstSeen = in.Revision, in.At
}

// Compare holds a reading against the board before it. It changes neither.
//
// A reading that is not Changed leaves the board's ranks as they are, so that
// the next comparison starts from what was published; only the counts of unseen
// readings go on.
func Compare(b Board, r Reading, rules Rules) Result {
	return new(Comparer).Compare(b, r, rules)
}

// A Comparer compares like Compare and keeps its memory, so that a comparison
// costs a constant number of allocations however large the list. A result is
// good until the call after the next, so that it can be what the next one
// starts from. A Comparer is for one goroutine at a time. Its zero value is
// ready.
type Comparer struct {
	rows    [2][]Row // of the last two results
	changes [2][]Change
	turn    int

	before  Board
	reading Reading
	rules   Rules

	matcher
	list listing
	explainer

	assumed []int32 // row → rank as a ghost, 0 if not; nil without ghosts
	seen    []fate  // of entries
	absent  []fate  // of rows that no entry shows; the rest stays zero
	counts  [4]int
	changed bool
	dirty   bool
	asked   bool // causes holds what want asked for
	lost    int
	present int
}

// Compare is the function Compare.
func (c *Comparer) Compare(b Board, r Reading, rules Rules) Result {
	c.before, c.reading, c.rules = b, r, rules
	c.assumed, c.counts = nil, [4]int{}
	c.changed, c.dirty, c.asked, c.lost, c.present = false, false, false, 0, 0
	c.match(b.Rows, r.Entries)
	c.list.read(b, r, rules.Ties, c.rowOf, c.entryOf)
	c.judgeAbsent()
	c.judgeSeen()
	if !c.changed {
		return c.unchanged()
	}
	return c.result()
}

// fate is what a reading means for one creator.
type fate struct {
	event  bool
	kind   Kind
	miss   bool // the reading counts against a member
	lost   bool
	forget bool // not a member and not on the list any more
	hidden bool // nobody can say: a hole may hide it
}

func (c *Comparer) emit(f *fate, k Kind) {
	f.event, f.kind = true, k
	c.counts[k]++
	c.changed = true
}

// judgeAbsent decides about the rows that the reading does not show.
func (c *Comparer) judgeAbsent() {
	c.absent = sized(c.absent, len(c.before.Rows))
	clear(c.absent)
	if len(c.list.ghosts) > 0 {
		c.assumed = make([]int32, len(c.before.Rows))
		for _, g := range c.list.ghosts {
			c.assumed[g.row] = g.rank
		}
	}
	torn := len(c.reading.Holes) > 0
	for i, e := range c.entryOf {
		if e != None {
			continue
		}
		row, f := &c.before.Rows[i], &c.absent[i]
		if row.Member && row.Misses == 0 {
			c.present++
		}
		f.hidden = torn && row.Unseen+1 < patience
		if f.hidden {
			c.dirty = true
			continue
		}
		if !row.Member {
			f.forget = true
			// Who of a cut-off tie is shown says nothing about the list.
			c.changed = c.changed || !row.Edge
			continue
		}
		c.miss(f, row, c.list.edge && row.Index == c.list.edgeVal)
	}
}

// miss counts a reading against a member, which may end its membership.
// swallowed says that the cut-off tie may be what hides it.
func (c *Comparer) miss(f *fate, row *Row, swallowed bool) {
	f.miss = true
	c.changed = true
	if row.Misses == 0 && !swallowed {
		f.lost = true
		c.lost++
	}
	if row.Misses+1 >= c.rules.DropAfter {
		c.emit(f, Dropped)
	}
}

// judgeSeen decides about the entries of the reading.
func (c *Comparer) judgeSeen() {
	n := len(c.reading.Entries)
	c.seen, c.want = sized(c.seen, n), sized(c.want, n)
	clear(c.seen)
	c.old = sized(c.old, n)
	for i, r := range c.rowOf {
		c.old[i], c.want[i] = 0, false
		if r == None {
			continue
		}
		row := &c.before.Rows[r]
		if row.Member && row.Misses == 0 {
			c.present++
		}
		if row.Listed {
			c.old[i] = row.Rank
			c.want[i] = c.wantsCause(i, row)
			c.asked = c.asked || c.want[i]
		}
	}
	if c.asked {
		c.step(c)
	}
	for i := range c.reading.Entries {
		c.judge(i)
	}
}

// wantsCause says that entry i, listed before, may have an event that explains
// its rank.
func (c *Comparer) wantsCause(i int, row *Row) bool {
	if !row.Member {
		return false
	}
	rank := c.list.ranks[i]
	return c.rules.accumulate() || rank != row.Reported.Rank || rank > c.rules.Top+c.rules.Margin ||
		c.reading.Entries[i].Index != row.Reported.Index
}

// accumulate says that a cause may span several readings, because the rules
// hold some moves back.
func (r Rules) accumulate() bool { return r.MinPlaces > 1 || r.IgnoreDisplaced }

func (c *Comparer) judge(i int) {
	e, rank := &c.reading.Entries[i], c.list.ranks[i]
	f := &c.seen[i]
	edge := c.list.cutOff(e.Index)
	r := c.rowOf[i]
	if r == None {
		c.changed = c.changed || !edge
		if rank <= c.rules.Top && !edge {
			c.emit(f, Entered)
		}
		return
	}
	row := &c.before.Rows[r]
	if row.Unseen > 0 {
		c.dirty = true
	}
	if !edge || !row.Edge {
		was, is := row.Listed && !row.Edge || row.Unseen > 0 && !row.gone() && !row.Edge, !edge
		if was != is || is && (row.Rank != rank || row.Index != e.Index) {
			c.changed = true
		}
	}
	if !row.Member {
		if rank <= c.rules.Top && !edge {
			c.emit(f, Entered)
		}
		return
	}
	if rank > c.rules.Top+c.rules.Margin {
		c.miss(f, row, edge)
		if f.event {
			return
		}
	} else if row.Misses > 0 {
		c.changed = true
	}
	c.report(f, i, row)
}

// report decides whether a member's rank or index is due to be told.
func (c *Comparer) report(f *fate, i int, row *Row) {
	e, rank := &c.reading.Entries[i], c.list.ranks[i]
	cause, known := c.cause(i, row)
	if d := rank - row.Reported.Rank; max(d, -d) >= c.rules.MinPlaces {
		displaced := known && cause.Passed == 0 && cause.PassedBy == 0
		if !c.rules.IgnoreDisplaced || !displaced {
			c.emit(f, Moved)
			return
		}
	}
	if d := e.Index - row.Reported.Index; max(d, -d) >= c.rules.MinChange {
		c.emit(f, Indexed)
	}
}

// cause explains entry i's rank since its row's Reported.Rank.
func (c *Comparer) cause(i int, row *Row) (Cause, bool) {
	if !row.CauseKnown || row.Unseen > 0 || !row.Listed {
		return Cause{}, false
	}
	var now Cause
	if c.want[i] {
		now = c.causes[i]
	}
	return row.Cause.plus(now), true
}

// unchanged is the result of a reading that is not published.
func (c *Comparer) unchanged() Result {
	res := Result{Board: c.before, Present: c.present}
	if !c.dirty {
		return res
	}
	res.Dirty = true
	res.Board.Rows = slices.Clone(c.before.Rows)
	for i := range res.Board.Rows {
		row := &res.Board.Rows[i]
		switch {
		case c.entryOf[i] != None && row.Unseen > 0:
			row.Interim, row.Unseen, row.CauseKnown = true, 0, !c.rules.accumulate()
		case c.entryOf[i] == None && c.absent[i].hidden:
			row.Interim, row.CauseKnown = true, false
			row.Unseen++
		}
	}
	return res
}

// Resume makes b what unpublished readings have made of it: of the creator uid
// they left so many unseen readings in a row. It is how a board that is
// reconstructed from published readings catches up with the one that was
// tracked. rules are those of the reading that follows.
func (b *Board) Resume(uid string, unseen int32, rules Rules) {
	for i := range b.Rows {
		if row := &b.Rows[i]; row.UID == uid {
			row.Interim, row.Unseen = true, unseen
			row.CauseKnown = unseen == 0 && !rules.accumulate()
			return
		}
	}
}

// result builds the next board and the changes that lead to it.
func (c *Comparer) result() Result {
	res := Result{Changed: true, Dirty: true, Present: c.present}
	c.turn = 1 - c.turn
	n := 0
	for _, k := range c.counts {
		n += k
	}
	if n > 0 {
		c.changes[c.turn] = sized(c.changes[c.turn], n)
		res.Changes = c.changes[c.turn]
	}
	if c.lost > 0 {
		res.Lost = make([]string, 0, c.lost)
	}
	// Where each kind's next change goes; the order of kinds is the contract's.
	at := [4]int{}
	for k := 1; k < len(at); k++ {
		at[k] = at[k-1] + c.counts[k-1]
	}
	keep := len(c.reading.Entries)
	for i := range c.absent {
		if c.entryOf[i] == None && !c.absent[i].forget {
			keep++
		}
	}
	c.rows[c.turn] = sized(c.rows[c.turn], keep)
	res.Board = Board{Rows: c.rows[c.turn][:0], Holes: c.list.holes}
	for i := range c.reading.Entries {
		c.nextSeen(i, &res, &at)
	}
	for i := range c.absent {
		if c.entryOf[i] == None && !c.absent[i].forget {
			c.nextAbsent(i, &res, &at)
		}
	}
	slices.SortFunc(res.Changes[:c.counts[Dropped]], func(x, y Change) int {
		return cmp.Or(cmp.Compare(x.Before.Rank, y.Before.Rank), cmp.Compare(x.UID, y.UID))
	})
	return res
}

// nextSeen appends the row of entry i, and its change.
func (c *Comparer) nextSeen(i int, res *Result, at *[4]int) {
	e, f := &c.reading.Entries[i], &c.seen[i]
	n := len(res.Board.Rows)
	res.Board.Rows = res.Board.Rows[:n+1]
	row := &res.Board.Rows[n]
	from := c.rowOf[i]
	if from != None {
		*row = c.before.Rows[from]
	} else {
		*row = Row{}
	}
	if row.Member {
		row.Cause, row.CauseKnown = c.cause(i, &c.before.Rows[from])
		row.Peak = min(row.Peak, c.list.ranks[i])
	}
	// The reading's own string, so that the board before can be freed.
	row.UID = e.UID
	row.Index, row.Rank, row.Position = e.Index, c.list.ranks[i], e.Position
	row.Listed, row.Edge, row.Unseen, row.Interim = true, c.list.cutOff(e.Index), 0, false
	if f.miss {
		row.Misses++
	} else {
		row.Misses = 0
	}
	if f.lost {
		res.Lost = append(res.Lost, e.UID)
	}
	if f.event {
		ch := &res.Changes[at[f.kind]]
		at[f.kind]++
		*ch = Change{
			Kind: f.kind, UID: e.UID, From: from, Row: int32(n),
			Before: row.Reported, After: row.place(), Cause: row.Cause, CauseKnown: row.CauseKnown,
		}
		row.apply(f.kind, c.reading)
	}
	if row.Member && row.Rank == row.Reported.Rank && !c.rules.accumulate() {
		// The rank is what was reported: the next move is explained from here.
		row.Cause, row.CauseKnown = Cause{}, true
	}
}

// apply makes the row what the event says.
func (r *Row) apply(k Kind, in Reading) {
	switch k {
	case Dropped:
		*r = Row{UID: r.UID, Index: r.Index, Rank: r.Rank, Position: r.Position, Listed: r.Listed, Edge: r.Edge}
	case Entered:
		r.enter(in)
	case Moved:
		r.Reported = r.place()
		r.Cause, r.CauseKnown = Cause{}, true
	case Indexed:
		r.Reported.Index, r.Reported.Position = r.Index, r.Position
	}
}

// nextAbsent appends what is remembered of row i, and its change.
func (c *Comparer) nextAbsent(i int, res *Result, at *[4]int) {
	row, f := c.before.Rows[i], &c.absent[i]
	row.Unseen++
	row.CauseKnown, row.Interim = false, false
	row.Listed = c.assumed != nil && c.assumed[i] > 0
	if row.Listed {
		row.Rank, row.Position = c.assumed[i], 0
	}
	if f.miss {
		row.Misses++
	}
	if f.lost {
		res.Lost = append(res.Lost, row.UID)
	}
	if f.event {
		res.Changes[at[Dropped]] = Change{
			Kind: Dropped, UID: row.UID, Before: row.Reported, Edge: c.list.edge, Row: None, From: int32(i),
		}
		at[Dropped]++
		return
	}
	res.Board.Rows = append(res.Board.Rows, row)
}
