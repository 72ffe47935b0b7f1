package diff_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/diff"
)

func TestNet(t *testing.T) {
	t.Parallel()
	margin := defaults(2)
	margin.Margin = 1
	after := defaults(9)
	after.DropAfter = 2
	for _, tt := range []struct {
		name     string
		rules    diff.Rules
		readings string
		want     string
	}{
		{"nothing", defaults(9), "a9 b8", ""},
		{"there and back", defaults(9), "a9 b8|b9 a8|a9 b8", ""},
		{"steps add up", defaults(9), "a9 b8 c7|b9 a8 c7|b9 c8 a7", "b2>1 c3>2 a1>3"},
		{"came and went", defaults(9), "a9|a9 b8|a9", ""},
		{"one in, one out", defaults(9), "a9 b8|a9 c8", "-b2 +c2"},
		{"index only", defaults(9), "a9 b8|a9 b7", "b=8>7"},
		{"still seen past the margin", margin, "a9 b8 c7|a9 c8 d7 b6", "-b2>4 +c2"},
		{"in the margin and a member", margin, "a9 b8 c7|c9 a8 b7", "+c1 a1>2 b2>3"},
		{"out and back into the margin only", margin, "a9 b8 c7|a9 c8 d7 b6|a9 c8 b7", "-b2>3 +c2"},
		{"waiting to drop", after, "a9 b8|a9", ""},
		{"below the end", defaults(9), "a9 b8 c7|a9 d8…", "-b2… -c3…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lists := strings.Split(tt.readings, "|")
			first := diff.Baseline(reading(1, lists[0]), tt.rules, false).Board
			b := first
			cut := false
			for i, s := range lists[1:] {
				r := reading(uint64(i+2), s)
				b, cut = diff.Compare(b, r, tt.rules).Board, r.Cut
			}
			if got := tell(diff.Net(first, b, cut)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNetLeadsFromOneBoardToTheOther(t *testing.T) {
	t.Parallel()
	stands := func(b diff.Board) map[string]diff.Place {
		m := map[string]diff.Place{}
		for _, r := range b.Rows {
			switch {
			case r.Member && r.Listed:
				m[r.UID] = diff.Place{Rank: r.Rank, Index: r.Index}
			case r.Member:
				m[r.UID] = diff.Place{Rank: r.Reported.Rank, Index: r.Reported.Index}
			}
		}
		return m
	}
	rapid.Check(t, func(t *rapid.T) {
		rules := genRules(t)
		boards := []diff.Board{diff.Baseline(genList(t), rules, false).Board}
		for rev := uint64(2); rev < 6; rev++ {
			r := genList(t)
			r.Revision = rev
			if res := diff.Compare(boards[len(boards)-1], r, rules); res.Changed {
				boards = append(boards, res.Board)
			}
		}
		from, to := boards[0], boards[len(boards)-1]
		held := stands(from)
		changes := diff.Net(from, to, false)
		for _, c := range changes {
			after := diff.Place{Rank: c.After.Rank, Index: c.After.Index}
			if was, ok := held[c.UID]; ok != (c.Kind != diff.Entered) || ok && (was.Rank != c.Before.Rank || was.Index != c.Before.Index) {
				t.Fatalf("%v begins at %v", tell([]diff.Change{c}), was)
			}
			if held[c.UID] = after; c.Kind == diff.Dropped {
				delete(held, c.UID)
			}
		}
		if want := stands(to); !maps.Equal(held, want) {
			t.Fatalf("%s: got %v, want %v", tell(changes), held, want)
		}
		if !slices.IsSortedFunc(changes, func(a, b diff.Change) int { return int(a.Kind) - int(b.Kind) }) {
			t.Fatalf("order: %s", tell(changes))
		}
		before, after := ranksOf(from), ranksOf(to)
		for _, c := range changes {
			_, wasListed := before[c.UID]
			_, isListed := after[c.UID]
			if c.CauseKnown != (c.Kind != diff.Entered && wasListed && isListed) {
				t.Fatalf("%s: cause known is %v", tell([]diff.Change{c}), c.CauseKnown)
			}
			if c.CauseKnown && c.Cause != slowCause(before, after, c.UID) {
				t.Fatalf("%s: cause %+v, pair by pair %+v", tell([]diff.Change{c}), c.Cause, slowCause(before, after, c.UID))
			}
		}
	})
}

// What was published, and what the next board says of the unpublished readings
// before it, is enough to compute everything again.
func TestAResumedBoardComparesLikeTheOneThatWasTracked(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := genRules(t)
		first := genList(t)
		tracked := diff.Baseline(first, rules, false).Board
		again := diff.Baseline(first, rules, false).Board
		list := first
		for rev := uint64(2); rev < 12; rev++ {
			if rapid.IntRange(0, 2).Draw(t, "other") == 0 {
				list = genList(t)
			}
			r := shuffled(t, list)
			r.Revision = rev
			var kept []diff.Entry
			for _, e := range r.Entries {
				if rapid.IntRange(0, 5).Draw(t, "hide") == 0 {
					r.Holes = append(r.Holes, diff.Hole{Index: e.Index, Position: e.Position})
					continue
				}
				kept = append(kept, e)
			}
			r.Entries = kept
			res := diff.Compare(tracked, r, rules)
			if res.Changed {
				for _, row := range tracked.Rows {
					if row.Interim {
						again.Resume(row.UID, row.Unseen, rules)
					}
				}
				second := diff.Compare(again, r, rules)
				if !reflect.DeepEqual(res, second) {
					t.Fatalf("tracked %+v\nagain %+v", res, second)
				}
				again = second.Board
			}
			tracked = res.Board
		}
	})
}
