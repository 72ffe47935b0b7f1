package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
)

func (a *API) board(ctx context.Context, req *http.Request, q *Query) (any, error) {
	revision := q.Number("revision", 1, math.MaxInt64, 0)
	if err := q.Done(); err != nil {
		return nil, err
	}
	name := req.PathValue("name")
	e, err := a.extent(ctx, name)
	if err != nil {
		return nil, err
	}
	m := e.last
	if revision != 0 && revision != e.revision {
		if m, err = e.reader.BoardAtRevision(ctx, name, revision); errors.Is(err, history.ErrNotFound) {
			return nil, notFound(fmt.Sprintf("no revision %d of %s: the stream holds revisions %d to %d", revision, name, e.firstRevision, e.revision))
		}
	}
	if err != nil {
		return nil, err
	}
	b, err := a.assemble(ctx, e.reader, m)
	if err != nil {
		return nil, err
	}
	b.FirstRevision, b.LatestRevision = e.firstRevision, e.revision
	return b, nil
}

// assemble puts together a board, the events of its reading, and what is known of
// its creators.
func (a *API) assemble(ctx context.Context, r *history.Reader, m *history.Message) (*Board, error) {
	s, err := m.Snapshot()
	if err != nil {
		return nil, err
	}
	changes, err := readChanges(ctx, r, m)
	whole := !errors.Is(err, history.ErrNotFound)
	if err != nil && whole {
		return nil, err
	}
	profiles, held, err := a.cfg.Worker.Profiles(s.Watchlist)
	if err != nil {
		return nil, err
	}
	if held != s.Revision {
		profiles = nil
	}
	b := boardOf(s)
	b.Sequence, b.Events = m.Sequence, whole
	for i := range s.Board {
		row := &s.Board[i]
		out := Row{
			UID: row.UID, UniqueID: row.UniqueID, Nickname: row.Nickname, URL: watcher.CreatorURL(row.UID), Rank: row.Rank,
			Position: row.Position, PotentialIndex: row.PotentialIndex, Member: row.Member, Edge: row.Edge,
		}
		if row.Member {
			b.Members++
		}
		c, changed := changes.by[row.UID]
		if changed && c.Kind != event.Dropped {
			out.Change = changeOf(c)
		}
		switch p, ok := profiles[row.UID]; {
		case ok:
			out.Profile = profileOf(&p)
		case changed:
			out.Profile = profileThen(c.Change)
		}
		b.Rows[i] = out
	}
	for _, c := range changes.dropped {
		who := c.Change.Creator
		b.Dropped = append(b.Dropped, Dropped{
			UID: who.UID, UniqueID: who.UniqueID, Nickname: who.Nickname, URL: who.URL, Change: *changeOf(c), Profile: profileThen(c.Change),
		})
	}
	return b, nil
}

// boardOf is a board without its rows' contents, and who is absent.
func boardOf(s *event.Snapshot) *Board {
	b := &Board{
		Watchlist: s.Watchlist, Region: s.Region, Revision: s.Revision, PreviousRevision: s.PreviousRevision,
		Outcome: s.Outcome, Reason: s.Reason, Period: s.Period, PreviousPeriod: s.PreviousPeriod, FetchedAt: s.FetchedAt,
		Total: s.Total, Depth: s.Depth, Unchanged: s.Unchanged, Members: len(s.Absent), Counts: s.Counts, Rules: s.Rules,
		Rows: make([]Row, len(s.Board)),
	}
	for _, x := range s.Absent {
		b.Absent = append(b.Absent, Absent{
			UID: x.UID, URL: watcher.CreatorURL(x.UID), Rank: x.Rank, PotentialIndex: x.PotentialIndex, Misses: x.Misses, Unseen: x.Unseen,
		})
	}
	return b
}

// A told change is one event of a reading.
type told struct {
	Kind   event.Kind
	Change *event.Change
}

type changes struct {
	by      map[string]told
	dropped []told // in the reading's order
}

// readChanges reads the events of the reading that a board closes. It is
// history.ErrNotFound if they are not all there any more.
func readChanges(ctx context.Context, r *history.Reader, board *history.Message) (changes, error) {
	events, err := r.Reading(ctx, board)
	if err != nil {
		return changes{}, err
	}
	out := changes{by: make(map[string]told, len(events))}
	for i := range events {
		got, err := event.Parse(r.Prefix(), events[i].Subject, events[i].Data)
		if err != nil {
			return changes{}, fmt.Errorf("sequence %d: %w", events[i].Sequence, err)
		}
		c := told{got.Subject.Kind, got.Change}
		out.by[got.Change.Creator.UID] = c
		if c.Kind == event.Dropped {
			out.dropped = append(out.dropped, c)
		}
	}
	return out, nil
}

func changeOf(t told) *Change {
	c := t.Change
	return &Change{
		Kind: t.Kind, Before: c.Before, After: c.After, Places: c.Places, IndexChange: c.IndexChange, Cause: c.Cause,
		Reentry: c.History.Reentry, Edge: c.Edge,
	}
}

// profileOf is what the worker remembers.
func profileOf(p *watcher.Profile) *Profile {
	out := &Profile{
		Region: p.Creator.Region, Category: p.Creator.Category, FollowerCount: p.Creator.FollowerCount, Metrics: p.Metrics,
		FirstSeen: stamp(p.FirstSeen),
	}
	if p.PeakRank > 0 {
		out.PeakRank = &p.PeakRank
	}
	return out
}

// profileThen is what an event said.
func profileThen(c *event.Change) *Profile {
	return &Profile{
		Region: c.Creator.Region, Category: c.Creator.Category, FollowerCount: c.Creator.FollowerCount, Metrics: c.Metrics,
		FirstSeen: optional(c.History.FirstSeen), PeakRank: &c.History.PeakRank,
	}
}
