package e2e

import (
	"cmp"
	"slices"
)

// place is one end of a change, as messages write it.
type place struct {
	Rank           int   `json:"rank"`
	Position       int   `json:"position"`
	PotentialIndex int64 `json:"potential_index"`
}

func (p placed) place() place {
	return place{Rank: p.rank, Position: p.position, PotentialIndex: p.Index}
}

type cause struct {
	Passed       int `json:"passed"`
	PassedBy     int `json:"passed_by"`
	EnteredAbove int `json:"entered_above"`
	DroppedAbove int `json:"dropped_above"`
}

func (c *cause) add(d cause) {
	c.Passed += d.Passed
	c.PassedBy += d.PassedBy
	c.EnteredAbove += d.EnteredAbove
	c.DroppedAbove += d.DroppedAbove
}

// want is one expected message. For a board the fields about one creator are
// empty, and the other way round.
type want struct {
	kind     string
	uid      string
	n, of    int
	revision uint64
	item     item
	before   *place
	after    *place
	causes   []*cause // any of them; nil stands for null
	edge     bool

	firstSeen uint64 // the revision whose time it is
	peak      int
	revisions uint64
	reentry   bool
	unsure    bool

	period   period
	previous *period
	board    *wantBoard
}

type wantBoard struct {
	outcome, reason string
	total           int
	counts          map[string]int
	rules           rules
	unchanged       int
	rows            []wantRow
}

type wantRow struct {
	placed
	member bool
}

func (o *oracle) history(w *want, m *member, stays bool) {
	w.firstSeen, w.peak, w.revisions, w.unsure = m.firstSeen, m.peak, m.revisions, m.unsure
	if stays {
		w.revisions++
	}
	_, w.reentry = o.departed[w.uid]
}

func (o *oracle) entered(m *member, p placed) want {
	after := p.place()
	w := want{kind: "entered", uid: p.UID, item: p.item, after: &after, causes: []*cause{nil}}
	o.history(&w, m, true)
	return w
}

func (o *oracle) change(kind string, m *member, p placed, step *cause) want {
	before, after := m.reported, p.place()
	w := want{kind: kind, uid: p.UID, item: p.item, before: &before, after: &after, causes: o.causes(m, step)}
	o.history(&w, m, true)
	return w
}

// causes lists the acceptable ones. With the default rules it is what happened
// since the previous reading, else since before.rank was reported. Between the
// two lies what the contract leaves open: default rules for moves beside other
// rules that are not.
func (o *oracle) causes(m *member, step *cause) []*cause {
	sum := &cause{}
	*sum = m.cause
	if m.unseen {
		sum = nil
	}
	r := o.rules
	switch {
	case (r.minPlaces > 1 || r.ignoreDisplaced) && sum != nil && m.recent != nil:
		// Steps that cancelled out before these rules were in force may count.
		return []*cause{sum, m.recent}
	case r.minPlaces > 1 || r.ignoreDisplaced:
		return []*cause{sum}
	case o.previous[m.item.UID].rank != m.reported.Rank:
		// Earlier rules kept a step to themselves: only the sum explains it.
		return []*cause{sum}
	case r.after == 1 && r.minChange == 1:
		return []*cause{step}
	}
	return []*cause{step, sum}
}

func (o *oracle) dropped(m *member, p placed, seen, cut bool, step *cause) *want {
	before := m.reported
	w := want{kind: "dropped", uid: m.item.UID, item: m.item, before: &before, causes: []*cause{nil}}
	if seen {
		after := p.place()
		w.after = &after
		w.causes = o.causes(m, step)
	}
	w.edge = !seen && cut
	o.history(&w, m, false)
	delete(o.members, w.uid)
	o.departed[w.uid] = departure{firstSeen: m.firstSeen, peak: m.peak, unsure: m.unsure}
	return &w
}

var kindOrder = []string{"dropped", "entered", "moved", "index"}

// publish numbers the events and closes them with the board.
func (o *oracle) publish(r reading, now map[string]placed, events []want, reason string) []want {
	slices.SortFunc(events, func(a, b want) int {
		if c := cmp.Compare(slices.Index(kindOrder, a.kind), slices.Index(kindOrder, b.kind)); c != 0 {
			return c
		}
		if a.kind == "dropped" {
			return cmp.Or(cmp.Compare(a.before.Rank, b.before.Rank), cmp.Compare(a.uid, b.uid))
		}
		return cmp.Compare(a.after.Position, b.after.Position)
	})
	o.revision++
	b := &wantBoard{outcome: "changed", total: r.total, rules: o.rules, unchanged: o.unchanged,
		counts: map[string]int{"entered": 0, "moved": 0, "dropped": 0, "index": 0}}
	if reason != "" {
		b.outcome, b.reason = "baseline", reason
	}
	for i := range events {
		b.counts[events[i].kind]++
		events[i].n, events[i].of = i+1, len(events)
	}
	for uid, p := range now {
		b.rows = append(b.rows, wantRow{placed: p, member: o.members[uid] != nil})
	}
	slices.SortFunc(b.rows, func(a, b wantRow) int { return cmp.Compare(a.position, b.position) })
	out := append(events, want{kind: "board", board: b})
	for i := range out {
		out[i].revision, out[i].period, out[i].previous = o.revision, r.period, o.period
	}
	for _, m := range o.members {
		m.revisions++
	}
	p := r.period
	o.period, o.unchanged, o.baseline = &p, 0, ""
	return out
}
