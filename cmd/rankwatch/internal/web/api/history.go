package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"

	"github.com/rankwatch/rankwatch/watcher"
)

const (
	defaultRevisions = 100
	maxRevisions     = 500
	maxUIDs          = 200
	maxTop           = 1000
	// maxCells is how many places one answer may tell of, of all creators together:
	// with a list that changes a lot, any more would cost the worker its memory.
	maxCells = maxTop * maxRevisions
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

func (a *API) history(ctx context.Context, req *http.Request, q *Query) (any, error) {
	c, err := readChoice(q)
	if err != nil {
		return nil, err
	}
	name := req.PathValue("name")
	e, err := a.extent(ctx, name)
	if err != nil {
		return nil, err
	}
	to := min(c.to, e.revision)
	from := max(c.from, e.firstRevision)
	if to >= c.limit {
		from = max(from, to-c.limit+1)
	}
	if from > to {
		return nil, notFound(fmt.Sprintf("nothing in that range: the stream holds revisions %d to %d of %s", e.firstRevision, e.revision, name))
	}
	var out *History
	err = a.shelves.use(ctx, e.reader, name, func(sh *shelf) error {
		if err := sh.fill(ctx, e.reader, e.last, span{name, from, to}); err != nil {
			return err
		}
		var err error
		out, err = sh.draw(from, to, &c)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Watchlist, out.FirstRevision, out.LatestRevision = name, e.firstRevision, e.revision
	return out, nil
}

// draw makes a history of the boards of a range; those that are missing there were
// deleted for their age just now.
func (sh *shelf) draw(from, to uint64, c *choice) (*History, error) {
	out := &History{}
	var boards []*thin
	for n := from; n <= to; n++ {
		if b := sh.boards[n]; b != nil {
			out.Region = b.region
			boards, out.Revisions = append(boards, b), append(out.Revisions, b.revision)
		}
	}
	drawn := &drawing{sh: sh, series: make(map[uint32]int), columns: len(boards)}
	for _, uid := range c.uids {
		drawn.ask(uid)
	}
	if c.top > 0 && len(boards) > 0 {
		last := boards[len(boards)-1:]
		if c.any {
			last = boards
		}
		for _, b := range last {
			if !drawn.top(b, c.top) {
				return nil, badRequest(fmt.Sprintf("more than %d creators held these places in %d revisions: ask for fewer places or revisions", maxCells/len(boards), len(boards)))
			}
		}
	}
	for i, b := range boards {
		drawn.column(i, b)
	}
	slices.SortStableFunc(drawn.out, func(a, b RankSeries) int { return cmp.Compare(lastRank(a), lastRank(b)) })
	out.Series = drawn.out
	return out, nil
}

// A drawing fills the series column by column.
type drawing struct {
	sh      *shelf
	series  map[uint32]int // by person
	columns int
	out     []RankSeries
}

func (d *drawing) ask(uid string) {
	id, known := d.sh.id(uid)
	if !known {
		d.out = append(d.out, d.empty(uid))
		return
	}
	d.add(id)
}

func (d *drawing) add(id uint32) {
	if _, ok := d.series[id]; ok {
		return
	}
	p := &d.sh.people[id]
	s := d.empty(p.uid)
	s.UniqueID, s.Nickname = p.uniqueID, p.nickname
	d.series[id] = len(d.out)
	d.out = append(d.out, s)
}

// empty is the series of somebody whom no board shows.
func (d *drawing) empty(uid string) RankSeries {
	n := d.columns
	all := make(Numbers, 3*n)
	for i := range all {
		all[i] = none
	}
	return RankSeries{
		UID: uid, URL: watcher.CreatorURL(uid), Ranks: all[:n:n], Positions: all[n : 2*n : 2*n], Indexes: all[2*n:], Members: make([]bool, n),
	}
}

// top adds the first top places of a board, of which ties do not make more. It is
// false if that is too much.
func (d *drawing) top(b *thin, top int) bool {
	for i := range b.spots {
		if int(b.spots[i].position) <= top {
			d.add(b.spots[i].who)
		}
	}
	return len(d.out)*d.columns <= maxCells
}

func (d *drawing) column(i int, b *thin) {
	for j := range b.spots {
		s := &b.spots[j]
		if k, ok := d.series[s.who]; ok {
			out := &d.out[k]
			out.Ranks[i], out.Positions[i], out.Indexes[i] = int64(s.rank&^isMember), int64(s.position), s.index
			out.Members[i] = s.rank&isMember != 0
		}
	}
}

func lastRank(s RankSeries) int64 {
	if n := len(s.Ranks); n > 0 && s.Ranks[n-1] != none {
		return s.Ranks[n-1]
	}
	return math.MaxInt64
}
