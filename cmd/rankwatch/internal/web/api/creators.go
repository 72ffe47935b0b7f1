package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
)

const (
	// maxLooks is on how many boards a creator is looked for, and lookTime for how
	// long.
	maxLooks = 500
	lookTime = 2 * time.Second
	// maxTries bounds how often a board is read again that was published meanwhile.
	maxTries = 3
)

// A portrait is put together from what boards and events say of one creator.
type portrait struct {
	out  Creator
	seen []sighting
}

// A sighting is what one reading said of the creator. Its profile is nil if only
// names are known, and its time zero if it is not known when that was.
type sighting struct {
	watchlist          string
	period             *event.Period
	time               time.Time
	uniqueID, nickname *string
	profile            *Profile
}

func (a *API) creator(ctx context.Context, req *http.Request, q *Query) (any, error) {
	if err := q.Done(); err != nil {
		return nil, err
	}
	uid := req.PathValue("uid")
	if len(uid) > event.MaxUID {
		return nil, badRequest(fmt.Sprintf("a uid has at most %d bytes", event.MaxUID))
	}
	if !utf8.ValidString(uid) {
		return nil, badRequest("a uid is UTF-8")
	}
	r, err := a.cfg.Reader(ctx)
	if err != nil {
		return nil, err
	}
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	p := portrait{out: Creator{UID: uid, URL: watcher.CreatorURL(uid), Complete: true}}
	told, err := p.events(looking, r)
	if err == nil {
		err = a.look(looking, r, &p, told)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		p.out.Complete = false
	case err != nil:
		return nil, err
	}
	if len(p.out.Boards) == 0 && p.out.Complete {
		return nil, notFound(fmt.Sprintf("no board and no event that the stream holds is about %q", short(uid)))
	}
	slices.SortFunc(p.out.Boards, func(a, b CreatorBoard) int { return cmp.Compare(a.Watchlist, b.Watchlist) })
	p.describe()
	return p.out, nil
}

// A mention is the last event about the creator on a watchlist.
type mention struct {
	told told
	time time.Time
}

// events reads the last event on each watchlist.
func (p *portrait) events(ctx context.Context, r *history.Reader) (map[string]mention, error) {
	events, err := r.About(ctx, p.out.UID)
	if err != nil {
		return nil, err
	}
	out := make(map[string]mention, len(events))
	for i := range events {
		m := &events[i]
		got, err := event.Parse(r.Prefix(), m.Subject, m.Data)
		if err != nil {
			return nil, fmt.Errorf("sequence %d: %w", m.Sequence, err)
		}
		c := got.Change
		out[c.Watchlist] = mention{told{got.Subject.Kind, c}, got.Time}
		p.seen = append(p.seen, sighting{c.Watchlist, c.Period, got.Time, c.Creator.UniqueID, c.Creator.Nickname, profileThen(c)})
	}
	return out, nil
}

// look finds the creator on the newest boards: of the watchlists that told of it,
// whether they are still configured or not, and then of the others.
func (a *API) look(ctx context.Context, r *history.Reader, p *portrait, events map[string]mention) error {
	var names []string
	for name := range events {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, s := range a.cfg.Worker.Standings() {
		if _, ok := events[s.Watchlist.Name]; !ok {
			names = append(names, s.Watchlist.Name)
		}
	}
	if len(names) > maxLooks {
		names, p.out.Complete = names[:maxLooks], false
	}
	for _, name := range names {
		m, known, err := a.newest(ctx, r, name, p.out.UID)
		if errors.Is(err, history.ErrNotFound) {
			continue // nothing was published of it yet
		}
		if err != nil {
			return err
		}
		about, ok := events[name]
		if !ok {
			err = p.board(m, known, nil)
		} else {
			err = p.board(m, known, &about)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newest is a watchlist's newest board, and what is remembered of the creator at
// its revision: by the worker, or while that is a revision ahead by the stream.
func (a *API) newest(ctx context.Context, r *history.Reader, name, uid string) (m *history.Message, known *watcher.Profile, err error) {
	for range maxTries {
		if m, err = r.LastBoard(ctx, name); err != nil {
			return nil, nil, err
		}
		revision, _ := m.Revision()
		p, held, err := a.cfg.Worker.Profile(name, uid)
		if err != nil || held == revision {
			return m, p, err
		}
		tracked, held, err := r.Tracked(ctx, name)
		if errors.Is(err, history.ErrNotFound) {
			return m, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if held == revision {
			p, err = watcher.ProfileOf(tracked.Board, uid)
			return m, p, err
		}
	}
	return m, nil, nil
}

// board adds a watchlist, if its board or an event is about the creator.
func (p *portrait) board(m *history.Message, known *watcher.Profile, about *mention) error {
	row, err := m.Row(p.out.UID)
	if err != nil {
		return err
	}
	head, err := m.Head()
	if err != nil {
		return err
	}
	absent := slices.ContainsFunc(head.Absent, func(x event.Absent) bool { return x.UID == p.out.UID })
	if row == nil && !absent && about == nil {
		return nil
	}
	b := CreatorBoard{
		Watchlist: head.Watchlist, Region: head.Region, Revision: head.Revision, Time: head.FetchedAt, Period: head.Period, Member: absent,
	}
	if row != nil {
		b.Member, b.Rank, b.Position, b.PotentialIndex = row.Member, &row.Rank, &row.Position, &row.PotentialIndex
	}
	if about != nil {
		b.Last, b.LastRevision, b.LastTime = changeOf(about.told), &about.told.Change.Revision, stamp(about.time)
	}
	switch {
	case b.Member && known != nil && known.PeakRank > 0:
		b.FirstSeen, b.PeakRank = stamp(known.FirstSeen), &known.PeakRank
	case !b.Member && about != nil && about.told.Kind == event.Dropped:
		was := &about.told.Change.History
		b.FirstSeen, b.PeakRank = optional(was.FirstSeen), &was.PeakRank
	}
	p.out.Boards = append(p.out.Boards, b)
	return p.sight(head, row, known, about)
}

// sight adds what a board's reading said of the creator, or an older one of a
// member that it did not show.
func (p *portrait) sight(head *event.Snapshot, row *event.Row, known *watcher.Profile, about *mention) error {
	at, err := time.Parse(time.RFC3339, head.FetchedAt)
	if err != nil {
		return fmt.Errorf("revision %d of %s: %w", head.Revision, head.Watchlist, err)
	}
	s := sighting{watchlist: head.Watchlist, period: head.Period, time: at}
	if row != nil {
		s.uniqueID, s.nickname = optional(row.UniqueID), optional(row.Nickname)
	} else {
		s.period, s.time = nil, time.Time{}
		if about != nil {
			s.period, s.time = about.told.Change.Period, about.time
		}
	}
	// A board that had to be stored without details knows nothing more.
	if known != nil && (known.Creator.UniqueID != nil || known.Creator.Nickname != nil) {
		s.uniqueID, s.nickname, s.profile = cmp.Or(known.Creator.UniqueID, s.uniqueID), cmp.Or(known.Creator.Nickname, s.nickname), profileOf(known)
	}
	p.seen = append(p.seen, s)
	return nil
}

// describe takes the newest of what is known, of the same age that of the first
// watchlist, and sums up the boards.
func (p *portrait) describe() {
	slices.SortStableFunc(p.seen, func(a, b sighting) int { return cmp.Or(b.time.Compare(a.time), cmp.Compare(a.watchlist, b.watchlist)) })
	out := &p.out
	for _, s := range p.seen {
		out.UniqueID, out.Nickname = cmp.Or(out.UniqueID, s.uniqueID), cmp.Or(out.Nickname, s.nickname)
		if out.Profile == nil && s.profile != nil {
			out.Profile, out.ProfileFrom = s.profile, &ProfileFrom{s.watchlist, s.period, stamp(s.time)}
		}
	}
	if out.Profile == nil {
		return
	}
	out.Profile.FirstSeen, out.Profile.PeakRank = nil, nil
	for i := range out.Boards {
		b := &out.Boards[i]
		if b.PeakRank != nil && (out.Profile.PeakRank == nil || *b.PeakRank < *out.Profile.PeakRank) {
			out.Profile.PeakRank = b.PeakRank
		}
		// Times of one form are in the order of their texts.
		if b.FirstSeen != nil && (out.Profile.FirstSeen == nil || *b.FirstSeen < *out.Profile.FirstSeen) {
			out.Profile.FirstSeen = b.FirstSeen
		}
	}
}
