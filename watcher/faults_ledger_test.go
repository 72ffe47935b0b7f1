package watcher_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// march is the period of all lists.
func march() simulator.Period { return simulator.Period{Type: "month", Value: "2026-03"} }

// A ranking is a source's list that changes by turns: who stands where, and the
// index of the first ten. Ties are ten places wide; with an offset of nine each
// seam between pages cuts one place off a tie.
type ranking struct {
	random      *rand.Rand
	offset      int
	total       int // what the source claims, if more
	turns, born int
	uids        []string
}

func newRanking(seed uint64, places, total, offset int) *ranking {
	r := &ranking{random: rand.New(rand.NewPCG(seed, uint64(places))), offset: offset, total: total}
	for range places {
		r.uids = append(r.uids, r.birth())
	}
	return r
}

func (r *ranking) birth() string {
	r.born++
	return fmt.Sprintf("67875806887977%05d", r.born)
}

func (r *ranking) next() simulator.List {
	r.turns++
	n := len(r.uids)
	r.uids[r.random.IntN(min(n, 20))] = r.birth()
	for range 1 + n/50 {
		i, j := r.random.IntN(n), r.random.IntN(n)
		r.uids[i], r.uids[j] = r.uids[j], r.uids[i]
		r.uids[r.random.IntN(n)] = r.birth()
	}
	l := simulator.List{Total: r.total}
	for i, uid := range r.uids {
		index := int64(10 * (n - (i+r.offset)/10))
		if (i+r.offset)/10 == r.offset/10 {
			index += int64(r.turns % 5)
		}
		l.Rows = append(l.Rows, simulator.Entry(uid, index))
	}
	return l
}

// length is what the source says that it is.
func length(l simulator.List) int { return max(l.Total, len(l.Rows)) }

// without is the list with one entry less, of which the source still counts all.
func without(l simulator.List, i int) simulator.List {
	return simulator.List{Rows: slices.Delete(slices.Clone(l.Rows), i, i+1), Total: length(l)}
}

type standing struct {
	rank  int
	index int64
}

// A ledger folds what one watchlist publishes and holds it against the lists
// that its source really had, counting the slow obvious way.
type ledger struct {
	name       string
	top, depth int
	shown      []simulator.List
	at         int // which of shown the last board is, -1 before the first
	revision   uint64
	held       map[string]standing
	touched    map[string]event.Kind // since the last board
	statuses   []string

	// With ties that the source shuffles on every call, a creator that no page
	// shows three times running counts as gone.
	shuffled bool
	blind    int
	// twice says that this reading was told of the same duplicate twice, which
	// makes it a fact.
	twice func() bool
	lies  int
}

func newLedger(l watcher.Watchlist) *ledger {
	return &ledger{name: l.Name, top: l.Top, depth: l.Depth(), at: -1, held: map[string]standing{}, touched: map[string]event.Kind{}}
}

func (l *ledger) caughtUp() bool { return l.at == len(l.shown)-1 }

// well says that no status is open.
func (l *ledger) well() bool {
	return len(l.statuses) == 0 || strings.HasPrefix(l.statuses[len(l.statuses)-1], event.StatusRecovered)
}

func (l *ledger) take(subject string, data []byte) error {
	s, err := event.ParseSubject("rankwatch", subject)
	if err != nil {
		return err
	}
	switch s.Kind {
	case event.Status:
		e, err := event.Decode[event.Condition](data)
		if err != nil {
			return err
		}
		return l.say(e.Data)
	case event.Board:
		e, err := event.Decode[event.Snapshot](data)
		if err != nil {
			return err
		}
		if err := l.close(e.Data); err != nil {
			return fmt.Errorf("%s (duplicates %d, holes %d): %w", e.ID, e.Data.Duplicates, len(e.Data.Holes), err)
		}
		return nil
	}
	e, err := event.Decode[event.Change](data)
	if err == nil {
		err = l.fold(s, e.Data)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.ID, err)
	}
	return nil
}

func (l *ledger) say(c event.Condition) error {
	last := ""
	if n := len(l.statuses); n > 0 {
		last, _, _ = strings.Cut(l.statuses[n-1], " ")
	}
	l.statuses = append(l.statuses, c.Status+" "+c.Reason)
	if last == c.Status || last == "" && c.Status == event.StatusRecovered {
		return fmt.Errorf("%s: status said without a change: %q", l.name, l.statuses)
	}
	return nil
}

func (l *ledger) fold(s event.Subject, d event.Change) error {
	was, member := l.held[s.UID]
	if l.touched[s.UID] != "" || d.Revision != l.revision+1 {
		return fmt.Errorf("after %q of the same reading, in revision %d after %d", l.touched[s.UID], d.Revision, l.revision)
	}
	l.touched[s.UID] = s.Kind
	if s.Kind == event.Entered {
		if member || d.Before != nil {
			return errors.New("is a member already")
		}
	} else if !member || d.Before == nil || was != (standing{d.Before.Rank, d.Before.PotentialIndex}) {
		return fmt.Errorf("before is %+v, held is %+v", d.Before, was)
	}
	if s.Kind == event.Dropped {
		delete(l.held, s.UID)
		return nil
	}
	is := standing{d.After.Rank, d.After.PotentialIndex}
	if s.Kind == event.Moved && is.rank == was.rank || s.Kind == event.Index && (is.rank != was.rank || is.index == was.index) {
		return fmt.Errorf("from %+v to %+v", was, is)
	}
	l.held[s.UID] = is
	return nil
}

// close takes a reading's board: it must be one that the source had, not an
// older one than before, and explain who is held.
func (l *ledger) close(b event.Snapshot) error {
	if b.Revision != l.revision+1 {
		return fmt.Errorf("after revision %d", l.revision)
	}
	err := errors.New("nothing was shown")
	for at := max(l.at, 0); at < len(l.shown) && err != nil; at++ {
		if err = fits(b, l.shown[at], l.depth); err == nil {
			l.at = at
		}
	}
	if err != nil && b.Duplicates == 1 && l.twice != nil && l.twice() {
		whole := l.shown[len(l.shown)-1]
		if err = fits(b, without(whole, min(len(whole.Rows), fastmoss.MaxPageSize)-1), l.depth); err == nil {
			l.lies++
		}
	}
	if err != nil {
		return fmt.Errorf("not a board of the source: %w", err)
	}
	l.revision++
	if b.Outcome == event.OutcomeBaseline {
		l.held = map[string]standing{}
	}
	defer clear(l.touched)
	return l.members(b)
}

func (l *ledger) members(b event.Snapshot) error {
	seen := map[string]bool{}
	members := 0
	for _, r := range b.Board {
		seen[r.UID] = true
		if b.Outcome == event.OutcomeBaseline && !r.Edge && r.Rank <= l.top {
			l.held[r.UID] = standing{r.Rank, r.PotentialIndex}
		}
		held, member := l.held[r.UID]
		if due := r.Rank <= l.top && (member || !r.Edge); due != member || member != r.Member {
			return fmt.Errorf("%+v: a member by the events: %t, by the list: %t", r, member, due)
		}
		if member && held != (standing{r.Rank, r.PotentialIndex}) {
			return fmt.Errorf("%+v: the events say %+v", r, held)
		}
		if member {
			members++
		}
	}
	if len(b.Holes) == 0 && members != len(l.held) {
		return fmt.Errorf("%d members on the board, %d by the events", members, len(l.held))
	}
	list := l.shown[max(l.at, 0)]
	places := list.Rows[:min(len(list.Rows), l.depth)]
	for i, r := range places {
		cutOff := length(list) > l.depth && r.Index == places[len(places)-1].Index
		if l.touched[r.UID] == event.Dropped && !seen[r.UID] && !cutOff {
			if l.blind++; !l.shuffled {
				return fmt.Errorf("%s dropped, but stands at place %d", r.UID, i+1)
			}
		}
	}
	return nil
}

// fits compares a board with a list to the last rank; who of a tie stands in
// which of its places is open, and so is who is shown of the cut-off one.
func fits(b event.Snapshot, l simulator.List, depth int) error {
	total := length(l)
	index, rank := map[string]int64{}, map[int64]int{}
	for i, r := range l.Rows {
		index[r.UID] = r.Index
		if rank[r.Index] == 0 {
			rank[r.Index] = i + 1
		}
	}
	places := l.Rows[:min(depth, len(l.Rows))]
	cut := total > depth
	edge := places[len(places)-1].Index
	left := 0 // places outside the cut-off tie
	for _, r := range places {
		if !cut || r.Index != edge {
			left++
		}
	}
	seen := map[string]bool{}
	for _, r := range b.Board {
		i, listed := index[r.UID]
		switch {
		case !listed || i != r.PotentialIndex || r.Rank != rank[i] || seen[r.UID]:
			return fmt.Errorf("%+v, listed %t at rank %d with index %d", r, listed, rank[i], i)
		case r.Position > len(places) || places[r.Position-1].Index != i || r.Edge != (cut && i == edge):
			return fmt.Errorf("%+v: wrong place or edge", r)
		}
		seen[r.UID] = true
		if !r.Edge {
			left--
		}
	}
	for _, h := range b.Holes {
		if h.Position > len(places) || places[h.Position-1].Index != h.PotentialIndex {
			return fmt.Errorf("hole %+v: wrong place", h)
		}
		left--
	}
	if left != 0 || b.Total != total {
		return fmt.Errorf("total %d of %d; %d places are not accounted for", b.Total, total, left)
	}
	return nil
}
