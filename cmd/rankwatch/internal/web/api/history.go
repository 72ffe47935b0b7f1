package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
)

const (
	defaultRevisions = 100
	maxRevisions     = 500
	maxUIDs          = 200
	maxTop           = 1000
)

// A request for history selects creators, by uid or by their rank, and revisions.
type choice struct {
	uids     []string
	top      int
	any      bool // at any revision; else in the last one
	limit    uint64
	from, to uint64
}

func readChoice(q *Query) (choice, error) {
	c := choice{
		uids: q.List("uid", maxUIDs), top: int(q.Number("top", 1, maxTop, 0)), limit: q.Number("limit", 1, maxRevisions, defaultRevisions),
		from: q.Number("from_revision", 1, math.MaxInt64, 0), to: q.Number("to_revision", 1, math.MaxInt64, math.MaxInt64),
	}
	among, some := q.Text("among")
	switch {
	case !some:
	case among == "any":
		c.any = true
	case among != "last":
		q.Wrong("among is last or any")
	}
	if len(c.uids) == 0 && c.top == 0 {
		q.Wrong("uid or top says whose history is asked for")
	}
	if len(c.uids) > 0 && c.top > 0 {
		q.Wrong("uid and top exclude each other")
	}
	if c.from > c.to {
		q.Wrong("from_revision is after to_revision")
	}
	return c, q.Done()
}

func (a *API) history(ctx context.Context, req *http.Request, q *Query) (answer, error) {
	c, err := readChoice(q)
	if err != nil {
		return answer{}, err
	}
	r, err := a.cfg.Reader(ctx)
	if err != nil {
		return answer{}, err
	}
	name := req.PathValue("name")
	e, err := a.extent(ctx, r, name)
	if err != nil {
		return answer{}, err
	}
	to := min(c.to, e.revision)
	from := max(c.from, e.firstRevision)
	if to >= c.limit {
		from = max(from, to-c.limit+1)
	}
	if from > to {
		return answer{}, notFound(fmt.Sprintf("nothing in that range: the stream holds revisions %d to %d of %s", e.firstRevision, e.revision, name))
	}
	boards, err := a.boards(ctx, r, name, from, to)
	if err != nil {
		return answer{}, err
	}
	out := reduce(boards, &c)
	out.Watchlist, out.FirstRevision, out.LatestRevision = name, e.firstRevision, e.revision
	return answer{out, revalidate}, nil
}

// boards reads a range of boards, oldest first.
func (a *API) boards(ctx context.Context, r *history.Reader, name string, from, to uint64) ([]*event.Snapshot, error) {
	var out []*event.Snapshot
	q := history.Query{Watchlists: []string{name}, Kinds: []event.Kind{event.Board}, FromRevision: from, ToRevision: to}
	err := r.Each(ctx, q, nil, func(m *history.Message) error {
		s, err := m.Snapshot()
		out = append(out, s)
		return err
	})
	return out, err
}

func reduce(boards []*event.Snapshot, c *choice) *History {
	out := &History{}
	at := map[string]int{}
	for _, u := range c.uids {
		at[u] = len(out.Series)
		out.Series = append(out.Series, RankSeries{UID: u, URL: watcher.CreatorURL(u)})
	}
	for i, s := range boards {
		out.Region = s.Region
		out.Revisions = append(out.Revisions, Revision{Revision: s.Revision, Time: s.FetchedAt, Outcome: s.Outcome, Reason: s.Reason, Period: s.Period, Top: s.Rules.Top, Counts: s.Counts})
		if c.top == 0 || !c.any && i < len(boards)-1 {
			continue
		}
		for j := range s.Board {
			row := &s.Board[j]
			if _, known := at[row.UID]; row.Rank <= c.top && !known {
				at[row.UID] = len(out.Series)
				out.Series = append(out.Series, RankSeries{UID: row.UID, URL: watcher.CreatorURL(row.UID)})
			}
		}
	}
	for i := range out.Series {
		s := &out.Series[i]
		s.Ranks, s.Positions, s.Indexes, s.Members = make([]*int, len(boards)), make([]*int, len(boards)), make([]*int64, len(boards)), make([]bool, len(boards))
	}
	for i, b := range boards {
		for j := range b.Board {
			row := &b.Board[j]
			if k, ok := at[row.UID]; ok {
				s := &out.Series[k]
				s.UniqueID, s.Nickname = row.UniqueID, row.Nickname
				s.Ranks[i], s.Positions[i], s.Indexes[i], s.Members[i] = &row.Rank, &row.Position, &row.PotentialIndex, row.Member
			}
		}
	}
	slices.SortStableFunc(out.Series, func(a, b RankSeries) int { return cmp.Compare(lastRank(a), lastRank(b)) })
	return out
}

func lastRank(s RankSeries) int {
	if r := s.Ranks[len(s.Ranks)-1]; r != nil {
		return *r
	}
	return math.MaxInt
}
