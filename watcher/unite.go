package watcher

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

const (
	// maxUnited is how many scans of the same list are united to see all of a
	// tie that the source shuffles on every call.
	maxUnited = 3
	// maxPasses bounds the scans spent on one reading.
	maxPasses = 6
)

// facts are a list's known oddities: ids that it really lists twice, places
// where its index really rises. What was found to be a fact once need not be
// read three times again at every poll.
type facts struct {
	duplicates map[string]bool
	rises      bool
}

// read scans the list until a scan is whole, or scans of an unchanging list
// explain what is odd about it.
//
// A list that changes from scan to scan is torn. One whose index per slot stays
// the same did not change: an id missing there hides in a tie that the source
// shuffles, and an id listed twice by a single call, or by scans that are alike
// to the letter, is a fact.
func (s *scanner) read(ctx context.Context, known *facts) (*Scan, error) {
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	var united []*raw
	var refused error
	for range maxPasses {
		r, err := s.pass(ctx)
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			// What an empty list means is decided by who asked for which period.
			if refusal.Reason == ReasonEmpty {
				return nil, err
			}
			refused, united = err, nil
			if err := pause(ctx, wait.NextBackOff()); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		}
		if len(united) > 0 && !united[0].sameShape(r) {
			united = nil
		}
		united = append(united, r)
		u := s.unite(united, known)
		if u.whole || len(united) == maxUnited {
			*known = u.facts
			return u.scan(), nil
		}
	}
	if len(united) == 0 {
		return nil, refused
	}
	// The list kept changing between scans. What a tie hides may stay unknown,
	// but an order that nothing confirms is no reading; and a list that moves by
	// one between two pages looks like a tie with a hole.
	u := s.unite(united, known)
	if u.torn || len(united) == 1 && u.holes > 0 {
		return nil, refuse(ReasonTorn, "the list changed in each of %d scans", maxPasses)
	}
	return u.scan(), nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// sameShape says that both scans have the same index in every slot.
func (r *raw) sameShape(o *raw) bool {
	return r.total == o.total && r.period == o.period && slices.EqualFunc(r.rows, o.rows, func(a, b row) bool {
		return a.item.PotentialIndex == b.item.PotentialIndex
	})
}

func (r *raw) sameRows(o *raw) bool {
	return slices.EqualFunc(r.rows, o.rows, func(a, b row) bool { return a.item.UID == b.item.UID })
}

// union is what scans of one list show together.
type union struct {
	scans []*raw
	last  *raw // decides about positions
	cut   bool
	edge  int64 // index of the cut-off tie, if cut
	depth int

	repeats []int           // rows of the last scan whose id an earlier row has
	twice   map[string]bool // ids that are really listed more than once
	spare   map[int64][]*fastmoss.Item
	holes   int
	facts   facts
	torn    bool // nothing confirms the order yet
	whole   bool // one more scan would show nothing new
}

func (s *scanner) unite(scans []*raw, known *facts) *union {
	last := scans[len(scans)-1]
	u := &union{scans: scans, last: last, cut: last.total > s.depth, depth: s.depth}
	if n := len(last.rows); n > 0 {
		u.edge = last.rows[n-1].item.PotentialIndex
	}
	rises := last.rises()
	u.torn = rises && !known.rises && len(scans) == 1
	explained := u.findDuplicates(known)
	u.fillTies()
	u.facts = facts{duplicates: u.twice, rises: rises}
	u.whole = u.holes == 0 && !u.torn && explained
	return u
}

func (r *raw) rises() bool {
	for i := 1; i < len(r.rows); i++ {
		if r.rows[i].item.PotentialIndex > r.rows[i-1].item.PotentialIndex {
			return true
		}
	}
	return false
}

// findDuplicates decides which repeated ids are facts. It reports whether that
// needs no further look.
func (u *union) findDuplicates(known *facts) bool {
	first := make(map[string]int, len(u.last.rows))
	for i, x := range u.last.rows {
		if _, again := first[x.item.UID]; again {
			u.repeats = append(u.repeats, i)
			continue
		}
		first[x.item.UID] = i
	}
	if len(u.repeats) == 0 {
		return true
	}
	u.twice = map[string]bool{}
	alike := len(u.scans) == maxUnited
	for _, r := range u.scans {
		alike = alike && r.sameRows(u.last)
	}
	explained := true
	for _, i := range u.repeats {
		x := u.last.rows[i]
		id, f := x.item.UID, u.last.rows[first[x.item.UID]]
		apart := f.item.PotentialIndex != x.item.PotentialIndex
		certain := known.duplicates[id]
		switch {
		case !apart && u.cutOff(x.item.PotentialIndex):
			// Who of a cut-off tie is shown needs no explanation.
		case len(u.scans) == 1:
			explained = explained && known.duplicates[id]
			u.torn = u.torn || apart && !known.duplicates[id]
		default:
			// A tie's order that changes between calls cannot make one call list an
			// id twice, but one call alone may be wrong.
			certain = certain || alike || apart && u.always(id) || u.within(id) > 1
		}
		if certain {
			u.twice[id] = true
		}
	}
	return explained
}

// always says that every scan lists id more than once.
func (u *union) always(id string) bool {
	for _, r := range u.scans {
		n := 0
		for _, x := range r.rows {
			if x.item.UID == id {
				n++
			}
		}
		if n < 2 {
			return false
		}
	}
	return true
}

// within is how many scans list id more than once on one page.
func (u *union) within(id string) int {
	n := 0
	for _, r := range u.scans {
		pages := map[int]int{}
		for _, x := range r.rows {
			if x.item.UID == id {
				pages[x.page]++
			}
		}
		for _, times := range pages {
			if times > 1 {
				n++
				break
			}
		}
	}
	return n
}

// fillTies counts each tie's slots against the ids seen in it and keeps those
// that other scans showed to fill the gaps of the last one.
func (u *union) fillTies() {
	gaps := map[int64]int{}
	for _, i := range u.repeats {
		it := u.last.rows[i].item
		if !u.twice[it.UID] && !u.cutOff(it.PotentialIndex) {
			gaps[it.PotentialIndex]++
			u.holes++
		}
	}
	if u.holes == 0 {
		return
	}
	u.spare = map[int64][]*fastmoss.Item{}
	have := make(map[string]bool, len(u.last.rows))
	for _, x := range u.last.rows {
		have[x.item.UID] = true
	}
	for _, r := range u.scans[:len(u.scans)-1] {
		for _, x := range r.rows {
			id, index := x.item.UID, x.item.PotentialIndex
			if !have[id] && gaps[index] > 0 {
				have[id] = true
				gaps[index]--
				u.holes--
				u.spare[index] = append(u.spare[index], x.item)
			}
		}
	}
}

func (u *union) cutOff(index int64) bool { return u.cut && index == u.edge }

// scan writes the union down: the last scan's order, each id where it stands
// first, gaps filled by what other scans showed or left as holes.
func (u *union) scan() *Scan {
	n := len(u.last.rows)
	sc := &Scan{
		Items: make([]fastmoss.Item, 0, n), Positions: make([]int32, 0, n),
		Cut: u.cut, Total: u.last.total, Depth: u.depth, Skipped: u.last.skipped,
		Duplicates: len(u.twice), Period: u.last.period, At: u.last.at,
	}
	position := int32(0)
	repeats := u.repeats
	for i, x := range u.last.rows {
		it := x.item
		if len(repeats) > 0 && repeats[0] == i {
			repeats = repeats[1:]
			index := it.PotentialIndex
			spare := u.spare[index]
			switch {
			case u.twice[it.UID] || u.cutOff(index):
				continue // counted once, where it stands first
			case len(spare) == 0:
				position++
				sc.Holes = append(sc.Holes, diff.Hole{Index: index, Position: position})
				continue
			}
			it, u.spare[index] = spare[0], spare[1:]
		}
		position++
		sc.Items = append(sc.Items, *it)
		sc.Positions = append(sc.Positions, position)
	}
	return sc
}

// Reading is the scan as diff takes it.
func (sc *Scan) Reading(revision uint64) diff.Reading {
	es := make([]diff.Entry, len(sc.Items))
	for i := range sc.Items {
		es[i] = diff.Entry{UID: sc.Items[i].UID, Index: sc.Items[i].PotentialIndex, Position: sc.Positions[i]}
	}
	return diff.Reading{Entries: es, Holes: sc.Holes, Cut: sc.Cut, Revision: revision, At: sc.At.UnixMilli()}
}
