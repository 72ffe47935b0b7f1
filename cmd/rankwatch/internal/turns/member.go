package turns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/fleet"
)

// WhoSubject is where every worker of a fleet answers with a Member.
func WhoSubject(prefix string) string { return "_turns." + prefix + ".who" }

// A Member is what a worker tells of itself.
type Member struct {
	Writer  string               `json:"writer"`
	Host    string               `json:"host"`
	Version string               `json:"version"`
	Started time.Time            `json:"started"`
	Order   uint64               `json:"order"`   // of the watchlist file it goes by
	File    string               `json:"file"`    // its hash
	Differs bool                 `json:"differs"` // the file on its disk is another one
	Limits  fleet.Limits         `json:"limits"`
	Reading map[string]time.Time `json:"reading"` // since when
	Waiting int                  `json:"waiting"` // batches for the bus
	Stats   Stats                `json:"stats"`
}

// Member tells of this worker.
func (c *Crew) Member() Member {
	me := Member{
		Writer: c.cfg.Writer, Host: c.cfg.Host, Version: c.cfg.Version, Started: c.started, Order: c.order.Load(),
		Limits: *c.limits.Load(), Reading: c.Working(), Waiting: c.cfg.Waiting(), Stats: c.Stats(),
	}
	if h := c.hash.Load(); h != nil {
		me.File = *h
	}
	c.mu.Lock()
	me.Differs = c.differs
	c.mu.Unlock()
	return me
}

func (c *Crew) answer(m *nats.Msg) {
	data, err := json.Marshal(c.Member())
	if err == nil {
		err = m.Respond(data)
	}
	if err != nil {
		c.log.Debug("fleet: question not answered", "err", err)
	}
}

// Ask asks a fleet's workers for themselves, and returns who has answered when the
// time is over: one that does not answer is not missing for sure.
func Ask(ctx context.Context, conn *nats.Conn, prefix string, wait time.Duration) ([]Member, error) {
	inbox := conn.NewInbox()
	answers, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("fleet: ask for the workers: %w", err)
	}
	defer func() { _ = answers.Unsubscribe() }() // the connection is gone then
	if err := conn.PublishRequest(WhoSubject(prefix), inbox, nil); err != nil {
		return nil, fmt.Errorf("fleet: ask for the workers: %w", err)
	}
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var all []Member
	known := map[string]bool{}
	for {
		m, err := answers.NextMsgWithContext(until)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if until.Err() != nil {
			return all, nil
		}
		if errors.Is(err, nats.ErrNoResponders) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("fleet: ask for the workers: %w", err)
		}
		var w Member
		if json.Unmarshal(m.Data, &w) == nil && w.Writer != "" && !known[w.Writer] {
			known[w.Writer] = true
			all = append(all, w)
		}
	}
}
