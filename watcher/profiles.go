package watcher

import (
	"fmt"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Profile is what a worker remembers of a creator beyond its place.
type Profile struct {
	Creator event.Creator
	Metrics event.Metrics
	// These are of the present membership: zero for who is no member.
	FirstSeen time.Time
	PeakRank  int
}

// Profiles reads a tracked board, of a Store or a head message, and tells of
// every creator on it, by uid.
func Profiles(tracked []byte) (map[string]Profile, error) {
	b, err := decodeBoard(tracked)
	if err != nil {
		return nil, err
	}
	all := make(map[string]Profile, len(b.Rows))
	for i := range b.Rows {
		r := &b.Rows[i]
		it, err := b.profiles[i].item(r)
		if err != nil {
			return nil, fmt.Errorf("creator %q: %w", r.UID, err)
		}
		var p Profile
		p.Creator, p.Metrics = details(&it)
		if r.Member {
			p.FirstSeen, p.PeakRank = time.UnixMilli(r.FirstSeen).UTC(), int(r.Peak)
		}
		all[r.UID] = p
	}
	return all, nil
}
