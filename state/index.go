package state

import (
	"slices"
	"sort"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// An entry is a stored batch. Its order never changes, so a batch that has to
// wait again goes before all that its chain committed later.
type entry struct {
	Info
	waiting bool
}

// An index mirrors the buckets of waiting and kept batches. It follows each
// transaction once that is durable, and is read again from the file when it
// isn't known whether a transaction is.
//
// In a chain the kept batches come first and end with the last acknowledged
// one; both kinds have rising revisions and orders, and leave from the front.
type index struct {
	waiting, kept queue
	chains        map[event.Chain][]*entry
}

func newIndex() *index { return &index{chains: make(map[event.Chain][]*entry)} }

// A queue holds entries by order.
type queue struct {
	entries []*entry
	bytes   int64
}

func (q *queue) find(order uint64) (int, bool) {
	if len(q.entries) > 0 && q.entries[0].Order == order {
		return 0, true
	}
	return sort.Find(len(q.entries), func(i int) int {
		switch o := q.entries[i].Order; {
		case order < o:
			return -1
		case order > o:
			return 1
		}
		return 0
	})
}

func (q *queue) insert(e *entry) {
	i := len(q.entries)
	if i > 0 && q.entries[i-1].Order > e.Order {
		i, _ = q.find(e.Order)
	}
	q.entries = slices.Insert(q.entries, i, e)
	q.bytes += int64(e.Bytes)
}

func (q *queue) remove(e *entry) {
	i, ok := q.find(e.Order)
	if !ok {
		return
	}
	q.bytes -= int64(e.Bytes)
	if i == 0 { // the usual case, without moving the rest
		q.entries[0] = nil
		q.entries = q.entries[1:]
		return
	}
	q.entries = slices.Delete(q.entries, i, i+1)
}

// add takes a batch that continues its chain.
func (ix *index) add(e *entry) {
	ix.put(e)
	c := ix.chains[e.Chain]
	if len(c) > 0 {
		e.Chain = c[0].Chain // one copy of the name for all
	}
	ix.chains[e.Chain] = append(c, e)
}

func (ix *index) put(e *entry) {
	if e.waiting {
		ix.waiting.insert(e)
	} else {
		ix.kept.insert(e)
	}
}

func (ix *index) take(e *entry) {
	if e.waiting {
		ix.waiting.remove(e)
	} else {
		ix.kept.remove(e)
	}
}

// setWaiting moves e between the queues.
func (ix *index) setWaiting(e *entry, waiting bool) {
	ix.take(e)
	e.waiting = waiting
	ix.put(e)
}

// drop forgets e, which is the first of its chain.
func (ix *index) drop(e *entry) {
	ix.take(e)
	c := ix.chains[e.Chain]
	if len(c) <= 1 {
		delete(ix.chains, e.Chain)
		return
	}
	c[0] = nil
	ix.chains[e.Chain] = c[1:]
}

// split returns a chain's kept and waiting batches, by revision.
func (ix *index) split(c event.Chain) (kept, waiting []*entry) {
	all := ix.chains[c]
	n := sort.Search(len(all), func(i int) bool { return all[i].waiting })
	return all[:n], all[n:]
}

// excess returns the kept batches that have to go once those in fresh have
// joined them: the oldest, until the rest fits in limit, at most most of them.
func (ix *index) excess(fresh []*entry, limit int64, most int) []*entry {
	over := ix.kept.bytes - limit
	for _, e := range fresh {
		over += int64(e.Bytes)
	}
	if over <= 0 {
		return nil
	}
	all := append(slices.Clone(ix.kept.entries[:min(most, len(ix.kept.entries))]), fresh...)
	slices.SortFunc(all, byOrder)
	for i, e := range all[:min(most, len(all))] {
		if over <= 0 {
			return all[:i]
		}
		over -= int64(e.Bytes)
	}
	return all[:min(most, len(all))]
}

func byOrder(a, b *entry) int {
	if a.Order < b.Order {
		return -1
	}
	return 1
}

// sort puts the chains in order after entries were added in any.
func (ix *index) sort() {
	for _, c := range ix.chains {
		slices.SortFunc(c, byOrder)
	}
}
