package turns

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/watcher"
)

// news is how a watchlist is doing, told by whoever read it last to all who show
// it. It may be lost: the next reading tells it again, and so does its schedule.
type news struct {
	Watchlist string             `json:"watchlist"`
	Writer    string             `json:"writer"`
	Tried     time.Time          `json:"tried"`
	Read      time.Time          `json:"read"`
	Next      time.Time          `json:"next"`
	Outcome   string             `json:"outcome"`
	Reason    string             `json:"reason,omitempty"`
	Detail    string             `json:"detail,omitempty"`
	Revision  uint64             `json:"revision,omitempty"`
	Events    int                `json:"events,omitempty"`
	Failures  int                `json:"failures,omitempty"`
	Attempts  uint64             `json:"attempts,omitempty"`
	Condition *watcher.Condition `json:"condition,omitempty"`
}

// hearing is what a Crew listens to.
type hearing struct{ subs []*nats.Subscription }

func (h hearing) stop() {
	for _, s := range h.subs {
		_ = s.Unsubscribe() // the connection is gone then
	}
}

// hear begins to listen to the others, and to answer who asks for workers.
func (c *Crew) hear() (hearing, error) {
	var h hearing
	for subject, handle := range map[string]nats.MsgHandler{
		newsSubject(c.cfg.Prefix): c.heard,
		WhoSubject(c.cfg.Prefix):  c.answer,
	} {
		s, err := c.cfg.Conn.Subscribe(subject, handle)
		if err != nil {
			h.stop()
			return h, fmt.Errorf("fleet: listen on %s: %w", subject, err)
		}
		h.subs = append(h.subs, s)
	}
	return h, nil
}

func newsSubject(prefix string) string { return "_turns." + prefix + ".news" }

func (c *Crew) heard(m *nats.Msg) {
	var n news
	if json.Unmarshal(m.Data, &n) != nil || n.Writer == c.cfg.Writer {
		return
	}
	c.cfg.Watcher.Hear(watcher.Standing{
		Watchlist: watcher.Watchlist{Name: n.Watchlist},
		Tried:     n.Tried, Read: n.Read, Next: n.Next, Outcome: n.Outcome, Reason: n.Reason, Detail: n.Detail,
		Revision: n.Revision, Events: n.Events, Failures: n.Failures, Attempts: n.Attempts, Condition: n.Condition,
	})
}

// tell tells the others how a watchlist is doing since this worker read it.
func (c *Crew) tell(watchlist string) {
	s, known := c.cfg.Watcher.Standing(watchlist)
	if !known {
		return
	}
	data, err := json.Marshal(news{
		Watchlist: watchlist, Writer: c.cfg.Writer,
		Tried: s.Tried, Read: s.Read, Next: s.Next, Outcome: s.Outcome, Reason: s.Reason, Detail: s.Detail,
		Revision: s.Revision, Events: s.Events, Failures: s.Failures, Attempts: s.Attempts, Condition: s.Condition,
	})
	if err == nil {
		err = c.cfg.Conn.Publish(newsSubject(c.cfg.Prefix), data)
	}
	if err != nil {
		c.log.Debug("fleet: others not told", "watchlist", watchlist, "err", err)
	}
}
