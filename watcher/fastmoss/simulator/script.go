package simulator

import (
	"slices"
	"sync"
	"time"
)

// A Script is a Source whose lists a test sets one by one. Lists are served as
// they were set, in that order, whatever other filters the call has; a period
// without a list is not published. All methods may be called at any time, also
// in the middle of a client's scan. The zero value is an empty script.
type Script struct {
	mu      sync.RWMutex
	lists   map[Key]List
	matches []match // the newest last
}

// A Key names a scripted list. An empty Region and a zero Category stand for
// calls without that filter.
type Key struct {
	Region   string
	Category int64 // creator_category_id
	Period   Period
}

type match struct {
	name   string
	period Period
	accept func(Filter) bool
	list   List
}

// Set replaces one list.
func (s *Script) Set(k Key, l List) { s.SetAll(map[Key]List{k: l}) }

// SetAll replaces several lists at once: no call sees one changed and another
// not. Rows without a region get that of their key.
func (s *Script) SetAll(lists map[Key]List) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lists == nil {
		s.lists = make(map[Key]List)
	}
	for k, l := range lists {
		l.Rows = slices.Clone(l.Rows)
		for i := range l.Rows {
			if l.Rows[i].Region == "" {
				l.Rows[i].Region = k.Region
			}
		}
		s.lists[k] = l
	}
}

// SetFunc sets the list of a period for all filters that accept takes. It
// replaces the one of the same name and period. A list of Set goes first, then
// the match that was set last. Accept must be pure: it is called under a lock.
func (s *Script) SetFunc(name string, p Period, accept func(Filter) bool, l List) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropMatch(name, p)
	l.Rows = slices.Clone(l.Rows)
	s.matches = append(s.matches, match{name, p, accept, l})
}

// Unset makes a list unpublished again.
func (s *Script) Unset(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lists, k)
}

// UnsetFunc forgets what SetFunc set.
func (s *Script) UnsetFunc(name string, p Period) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropMatch(name, p)
}

func (s *Script) dropMatch(name string, p Period) {
	s.matches = slices.DeleteFunc(s.matches, func(m match) bool { return m.name == name && m.period == p })
}

// List implements Source.
func (s *Script) List(q Query, _ time.Time) (List, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := q.Period
	if p == (Period{}) {
		var ok bool
		if p, ok = s.newest(q.Filter); !ok {
			return List{}, false
		}
	}
	l, ok := s.find(q.Filter, p)
	if l.Period == (Period{}) {
		l.Period = p
	}
	return l, ok
}

func (s *Script) find(f Filter, p Period) (List, bool) {
	if l, ok := s.lists[keyOf(f, p)]; ok {
		return l, true
	}
	for _, m := range slices.Backward(s.matches) {
		if m.period == p && m.accept(f) {
			return m.list, true
		}
	}
	return List{}, false
}

// newest returns the period of those set for f that ends last; of two that end
// together, the longer one.
func (s *Script) newest(f Filter) (best Period, found bool) {
	var bestFrom, bestTo time.Time
	consider := func(p Period) {
		from, to, ok := p.span(time.UTC)
		if !ok || found && (to.Before(bestTo) || to.Equal(bestTo) && !from.Before(bestFrom)) {
			return
		}
		best, bestFrom, bestTo, found = p, from, to, true
	}
	for k := range s.lists {
		if k == keyOf(f, k.Period) {
			consider(k.Period)
		}
	}
	for _, m := range s.matches {
		if m.accept(f) {
			consider(m.period)
		}
	}
	return best, found
}

func keyOf(f Filter, p Period) Key {
	return Key{Region: f.Region, Category: f.CreatorCategory.Value, Period: p}
}
