package turns

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/publisher/fleet"
)

const (
	// tendEvery is about how often every worker looks for schedules that were
	// lost or have nobody.
	tendEvery = 45 * time.Second
	// tendLater is what a worker that did not bring the new file leaves to the one
	// that did.
	tendLater = 10 * time.Second
	// armers is how many schedules are armed at the same time, and atOnce after how
	// many it is looked what others have armed.
	armers, atOnce = 32, 10_000
)

// tend keeps exactly one schedule or turn for each watchlist.
func (c *Crew) tend(ctx context.Context) error {
	var order uint64 // of the file whose schedules were looked at
	timer := time.NewTimer(jittered(tendLater))
	defer timer.Stop()
	connected := c.cfg.Conn.StatusChanged(nats.CONNECTED)
	defer c.cfg.Conn.RemoveStatusListener(connected)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-connected: // what others told meanwhile was missed
			c.recall(ctx)
			continue
		case <-c.fresh:
			c.recall(ctx)
			continue
		case <-timer.C:
		case <-c.redo:
		}
		c.conflict()
		next := jittered(tendEvery)
		seen, err := c.arrange(ctx, order)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.log.Warn("fleet: schedules not looked at", "err", err)
			c.restore(ctx)
			next = jittered(tendLater)
		default:
			order = seen
		}
		timer.Reset(next)
	}
}

// recall takes over how every watchlist is doing from what its last reader left.
func (c *Crew) recall(ctx context.Context) {
	names := c.cfg.Watcher.Names()
	for _, ask := range []func(context.Context, []string) (map[string]fleet.Schedule, error){c.queue.Called, c.queue.Armed} {
		all, err := ask(ctx, names)
		if err != nil {
			c.log.Debug("fleet: how watchlists are doing comes with their next readings", "err", err)
			return
		}
		for name, s := range all {
			c.cfg.Watcher.Recall(name, s.Carry, s.Due)
		}
	}
}

// restore sets up again what the servers lost of what the fleet shares, if they did.
func (c *Crew) restore(ctx context.Context) {
	err := c.queue.Setup(ctx, *c.limits.Load())
	if err == nil {
		err = c.files.Setup(ctx)
	}
	if err != nil && ctx.Err() == nil {
		c.log.Debug("fleet: not set up again", "err", err)
	}
}

// regress begins anew with the order of files when the fleet's file is not one that
// follows this worker's: its bucket was lost, or is an old one. Into an empty one goes
// what the fleet went by, not what this worker has on its disk.
func (c *Crew) regress(ctx context.Context, newest uint64) error {
	c.log.Warn("the fleet's watchlist files are not what they were; beginning anew", "order", newest, "was", c.order.Load())
	c.mu.Lock()
	content := c.content
	c.mu.Unlock()
	var f fleet.File
	var err error
	if newest == 0 {
		f, _, err = c.files.Offer(ctx, content)
	} else {
		f, err = c.files.Current(ctx)
	}
	if err == nil {
		c.order.Store(0)
		c.apply(f)
	}
	return err
}

func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// arrange arms what is missing and what a new file changed, and ends what has no
// watchlist any more. It returns the order of the file that it went by: if that is
// not the fleet's newest, it does nothing and leaves order as it is.
func (c *Crew) arrange(ctx context.Context, order uint64) (uint64, error) {
	mine := c.order.Load()
	newest, hash, err := c.files.Latest(ctx)
	if now := c.hash.Load(); err == nil && now != nil && mine > 0 && (newest < mine || newest == mine && hash != *now) {
		return 0, c.regress(ctx, newest)
	}
	if err == nil && newest > mine {
		// The watch tells of it too, but what it told once it does not tell again.
		var f fleet.File
		if f, err = c.files.Current(ctx); err == nil {
			c.apply(f)
		}
		return order, err
	}
	if err != nil || mine == 0 {
		return order, err
	}
	armed, called, err := c.queue.Names(ctx)
	if err != nil {
		return order, err
	}
	names := c.cfg.Watcher.Names()
	var missing, present []string
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
		switch {
		case armed[name]:
			present = append(present, name)
		case !called[name]:
			missing = append(missing, name)
		}
	}
	if err := c.armMissing(ctx, missing); err != nil {
		return order, err
	}
	for name := range armed {
		if wanted[name] {
			continue
		}
		if c.order.Load() != mine {
			return order, nil // it may be back; the new file's look decides
		}
		if err := c.retire(ctx, name); err != nil {
			c.log.Warn("a watchlist that is gone could not be told so yet", "watchlist", name, "err", err)
			continue
		}
		if err := c.queue.Disarm(ctx, name); err != nil {
			return order, err
		}
	}
	if order == mine || c.order.Load() != mine {
		return order, nil
	}
	if err := c.retireGone(ctx, wanted, armed, called); err != nil {
		return order, err
	}
	if err := c.rearm(ctx, present); err != nil || time.Since(c.since()) < settled {
		return order, err
	}
	return mine, nil
}

// retireGone tells of watchlists that the stream knows and nothing else does, as
// after the move of a single worker, or of a schedule that was lost.
func (c *Crew) retireGone(ctx context.Context, wanted, armed, called map[string]bool) error {
	told, cancel := context.WithTimeout(ctx, toldTime+time.Duration(len(wanted))*time.Millisecond/4)
	known, err := c.cfg.Told(told)
	cancel()
	if err != nil {
		return err
	}
	for _, name := range known {
		if _, is := c.cfg.Watcher.Plan(name); is || wanted[name] || armed[name] || called[name] {
			continue
		}
		if err := c.retire(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// toldTime bounds the list of what the stream knows, which a new file waits for, and
// which takes longer with more watchlists.
const toldTime = 3 * time.Second

// retireTime bounds what telling the end of one watchlist may take.
const retireTime = 30 * time.Second

func (c *Crew) retire(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, retireTime)
	defer cancel()
	return c.cfg.Watcher.Retire(ctx, name)
}

// settled is how long after a new file schedules are compared with it again: a
// worker that has yet to hear of it arms as the old one says.
const settled = 2 * time.Minute

// since is when the present file was taken over.
func (c *Crew) since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applied
}

// armMissing has watchlists read at once that have neither a schedule nor a turn,
// those of one feed by one reading.
//
// Workers that find the same ones missing begin in different places, and look
// again what is left now and then: of very many, each then arms its part.
func (c *Crew) armMissing(ctx context.Context, missing []string) error {
	feeds := map[string][]string{}
	for _, name := range missing {
		feed := c.cfg.Watcher.FeedOf(name)
		feeds[feed] = append(feeds[feed], name)
	}
	order := slices.Collect(maps.Keys(feeds)) // another one each time
	armed, called := map[string]bool{}, map[string]bool{}
	for i, n := 0, uint64(0); len(order) > 0; i++ {
		if i > 0 {
			var err error
			if armed, called, err = c.queue.Names(ctx); err != nil {
				return err
			}
		}
		now := time.Now()
		var readers, followers []fleet.Schedule
		for len(order) > 0 && len(readers)+len(followers) < atOnce {
			first := true
			for _, name := range feeds[order[0]] {
				plan, known := c.cfg.Watcher.Plan(name)
				if armed[name] || called[name] || !known {
					continue
				}
				s := fleet.Schedule{Watchlist: name, At: now, Due: now, Order: c.order.Load(), Plan: plan}
				if first {
					first = false
					readers = append(readers, s)
				} else {
					s.At = now.Add(grace)
					followers = append(followers, s)
				}
			}
			order = order[1:]
		}
		more, err := c.armAll(ctx, followers, readers, c.queue.Begin)
		if n += more; err != nil {
			return err
		}
		if len(order) == 0 && n > 0 {
			c.log.Info("watchlists without a schedule get a turn now", "watchlists", n)
		}
	}
	return nil
}

// rearm has changed watchlists read when their present configuration says: what is
// due at once, those of one feed by one reading.
func (c *Crew) rearm(ctx context.Context, names []string) error {
	all, err := c.queue.Armed(ctx, names)
	if err != nil {
		return err
	}
	type reading struct {
		feed string
		at   int64
	}
	read := map[reading]bool{} // those that somebody makes
	now := time.Now()
	var readers, followers []fleet.Schedule
	for _, name := range names {
		s, is := all[name]
		if !is {
			continue
		}
		due, changed := c.cfg.Watcher.Replan(name, s.Plan, s.Carry)
		if !changed {
			continue
		}
		at := now
		if due.After(time.Now()) {
			at = due
		}
		s.At, s.Due, s.Order = at, at, c.order.Load()
		s.Plan, _ = c.cfg.Watcher.Plan(name)
		if r := (reading{c.cfg.Watcher.FeedOf(name), at.UnixNano()}); read[r] {
			s.At = at.Add(grace)
			followers = append(followers, s)
		} else {
			read[r] = true
			readers = append(readers, s)
		}
	}
	_, err = c.armAll(ctx, followers, readers, func(ctx context.Context, s fleet.Schedule) error { return c.queue.Arm(ctx, s, s.Sequence) })
	return err
}

// armAll arms schedules, and returns how many. Who is read along must be found
// waiting, so those come first.
func (c *Crew) armAll(ctx context.Context, followers, readers []fleet.Schedule, arm func(context.Context, fleet.Schedule) error) (n uint64, err error) {
	for _, some := range [][]fleet.Schedule{followers, readers} {
		more, err := armEach(ctx, some, arm)
		c.count(func(s *Stats) { s.Armed += more })
		if n += more; err != nil {
			return n, err
		}
	}
	return n, nil
}

// armEach arms schedules at once, and returns how many: who finds another one armed
// leaves it, since somebody else was first, or the turn has come.
func armEach(ctx context.Context, all []fleet.Schedule, arm func(context.Context, fleet.Schedule) error) (uint64, error) {
	var n atomic.Uint64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(armers)
	for _, s := range all {
		g.Go(func() error {
			err := arm(ctx, s)
			if errors.Is(err, fleet.ErrArmed) {
				return nil
			}
			if err == nil {
				n.Add(1)
			}
			return err
		})
	}
	err := g.Wait()
	return n.Load(), err
}
