package diff_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/diff"
)

// rows reads "a9 b9 c7": uid and index, in list order.
func rows(s string) []diff.Entry {
	var es []diff.Entry
	for i, f := range strings.Fields(s) {
		e := diff.Entry{Position: int32(i + 1)}
		if _, err := fmt.Sscanf(f[1:], "%d", &e.Index); err != nil {
			panic(err)
		}
		e.UID = f[:1]
		es = append(es, e)
	}
	return es
}

// reading reads rows; a trailing "…" cuts the list, "?9" is a hole in tie 9.
func reading(rev uint64, s string) diff.Reading {
	r := diff.Reading{Revision: rev}
	s, r.Cut = strings.CutSuffix(s, "…")
	for _, e := range rows(s) {
		if e.UID == "?" {
			r.Holes = append(r.Holes, diff.Hole{Index: e.Index, Position: e.Position})
			continue
		}
		r.Entries = append(r.Entries, e)
	}
	return r
}

// tell writes changes as "-a2" (dropped from rank 2), "+b1", "b3>1", "b=5>6";
// a drop past the edge ends in "…".
func tell(cs []diff.Change) string {
	var out []string
	for _, c := range cs {
		switch c.Kind {
		case diff.Dropped:
			s := fmt.Sprintf("-%s%d", c.UID, c.Before.Rank)
			if c.After.Rank > 0 {
				s += fmt.Sprintf(">%d", c.After.Rank)
			}
			if c.Edge {
				s += "…"
			}
			out = append(out, s)
		case diff.Entered:
			out = append(out, fmt.Sprintf("+%s%d", c.UID, c.After.Rank))
		case diff.Moved:
			out = append(out, fmt.Sprintf("%s%d>%d", c.UID, c.Before.Rank, c.After.Rank))
		case diff.Indexed:
			out = append(out, fmt.Sprintf("%s=%d>%d", c.UID, c.Before.Index, c.After.Index))
		}
	}
	return strings.Join(out, " ")
}

func defaults(top int32) diff.Rules {
	return diff.Rules{Top: top, MinPlaces: 1, MinChange: 1, DropAfter: 1}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	with := func(top int32, f func(*diff.Rules)) diff.Rules {
		r := defaults(top)
		f(&r)
		return r
	}
	ordinal := func(r *diff.Rules) { r.Ties = diff.Ordinal }
	for _, tt := range []struct {
		name     string
		rules    diff.Rules
		readings string // separated by |
		want     string // one for each reading after the first; "." is unchanged, "!" published without an event
	}{
		{"nothing", defaults(9), "a9 b8|a9 b8", "."},
		{"swap", defaults(9), "a9 b8|b9 a8", "b2>1 a1>2"},
		{"ties share a rank", defaults(9), "a9 b8 c7|a9 c8 b8", "c3>2"},
		{"shuffled tie", defaults(9), "a9 b8 c8|a9 c8 b8", "."},
		{"shuffled tie, ordinal", with(9, ordinal), "a9 b8 c8|a9 c8 b8", "."},
		{"tie joined from below goes last, ordinal", with(9, ordinal), "a9 b8 c7 d6|a9 d8 b8 c8", "d=6>8 c=7>8"},
		{"new in a tie goes last by uid, ordinal", with(9, ordinal), "m9 z8|m9 c8 b8 z8", "+c4 +b3"},
		{"entered and dropped", defaults(2), "a9 b8 c7|c9 a8 b7", "-b2>3 +c1 a1>2"},
		{"past top and margin", with(1, func(r *diff.Rules) { r.Margin = 1 }), "a9 b8 c7|b9 a8 c7|b9 c8 a7", "+b1 a1>2|-a2>3"},
		{"between top and margin nobody enters", with(1, func(r *diff.Rules) { r.Margin = 2 }), "a9 b8 c7|a9 c8 b7", "!"},
		{"dropped after two, one comes back", with(9, func(r *diff.Rules) { r.DropAfter = 2 }), "a9 b8 c7|a9|a9 c7|a9 c7", "!|-b2 c3>2|."},
		{"index only", defaults(9), "a9 b5|a9 b6", "b=5>6"},
		{"index creeps", with(9, func(r *diff.Rules) { r.MinChange = 3 }), "a9 b1|a9 b2|a9 b3|a9 b4|a9 b5", "!|!|b=1>4|!"},
		{"rank creeps", with(9, func(r *diff.Rules) { r.MinPlaces, r.MinChange = 2, 99 }), "a9 b8 c7 d6|a9 b8 d7 c6|a9 d8 b7 c6|d9 a8 b7 c6", "!|d4>2|!"},
		{"displaced", with(9, func(r *diff.Rules) { r.IgnoreDisplaced = true }), "a9 b8 c7|x10 a9 b8 c7|x10 a9 c8 b7", "+x1|b2>4 c=7>8"},
		{"cut-off tie: nobody enters", defaults(9), "a9 b8|a9 b8 c7…|a9 b8 d7…|a9 b8 c7 d6…", ".|.|+c3"},
		{"cut-off tie at a baseline", defaults(9), "a9 b8 c8…|a9 b8 d8…|a9 b8 d8 e7…", ".|+b2 +d2"},
		{"cut-off tie: a member moves to its rank, then drops once", defaults(9), "a9 b8 c7|a9 c6 b6…|a9 c6 d6…|a9 b6 d6…", "c3>2 b=8>6|-b2…|-c2…"},
		{"hole hides a member", defaults(9), "a9 b8 c8 d7|a9 b8 ?8 d7|a9 c8 ?8 d7|a9 b8 c8 d7", ".|.|."},
		{"hole and a change elsewhere", defaults(9), "a9 b8 c8 d7|a10 b8 ?8 d7|a10 b8 c8 d7", "a=9>10|."},
		{"unseen for three readings", defaults(9), "a9 b8 c8 d7|a9 b8 ?8 d7|a9 b8 ?8 d7|a9 b8 ?8 d7|a9 b8 ?8 d7", ".|.|-c2|."},
		{"ordinal rank survives a hole", with(9, ordinal), "a9 b8 c8 d7|a9 ?8 c8 d7|a9 c8 b8 d7", ".|."},
		{"everybody gone", defaults(9), "a9 b8|", "-a1 -b2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			var b diff.Board
			for i, s := range strings.Split(tt.readings, "|") {
				r := reading(uint64(i+1), s)
				if i == 0 {
					b = diff.Baseline(r, tt.rules, false).Board
					continue
				}
				res := diff.Compare(b, r, tt.rules)
				b = res.Board
				switch {
				case !res.Changed:
					got = append(got, ".")
				case len(res.Changes) == 0:
					got = append(got, "!")
				default:
					got = append(got, tell(res.Changes))
				}
			}
			if g := strings.Join(got, "|"); g != tt.want {
				t.Errorf("got  %s\nwant %s", g, tt.want)
			}
		})
	}
}

// genRules draws rules; the default ones often.
func genRules(t *rapid.T) diff.Rules {
	r := defaults(rapid.Int32Range(1, 12).Draw(t, "top"))
	r.Ties = diff.Ties(rapid.IntRange(0, 1).Draw(t, "ties"))
	r.Margin = rapid.Int32Range(0, 4).Draw(t, "margin")
	if rapid.Bool().Draw(t, "bands") {
		r.MinPlaces = rapid.Int32Range(1, 4).Draw(t, "min_places")
		r.MinChange = rapid.Int64Range(1, 4).Draw(t, "min_change")
		r.IgnoreDisplaced = rapid.Bool().Draw(t, "ignore_displaced")
		r.DropAfter = rapid.Int32Range(1, 3).Draw(t, "after")
	}
	return r
}

// genList draws a list with heavy ties, whole or cut, falling.
func genList(t *rapid.T) diff.Reading {
	uids := rapid.SliceOfNDistinct(rapid.SampledFrom(strings.Split("abcdefghijklmnop", "")), 1, 14, rapid.ID).Draw(t, "uids")
	var es []diff.Entry
	for _, u := range uids {
		es = append(es, diff.Entry{UID: u, Index: rapid.Int64Range(1, 6).Draw(t, "index")})
	}
	slices.SortStableFunc(es, func(a, b diff.Entry) int { return int(b.Index - a.Index) })
	for i := range es {
		es[i].Position = int32(i + 1)
	}
	return diff.Reading{Entries: es, Cut: rapid.IntRange(0, 3).Draw(t, "cut") == 0}
}

// shuffled puts the members of each tie in another order.
func shuffled(t *rapid.T, r diff.Reading) diff.Reading {
	es := rapid.Permutation(r.Entries).Draw(t, "order")
	slices.SortStableFunc(es, func(a, b diff.Entry) int { return int(b.Index - a.Index) })
	for i := range es {
		es[i].Position = int32(i + 1)
	}
	r.Entries = es
	return r
}

// sameSteps compares changes without positions, which a shuffle does change.
func sameSteps(a, b []diff.Change) bool {
	plain := func(cs []diff.Change) []diff.Change {
		out := slices.Clone(cs)
		for i := range out {
			out[i].Before.Position, out[i].After.Position, out[i].Row, out[i].From = 0, 0, 0, 0
		}
		slices.SortFunc(out, func(x, y diff.Change) int {
			if x.Kind != y.Kind {
				return int(x.Kind) - int(y.Kind)
			}
			return strings.Compare(x.UID, y.UID)
		})
		return out
	}
	return slices.Equal(plain(a), plain(b))
}

func TestFoldingTheChangesGivesTheNextBoard(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := genRules(t)
		var c diff.Comparer
		b := diff.Baseline(genList(t), rules, false).Board
		held := diff.Held(b)
		for rev := uint64(2); rev < 8; rev++ {
			r := genList(t)
			r.Revision = rev
			res := c.Compare(b, r, rules)
			if !reflect.DeepEqual(res.Changes, diff.Compare(b, r, rules).Changes) {
				t.Fatalf("a used Comparer says something else")
			}
			diff.Apply(held, res.Changes)
			if want := diff.Held(res.Board); !maps.Equal(held, want) {
				t.Fatalf("rev %d: folded %v, board %v", rev, held, want)
			}
			checkBands(t, res.Board, r, rules)
			if !res.Changed && len(res.Changes) > 0 {
				t.Fatalf("events without a publication")
			}
			b = res.Board
		}
	})
}

// checkBands holds the board against the reading: what was last reported is
// within the rules' dead bands, exact with the default rules.
func checkBands(t *rapid.T, b diff.Board, r diff.Reading, rules diff.Rules) {
	now := map[string]diff.Entry{}
	for _, e := range r.Entries {
		now[e.UID] = e
	}
	for _, row := range b.Rows {
		e, seen := now[row.UID]
		if !row.Member || !seen {
			continue
		}
		if d := e.Index - row.Reported.Index; max(d, -d) >= rules.MinChange {
			t.Fatalf("%s: index %d reported, is %d", row.UID, row.Reported.Index, e.Index)
		}
		if d := row.Rank - row.Reported.Rank; max(d, -d) >= rules.MinPlaces && !rules.IgnoreDisplaced {
			t.Fatalf("%s: rank %d reported, is %d", row.UID, row.Reported.Rank, row.Rank)
		}
	}
}

func TestShufflingWithinTiesChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := genRules(t)
		b := diff.Baseline(genList(t), rules, false).Board
		for rev := uint64(2); rev < 6; rev++ {
			r := genList(t)
			r.Revision = rev
			s := shuffled(t, r)
			one, two := diff.Compare(b, r, rules), diff.Compare(b, s, rules)
			if one.Changed != two.Changed || !sameSteps(one.Changes, two.Changes) {
				t.Fatalf("as listed %s, shuffled %s", tell(one.Changes), tell(two.Changes))
			}
			// Without a member who is on its way out: its misses do go on.
			if again := diff.Compare(one.Board, s, rules); rules.DropAfter == 1 && (again.Changed || len(again.Changes) > 0) {
				t.Fatalf("the same list shuffled is a change: %s", tell(again.Changes))
			}
			b = one.Board
		}
	})
}

// TestHiddenBySeams drops entries of ties into holes, as a source that
// shuffles on every call does: nothing may change while nobody is hidden for
// three readings running.
func TestHiddenBySeams(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := genRules(t)
		r := genList(t)
		r.Cut = false
		b := diff.Baseline(r, rules, false).Board
		for range 6 {
			s := shuffled(t, r)
			var kept []diff.Entry
			for _, e := range s.Entries {
				var row diff.Row
				for _, x := range b.Rows {
					if x.UID == e.UID {
						row = x
					}
				}
				if row.Unseen < 2 && rapid.IntRange(0, 4).Draw(t, "hide") == 0 {
					s.Holes = append(s.Holes, diff.Hole{Index: e.Index, Position: e.Position})
					continue
				}
				kept = append(kept, e)
			}
			s.Entries = kept
			res := diff.Compare(b, s, rules)
			if res.Changed {
				t.Fatalf("hidden is taken for a change: %s", tell(res.Changes))
			}
			b = res.Board
		}
	})
}

// slowCause counts pair by pair.
func slowCause(before, after map[string]int32, uid string) diff.Cause {
	var c diff.Cause
	above := func(m map[string]int32, o string) (bool, bool) {
		r, ok := m[o]
		return ok && r < m[uid], ok
	}
	for o := range union(before, after) {
		was, inOld := above(before, o)
		is, inNew := above(after, o)
		switch {
		case inOld && inNew && was && !is:
			c.Passed++
		case inOld && inNew && !was && is:
			c.PassedBy++
		case !inOld && is:
			c.EnteredAbove++
		case !inNew && was:
			c.DroppedAbove++
		}
	}
	return c
}

func union(a, b map[string]int32) map[string]bool {
	u := map[string]bool{}
	for k := range a {
		u[k] = true
	}
	for k := range b {
		u[k] = true
	}
	return u
}

func ranksOf(b diff.Board) map[string]int32 {
	m := map[string]int32{}
	for _, r := range b.Rows {
		if r.Listed {
			m[r.UID] = r.Rank
		}
	}
	return m
}

func TestCauseIsWhatAPairwiseCountSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := genRules(t)
		b := diff.Baseline(genList(t), rules, false).Board
		sum := map[string]diff.Cause{}
		for rev := uint64(2); rev < 8; rev++ {
			r := genList(t)
			r.Revision = rev
			res := diff.Compare(b, r, rules)
			if !res.Changed {
				continue
			}
			before, after := ranksOf(b), ranksOf(res.Board)
			for _, row := range res.Board.Rows {
				if _, ok := before[row.UID]; ok && row.Listed {
					s, c := sum[row.UID], slowCause(before, after, row.UID)
					sum[row.UID] = diff.Cause{
						Passed: s.Passed + c.Passed, PassedBy: s.PassedBy + c.PassedBy,
						EnteredAbove: s.EnteredAbove + c.EnteredAbove, DroppedAbove: s.DroppedAbove + c.DroppedAbove,
					}
				}
			}
			for _, c := range res.Changes {
				checkCause(t, c, sum[c.UID])
				if c.Kind != diff.Indexed {
					delete(sum, c.UID)
				}
			}
			if rules.MinPlaces == 1 && !rules.IgnoreDisplaced {
				clear(sum)
			}
			b = res.Board
		}
	})
}

func checkCause(t *rapid.T, c diff.Change, want diff.Cause) {
	if !c.CauseKnown || c.Before.Rank == 0 || c.After.Rank == 0 {
		return
	}
	if c.Cause != want {
		t.Fatalf("%s: cause %+v, pair by pair %+v", c.UID, c.Cause, want)
	}
	if p := c.Before.Rank - c.After.Rank; p != c.Cause.Passed+c.Cause.DroppedAbove-c.Cause.PassedBy-c.Cause.EnteredAbove {
		t.Fatalf("%s: %d places are not explained by %+v", c.UID, p, c.Cause)
	}
}

func TestCauseIsKnownUnlessUnseen(t *testing.T) {
	t.Parallel()
	rules := defaults(9)
	rules.DropAfter = 3
	b := diff.Baseline(reading(1, "a9 b8 c7"), rules, false).Board
	res := diff.Compare(b, reading(2, "b9 a8 c7"), rules)
	for _, c := range res.Changes {
		if !c.CauseKnown {
			t.Errorf("%s was seen all the time, but its cause is unknown", c.UID)
		}
	}
	res = diff.Compare(res.Board, reading(3, "b9 c7"), rules)
	res = diff.Compare(res.Board, reading(4, "a10 b9 c7"), rules)
	for _, c := range res.Changes {
		if c.CauseKnown != (c.UID != "a") {
			t.Errorf("%s: cause known = %v", c.UID, c.CauseKnown)
		}
	}
}

func TestLostLeavesOutTheCutOffTie(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ before, after, lost string }{
		{"a9 b8 c7 d6", "a9", "b c d"},
		{"a9 b8 c7 d7", "a9 b8 x7…", ""},
		{"a9 b8 c7 d7", "a9 x8…", "c d"},
	} {
		rules := defaults(9)
		b := diff.Baseline(reading(1, tt.before), rules, false).Board
		res := diff.Compare(b, reading(2, tt.after), rules)
		if got := strings.Join(res.Lost, " "); got != tt.lost || res.Present != 4 {
			t.Errorf("%s → %s: lost %q of %d, want %q", tt.before, tt.after, got, res.Present, tt.lost)
		}
	}
}

func TestAnnounceReportsEveryMember(t *testing.T) {
	t.Parallel()
	res := diff.Baseline(reading(1, "a9 b8 c7 d6…"), defaults(2), true)
	if got := tell(res.Changes); got != "+a1 +b2" {
		t.Error(got)
	}
}
