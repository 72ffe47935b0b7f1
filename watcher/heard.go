package watcher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// Hear takes over how a watchlist is doing from the worker that read it last.
func (w *Worker) Hear(s Standing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.lists[s.Watchlist.Name]
	if e == nil || e.standing.after(s.Attempts, s.Tried) {
		return
	}
	known := e.standing.Known
	e.standing, e.next, e.failures = s, s.Next, s.Failures
	e.standing.Known = known
}

// Recall takes over how a watchlist is doing from what its last reader left.
func (w *Worker) Recall(name string, data []byte, next time.Time) {
	c, err := decodeCarry(data)
	if err != nil {
		return
	}
	r, err := decodeRecord(c.Record)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.lists[name]
	if e == nil || e.standing.after(r.Attempts, r.Tick) {
		return
	}
	if listOf(r.Fingerprint) != listOf(e.watchlist.Fingerprint()) {
		r.Read = time.Time{} // of another list
	}
	e.next, e.failures = next, c.Failures
	e.standing.Tried, e.standing.Read, e.standing.Condition = r.Tick, r.Read, r.Condition.known()
	e.standing.Attempts = r.Attempts
}

// Names returns the configured watchlists in order.
func (w *Worker) Names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.lists))
}

// FeedOf names what is asked of the source for a watchlist, empty for an unknown
// one. Equal names are equal feeds.
func (w *Worker) FeedOf(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.lists[name]
	if e == nil {
		return ""
	}
	return e.watchlist.Feed().String()
}

// HearToken takes over how the API token is from the worker that found it out.
func (w *Worker) HearToken(c fastmoss.TokenCondition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Status == fastmoss.StatusOK {
		w.token = nil
		return
	}
	w.token = &Condition{Status: c.Status, Reason: c.Reason, Detail: c.Detail, Since: c.Since}
}

// RecallToken takes over what the fleet's last status told of the API token.
func (w *Worker) RecallToken(ctx context.Context) error {
	if _, err := w.cfg.Shared.Sync(ctx, event.TokenWatchlist, Known{}); err != nil {
		return err
	}
	l, err := w.cfg.Store.Load(event.TokenWatchlist)
	if err != nil {
		return err
	}
	r, err := decodeRecord(l.Record)
	if err != nil {
		return fmt.Errorf("status of the token: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokenBad, w.token = r.Condition != nil, r.Condition.known()
	return nil
}
