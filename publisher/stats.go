package publisher

import (
	"maps"
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
	Rewound        uint64            // chains that went back with the stream
	Broken         uint64            // chains that begin anew
	Fenced         uint64            // watchlists lost to another writer
	LastPublish    time.Time
	Latency        time.Duration // of the last publish
	LastError      string        // of the last publish, empty after a success
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
