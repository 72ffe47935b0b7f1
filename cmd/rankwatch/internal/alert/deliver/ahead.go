package deliver

import (
	"context"
	"strings"
	"sync"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

const (
	// behind is how many messages a route has to be behind to read ahead.
	behind = 8
	// ready is how many readings wait for the route.
	ready = 2
)

// ahead reads the stream in one go for a route that has much to catch up with:
// looking up each reading's events costs the server several times as much. What it
// does not have, or has not whole, is looked up.
type ahead struct {
	items  chan digest.Item
	next   *digest.Item // taken from items, for a later message
	over   bool         // nothing comes any more
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// readAhead begins at a sequence, unless that is done already.
func (r *route) readAhead(ctx context.Context, from uint64) {
	if r.ahead != nil && r.ahead.over {
		r.stopAhead() // it has come to what was the end then
	}
	if r.ahead != nil || !r.readings() {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{items: make(chan digest.Item, ready), cancel: cancel}
	r.ahead = a
	p := collector{r: r, to: a.items, parts: make(map[string]*part)}
	all := filters(r.d.cfg.Reader.Prefix(), &r.Match, []event.Kind{""}, true)
	a.done.Go(func() {
		defer close(a.items)
		err := r.d.cfg.Reader.From(ctx, from, all, func(m *history.Message) error { return p.add(ctx, m) })
		if err != nil && ctx.Err() == nil {
			r.log.Debug("not read ahead", "err", err)
		}
	})
}

// readings says that the route takes events, not only statuses.
func (r *route) readings() bool {
	for _, f := range r.filters {
		if strings.HasSuffix(f, "."+string(event.Board)) {
			return true
		}
	}
	return false
}

func (r *route) stopAhead() {
	if r.ahead != nil {
		r.ahead.cancel()
		r.ahead.done.Wait()
		r.ahead = nil
	}
}

// item returns that of a sequence, if it was read ahead. Sequences have to rise.
func (a *ahead) item(sequence uint64) (digest.Item, bool) {
	if a == nil {
		return digest.Item{}, false
	}
	for {
		if a.next == nil {
			it, ok := <-a.items
			if !ok {
				a.over = true
				return digest.Item{}, false
			}
			a.next = &it
		}
		switch at := a.next.Sequence(); {
		case at > sequence:
			return digest.Item{}, false
		case at == sequence:
			it := *a.next
			a.next = nil
			return it, true
		}
		a.next = nil
	}
}

// A part is what has come of a watchlist's reading before its board.
type part struct {
	reading string
	events  int
	changes []text.Change
	bad     bool
}

// A collector makes items of all messages in stream order.
type collector struct {
	r     *route
	to    chan<- digest.Item
	parts map[string]*part // by watchlist
}

func (c *collector) add(ctx context.Context, m *history.Message) error {
	s, err := event.ParseSubject(c.r.d.cfg.Reader.Prefix(), m.Subject)
	if err != nil || s.Kind == event.Status {
		return nil //nolint:nilerr // it is looked up when it comes
	}
	if s.Kind != event.Board {
		c.event(s.Watchlist, m)
		return nil
	}
	p := c.parts[s.Watchlist]
	delete(c.parts, s.Watchlist)
	it, err := itemOf(m)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	switch sum := it.Reading.Board.Counts.Total(); {
	case sum == 0:
	case p == nil || p.bad || p.events != sum || p.reading != it.Reading.Board.Reading:
		return nil
	default:
		it.Reading.Changes = p.changes
	}
	select {
	case c.to <- it:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *collector) event(watchlist string, m *history.Message) {
	name := m.Reading()
	p := c.parts[watchlist]
	if p == nil || p.reading != name {
		p = &part{reading: name}
		c.parts[watchlist] = p
	}
	p.events++
	var err error
	if p.changes, err = appendChange(p.changes, c.r.d.cfg.Reader.Prefix(), m, c.r.want); err != nil {
		p.bad = true
	}
}
