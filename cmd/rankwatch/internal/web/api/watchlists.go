package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// maxNames is how many watchlists may be asked for by name.
const maxNames = 100

func (a *API) watchlists(ctx context.Context, _ *http.Request, q *Query) (any, error) {
	names := q.List("name", maxNames)
	if err := q.Done(); err != nil {
		return nil, err
	}
	out := Watchlists{Version: a.cfg.Version, Token: condition(a.cfg.Worker.TokenStanding())}
	if len(names) == 0 {
		for _, s := range a.cfg.Worker.Standings() {
			out.Watchlists = append(out.Watchlists, standing(s))
		}
	}
	for _, n := range names {
		if s, ok := a.cfg.Worker.Standing(n); ok {
			out.Watchlists = append(out.Watchlists, standing(s))
		}
	}
	err := a.ask(ctx, &out)
	if err != nil && FaultOf(err).Status != http.StatusServiceUnavailable {
		return nil, err
	}
	out.Bus = err == nil
	return out, nil
}

const (
	// askTime is how long the stream may take to say where it stands, and hangTime
	// how long it is not asked again after it took longer.
	askTime  = time.Second
	hangTime = 5 * time.Second
)

// ask is tips, for whom a server that hangs is away.
func (a *API) ask(ctx context.Context, out *Watchlists) error {
	if time.Now().UnixNano() < a.hangs.Load() {
		return history.ErrGone
	}
	short, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err := a.tips(short, out)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		a.hangs.Store(time.Now().Add(hangTime).UnixNano())
		return history.ErrGone
	}
	return err
}

// tips tells where the stream is, in all and of each watchlist.
func (a *API) tips(ctx context.Context, out *Watchlists) error {
	r, err := a.cfg.Reader(ctx)
	if err != nil {
		return err
	}
	// The sequence first: what can be followed from is never behind a board that
	// is told of.
	info, err := r.State(ctx)
	if err != nil {
		return err
	}
	boards, err := r.Newest(ctx)
	if err != nil {
		return err
	}
	for i := range out.Watchlists {
		w := &out.Watchlists[i]
		if b, ok := boards[w.Name]; ok {
			w.Sequence, w.Changed = &b.Sequence, stamp(b.Stored)
			if b.Revision > 0 {
				w.Revision = &b.Revision
			}
		}
	}
	out.Sequence = &info.State.LastSeq
	return nil
}

func standing(s watcher.Standing) Watchlist {
	w := s.Watchlist
	out := Watchlist{
		Name: w.Name, Region: w.Region(), Top: w.Top, Margin: w.Margin, Ties: w.Rules.Ties.String(),
		Schedule: schedule(w), Period: w.Period.String(), Filter: filter(w.Filter),
		Tried: stamp(s.Tried), Read: stamp(s.Read), Next: stamp(s.Next), Reading: s.Reading, Overdue: event.Time(s.Overdue()),
		Failures: s.Failures, Condition: condition(s.Condition),
	}
	if s.Outcome != "" {
		out.Outcome, out.Reason, out.Detail, out.Events = &s.Outcome, optional(s.Reason), optional(s.Detail), &s.Events
	}
	return out
}

func schedule(w watcher.Watchlist) string {
	if w.Cron != "" {
		return "cron " + w.ScheduleText()
	}
	return w.ScheduleText()
}

func filter(f fastmoss.Filter) map[string]any {
	out := map[string]any{}
	if f.Region != "" {
		out["region"] = f.Region
	}
	put := func(to map[string]any, key string, v fastmoss.Opt[int64]) {
		if v.Valid {
			to[key] = v.Value
		}
	}
	put(out, "creator_category_id", f.CreatorCategoryID)
	put(out, "product_category_l1_id", f.ProductCategoryL1ID)
	put(out, "product_category_l2_id", f.ProductCategoryL2ID)
	put(out, "product_category_l3_id", f.ProductCategoryL3ID)
	put(out, "ecommerce_type", f.EcommerceType)
	put(out, "follower_age_type", f.FollowerAgeType)
	put(out, "follower_gender_type", f.FollowerGenderType)
	followers := map[string]any{}
	put(followers, "min", f.FollowerCountRange.Min)
	put(followers, "max", f.FollowerCountRange.Max)
	if len(followers) > 0 {
		out["follower_count_range"] = followers
	}
	return out
}

func condition(c *watcher.Condition) *Condition {
	if c == nil {
		return nil
	}
	return &Condition{Status: c.Status, Reason: c.Reason, Detail: c.Detail, Since: event.Time(c.Since)}
}

// stamp is nil for no time.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := event.Time(t)
	return &s
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// unknown says that there is no watchlist of that name, if none is configured,
// and else that nothing was published of it yet.
func (a *API) unknown(name string) error {
	if _, ok := a.cfg.Worker.Standing(name); ok {
		return notFound(fmt.Sprintf("nothing was published of %s yet", name))
	}
	return notFound(fmt.Sprintf("no watchlist %q", short(name)))
}

// An extent is what the stream holds of a watchlist's boards.
type extent struct {
	reader                  *history.Reader
	last                    *history.Message
	firstRevision, revision uint64
}

func (a *API) extent(ctx context.Context, name string) (e extent, err error) {
	if e.reader, err = a.cfg.Reader(ctx); err != nil {
		return e, err
	}
	if !watcher.IsName(name) {
		return e, a.unknown(name)
	}
	var first *history.Message
	if e.last, err = e.reader.LastBoard(ctx, name); err == nil {
		first, err = e.reader.FirstBoard(ctx, name)
	}
	if errors.Is(err, history.ErrNotFound) {
		return e, a.unknown(name)
	}
	if err != nil {
		return e, err
	}
	e.revision, _ = e.last.Revision()
	e.firstRevision, _ = first.Revision()
	return e, nil
}
