package publisher

import (
	"bytes"
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// publishLong publishes one batch by parts, each of which carries two fences:
// the marker's, so that a part that was given up and arrives late cannot land
// beside its repetition, and the chain's, so that nobody else's batch can have
// come in between. The last part has the batch's own fence; until it lands, the
// events before it belong to a reading that no board names.
//
// What of the batch is on the stream already is read from the stream, so a
// crash, a lost acknowledgement or another writer's parts in between leave each
// event there once.
func (p *Publisher) publishLong(ctx context.Context, info state.Info) error {
	b, err := p.outbox.Batch(info.Order)
	if err != nil {
		return fmt.Errorf("publisher: outbox: %w", err)
	}
	span := p.span(ctx, &b)
	sequence, err := p.publishParts(ctx, &b)
	endSpan(span, sequence, err)
	if err != nil {
		return err
	}
	return p.acknowledge(batchAck(&b, sequence))
}

// publishParts returns the sequence of b's fence.
func (p *Publisher) publishParts(ctx context.Context, b *event.Batch) (uint64, error) {
	chain, err := p.expected(b.Chain)
	if err != nil {
		return 0, err
	}
	last, at, err := p.progress(ctx, b, chain)
	if err != nil {
		return 0, err
	}
	for {
		msgs, to := p.nextPart(b, at, last, chain)
		a, err := p.transmit(ctx, msgs)
		if err != nil {
			return 0, err
		}
		if to == len(b.Messages) {
			return a.Sequence, nil
		}
		// The marker is the last message of a part.
		last, at = a.Sequence, to
	}
}

// nextPart makes the part of b that begins with message `from`. The result's
// second value is the message that follows it.
func (p *Publisher) nextPart(b *event.Batch, from int, last, chain uint64) ([]*nats.Msg, int) {
	to := from + p.limit - partOverhead
	switch plain := plainMessages(b); {
	case to >= len(b.Messages):
		to = len(b.Messages)
	case to > plain && plain > from:
		to = plain // the head must not come before its board
	}
	filter := fenceFilter(p.cfg.Prefix, b.Chain)
	var msgs []*nats.Msg
	for i := from; i < to; i++ {
		msgs = append(msgs, p.outgoing(b, &b.Messages[i]))
	}
	marker := p.marker(b, to, last)
	if to < len(b.Messages) {
		expectation{filter, chain}.put(msgs[0])
		return append(msgs, marker), to
	}
	expectation{filter, chain}.put(msgs[len(msgs)-1])
	return append([]*nats.Msg{marker}, msgs...), to
}

// progress returns the sequence of the watchlist's last marker, 0 if there is
// none, and how many of b's messages the stream holds since the chain's last
// fence. The marker is read first: what lands after that moves it, and the next
// part is refused.
func (p *Publisher) progress(ctx context.Context, b *event.Batch, chain uint64) (last uint64, at int, err error) {
	subject := partSubject(p.cfg.Prefix, b.Chain.Watchlist)
	m, err := p.last(ctx, subject)
	if err != nil {
		return 0, 0, err
	}
	if m != nil {
		last = m.Sequence
	}
	if last <= chain && !p.torn[b.Chain] {
		return last, 0, nil
	}
	conf := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: chain + 1,
		FilterSubjects: []string{eventFilter(p.cfg.Prefix, b.Chain.Watchlist), subject},
	}
	seen := last <= chain
	err = p.each(ctx, conf, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		seen = seen || meta.Sequence.Stream >= last
		if want := &b.Messages[at]; want.Role == event.Plain && m.Subject() == want.Subject && bytes.Equal(m.Data(), want.Data) {
			at++
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if !seen {
		// A replica that lags answered. The next attempt asks again.
		return 0, 0, &refusal{reasonBusy, fmt.Errorf("parts of %s: %w", b.Chain.Watchlist, errTornRead)}
	}
	return last, at, nil
}

// plainMessages counts the events that b begins with.
func plainMessages(b *event.Batch) int {
	for i := range b.Messages {
		if b.Messages[i].Role != event.Plain {
			return i
		}
	}
	return len(b.Messages)
}
