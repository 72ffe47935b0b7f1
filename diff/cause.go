package diff

// explainer finds the cause of each change of rank.
type explainer struct {
	causes   []Cause // of entries; only those that were asked for are set
	want     []bool
	old      []int32 // rank of each entry on the list before, 0 if it was not on it
	firstOld []int32 // how many of both lists stood above each old rank
	aboveNow []int32 // how many of both lists stand above each new rank
	fill     []int32
	tree     []int32
	byOld    []pair
}

// pair is a creator of both lists: its ranks, and its entry if it was seen.
type pair struct {
	old, now int32
	entry    int32
}

// step explains, for each wanted entry that was listed before, its change of
// rank between the two lists.
//
// Above means a strictly better rank. Of those in both lists, a Fenwick tree
// over the new ranks, filled in the order of the old ones, counts who was above
// before and is above now: O(n log n).
func (x *explainer) step(c *Comparer) {
	slots := int32(len(c.list.slots))
	n := x.sort(c, slots)
	x.causes = sized(x.causes, len(c.rowOf))
	x.tree = sized(x.tree, int(slots)+1)
	clear(x.tree)
	for from := 0; from < n; {
		to := from
		for ; to < n && x.byOld[to].old == x.byOld[from].old; to++ {
			p := x.byOld[to]
			if p.entry == None || !x.want[p.entry] {
				continue
			}
			stay := int32(0)
			for i := p.now - 1; i > 0; i -= i & -i {
				stay += x.tree[i]
			}
			wasAbove, isAbove := x.firstOld[p.old], x.aboveNow[p.now]
			x.causes[p.entry] = Cause{
				Passed:       wasAbove - stay,
				PassedBy:     isAbove - stay,
				DroppedAbove: p.old - 1 - wasAbove,
				EnteredAbove: p.now - 1 - isAbove,
			}
		}
		for ; from < to; from++ {
			for i := x.byOld[from].now; i <= slots; i += i & -i {
				x.tree[i]++
			}
		}
	}
}

// sort puts the creators of both lists in the order of their old ranks and
// counts how many stand above each rank. It returns their number.
func (x *explainer) sort(c *Comparer, slots int32) int {
	oldMax := slots
	for _, old := range x.old {
		oldMax = max(oldMax, old)
	}
	rows := c.before.Rows
	for _, g := range c.list.ghosts {
		oldMax = max(oldMax, rows[g.row].Rank)
	}
	x.firstOld = sized(x.firstOld, int(oldMax)+2)
	x.aboveNow = sized(x.aboveNow, int(slots)+2)
	clear(x.firstOld)
	clear(x.aboveNow)
	n := 0
	count := func(old, now int32) {
		x.firstOld[old+1]++
		x.aboveNow[now+1]++
		n++
	}
	for i, old := range x.old {
		if old != 0 {
			count(old, c.list.ranks[i])
		}
	}
	for _, g := range c.list.ghosts {
		if rows[g.row].Listed {
			count(rows[g.row].Rank, g.rank)
		}
	}
	for i := 1; i < len(x.firstOld); i++ {
		x.firstOld[i] += x.firstOld[i-1]
	}
	for i := 1; i < len(x.aboveNow); i++ {
		x.aboveNow[i] += x.aboveNow[i-1]
	}
	x.byOld = sized(x.byOld, n)
	x.fill = sized(x.fill, len(x.firstOld))
	copy(x.fill, x.firstOld)
	put := func(p pair) {
		x.byOld[x.fill[p.old]] = p
		x.fill[p.old]++
	}
	for i, old := range x.old {
		if old != 0 {
			put(pair{old, c.list.ranks[i], int32(i)})
		}
	}
	for _, g := range c.list.ghosts {
		if rows[g.row].Listed {
			put(pair{rows[g.row].Rank, g.rank, None})
		}
	}
	return n
}

func (c Cause) plus(d Cause) Cause {
	return Cause{c.Passed + d.Passed, c.PassedBy + d.PassedBy, c.EnteredAbove + d.EnteredAbove, c.DroppedAbove + d.DroppedAbove}
}
