package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// list reads `a90 b80 b80 | 7`: uids with their index, and the total if the
// list goes on.
func list(s string) reading {
	rows, total, _ := strings.Cut(s, "|")
	var r reading
	for _, f := range strings.Fields(rows) {
		index, _ := strconv.ParseInt(f[1:], 10, 64)
		r.rows = append(r.rows, made(f[:1], index, 0, "US"))
	}
	r.total = len(r.rows)
	if n, err := strconv.Atoi(strings.TrimSpace(total)); err == nil {
		r.total = n
	}
	return r
}

// brief writes a message as `moved b 3>1 +2 passed 1/0/0/1`: the cause is
// passed, passed_by, entered_above, dropped_above.
func brief(w want) string {
	if w.board != nil {
		var members []string
		for _, r := range w.board.rows {
			s := r.UID + strconv.Itoa(r.rank)
			if r.edge {
				s += "~"
			}
			if r.member {
				members = append(members, s)
			} else {
				members = append(members, "("+s+")")
			}
		}
		return strings.TrimSpace(fmt.Sprintf("%s%s: %s", w.board.outcome, w.board.reason, strings.Join(members, " ")))
	}
	s := w.kind + " " + w.uid + " "
	if w.before != nil {
		s += strconv.Itoa(w.before.Rank)
	}
	s += ">"
	if w.after != nil {
		s += strconv.Itoa(w.after.Rank)
	}
	if c := w.causes[0]; c != nil {
		s += fmt.Sprintf(" %d/%d/%d/%d", c.Passed, c.PassedBy, c.EnteredAbove, c.DroppedAbove)
	}
	if w.edge {
		s += " edge"
	}
	if w.reentry {
		s += " again"
	}
	return s
}

func TestTheOracleByHand(t *testing.T) {
	set := func(change func(*rules)) rules {
		r := defaultRules(3)
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		rules rules
		lists []string
		want  []string // of the last list
	}{
		"ties share a place": {defaultRules(4), []string{"a9 b8 c8 d7"}, []string{"baselinefirst: a1 b2 c2 d4"}},
		"announced": {set(func(r *rules) { r.announce = true }), []string{"a9 b8"},
			[]string{"entered a >1", "entered b >2", "baselinefirst: a1 b2"}},
		"a repeated id counts once": {defaultRules(3), []string{"a9 b8 a8 c7"}, []string{"baselinefirst: a1 b2 c3"}},
		"the same again is silent":  {defaultRules(3), []string{"a9 b8", "a9 b8"}, nil},
		"a shuffled tie is silent":  {defaultRules(3), []string{"a9 b8 c8", "a9 c8 b8"}, nil},
		"a shuffled tie, ordinal":   {set(func(r *rules) { r.ordinal = true }), []string{"a9 c8 b8", "a9 b8 c8"}, nil},
		"an ordinal tie keeps its previous order": {set(func(r *rules) { r.ordinal = true }), []string{"c9 b8 a7", "a8 b8 c8"},
			[]string{"index a 3>3 0/0/0/0", "index c 1>1 0/0/0/0", "changed: a3 b2 c1"}},
		"one passes one": {defaultRules(3), []string{"a9 b8 c7", "b9 a8 c7"},
			[]string{"moved b 2>1 1/0/0/0", "moved a 1>2 0/1/0/0", "changed: b1 a2 c3"}},
		"out and in": {defaultRules(2), []string{"a9 b8 c7", "a9 c8 b7"},
			[]string{"dropped b 2>3 0/1/0/0", "entered c >2", "changed: a1 c2 (b3)"}},
		"gone": {defaultRules(2), []string{"a9 b8 c7", "b8 c7"},
			[]string{"dropped a 1>", "entered c >2", "moved b 2>1 0/0/0/1", "changed: b1 c2"}},
		"the cut-off tie does not enter": {defaultRules(3), []string{"a9 b8 c8 | 9"}, []string{"baselinefirst: a1 (b2~) (c2~)"}},
		"a member falls into the cut-off tie, another past it": {defaultRules(4), []string{"a9 b8 c8 d7 | 9", "a9 d8 e7 b7 | 9"},
			[]string{"dropped c 2> edge", "entered d >2", "moved b 2>3 0/1/0/0", "changed: a1 d2 (e3~) b3~"}},
		"only the cut-off tie changed": {defaultRules(4), []string{"a9 b8 c7 d7 | 9", "a9 b8 e7 d7 | 9"}, nil},
		"the margin keeps": {set(func(r *rules) { r.top, r.margin = 2, 1 }), []string{"a9 b8 c7 d6", "a9 c8 b7 d6"},
			[]string{"entered c >2", "moved b 2>3 0/1/0/0", "changed: a1 c2 b3 (d4)"}},
		"the first miss is only counted": {set(func(r *rules) { r.after = 2 }), []string{"a9 b8 c7", "a9 c7"},
			[]string{"moved c 3>2 0/0/0/1", "changed: a1 c2"}},
		"the second is a drop":        {set(func(r *rules) { r.after = 2 }), []string{"a9 b8 c7", "a9 c7", "a9 c7"}, []string{"dropped b 2>", "changed: a1 c2"}},
		"back in time, cause unknown": {set(func(r *rules) { r.after = 2 }), []string{"a9 b8 c7", "a9 c7", "b9 a8 c7"}, []string{"moved b 2>1", "moved a 1>2 0/0/1/0", "moved c 2>3 0/0/1/0", "changed: b1 a2 c3"}},
		"a creep adds up":             {set(func(r *rules) { r.top, r.minPlaces = 4, 2 }), []string{"a9 b8 c7 d6", "a9 b8 d7 c6", "a9 d8 b7 c6"}, []string{"moved d 4>2 2/0/0/0", "index b 2>3 0/1/0/0", "changed: a1 d2 b3 c4"}},
		"displaced ones are left out": {set(func(r *rules) { r.top, r.ignoreDisplaced = 4, true }), []string{"a9 b8 c7", "z9 a8 b7 c6"}, []string{"entered z >1", "index a 1>2 0/0/1/0", "index b 2>3 0/0/1/0", "index c 3>4 0/0/1/0", "changed: z1 a2 b3 c4"}},
		"small changes of index":      {set(func(r *rules) { r.minChange = 2 }), []string{"a9 b5", "a8 b5", "a7 b5"}, []string{"index a 1>1 0/0/0/0", "changed: a1 b2"}},
		"back after a drop":           {defaultRules(3), []string{"a9 b8", "a9", "a9 b8"}, []string{"entered b >2 again", "changed: a1 b2"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOracle(c.rules)
			var got []string
			for _, l := range c.lists {
				got = nil
				for _, w := range o.step(list(l)) {
					got = append(got, brief(w))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// Folding events over the baseline gives the members with their rank and
// index, and every cause adds up.
func TestTheOracleFolds(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		r := rules{top: 30, margin: int(seed % 3 * 10), minPlaces: 1 + int(seed%2), minChange: 1, after: 1 + int(seed%4/3), ordinal: seed%5 == 0}
		o := newOracle(r)
		world := newWorld(random, 60, 20)
		held := map[string]place{}
		for step := range 12 {
			for _, w := range o.step(world.reading(50, 50+random.IntN(2)*20)) {
				fold(held, w, step == 0)
				for _, c := range w.causes {
					if c != nil && c.Passed+c.DroppedAbove-c.PassedBy-c.EnteredAbove != w.before.Rank-w.after.Rank && r.after == 1 {
						t.Fatalf("seed %d: %s: the cause does not add up", seed, brief(w))
					}
				}
			}
			if len(held) != len(o.members) {
				t.Fatalf("seed %d: folding gives %d members, want %d", seed, len(held), len(o.members))
			}
			for uid, m := range o.members {
				if held[uid] != m.reported {
					t.Fatalf("seed %d: folding puts %s at %v, want %v", seed, uid, held[uid], m.reported)
				}
				now, seen := o.previous[uid]
				if r.minPlaces == 1 && r.after == 1 && (!seen || held[uid].Rank != now.rank || held[uid].PotentialIndex != now.Index) {
					t.Fatalf("seed %d: folding puts %s at %v, the board has %v", seed, uid, held[uid], now.place())
				}
			}
			world.turn()
		}
	}
}

func fold(held map[string]place, w want, first bool) {
	switch {
	case w.board != nil && first:
		for _, r := range w.board.rows {
			if r.member {
				held[r.UID] = r.place()
			}
		}
	case w.board != nil:
	case w.kind == "dropped":
		delete(held, w.uid)
	case w.kind == "index":
		held[w.uid] = place{Rank: held[w.uid].Rank, Position: w.after.Position, PotentialIndex: w.after.PotentialIndex}
	default:
		held[w.uid] = *w.after
	}
}
