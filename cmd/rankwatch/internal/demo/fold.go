package demo

import (
	"fmt"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A fold is what a consumer that only listens holds: per watchlist the events
// of the open reading, and the members with their ranks, folded from the
// events. It proves, reading by reading, that the events add up to the board.
type fold struct {
	prefix  string
	open    map[string][]text.Change
	members map[string]map[string]event.Place
	counts  event.Counts
	reads   int
	wrong   []string // readings whose events do not add up to their board
}

func newFold(prefix string) *fold {
	return &fold{prefix: prefix, open: map[string][]text.Change{}, members: map[string]map[string]event.Place{}}
}

// A closed reading, or a status, is what a message may bring to light.
type seen struct {
	board   *event.Snapshot
	changes []text.Change
	status  *event.Condition
}

// take reads one message. It returns nil while a reading is still open.
func (f *fold) take(subject string, data []byte) (*seen, error) {
	s, err := event.ParseSubject(f.prefix, subject)
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case event.Status:
		e, err := event.Decode[event.Condition](data)
		return &seen{status: &e.Data}, err
	case event.Board:
		e, err := event.Decode[event.Snapshot](data)
		if err != nil {
			return nil, err
		}
		changes := f.open[s.Watchlist]
		delete(f.open, s.Watchlist)
		f.close(&e.Data, changes)
		return &seen{board: &e.Data, changes: changes}, nil
	}
	e, err := event.Decode[event.Change](data)
	if err != nil {
		return nil, err
	}
	f.open[s.Watchlist] = append(f.open[s.Watchlist], text.Change{Kind: s.Kind, Change: e.Data})
	return nil, nil
}

// close folds a reading's events over the members and holds the result against
// the board.
func (f *fold) close(b *event.Snapshot, changes []text.Change) {
	f.reads++
	f.counts = f.counts.Plus(b.Counts)
	board := map[string]event.Place{}
	for _, r := range b.Board {
		if r.Member {
			board[r.UID] = event.Place{Rank: r.Rank, PotentialIndex: r.PotentialIndex}
		}
	}
	held, known := f.members[b.Watchlist]
	if b.Outcome == event.OutcomeBaseline || !known {
		f.members[b.Watchlist] = board
		return
	}
	for _, c := range changes {
		if c.Kind == event.Dropped {
			delete(held, c.Creator.UID)
			continue
		}
		held[c.Creator.UID] = event.Place{Rank: c.After.Rank, PotentialIndex: c.After.PotentialIndex}
	}
	if !sameMembers(held, board) {
		f.wrong = append(f.wrong, fmt.Sprintf("%s revision %d", b.Watchlist, b.Revision))
		f.members[b.Watchlist] = board
	}
}

func sameMembers(a, b map[string]event.Place) bool {
	if len(a) != len(b) {
		return false
	}
	for uid, p := range a {
		if q, ok := b[uid]; !ok || p != q {
			return false
		}
	}
	return true
}

func (f *fold) events() int { return f.counts.Total() }
