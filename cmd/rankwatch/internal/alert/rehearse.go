package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/deliver"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A rehearsal prints what would be sent. It has cooldowns and windows of its own,
// which begin with it.
type rehearsal struct {
	set  *setup
	last int // readings and statuses; 0 for new ones
	out  io.Writer
	said func(*digest.Message) (string, error)

	routes []rehearsed
}

// rehearsed is one route of a rehearsal: a window that is open, and cooldowns.
type rehearsed struct {
	*digest.Route
	items []digest.Item
	due   time.Time
	cool  digest.Cooldown
}

// rehearse prints the messages of the last readings, or of new ones until ctx
// ends.
func rehearse(ctx context.Context, nc *nats.Conn, r *history.Reader, h rehearsal) error {
	for i := range h.set.Routes {
		h.routes = append(h.routes, rehearsed{Route: &h.set.Routes[i], cool: digest.Cooldown{}})
	}
	if h.last == 0 {
		return h.live(ctx, nc, r)
	}
	err := lately(ctx, r, h.last, func(m *history.Message, it digest.Item) error {
		return errors.Join(h.elapse(m.Stored), h.take(it, m.Stored))
	})
	return errors.Join(err, h.elapse(time.Time{}))
}

// live reads what is published from now on. The consumer is this reader's own
// and goes with it.
func (h *rehearsal) live(ctx context.Context, nc *nats.Conn, r *history.Reader) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("alert: %w", err)
	}
	c, err := js.OrderedConsumer(ctx, r.Stream().Config.Name, jetstream.OrderedConsumerConfig{
		FilterSubjects: everything(r), DeliverPolicy: jetstream.DeliverNewPolicy, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return fmt.Errorf("alert: read the stream: %w", err)
	}
	messages, err := c.Messages()
	if err != nil {
		return fmt.Errorf("alert: read the stream: %w", err)
	}
	defer messages.Stop()
	const step = time.Second // windows end within it
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(step))
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, nats.ErrTimeout), errors.Is(err, jetstream.ErrNoHeartbeat):
		case err != nil:
			return fmt.Errorf("alert: read the stream: %w", err)
		default:
			if err := h.one(ctx, r, msg); err != nil {
				return err
			}
		}
		if err := h.elapse(time.Now()); err != nil {
			return err
		}
	}
}

func (h *rehearsal) one(ctx context.Context, r *history.Reader, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("alert: read the stream: %w", err)
	}
	it, err := deliver.Item(ctx, r, &history.Message{Subject: msg.Subject(), Sequence: meta.Sequence.Stream, Stored: meta.Timestamp, Data: msg.Data()}, nil)
	var bad *deliver.BadMessageError
	if errors.Is(err, deliver.ErrExpired) || errors.As(err, &bad) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.take(it, meta.Timestamp)
}

// take adds an item that was stored at a time to the routes' windows.
func (h *rehearsal) take(it digest.Item, stored time.Time) error {
	for i := range h.routes {
		r := &h.routes[i]
		if m, _ := r.Make([]digest.Item{it}, nil, stored); m == nil {
			continue
		}
		if len(r.items) == 0 {
			r.due = r.Quiet.End(stored.Add(r.Digest))
		}
		if r.items = append(r.items, it); !r.due.After(stored) {
			if err := h.say(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// elapse ends the windows that are over at a time; all, if that is zero.
func (h *rehearsal) elapse(now time.Time) error {
	for i := range h.routes {
		if r := &h.routes[i]; len(r.items) > 0 && (now.IsZero() || !r.due.After(now)) {
			if err := h.say(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *rehearsal) say(r *rehearsed) error {
	m, spent := r.Make(r.items, r.cool, r.due)
	r.items = nil
	if m == nil {
		return nil
	}
	for _, k := range spent {
		r.cool[k] = r.due
	}
	told, err := h.said(m)
	if err != nil {
		return fmt.Errorf("route %s: %w", r.Name, err)
	}
	_, err = fmt.Fprintf(h.out, "# %s to %s: %s\n%s\n", r.Name, r.Target, m.ID, ended(told))
	return err
}
