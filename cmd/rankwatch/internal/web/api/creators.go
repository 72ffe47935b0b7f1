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
	// maxAsked is how many boards' profiles are gone through: each is all of one.
	maxAsked = 3
)

// A portrait is put together from what boards and events say of one creator.
type portrait struct {
	out  Creator
	last *event.Change // the newest event
	on   []string      // watchlists that show the creator now
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
	if err := a.describe(&p); err != nil {
		return nil, err
	}
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
		out[got.Subject.Watchlist] = mention{told{got.Subject.Kind, got.Change}, got.Time}
		p.last = got.Change
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
		m, err := r.LastBoard(ctx, name)
		if errors.Is(err, history.ErrNotFound) {
			continue // nothing was published of it yet
		}
		if err != nil {
			return err
		}
		about, ok := events[name]
		if err := p.board(m, about, ok); err != nil {
			return err
		}
	}
	return nil
}

// board adds a watchlist, if its board or an event is about the creator.
func (p *portrait) board(m *history.Message, about mention, known bool) error {
	row, err := m.Row(p.out.UID)
	if err != nil {
		return err
	}
	head, err := m.Head()
	if err != nil {
		return err
	}
	absent := slices.ContainsFunc(head.Absent, func(x event.Absent) bool { return x.UID == p.out.UID })
	if row == nil && !absent && !known {
		return nil
	}
	b := CreatorBoard{
		Watchlist: head.Watchlist, Region: head.Region, Revision: head.Revision, Time: head.FetchedAt, Period: head.Period, Member: absent,
	}
	if row != nil {
		b.Member, b.Rank, b.Position, b.PotentialIndex = row.Member, &row.Rank, &row.Position, &row.PotentialIndex
		p.out.UniqueID, p.out.Nickname = optional(row.UniqueID), optional(row.Nickname)
		p.on = append(p.on, head.Watchlist)
	}
	if known {
		b.Last, b.LastRevision, b.LastTime = changeOf(about.told), &about.told.Change.Revision, stamp(about.time)
	}
	p.out.Boards = append(p.out.Boards, b)
	return nil
}

// describe adds what the worker remembers of the creator, or else what the newest
// event said.
func (a *API) describe(p *portrait) error {
	for _, name := range p.on[:min(len(p.on), maxAsked)] {
		all, _, err := a.cfg.Worker.Profiles(name)
		if err != nil {
			return err
		}
		if of, ok := all[p.out.UID]; ok {
			p.out.Profile = profileOf(&of)
			p.out.UniqueID, p.out.Nickname = cmp.Or(of.Creator.UniqueID, p.out.UniqueID), cmp.Or(of.Creator.Nickname, p.out.Nickname)
			return nil
		}
	}
	if p.last != nil {
		p.out.Profile = profileThen(p.last)
		p.out.UniqueID, p.out.Nickname = cmp.Or(p.out.UniqueID, p.last.Creator.UniqueID), cmp.Or(p.out.Nickname, p.last.Creator.Nickname)
	}
	return nil
}
