package turns

import (
	"bytes"
	"context"
	"time"

	"github.com/rankwatch/rankwatch/publisher/fleet"
)

// Offer hands the fleet a watchlist file that is new on this worker's disk.
func (c *Crew) Offer(data []byte) {
	select {
	case <-c.offers: // an older one that nobody has looked at
	default:
	}
	select {
	case c.offers <- data:
	default:
	}
}

// Unreadable notes that this worker's file is one that nobody can use.
func (c *Crew) Unreadable(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file = data
	c.compare()
	c.told = true // with its mistakes
}

// offer offers this worker's file, at the start and whenever it changes.
func (c *Crew) offer(ctx context.Context) error {
	data := c.cfg.File
	for {
		if err := c.again(ctx, "offer the watchlist file", func(ctx context.Context) error { return c.offerOnce(ctx, data) }); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case data = <-c.offers:
		}
	}
}

func (c *Crew) offerOnce(ctx context.Context, data []byte) error {
	f, verdict, err := c.files.Offer(ctx, data)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.file = data
	c.compare()
	c.mu.Unlock()
	switch verdict {
	case fleet.Old:
		c.log.Warn("the watchlist file here is an old one of the fleet and does not count; bring it up to date, or change it (a comment is enough) if it is to count again",
			"fleet_file", f.Hash, "order", f.Order, "from", f.Writer)
	case fleet.New:
		c.log.Info("the watchlist file here is the fleet's from now on", "file", f.Hash, "order", f.Order)
	}
	c.apply(f)
	switch verdict {
	case fleet.New:
		c.nudge()
	case fleet.Old:
		c.mu.Lock()
		c.told = true // just now
		c.mu.Unlock()
	}
	return nil
}

// nudge has schedules looked at now, not by and by.
func (c *Crew) nudge() {
	select {
	case c.redo <- struct{}{}:
	default:
	}
}

// follow takes over every file that becomes the fleet's.
func (c *Crew) follow(ctx context.Context) error {
	return c.again(ctx, "follow the watchlist file", func(ctx context.Context) error {
		return c.files.Watch(ctx, c.apply)
	})
}

// upTo says whether this worker goes by the file of that order, or by the newest that
// there is: a bucket that was restored knows less than turns do. If it has not heard
// of the file yet, it asks.
func (c *Crew) upTo(ctx context.Context, order uint64) bool {
	if order <= c.order.Load() {
		return true
	}
	c.catching.Lock()
	defer c.catching.Unlock()
	if order <= c.order.Load() {
		return true
	}
	f, err := c.files.Current(ctx)
	if err != nil {
		c.log.Debug("fleet: file unknown", "order", order, "err", err)
		return false
	}
	c.apply(f)
	return f.Order <= c.order.Load()
}

// apply makes f the watchlists of this worker, unless it has a newer one.
func (c *Crew) apply(f fleet.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.hash.Load(); f.Order < c.order.Load() || now != nil && f.Order == c.order.Load() && f.Hash == *now {
		return
	}
	if c.hash.Load() == nil && bytes.Equal(f.Content, c.cfg.File) {
		c.stale.Store(false)
		c.goBy(f, len(c.cfg.Watcher.Names())) // which began with it
		return
	}
	lists, err := c.cfg.Parse(f.Content)
	c.stale.Store(err != nil)
	if err != nil {
		if c.refused == f.Hash {
			return
		}
		c.refused = f.Hash
		// Its worker read it: that one is of a newer version.
		c.log.Error("the fleet's watchlist file cannot be used here; the old one stays, and turns are left to others", "file", f.Hash, "order", f.Order, "from", f.Writer, "err", err)
		return
	}
	c.cfg.Watcher.Reload(lists)
	c.goBy(f, len(lists))
}

// goBy notes that the watcher has f. It is called with mu held.
func (c *Crew) goBy(f fleet.File, watchlists int) {
	c.order.Store(f.Order)
	c.applied = time.Now()
	select {
	case c.fresh <- struct{}{}:
	default:
	}
	hash := f.Hash
	c.hash.Store(&hash)
	c.content = f.Content
	c.log.Info("watchlists of the fleet taken over", "watchlists", watchlists, "file", f.Hash, "order", f.Order, "from", f.Writer)
	c.compare()
	c.told = false
}

// conflict tells, once, that this worker's file is still another one than the
// fleet's some time after that was taken over. While a new file is brought to one
// worker after the other they differ for a while.
func (c *Crew) conflict() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.hash.Load(); now != nil && c.differs && !c.told && time.Since(c.applied) > tendLater {
		c.told = true
		c.log.Warn("the watchlist file here is not the fleet's, and does not count; bring it up to date, or change it if it is to count", "fleet_file", *now, "order", c.order.Load())
	}
}

// compare notes whether this worker's file is the one that it goes by: that is the
// newest it has heard of, which may have followed its own at once. It is called with
// mu held.
func (c *Crew) compare() {
	if now := c.hash.Load(); now != nil {
		c.differs = fleet.Hash(c.file) != *now
	}
}
