package watcher

import (
	"fmt"
	"slices"
	"time"

	"github.com/rankwatch/rankwatch/diff"
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
		if all[b.Rows[i].UID], err = b.profileOf(i); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ProfileOf is Profiles of one creator, nil if the board does not know it.
func ProfileOf(tracked []byte, uid string) (*Profile, error) {
	b, err := decodeBoard(tracked)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(b.Rows, func(r diff.Row) bool { return r.UID == uid })
	if i < 0 {
		return nil, nil //nolint:nilnil // as documented
	}
	p, err := b.profileOf(i)
	return &p, err
}

func (b *board) profileOf(i int) (p Profile, err error) {
	r := &b.Rows[i]
	it, err := b.profiles[i].item(r)
	if err != nil {
		return p, fmt.Errorf("creator %q: %w", r.UID, err)
	}
	p.Creator, p.Metrics = details(&it)
	if r.Member {
		p.FirstSeen, p.PeakRank = time.UnixMilli(r.FirstSeen).UTC(), int(r.Peak)
	}
	return p, nil
}
