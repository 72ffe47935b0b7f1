package board

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/past"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A standing is how a revision's board knows a creator.
type standing uint8

const (
	unlisted standing = iota // the list was read to its end, without it
	below                    // not seen, and the list goes on past what was read
	listed                   // seen, and no member
	waiting                  // a member that the reading did not show
	member
)

// String is the standing as in JSON and CSV.
func (s standing) String() string {
	return [...]string{"unlisted", "below", "listed", "waiting", "member"}[s]
}

// A point is a creator's place in one revision. A path may have very many, so
// points are small. Rank, position and index are 0 where the standing has none.
type point struct {
	revision       uint64
	at             int64 // Unix milliseconds
	index          int64
	change         int64 // of the index, if known
	rank, position int32
	places         int32 // if known
	standing       standing
	edge, known    bool // known: places and change are, because the revision before had it too
	fresh          bool // a member, and none in the revision before
	baseline       uint8
}

// reasons are the baselines; a point holds the place in this list, from 1.
var reasons = []string{event.ReasonFirst, event.ReasonConfig, event.ReasonRollover, event.ReasonRestored}

func (p *point) reason() string {
	if p.baseline == 0 {
		return ""
	}
	return reasons[p.baseline-1]
}

func (p *point) time() time.Time { return time.UnixMilli(p.at) }

// A path is what the stored boards of a range tell of one creator.
type path struct {
	watchlist, uid string
	name, handle   string // the last that were seen
	points         []point
	found          bool // on any of the boards
	interrupted    bool
}

// add puts the next revision's board at the end of the path.
func (p *path) add(m *history.Message) error {
	head, err := m.Head()
	if err != nil {
		return err
	}
	row, err := m.Row(p.uid)
	if err != nil {
		return err
	}
	now := point{revision: head.Revision, at: m.Time().UnixMilli()}
	switch {
	case row != nil:
		now.standing, now.edge = listed, row.Edge
		now.rank, now.position, now.index = int32(row.Rank), int32(row.Position), row.PotentialIndex
		if row.Member {
			now.standing = member
		}
		p.name, p.handle = row.Nickname, row.UniqueID
	case absent(head, p.uid):
		now.standing = waiting
	case head.Total > head.Depth:
		now.standing = below
	}
	p.found = p.found || row != nil || now.standing == waiting
	if head.Outcome == event.OutcomeBaseline && head.Reason != nil {
		for i, r := range reasons {
			if r == *head.Reason {
				now.baseline = uint8(i + 1)
			}
		}
	}
	p.compare(&now)
	p.points = append(p.points, now)
	return nil
}

func absent(head *event.Snapshot, uid string) bool {
	for i := range head.Absent {
		if head.Absent[i].UID == uid {
			return true
		}
	}
	return false
}

// compare holds a point against the revision before it, if that is there.
func (p *path) compare(now *point) {
	if len(p.points) == 0 || now.baseline != 0 {
		return
	}
	was := &p.points[len(p.points)-1]
	now.fresh = now.standing == member && was.standing < waiting
	if now.rank != 0 && was.rank != 0 && !now.fresh {
		now.known, now.places, now.change = true, was.rank-now.rank, now.index-was.index
	}
}

// breaks are the points inside the path whose ranks are not to be compared with
// those before.
func (p *path) breaks() []*point {
	var out []*point
	for i := range p.points {
		if r := p.points[i].reason(); i > 0 && (r == event.ReasonConfig || r == event.ReasonRestored) {
			out = append(out, &p.points[i])
		}
	}
	return out
}

// creator reads the boards of the range, one after the other, and shows the
// creator's path. An interruption ends it early and is no error.
func (s *showing) creator(ctx context.Context) error {
	notes, err := past.Begins(ctx, s.from, s.path)
	if err != nil {
		return err
	}
	p := &path{watchlist: s.name, uid: s.uid}
	err = s.from.Each(ctx, s.path, nil, func(m *history.Message) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return p.add(m)
	})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		p.interrupted, err = true, nil
		notes = append(notes, "interrupted after "+text.Some(len(p.points), "board"))
	}
	if err != nil {
		return err
	}
	for _, n := range notes {
		if _, err := fmt.Fprintln(s.to.errs, n); err != nil {
			return err
		}
	}
	if !p.found && !p.interrupted {
		within := ""
		if s.span.Given() {
			within = " of that range"
		}
		return fmt.Errorf("uid %q: never on a stored board of %s%s", s.uid, s.name, within)
	}
	return p.write(s.output, s.to)
}
