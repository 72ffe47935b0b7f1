package turns

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

const (
	// backSoon is how long a turn rests that cannot be read here now.
	backSoon = 2 * time.Second
	// grace is how long a watchlist that another one reads for waits, at least and
	// at most, before it is read by itself.
	graceMin, grace = 5 * time.Second, 30 * time.Second
	// ackTime bounds the end of a turn, also at the end of the worker.
	ackTime = 5 * time.Second
)

// Why a turn brought no reading.
var (
	// errBehind means that this worker does not have the file yet that a turn comes of.
	errBehind = errors.New("the watchlist file here is an older one than the turn's")
	// errOver means that whoever had the turn before read it to the end.
	errOver = errors.New("the turn was read already")
	// errGone means that the watchlist is in no file any more.
	errGone = errors.New("the watchlist is gone")
)

// hand takes one turn after the other, at the pace of its lane.
func (c *Crew) hand(ctx context.Context, n int, lane *fastmoss.Lane) error {
	p := c.queue.Puller()
	wait := newBackoff()
	for ctx.Err() == nil {
		if n >= c.limits.Load().Readings || c.cfg.Full() || c.order.Load() == 0 || c.stale.Load() {
			pause(ctx, time.Second)
			continue
		}
		if err := c.cfg.Client.Open(ctx); err != nil {
			continue
		}
		t, err := p.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Debug("fleet: no turn", "err", err)
				pause(ctx, wait.NextBackOff())
			}
			continue
		}
		wait.Reset()
		c.take(ctx, lane, t)
	}
	return nil
}

// take works a turn off: it is done, or handed back, or not this worker's any
// more.
func (c *Crew) take(ctx context.Context, lane *fastmoss.Lane, t *fleet.Turn) {
	lateness := late(t)
	c.mu.Lock()
	c.working[t.Watchlist] = time.Now()
	c.stats.LastLate, c.stats.LastTaken = lateness, time.Now()
	if t.Retaken {
		c.stats.Retaken++
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.working, t.Watchlist)
	}()
	held, inside, release := keep(ctx, t.Taken, c.queue.AckWait(), t.Progress)
	defer release()
	done, err := c.serve(inside, held, lane, t)
	c.rest(ctx, lane)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTime)
	defer cancel()
	switch {
	case !held.held():
		c.count(func(s *Stats) { s.Lost++ })
		c.log.Warn("turn not kept in time; another worker reads", "watchlist", t.Watchlist, "err", err)
	case done:
		c.count(func(s *Stats) {
			if err != nil {
				s.Over++
				return
			}
			s.Turns++
			s.Lateness.add(lateness)
		})
		if err := t.Done(end); err != nil {
			c.log.Debug("turn comes again", "watchlist", t.Watchlist, "err", err)
		}
	default:
		c.count(func(s *Stats) { s.Back++ })
		after := backSoon
		if ctx.Err() != nil {
			after = 0
		}
		c.log.Debug("turn handed back", "watchlist", t.Watchlist, "err", err)
		if err := t.Back(after); err != nil {
			c.log.Debug("turn comes again", "watchlist", t.Watchlist, "err", err)
		}
	}
}

// restTime bounds how long a turn is kept for its pace, which throttling can make
// slow; a worker that ends does not wait longer than for the end of the turn.
const restTime = 2 * time.Minute

// rest waits until whoever gets the place next may call at once.
func (c *Crew) rest(ctx context.Context, lane *fastmoss.Lane) {
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), restTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(ackTime, cancel)
		context.AfterFunc(rest, func() { t.Stop() })
	})
	defer stop()
	if err := lane.Rest(rest); err != nil {
		c.log.Debug("fleet: pace not kept", "err", err)
	}
}

// serve reports whether the turn can be ended. With an error that is without a
// reading.
func (c *Crew) serve(ctx context.Context, held *lease, lane *fastmoss.Lane, t *fleet.Turn) (done bool, err error) {
	over, err := c.queue.Over(ctx, t)
	if err != nil {
		return false, err
	}
	if over {
		return true, errOver
	}
	if !c.upTo(ctx, t.Order) {
		// By the file here this might be another list, and history would go back to it.
		return false, errBehind
	}
	if _, known := c.cfg.Watcher.Plan(t.Watchlist); !known {
		if err := c.cfg.Watcher.Retire(ctx, t.Watchlist); err != nil {
			return false, err
		}
		return true, errGone
	}
	turns := []watcher.Turn{{Watchlist: t.Watchlist, Due: t.Due, Carry: t.Carry}}
	armed, err := c.along(ctx, t)
	if err != nil {
		c.log.Debug("fleet: read alone", "watchlist", t.Watchlist, "err", err)
	}
	for name, s := range armed {
		turns = append(turns, watcher.Turn{Watchlist: name, Due: s.Due, Carry: s.Carry})
	}
	plans := make(map[string]string, len(turns))
	for _, r := range turns {
		plans[r.Watchlist], _ = c.cfg.Watcher.Plan(r.Watchlist)
	}
	served, err := c.cfg.Watcher.Serve(ctx, leased{lane, held, c.learn}, turns...)
	if err != nil {
		return false, err
	}
	for _, s := range served {
		c.tell(s.Watchlist)
		if !held.held() {
			return false, errLost
		}
		err := c.arm(ctx, c.schedule(s, plans[s.Watchlist]), armed[s.Watchlist].Sequence)
		if err != nil && s.Watchlist == t.Watchlist {
			return false, err
		}
		if err != nil {
			c.log.Warn("a watchlist that was read along is called again", "watchlist", s.Watchlist, "err", err)
		}
	}
	return true, nil
}

// arm arms the next turn of what was read, also by a worker that ends. That
// somebody else did is fine.
func (c *Crew) arm(ctx context.Context, s fleet.Schedule, expect uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTime)
	defer cancel()
	err := c.queue.Arm(ctx, s, expect)
	if errors.Is(err, fleet.ErrArmed) {
		c.log.Debug("another schedule is armed", "watchlist", s.Watchlist)
		return nil
	}
	return err
}

// along finds the watchlists that wait for this reading: of the same feed and due,
// or even called, where turns wait longer than those that follow do. Their turns are
// over when somebody takes them.
func (c *Crew) along(ctx context.Context, t *fleet.Turn) (map[string]fleet.Schedule, error) {
	mates := c.cfg.Watcher.Mates(t.Watchlist)
	if len(mates) == 0 {
		return nil, nil
	}
	armed, err := c.queue.Armed(ctx, mates)
	if err != nil {
		return nil, err
	}
	called, err := c.queue.Called(ctx, mates)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if t.Due.After(now) {
		now = t.Due // by the bus's clock it is
	}
	due := func(s fleet.Schedule) bool { return !s.Due.After(now) && !s.Due.IsZero() }
	var mu sync.Mutex
	along := map[string]fleet.Schedule{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(armers)
	for _, name := range mates {
		s, is := armed[name]
		if !is {
			s = called[name]
		}
		if !due(s) {
			continue
		}
		// A replica that lags may have what was read since; its counts would be told.
		g.Go(func() error {
			s, is, err := c.queue.Latest(ctx, name)
			if err != nil || !is || !due(s) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			along[name] = s
			return nil
		})
	}
	return along, g.Wait()
}

// schedule is the next turn of a watchlist that was read by a plan. If that changed
// meanwhile it is read again at once.
func (c *Crew) schedule(s watcher.Served, plan string) fleet.Schedule {
	next := fleet.Schedule{Watchlist: s.Watchlist, At: s.Next, Due: s.Next, Order: c.order.Load(), Carry: s.Carry}
	next.Plan, _ = c.cfg.Watcher.Plan(s.Watchlist)
	if next.Plan != plan {
		next.At = time.Now()
		next.Due = next.At
		return next
	}
	if s.Follows {
		next.At = next.At.Add(min(grace, max(graceMin, time.Until(s.Next)/2)))
	}
	return next
}
