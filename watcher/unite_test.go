package watcher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// listed is one row as the source has it.
type listed struct {
	uid   string
	index int64
}

// source is a list in memory. Its hooks may change what a call sees.
type source struct {
	rows    []listed
	shuffle func([]listed)                   // reorders a copy of the list before each call
	before  func(call, page int)             // called first
	after   func(page int, p *fastmoss.Page) // may spoil the answer
	calls   int
	err     error
}

func (s *source) Page(_ context.Context, q fastmoss.Query, page, size int) (fastmoss.Page, error) {
	s.calls++
	if s.before != nil {
		s.before(s.calls, page)
	}
	if s.err != nil {
		return fastmoss.Page{}, s.err
	}
	rows := slices.Clone(s.rows)
	if s.shuffle != nil {
		s.shuffle(rows)
	}
	p := fastmoss.Page{Total: len(rows), Period: q.Period}
	from, to := min((page-1)*size, len(rows)), min(page*size, len(rows))
	for i, r := range rows[from:to] {
		p.Items = append(p.Items, fastmoss.Item{UID: r.uid, PotentialIndex: r.index, Region: "US", Nickname: "n-" + r.uid})
		p.Slots = append(p.Slots, i)
	}
	p.Rows = len(p.Items)
	if s.after != nil {
		s.after(page, &p)
	}
	return p, nil
}

// shuffleTies reorders each run of equal indexes.
func shuffleTies(rng *rand.Rand) func([]listed) {
	return func(rows []listed) {
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		slices.SortStableFunc(rows, func(a, b listed) int { return int(b.index - a.index) })
	}
}

// ladder is a list of n rows in ties of the given size.
func ladder(n, tie int) []listed {
	rows := make([]listed, n)
	for i := range rows {
		rows[i] = listed{fmt.Sprintf("u%04d", i), int64(10_000 - i/tie)}
	}
	return rows
}

func scanOf(t *testing.T, s *source, depth int, known *facts) *Scan {
	t.Helper()
	sc, err := (&scanner{source: s, query: fastmoss.Query{Filter: fastmoss.Filter{Region: "US"}}, depth: depth}).read(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func TestScanReadsTheWholeListOnce(t *testing.T) {
	t.Parallel()
	s := &source{rows: ladder(250, 1)}
	sc := scanOf(t, s, 1000, &facts{})
	if len(sc.Items) != 250 || sc.Cut || len(sc.Holes) > 0 || sc.Duplicates > 0 {
		t.Errorf("%d items, cut %v, %d holes", len(sc.Items), sc.Cut, len(sc.Holes))
	}
	if s.calls != 4 {
		t.Errorf("%d calls for three pages and a second look at the first", s.calls)
	}
	if s.calls = 0; len(scanOf(t, s, 100, &facts{}).Items) != 100 || s.calls != 1 {
		t.Errorf("one page took %d calls", s.calls)
	}
}

func TestScanMarksTheCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		total int
		cut   bool
	}{{199, false}, {200, false}, {201, true}} {
		if sc := scanOf(t, &source{rows: ladder(tt.total, 1)}, 200, &facts{}); sc.Cut != tt.cut {
			t.Errorf("total %d at depth 200: cut %v", tt.total, sc.Cut)
		}
	}
}

func TestDuplicatesThatStayAreFacts(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func([]listed){
		"same page":                 func(r []listed) { r[51].uid = r[50].uid },
		"across a seam, same tie":   func(r []listed) { r[100].uid, r[100].index = r[99].uid, r[99].index },
		"far apart, another index":  func(r []listed) { r[180].uid = r[20].uid },
		"three times":               func(r []listed) { r[60].uid, r[140].uid = r[20].uid, r[20].uid },
		"at the very end of a list": func(r []listed) { r[249].uid = r[0].uid },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &source{rows: ladder(250, 1)}
			spoil(s.rows)
			want := map[string]bool{}
			for _, r := range s.rows {
				want[r.uid] = true
			}
			known := &facts{}
			sc := scanOf(t, s, 1000, known)
			if len(sc.Items) != len(want) || len(sc.Holes) > 0 || sc.Duplicates != 1 {
				t.Errorf("%d items of %d, %d holes, %d duplicates", len(sc.Items), len(want), len(sc.Holes), sc.Duplicates)
			}
			if got := sc.Positions[len(sc.Positions)-1]; int(got) != len(want) {
				t.Errorf("last position %d: positions are counted after duplicates", got)
			}
			s.calls = 0
			scanOf(t, s, 1000, known)
			if s.calls != 4 {
				t.Errorf("a known duplicate took %d calls", s.calls)
			}
		})
	}
}

func TestRisesThatStayAreFacts(t *testing.T) {
	t.Parallel()
	s := &source{rows: ladder(250, 1)}
	s.rows[120].index += 30
	known := &facts{}
	if sc := scanOf(t, s, 1000, known); len(sc.Items) != 250 {
		t.Errorf("%d items", len(sc.Items))
	}
	if s.calls != 8 {
		t.Errorf("%d calls: a rise is read twice", s.calls)
	}
}

func TestTornListsAreRefused(t *testing.T) {
	t.Parallel()
	shift := func(s *source) {
		s.rows = append([]listed{{fmt.Sprintf("new%d", s.calls), s.rows[0].index + 1}}, s.rows...)
	}
	for name, tt := range map[string]struct {
		spoil  func(*source)
		reason string
	}{
		"grows in mid-scan, always": {func(s *source) {
			s.before = func(_, page int) {
				if page == 2 {
					shift(s)
				}
			}
		}, ReasonTorn},
		"short page": {func(s *source) {
			s.after = func(page int, p *fastmoss.Page) {
				if page == 2 {
					p.Items, p.Slots, p.Rows = p.Items[:40], p.Slots[:40], 40
				}
			}
		}, ReasonShort},
		"wrong region": {func(s *source) {
			s.after = func(page int, p *fastmoss.Page) { p.Items[3].Region = "GB" }
		}, ReasonFilter},
		"other period half-way": {func(s *source) {
			s.after = func(page int, p *fastmoss.Page) {
				if page == 2 {
					p.Period = event.Period{Type: "month", Value: "2026-01"}
				}
			}
		}, ReasonTorn},
		"empty": {func(s *source) { s.rows = nil }, ReasonEmpty},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &source{rows: ladder(250, 1)}
				tt.spoil(s)
				_, err := (&scanner{source: s, query: fastmoss.Query{Filter: fastmoss.Filter{Region: "US"}}, depth: 1000}).
					read(t.Context(), &facts{})
				var r *Refusal
				if !errors.As(err, &r) || r.Reason != tt.reason {
					t.Errorf("got %v, want %s", err, tt.reason)
				}
			})
		})
	}
}

func TestOneTornScanIsReadAgain(t *testing.T) {
	t.Parallel()
	s := &source{rows: ladder(250, 1)}
	s.before = func(call, page int) {
		if call == 2 {
			s.rows = append([]listed{{"new", 20_000}}, s.rows...)
		}
	}
	if sc := scanOf(t, s, 1000, &facts{}); len(sc.Items) != 251 || sc.Items[0].UID != "new" {
		t.Errorf("%d items, first %s", len(sc.Items), sc.Items[0].UID)
	}
}

// TestPerCallShuffleIsNoChange is the promise about ties that the source
// shuffles on every call: nothing is published while the list stays, bounded by
// what the contract says of members that stay unseen for three readings.
func TestPerCallShuffleIsNoChange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(50, 450).Draw(rt, "n")
		tie := rapid.SampledFrom([]int{1, 2, 7, 60, 300}).Draw(rt, "tie")
		ties := diff.Ties(rapid.IntRange(0, 1).Draw(rt, "ties"))
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		s := &source{rows: ladder(n, tie)}
		rules := diff.Rules{Top: int32(n), Ties: ties, MinPlaces: 1, MinChange: 1, DropAfter: 1}
		known := &facts{}
		read := func() *Scan {
			sc, err := (&scanner{source: s, query: fastmoss.Query{}, depth: 1000}).read(t.Context(), known)
			if err != nil {
				rt.Fatal(err)
			}
			if len(sc.Items)+len(sc.Holes) != n {
				rt.Fatalf("%d items and %d holes do not fill %d slots", len(sc.Items), len(sc.Holes), n)
			}
			return sc
		}
		// A baseline cannot know who hides in its holes, so it is read unshuffled.
		s.shuffle = nil
		first := read()
		s.shuffle = shuffleTies(rng)
		b := diff.Baseline(first.Reading(1), rules, false).Board
		unseen := map[string]int{}
		for rev := range 6 {
			sc := read()
			seen := map[string]bool{}
			for _, it := range sc.Items {
				seen[it.UID] = true
			}
			bound := false
			for _, r := range s.rows {
				if unseen[r.uid]++; seen[r.uid] {
					unseen[r.uid] = 0
				}
				bound = bound || unseen[r.uid] >= 3
			}
			if bound {
				return
			}
			res := diff.Compare(b, sc.Reading(uint64(rev+2)), rules)
			if res.Changed {
				rt.Fatalf("reading %d of an unchanged list: %+v", rev, res.Changes)
			}
			b = res.Board
		}
	})
}

func TestShuffledSourceWithARealDuplicate(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	s := &source{rows: ladder(400, 80), shuffle: shuffleTies(rng)}
	s.rows[10].uid = s.rows[11].uid
	known := &facts{}
	for range 20 {
		sc := scanOf(t, s, 1000, known)
		seen := map[string]bool{}
		for _, it := range sc.Items {
			if seen[it.UID] {
				t.Fatalf("%s twice", it.UID)
			}
			seen[it.UID] = true
		}
		if got := len(sc.Items) + len(sc.Holes); got != 399 && got != 400 {
			t.Fatalf("%d slots", got)
		}
	}
}
