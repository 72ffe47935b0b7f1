package publisher

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// backlog is what waits, by chain in revision order.
type backlog map[event.Chain][]state.Info

func (p *Publisher) waiting() (backlog, error) {
	infos, err := p.outbox.Queue(0)
	if err != nil {
		return nil, fmt.Errorf("publisher: outbox: %w", err)
	}
	b := make(backlog)
	for _, i := range infos {
		b[i.Chain] = append(b[i.Chain], i)
	}
	return b, nil
}

// settle holds one chain against the stream and puts the outbox right. It
// returns what was decided; stay means that nothing was learned.
func (p *Publisher) settle(ctx context.Context, c event.Chain, waits []state.Info) (action, error) {
	for range 3 {
		v, err := p.look(ctx, c, waits)
		if err != nil {
			return stay, err
		}
		d := decide(v)
		if d.do != stay {
			p.log.Info("chain settled", "watchlist", c.Watchlist, "kind", c.Kind, "action", d.do, "revision", d.revision, "reason", d.reason)
		}
		err = p.apply(ctx, c, v, d, waits)
		if errors.Is(err, errTornRead) {
			continue
		}
		return d.do, err
	}
	return stay, fmt.Errorf("publisher: settle %s/%s: %w", c.Watchlist, c.Kind, errTornRead)
}

// look gathers what a decision needs.
func (p *Publisher) look(ctx context.Context, c event.Chain, waits []state.Info) (view, error) {
	v := view{kind: c.Kind, writer: p.cfg.Writer, shared: p.cfg.Shared, starting: !p.started, back: p.back}
	v.suspect, _ = p.outbox.Suspect()
	var err error
	if v.last, err = p.last(ctx, fenceFilter(p.cfg.Prefix, c)); err != nil {
		return v, err
	}
	if v.acked, v.known, err = p.outbox.Acked(c); err != nil {
		return v, fmt.Errorf("publisher: outbox: %w", err)
	}
	kept, err := p.outbox.Kept(c)
	if err != nil {
		return v, fmt.Errorf("publisher: outbox: %w", err)
	}
	v.keptFrom = keptFrom(kept, v.acked)
	if v.last == nil {
		delete(p.behind, c)
		return v, nil
	}
	v.behind = p.behind[c]
	v.starting = v.starting || v.last.Sequence <= p.startSeq
	if c.Kind == event.Board {
		v.board = v.last.board()
	}
	v.ours, err = p.ours(v, slices.Concat(waits, kept))
	return v, err
}

// keptFrom finds how far back the kept batches reach from acked without a gap.
func keptFrom(kept []state.Info, acked state.Ack) uint64 {
	from := acked.Revision + 1
	for _, i := range slices.Backward(kept) {
		if i.Revision+1 == from {
			from = i.Revision
		}
	}
	return from
}

// ours finds the batch of ours whose fence is the stream's last message.
func (p *Publisher) ours(v view, mine []state.Info) (uint64, error) {
	digest := v.last.digest()
	if v.known && v.acked.Digest == digest {
		return v.acked.Revision, nil
	}
	for _, i := range mine {
		if v.kind == event.Board && i.Revision != v.board.Revision {
			continue
		}
		b, err := p.outbox.Batch(i.Order)
		if errors.Is(err, state.ErrNotFound) {
			continue // deleted meanwhile as too old to keep
		}
		if err != nil {
			return 0, fmt.Errorf("publisher: outbox: %w", err)
		}
		if sha256.Sum256(b.Fence().Data) == digest {
			return i.Revision, nil
		}
	}
	return 0, nil
}

func (p *Publisher) apply(ctx context.Context, c event.Chain, v view, d verdict, waits []state.Info) error {
	var err error
	defer p.flow.ring()
	switch d.do {
	case stay:
		return nil
	case retake:
		to := v.acked
		to.Sequence = 0
		if v.last != nil {
			to.Sequence, to.Digest = v.last.Sequence, v.last.digest()
		}
		err = p.outbox.Rewind(c, to)
	case delivered:
		err = p.outbox.Acknowledge(upTo(waits, d.revision, v.last)...)
	case rewind:
		var to state.Ack
		if v.last != nil {
			to = v.last.ack(c, d.revision)
		}
		p.stats.update(func(s *Stats) { s.Rewound++ })
		err = p.outbox.Rewind(c, to)
	case restart:
		var holds state.Ack
		if v.last != nil {
			holds = v.last.ack(c, v.board.Revision)
		}
		p.stats.update(func(s *Stats) { s.Broken++ })
		_, err = p.outbox.Break(c, holds)
	case adopt:
		if c.Kind == event.Status {
			return p.takeStatus(c.Watchlist, v.last)
		}
		return p.adopt(ctx, c, v)
	case fence:
		return p.fence(c, v)
	case step:
		return p.step(ctx, c, v, waits)
	}
	if err != nil {
		return fmt.Errorf("publisher: %s %s/%s: %w", d.do, c.Watchlist, c.Kind, err)
	}
	return nil
}

// upTo acknowledges the batch with that revision, and so all that waited before
// it.
func upTo(waits []state.Info, revision uint64, l *stored) []state.Ack {
	for _, i := range waits {
		if i.Revision == revision {
			return []state.Ack{{Chain: i.Chain, Order: i.Order, Revision: revision, Sequence: l.Sequence, Digest: l.digest()}}
		}
	}
	return nil
}

// adopt drops all that we hold of a watchlist's boards and takes what the
// stream has.
func (p *Publisher) adopt(ctx context.Context, c event.Chain, v view) error {
	t, departed, err := p.holdings(ctx, c.Watchlist, v.last)
	if err != nil {
		return err
	}
	dropped, err := p.outbox.Adopt(v.last.ack(c, v.board.Revision), t, departed)
	if err != nil {
		return fmt.Errorf("publisher: adopt %s: %w", c.Watchlist, err)
	}
	p.stats.update(func(s *Stats) { s.Adopted++ })
	level := slog.LevelWarn
	if p.cfg.Shared {
		level = slog.LevelInfo // somebody reads a watchlist along whose turn another worker has
	}
	p.log.Log(ctx, level, "watchlist taken over from the stream", "watchlist", c.Watchlist, "revision", v.board.Revision, "head", t != nil, "dropped", dropped)
	return nil
}

// fence stops a watchlist that another worker writes.
func (p *Publisher) fence(c event.Chain, v view) error {
	if err := p.outbox.Block(c.Watchlist); err != nil {
		return fmt.Errorf("publisher: block %s: %w", c.Watchlist, err)
	}
	detail := fmt.Sprintf("worker %s published revision %d where this one (%s) was about to follow on revision %d", v.board.Writer, v.board.Revision, p.cfg.Writer, v.acked.Revision)
	p.blocked[c.Watchlist] = true
	p.stats.update(func(s *Stats) { s.Fenced++ })
	p.cfg.OnFenced(c.Watchlist, detail)
	return nil
}

// step goes on behind somebody else's statuses. Our own may be among them.
func (p *Publisher) step(ctx context.Context, c event.Chain, v view, waits []state.Info) error {
	found := make(map[[32]byte]bool)
	if len(waits) > 0 {
		conf := jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: v.acked.Sequence + 1,
			FilterSubject: fenceFilter(p.cfg.Prefix, c),
		}
		err := p.each(ctx, conf, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			found[sha256.Sum256(m.Data())] = true
			if meta.Sequence.Stream >= v.last.Sequence {
				return errStop
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	last, err := p.lastOf(waits, found)
	if err != nil {
		return err
	}
	if last.Order != 0 {
		if err := p.outbox.Acknowledge(last); err != nil {
			return fmt.Errorf("publisher: acknowledge %s/%s: %w", c.Watchlist, c.Kind, err)
		}
		v.acked.Revision = last.Revision
	}
	if v.acked.Revision == 0 {
		p.behind[c] = v.last.Sequence
		return nil
	}
	if err := p.outbox.Rewind(c, v.last.ack(c, v.acked.Revision)); err != nil {
		return fmt.Errorf("publisher: rewind %s/%s: %w", c.Watchlist, c.Kind, err)
	}
	return nil
}

// lastOf returns the last of what waits that was found without a gap; its
// sequence is not known yet.
func (p *Publisher) lastOf(waits []state.Info, found map[[32]byte]bool) (state.Ack, error) {
	var last state.Ack
	for _, i := range waits {
		b, err := p.outbox.Batch(i.Order)
		if err != nil {
			return last, fmt.Errorf("publisher: outbox: %w", err)
		}
		a := batchAck(&b, 0)
		if !found[a.Digest] {
			break
		}
		last = a
	}
	return last, nil
}
