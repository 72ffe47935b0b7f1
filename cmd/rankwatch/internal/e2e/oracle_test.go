package e2e

import (
	"cmp"
	"slices"
)

// A reading is one list as the source serves it, as far as it is read: Rows are
// in the list's order and may name an id twice, Total is the length that the
// source claims.
type reading struct {
	rows   []item
	total  int
	period period
}

type period struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// rules are a watchlist's settings as far as they decide what is published.
type rules struct {
	top, margin     int
	ordinal         bool
	minPlaces       int
	ignoreDisplaced bool
	minChange       int64
	after           int
	announce        bool
	reset           bool // rollover: reset
}

func defaultRules(top int) rules {
	return rules{top: top, minPlaces: 1, minChange: 1, after: 1}
}

// depth is how many rows the worker reads: whole pages, 1000 at most.
func (r rules) depth() int {
	return min((r.top+r.margin+99)/100*100, 1000)
}

// placed is one creator of a reading with its places counted.
type placed struct {
	item
	rank, position int
	edge           bool // in the tie that the end of the reading cuts through
}

// member is what the oracle knows of a creator on the watched board. reported
// is what the last message said of it; cause adds up since reported.rank.
type member struct {
	reported  place
	item      item // as last seen
	misses    int
	cause     cause
	recent    *cause // the same since the rules changed, if that is later
	unseen    bool   // in some reading since reported.rank
	firstSeen uint64
	peak      int
	revisions uint64
	unsure    bool // its history crossed a later baseline, on which the contract is silent
}

type departure struct {
	firstSeen uint64
	peak      int
	unsure    bool
}

// oracle says what a watchlist publishes for each reading.
type oracle struct {
	rules     rules
	revision  uint64
	unchanged int
	previous  map[string]placed
	pairs     []pair // of the previous reading and the present one
	period    *period
	members   map[string]*member
	departed  map[string]departure
	baseline  string // the reason, when the next reading is one
}

func newOracle(r rules) *oracle {
	return &oracle{rules: r, members: map[string]*member{}, departed: map[string]departure{}, baseline: "first"}
}

// configure changes the settings; reason is empty, or names the baseline that
// the next reading is because of the change.
func (o *oracle) configure(r rules, reason string) {
	o.rules = r
	for uid, m := range o.members {
		if o.previous[uid].rank == m.reported.Rank {
			m.recent = &cause{}
		}
	}
	if reason != "" {
		o.baseline = reason
	}
}

// step takes the next reading and returns the messages it publishes, the board
// last, or none.
func (o *oracle) step(r reading) []want {
	now := o.place(r)
	reason := o.baseline
	if reason == "" && o.rules.reset && o.period != nil && *o.period != r.period {
		reason = "rollover"
	}
	var events []want
	missed := false
	o.pairs = pairs(o.previous, now)
	switch {
	case reason != "":
		events = o.startOver(now, reason)
	default:
		events, missed = o.compare(now, r.total > len(r.rows))
	}
	publish := reason != "" || len(events) > 0 || missed || !sameOutsideEdge(o.previous, now)
	o.previous = now
	if !publish {
		o.unchanged++
		return nil
	}
	return o.publish(r, now, events, reason)
}

// place drops repeated ids, then counts positions and ranks.
func (o *oracle) place(r reading) map[string]placed {
	var list []placed
	seen := map[string]bool{}
	for _, it := range r.rows {
		if seen[it.UID] {
			continue
		}
		seen[it.UID] = true
		list = append(list, placed{item: it, position: len(list) + 1})
	}
	for i := range list {
		list[i].edge = r.total > len(r.rows) && list[i].Index == list[len(list)-1].Index
		list[i].rank = 1
		for _, other := range list {
			if other.Index > list[i].Index {
				list[i].rank++
			}
		}
	}
	if o.rules.ordinal {
		o.order(list)
	}
	out := map[string]placed{}
	for _, p := range list {
		out[p.UID] = p
	}
	return out
}

// order gives every creator a rank of its own: ties stand in their previous
// order, those without one after the others, by uid.
func (o *oracle) order(list []placed) {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b placed) int {
		if a.Index != b.Index {
			return cmp.Compare(b.Index, a.Index)
		}
		pa, okA := o.previous[a.UID]
		pb, okB := o.previous[b.UID]
		switch {
		case okA && okB:
			return cmp.Compare(pa.rank, pb.rank)
		case okA:
			return -1
		case okB:
			return 1
		}
		return cmp.Compare(a.UID, b.UID)
	})
	ranks := map[string]int{}
	for i, s := range sorted {
		ranks[s.UID] = i + 1
	}
	for i := range list {
		list[i].rank = ranks[list[i].UID]
	}
}

func sameOutsideEdge(a, b map[string]placed) bool {
	count := func(m map[string]placed) int {
		n := 0
		for _, p := range m {
			if !p.edge {
				n++
			}
		}
		return n
	}
	for uid, p := range a {
		q, ok := b[uid]
		if !p.edge && (!ok || q.edge || p.rank != q.rank || p.Index != q.Index) {
			return false
		}
	}
	return count(a) == count(b)
}

// startOver makes everybody within top a member anew.
func (o *oracle) startOver(now map[string]placed, reason string) []want {
	old := o.members
	o.members = map[string]*member{}
	var events []want
	for uid, p := range now {
		if p.rank > o.rules.top || p.edge {
			continue
		}
		m := o.join(p)
		m.unsure = m.unsure || old[uid] != nil
		if reason == "first" && o.rules.announce {
			events = append(events, o.entered(m, p))
		}
	}
	return events
}

func (o *oracle) join(p placed) *member {
	m := &member{reported: p.place(), item: p.item, firstSeen: o.revision + 1, peak: p.rank}
	if d, ok := o.departed[p.UID]; ok {
		m.firstSeen, m.peak, m.unsure = d.firstSeen, min(d.peak, p.rank), d.unsure
	}
	o.members[p.UID] = m
	return m
}

// compare returns the events of a reading that follows another, and whether a
// count of misses changed.
func (o *oracle) compare(now map[string]placed, cut bool) (events []want, missed bool) {
	newcomers := map[string]placed{}
	for uid, p := range now {
		if o.members[uid] == nil && p.rank <= o.rules.top && !p.edge {
			newcomers[uid] = p
		}
	}
	for uid, m := range o.members {
		before := m.misses
		if w := o.follow(m, uid, now, cut); w != nil {
			events = append(events, *w)
		}
		missed = missed || m.misses != before
	}
	for _, p := range newcomers {
		events = append(events, o.entered(o.join(p), p))
	}
	return events, missed
}

// follow carries one member over to the reading and returns its event, if any.
func (o *oracle) follow(m *member, uid string, now map[string]placed, cut bool) *want {
	p, seen := now[uid]
	was, wasSeen := o.previous[uid]
	var step *cause
	if seen && wasSeen {
		c := count(o.pairs, was.rank, p.rank)
		step = &c
		m.cause.add(c)
		if m.recent != nil {
			m.recent.add(c)
		}
	} else {
		m.unseen = true
	}
	if seen {
		m.item = p.item
	}
	m.misses++
	if seen && p.rank <= o.rules.top+o.rules.margin {
		m.misses = 0
	}
	switch {
	case m.misses >= o.rules.after:
		return o.dropped(m, p, seen, cut, step)
	case !seen:
		return nil
	}
	// Seen past the margin and not out yet, it is a member like any other.
	m.peak = min(m.peak, p.rank)
	kind := o.due(m, p)
	if kind == "" {
		return nil
	}
	w := o.change(kind, m, p, step)
	if kind == "moved" {
		m.reported = p.place()
		m.cause, m.recent, m.unseen = cause{}, nil, false
	}
	m.reported.Position, m.reported.PotentialIndex = p.position, p.Index
	return &w
}

// due names the event that a member's new place calls for.
func (o *oracle) due(m *member, p placed) string {
	places := abs(int64(m.reported.Rank - p.rank))
	displaced := !m.unseen && m.cause.Passed == 0 && m.cause.PassedBy == 0
	switch {
	case places >= int64(o.rules.minPlaces) && !(o.rules.ignoreDisplaced && displaced):
		return "moved"
	case abs(p.Index-m.reported.PotentialIndex) >= o.rules.minChange:
		return "index"
	}
	return ""
}

// A pair is one creator in two readings; nil where it was not seen.
type pair struct{ was, is *placed }

func pairs(before, now map[string]placed) []pair {
	var out []pair
	for uid, p := range before {
		if q, both := now[uid]; both {
			out = append(out, pair{&p, &q})
		} else {
			out = append(out, pair{&p, nil})
		}
	}
	for uid, q := range now {
		if _, both := before[uid]; !both {
			out = append(out, pair{nil, &q})
		}
	}
	return out
}

// count compares who stood above a creator that had the rank was and has the
// rank is, one other creator at a time. The creator itself stands in nobody's
// way: it is never above itself.
func count(all []pair, was, is int) cause {
	var c cause
	for _, p := range all {
		wasAbove := p.was != nil && p.was.rank < was
		isAbove := p.is != nil && p.is.rank < is
		both := p.was != nil && p.is != nil
		switch {
		case both && wasAbove && !isAbove:
			c.Passed++
		case both && !wasAbove && isAbove:
			c.PassedBy++
		case !both && wasAbove:
			c.DroppedAbove++
		case !both && isAbove:
			c.EnteredAbove++
		}
	}
	return c
}

func abs(n int64) int64 { return max(n, -n) }
