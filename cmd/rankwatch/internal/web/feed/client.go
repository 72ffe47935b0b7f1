package feed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/api"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A filter selects messages; what is empty selects all.
type filter struct{ regions, watchlists, kinds, uids []string }

const maxFilter = 100

func (f *filter) has(s event.Subject) bool {
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return in(f.regions, s.Region) && in(f.watchlists, s.Watchlist) && in(f.kinds, string(s.Kind)) && in(f.uids, s.UID)
}

// A client is one listener.
type client struct {
	feed   *Feed
	ring   *ring
	filter filter
	place  place
	w      http.ResponseWriter
	rc     *http.ResponseController
	// What is to be written: first buf, which is the client's own, and then items,
	// which all share.
	buf   []byte
	items []*item
}

// request reads what is asked for. resume is false without an id to go on after.
func request(r *http.Request) (fl filter, after uint64, resume bool, err error) {
	q, err := api.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fl, 0, false, err
	}
	fl = filter{q.List("region", maxFilter), q.List("watchlist", maxFilter), q.List("kind", maxFilter), q.List("uid", maxFilter)}
	kinds := []string{"entered", "moved", "dropped", "index", "board", "status"}
	for _, k := range fl.kinds {
		if !slices.Contains(kinds, k) {
			q.Wrong("kind is one of entered, moved, dropped, index, board, status")
		}
	}
	text, resume := q.Text("last_event_id")
	// A browser that comes back by itself sends the header, and the address as it
	// was at first.
	if h := r.Header.Get("Last-Event-ID"); h != "" {
		text, resume = h, true
	}
	if resume {
		if after, err = strconv.ParseUint(text, 10, 63); err != nil {
			q.Wrong("the last event id is not one that this feed has sent")
		}
	}
	return fl, after, resume, q.Done()
}

// clientsRetry is when it is worth coming back to a feed that was full.
const clientsRetry = 10 * time.Second

// ServeHTTP sends events until the client or the server goes.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := client{feed: f, w: w, rc: http.NewResponseController(w)}
	last, after, resume, err := c.start(r)
	if err != nil {
		api.FaultOf(err).Write(w)
		return
	}
	if c.ring = f.join(last); c.ring == nil {
		w.Header().Set("Connection", "close") // others may want to connect
		(&api.Fault{Status: http.StatusServiceUnavailable, Detail: "too many listen already", Retry: clientsRetry}).Write(w)
		return
	}
	defer f.leave()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	c.buf = append(c.buf, "retry: 2000\n"...)
	c.place = place{sequence: last, resets: c.ring.epoch()}
	switch {
	case resume && after > last:
		c.reset(last)
	case resume:
		c.place.sequence = after
		c.id()
	default:
		c.id()
	}
	if c.flush() == nil {
		c.run(r.Context())
	}
}

// start reads the request and where the stream stands.
func (c *client) start(r *http.Request) (last, after uint64, resume bool, err error) {
	if c.filter, after, resume, err = request(r); err != nil {
		return 0, 0, false, err
	}
	h, err := c.feed.cfg.Reader(r.Context())
	if err != nil {
		return 0, 0, false, err
	}
	info, err := h.State(r.Context())
	if err != nil {
		return 0, 0, false, err
	}
	return info.State.LastSeq, after, resume, nil
}

// id tells the client where it is, so that it can come back there even if it got
// no event.
func (c *client) id() { c.buf = fmt.Appendf(c.buf, "id: %d\n\n", c.place.sequence) }

func (c *client) reset(last uint64) {
	c.place.sequence = last
	c.buf = fmt.Appendf(c.buf, "id: %d\nevent: reset\ndata: {\"last\":%d}\n\n", last, last)
}

// flush writes what is waiting, in bounded time.
func (c *client) flush() error {
	if len(c.buf)+len(c.items) == 0 {
		return nil
	}
	defer func() { c.buf, c.items = nil, c.items[:0] }()
	if err := c.rc.SetWriteDeadline(time.Now().Add(c.feed.cfg.Write)); err != nil {
		return err
	}
	if _, err := c.w.Write(c.buf); err != nil {
		return err
	}
	for _, it := range c.items {
		if _, err := c.w.Write(it.frame); err != nil {
			return err
		}
	}
	return c.rc.Flush()
}

// run sends until something ends it. Errors of a client that is gone are told to
// nobody.
func (c *client) run(ctx context.Context) {
	beat := time.NewTicker(c.feed.cfg.Heartbeat)
	defer beat.Stop()
	for {
		v := c.ring.after(c.place)
		var err error
		switch {
		case v.reset:
			c.place = v.place
			c.reset(v.place.sequence)
		case v.behind:
			err = c.catchUp(ctx, v.low, beat)
		}
		for _, it := range v.items {
			if c.place.sequence = it.sequence; c.filter.has(it.subject) {
				c.items = append(c.items, it)
			}
		}
		if err == nil {
			err = c.flush()
		}
		if err != nil {
			return
		}
		if v.reset || v.behind || len(v.items) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-v.changed:
		case <-beat.C:
			c.buf = append(c.buf, ": \n\n"...)
		}
	}
}

var errEnough = errors.New("enough")

// catchUp reads a part of what the ring does not have any more from the stream.
func (c *client) catchUp(ctx context.Context, low uint64, beat *time.Ticker) error {
	if err := c.wait(ctx, c.feed.slots, beat); err != nil {
		return err
	}
	defer func() { <-c.feed.slots }()
	if err := c.read(ctx, low, beat); err != nil {
		return err
	}
	return c.flush()
}

func (c *client) read(ctx context.Context, low uint64, beat *time.Ticker) error {
	if err := c.wait(ctx, c.feed.reads, beat); err != nil {
		return err
	}
	defer func() { <-c.feed.reads }()
	h, err := c.feed.cfg.Reader(ctx)
	if err != nil {
		return err
	}
	if err := c.gap(ctx, h); err != nil {
		return err
	}
	err = h.From(ctx, c.place.sequence+1, []string{h.Prefix() + ".>"}, func(m *history.Message) error {
		if m.Sequence >= low || len(c.buf) > slotBytes {
			return errEnough
		}
		c.place.sequence = m.Sequence
		if it := c.feed.item(h.Prefix(), m); it != nil && c.filter.has(it.subject) {
			c.buf = append(c.buf, it.frame...)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		if len(c.buf) <= slotBytes {
			c.place.sequence = low - 1
		}
		return nil
	}
	if err == nil {
		c.place.sequence = max(c.place.sequence, low-1)
	}
	return err
}

// gap tells the client if not all is there any more that comes next.
func (c *client) gap(ctx context.Context, h *history.Reader) error {
	info, err := h.State(ctx)
	if err != nil {
		return err
	}
	swept, _, err := h.Swept(ctx)
	if err != nil {
		return err
	}
	first := swept
	if c.place.sequence > 0 {
		// It saw a message that is not there any more. Who saw none may begin where
		// the stream does: what came before need not have been for the public.
		first = max(first, info.State.FirstSeq)
	}
	if c.place.sequence+1 < first {
		c.buf = fmt.Appendf(c.buf, "event: gap\ndata: {\"from\":%d,\"to\":%d}\n\n", c.place.sequence+1, first-1)
	}
	return nil
}

// wait takes a turn, and tells the client meanwhile that it is not forgotten.
func (c *client) wait(ctx context.Context, turns chan struct{}, beat *time.Ticker) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case turns <- struct{}{}:
			return nil
		case <-beat.C:
			c.buf = append(c.buf, ": \n\n"...)
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
}
