package diff

import (
	"cmp"
	"slices"
)

// A slot is one place of the list being read: an entry, a remembered creator
// that is assumed to fill a hole, or a hole that stays unexplained.
type slot struct {
	index int64
	entry int32 // None for holes
	row   int32 // None if the creator is new
}

// listing is a reading put in order, with the rank of every entry and of every
// row that fills a hole.
type listing struct {
	slots   []slot  // by index, highest first; ties in list order (Shared) or in their rank's order (Ordinal)
	ranks   []int32 // of entries
	ghosts  []ghost
	holes   []Hole // what no ghost explains
	edge    bool   // the list goes on
	edgeVal int64  // index of the cut-off tie
}

// A ghost is a remembered row that is assumed to fill a hole of the tie it was
// last seen in.
type ghost struct {
	row  int32
	rank int32
}

func (l *listing) cutOff(index int64) bool { return l.edge && index == l.edgeVal }

// read ranks the entries of r against the board b. rowOf and entryOf are the
// matcher's, or nil without a board before.
func (l *listing) read(b Board, r Reading, ties Ties, rowOf, entryOf []int32) {
	l.slots = sized(l.slots, len(r.Entries))
	l.ranks = sized(l.ranks, len(r.Entries))
	l.ghosts, l.holes, l.edge = l.ghosts[:0], nil, false
	if n := len(r.Entries); n > 0 {
		l.edge, l.edgeVal = r.Cut, r.Entries[n-1].Index
	}
	falling := true
	for i := range r.Entries {
		s := slot{index: r.Entries[i].Index, entry: int32(i), row: None}
		if rowOf != nil {
			s.row = rowOf[i]
		}
		if i > 0 && s.index > r.Entries[i-1].Index {
			falling = false
		}
		l.slots[i] = s
	}
	if len(r.Holes) > 0 {
		l.fill(b, r.Holes, entryOf)
		falling = false
	}
	if !falling {
		slices.SortStableFunc(l.slots, func(a, b slot) int { return cmp.Compare(b.index, a.index) })
	}
	l.rank(b, r, ties)
}

// fill puts the holes among the slots: a creator that was last seen in the
// hole's tie and is not seen now is assumed to be the one that is hidden.
func (l *listing) fill(b Board, holes []Hole, entryOf []int32) {
	hidden := map[int64][]int32{}
	for i := range entryOf {
		if entryOf[i] == None && (b.Rows[i].Listed || b.Rows[i].Unseen > 0) && !b.Rows[i].gone() {
			hidden[b.Rows[i].Index] = append(hidden[b.Rows[i].Index], int32(i))
		}
	}
	for _, c := range hidden {
		slices.SortFunc(c, func(x, y int32) int {
			return cmp.Or(cmp.Compare(b.Rows[x].Rank, b.Rows[y].Rank), cmp.Compare(b.Rows[x].UID, b.Rows[y].UID))
		})
	}
	for _, h := range holes {
		s := slot{index: h.Index, entry: None, row: None}
		if c := hidden[h.Index]; len(c) > 0 {
			s.row, hidden[h.Index] = c[0], c[1:]
		} else {
			l.holes = append(l.holes, h)
		}
		l.slots = append(l.slots, s)
	}
}

// gone says that complete readings have shown the creator to be absent: it
// hides in no tie.
func (r *Row) gone() bool { return !r.Listed && r.Misses > 0 }

func (l *listing) rank(b Board, r Reading, ties Ties) {
	for from := 0; from < len(l.slots); {
		to := from + 1
		for to < len(l.slots) && l.slots[to].index == l.slots[from].index {
			to++
		}
		tie := l.slots[from:to]
		if ties == Ordinal && len(tie) > 1 {
			l.order(b, r, tie)
		}
		for i, s := range tie {
			rank := int32(from + 1)
			if ties == Ordinal {
				rank += int32(i)
			}
			switch {
			case s.entry != None:
				l.ranks[s.entry] = rank
			case s.row != None:
				l.ghosts = append(l.ghosts, ghost{s.row, rank})
			}
		}
		from = to
	}
}

// order puts a tie in its previous order, then by uid. Unexplained holes come
// last. In the cut-off tie members come first: which of the others are shown is
// the source's whim, and a whim must move nobody.
func (l *listing) order(b Board, r Reading, tie []slot) {
	cut := l.cutOff(tie[0].index)
	uid := func(s slot) string {
		if s.entry != None {
			return r.Entries[s.entry].UID
		}
		return b.Rows[s.row].UID
	}
	class := func(s slot) int {
		switch {
		case s.row == None && s.entry == None:
			return 3
		case s.row == None:
			return 2
		case cut && !b.Rows[s.row].Member:
			return 1
		}
		return 0
	}
	slices.SortFunc(tie, func(x, y slot) int {
		cx, cy := class(x), class(y)
		if cx != cy || cx == 3 {
			return cmp.Compare(cx, cy)
		}
		if cx < 2 {
			if c := cmp.Compare(b.Rows[x.row].Rank, b.Rows[y.row].Rank); c != 0 {
				return c
			}
		}
		return cmp.Compare(uid(x), uid(y))
	})
}
