package watcher

import (
	"container/heap"
	"slices"
	"time"
)

// A Scheduler says which of many watchlists are due. It holds no clock and is
// not safe for concurrent use; its zero value is empty and ready.
type Scheduler struct {
	items map[string]*item
	feeds map[uint64][]*item
	heap  itemHeap
	now   time.Time // of the last Due
	added bool      // something was added since
}

type item struct {
	name   string
	rhythm rhythm
	last   time.Time // the last tick given out; zero if never
	tick   time.Time // the next one
	retry  time.Time // an extra one before that
	hold   time.Time // none before this
	due    time.Time
	slot   int // in the heap
}

// Add takes in a watchlist that was last read at the given time, zero if never,
// or, if its name is there already, replaces it.
func (s *Scheduler) Add(w Watchlist, last time.Time) {
	s.Remove(w.Name)
	if s.items == nil {
		s.items, s.feeds = map[string]*item{}, map[uint64][]*item{}
	}
	it := &item{name: w.Name, rhythm: rhythmOf(w), last: last}
	s.items[w.Name] = it
	s.feeds[it.rhythm.seed] = append(s.feeds[it.rhythm.seed], it)
	it.plan()
	heap.Push(&s.heap, it)
	s.added = true
}

// Remove forgets a watchlist. It does nothing for an unknown name.
func (s *Scheduler) Remove(name string) {
	it, ok := s.items[name]
	if !ok {
		return
	}
	heap.Remove(&s.heap, it.slot)
	delete(s.items, name)
	mates := s.feeds[it.rhythm.seed]
	if len(mates) == 1 {
		delete(s.feeds, it.rhythm.seed)
		return
	}
	i := slices.Index(mates, it)
	s.feeds[it.rhythm.seed] = slices.Delete(mates, i, i+1)
}

// Update takes over a watchlist's new configuration. A changed schedule goes on
// from the last tick. A changed feed is due at once, since it was never read.
// What Postpone said stays; what Retry said is dropped. An unknown name is
// added.
func (s *Scheduler) Update(w Watchlist) {
	old, ok := s.items[w.Name]
	if !ok {
		s.Add(w, time.Time{})
		return
	}
	last := old.last
	if old.rhythm.seed != rhythmOf(w).seed {
		last = time.Time{}
	}
	s.Add(w, last)
	s.Postpone(w.Name, old.hold)
}

// Due returns the names that are due, each once however many ticks it missed,
// the longest due first, and counts their ticks as done. A watchlist that only
// waits for its jitter comes along with one of the same feed, since the reading
// is made anyway; it follows directly.
func (s *Scheduler) Due(now time.Time) []string {
	// Ticks are times of day; the monotonic clock would hide that the wall clock
	// was set.
	now = now.Round(0)
	s.setBack(now)
	s.now = now
	var names []string
	for len(s.heap) > 0 && !s.heap[0].due.After(now) {
		first := s.heap[0]
		names = append(names, first.name)
		s.done(first, now)
		for _, it := range s.feeds[first.rhythm.seed] {
			if !it.tick.After(now) && !it.hold.After(now) {
				names = append(names, it.name)
				s.done(it, now)
			}
		}
	}
	return names
}

// Took counts the turn of a watchlist as taken at now, whoever said that it is
// due. It does nothing for an unknown name.
func (s *Scheduler) Took(name string, now time.Time) {
	if it, ok := s.items[name]; ok {
		s.done(it, now.Round(0))
	}
}

// Mates returns the other watchlists of the same feed.
func (s *Scheduler) Mates(name string) []string {
	it, ok := s.items[name]
	if !ok {
		return nil
	}
	var names []string
	for _, m := range s.feeds[it.rhythm.seed] {
		if m != it {
			names = append(names, m.name)
		}
	}
	return names
}

// Follows says whether another watchlist of the same feed is due before the named
// one at the same tick, so that one reading does for both, and when the first of
// them is due.
func (s *Scheduler) Follows(name string) (first time.Time, follows bool) {
	it, ok := s.items[name]
	if !ok || it.tick.IsZero() || !it.due.Equal(it.tick.Add(it.rhythm.jitter(it.tick))) {
		return time.Time{}, false
	}
	lead, first := it, it.due
	for _, m := range s.feeds[it.rhythm.seed] {
		if m == it || !m.rhythm.after(it.tick.Add(-1)).Equal(it.tick) {
			continue
		}
		due := it.tick.Add(m.rhythm.jitter(it.tick))
		if due.Before(first) || due.Equal(first) && m.name < lead.name {
			lead, first = m, due
		}
	}
	return first, lead != it
}

func (s *Scheduler) done(it *item, now time.Time) {
	it.last, it.retry, it.hold = now, time.Time{}, time.Time{}
	it.plan()
	heap.Fix(&s.heap, it.slot)
}

// setBack repairs the ticks if the clock was set back, while running or since
// the last readings: those computed from a time that never came could lie years
// ahead.
func (s *Scheduler) setBack(now time.Time) {
	ahead := max(s.now.Sub(now), 0)
	if ahead == 0 && !s.added {
		return
	}
	s.added = false
	back := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.Add(-ahead)
	}
	for _, it := range s.heap {
		if ahead == 0 && !it.last.After(now) {
			continue
		}
		if it.last.After(now) {
			it.last = now
		}
		it.hold, it.retry = back(it.hold), back(it.retry)
		it.plan()
	}
	heap.Init(&s.heap)
}

// NextAt returns when Due has something to return, which may be past; false if
// there are no watchlists.
func (s *Scheduler) NextAt() (time.Time, bool) {
	if len(s.heap) == 0 {
		return time.Time{}, false
	}
	return s.heap[0].due, true
}

// At returns when the named watchlist is due, which may be past; false if the
// name is unknown.
func (s *Scheduler) At(name string) (time.Time, bool) {
	it, ok := s.items[name]
	if !ok {
		return time.Time{}, false
	}
	return it.due, true
}

// Postpone keeps a watchlist from being due before until. Ticks missed by then
// are made up by one. It never shortens an earlier Postpone.
func (s *Scheduler) Postpone(name string, until time.Time) {
	if it, ok := s.items[name]; ok && until.After(it.hold) {
		it.hold = until
		it.setDue()
		heap.Fix(&s.heap, it.slot)
	}
}

// Retry makes a watchlist due at the given time, if no tick is due before, and
// not before what Postpone says. The tick after it stays where it was.
func (s *Scheduler) Retry(name string, at time.Time) {
	if it, ok := s.items[name]; ok {
		it.retry = at
		it.setDue()
		heap.Fix(&s.heap, it.slot)
	}
}

// plan finds the tick after the last one.
func (it *item) plan() {
	it.tick = time.Time{}
	if !it.last.IsZero() {
		it.tick = it.rhythm.after(it.last)
	}
	it.setDue()
}

func (it *item) setDue() {
	it.due = it.tick
	if !it.tick.IsZero() {
		it.due = it.tick.Add(it.rhythm.jitter(it.tick))
	}
	if !it.retry.IsZero() && it.retry.Before(it.due) {
		it.due = it.retry
	}
	if it.hold.After(it.due) {
		it.due = it.hold
	}
}

type itemHeap []*item

func (h itemHeap) Len() int { return len(h) }

func (h itemHeap) Less(i, j int) bool {
	if c := h[i].due.Compare(h[j].due); c != 0 {
		return c < 0
	}
	return h[i].name < h[j].name
}

func (h itemHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

func (h *itemHeap) Push(x any) {
	it := x.(*item)
	it.slot = len(*h)
	*h = append(*h, it)
}

func (h *itemHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}
