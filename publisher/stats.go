package publisher

import (
	"maps"
	"sort"
	"sync"
	"time"
)

// Stats is what a Publisher has done and how it is.
type Stats struct {
	Connected      bool
	Ready          bool // set-up and recovery are done
	StorageBlocked bool // nothing is published for want of room on the disk
	Batches        uint64
	Messages       uint64
	Bytes          uint64            // of payload
	Groups         uint64            // atomic batches that the server took
	Refusals       map[string]uint64 // publishes that failed, by reason
	Adopted        uint64            // chains taken over from the stream
	Taken          uint64            // boards taken over from workers that read before, in turn
	Rewound        uint64            // chains that went back with the stream
	Broken         uint64            // chains that begin anew
	Fenced         uint64            // watchlists lost to another writer
	LastPublish    time.Time
	Latency        Latency // of all publishes that the server took
	LastError      string  // of the last publish, empty after a success
}

// A Latency is a histogram of how long publishes took, from sending an atomic
// batch to the server's commit. Counts has the number of those within each of
// LatencyBounds, and of longer ones at its end.
type Latency struct {
	Counts [len(latencyBounds) + 1]uint64
	Sum    time.Duration
}

// In seconds: a batch costs about three fsyncs, and is given up after ten seconds.
var latencyBounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// LatencyBounds are the upper bounds of a Latency's counts, in seconds.
func LatencyBounds() []float64 { return latencyBounds[:] }

func (l *Latency) add(took time.Duration) {
	l.Sum += took
	l.Counts[sort.SearchFloat64s(latencyBounds[:], took.Seconds())]++
}

type counters struct {
	mu sync.Mutex
	s  Stats
}

func (c *counters) update(fn func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(&c.s)
}

func (c *counters) refused(reason string, err error) {
	c.update(func(s *Stats) {
		if s.Refusals == nil {
			s.Refusals = make(map[string]uint64)
		}
		s.Refusals[reason]++
		s.LastError = err.Error()
	})
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.Refusals = maps.Clone(s.Refusals)
	return s
}
