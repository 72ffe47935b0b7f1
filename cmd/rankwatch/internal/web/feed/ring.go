package feed

import (
	"sort"
	"sync"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// An item is a message ready to be sent. It is never changed.
type item struct {
	sequence uint64
	subject  event.Subject
	frame    []byte
}

// itemCost is what an item takes besides its frame.
const itemCost = 200

// A ring holds the newest messages. Readers have a place in it each, and nothing
// of a reader is in it, so that it costs the same for one and for a thousand.
type ring struct {
	most int // bytes

	mu      sync.Mutex
	items   []*item // oldest first
	bytes   int
	low     uint64 // every message from here on that the stream has taken in is, or will be, in the ring
	resets  int    // how often the stream went back
	last    uint64 // where it stood after that
	changed chan struct{}
}

func newRing(from uint64, most int) *ring {
	return &ring{most: most, low: from, changed: make(chan struct{})}
}

// A place is how far a reader has come: all up to the sequence has been seen.
type place struct {
	sequence uint64
	resets   int
}

// A view is what a ring has for a reader.
type view struct {
	items   []*item
	behind  bool            // what comes next is not in the ring any more, or was never
	low     uint64          // where the ring begins
	reset   bool            // the stream went back
	place   place           // after a reset
	changed <-chan struct{} // closed when there is more
}

// viewItems is how many items a view has at most.
const viewItems = 256

func (r *ring) after(p place) view {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := view{low: r.low, changed: r.changed}
	switch {
	case p.resets != r.resets:
		v.reset, v.place = true, place{r.last, r.resets}
	case p.sequence+1 < r.low:
		v.behind = true
	default:
		from := sort.Search(len(r.items), func(i int) bool { return r.items[i].sequence > p.sequence })
		v.items = append(v.items, r.items[from:min(from+viewItems, len(r.items))]...)
	}
	return v
}

func (r *ring) add(it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items = append(r.items, it)
	r.bytes += len(it.frame) + itemCost
	drop := 0
	for r.bytes > r.most && drop < len(r.items)-1 {
		r.bytes -= len(r.items[drop].frame) + itemCost
		r.low = r.items[drop].sequence + 1
		r.items[drop] = nil
		drop++
	}
	r.items = r.items[drop:]
	r.wake()
}

// reset empties the ring: the stream begins anew after a sequence.
func (r *ring) reset(last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items, r.bytes, r.low, r.last = nil, 0, last+1, last
	r.resets++
	r.wake()
}

// wake is called with mu held.
func (r *ring) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// epoch is how often the stream went back.
func (r *ring) epoch() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resets
}
