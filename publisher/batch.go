package publisher

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.opentelemetry.io/otel/trace"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

const (
	// defaultBatch is the limit of messages in one batch on a server where
	// nobody raised it. A longer reading goes out by parts, also when it fits
	// into one: a whole that is still under way must not land beside parts.
	defaultBatch = 1000
	// maxGroup is how many bytes of payload share one batch.
	maxGroup = 8 << 20
	// headerRoom is what headers may take of the server's payload limit.
	headerRoom = 1024
	// partOverhead is the marker of each part.
	partOverhead = 1

	contentTypeHead = "application/octet-stream"
	neverExpires    = "never"
)

// sender publishes one atomic batch. An error decides nothing: the batch may be
// stored, or be stored later.
type sender func(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error)

func (p *Publisher) sendBatch(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error) {
	// Without an acknowledgement of the first message: the last one's error
	// tells as much, and all of it ends with ctx.
	return jetstreamext.PublishMsgBatch(ctx, p.js, msgs, jetstreamext.BatchFlowControl{})
}

// expectation is the sequence that must still be the last of all messages that
// filter matches.
type expectation struct {
	filter   string
	sequence uint64
}

func (e expectation) put(m *nats.Msg) {
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(e.sequence, 10)}
	m.Header[jetstream.ExpectedLastSubjSeqSubjHeader] = []string{e.filter}
}

// outgoing dresses a message of batch b. The fence is the caller's.
func (p *Publisher) outgoing(b *event.Batch, m *event.Message) *nats.Msg {
	// jetstreamext adds the batch's id and the place in it.
	h := make(nats.Header, 8)
	out := &nats.Msg{Header: h, Data: m.Data}
	if b.TraceParent != "" {
		h[event.TraceParentHeader] = []string{b.TraceParent}
	}
	switch m.Role {
	case event.Head:
		out.Subject = HeadSubject(p.cfg.Prefix, b.Chain.Watchlist)
		h["Content-Type"] = []string{contentTypeHead}
		h[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
		h[jetstream.MsgTTLHeader] = []string{neverExpires}
		h[event.RevisionHeader] = []string{strconv.FormatUint(b.Revision, 10)}
		// What seals a board is the next one; the last has only this.
		h[event.DigestHeader] = []string{event.Digest(b.Fence().Data)}
	case event.Fence:
		out.Subject = ingestRoot + m.Subject
		h["Content-Type"] = []string{event.ContentType}
		// Retention must not take the last fence: without one, the fence would
		// stand at 0 and let a stale first writer in.
		h[jetstream.MsgTTLHeader] = []string{neverExpires}
	default:
		out.Subject = ingestRoot + m.Subject
		h["Content-Type"] = []string{event.ContentType}
	}
	return out
}

// marker ends each part of a long reading. It replaces the watchlist's former
// one, and only if that is still the last.
func (p *Publisher) marker(b *event.Batch, upTo int, last uint64) *nats.Msg {
	subject := partSubject(p.cfg.Prefix, b.Chain.Watchlist)
	m := &nats.Msg{
		Subject: subject,
		Header: nats.Header{
			"Content-Type": {"application/json"}, jetstream.MsgTTLHeader: {neverExpires},
			jetstream.MsgRollup: {jetstream.MsgRollupSubject},
		},
		Data: fmt.Appendf(nil, `{"watchlist":%q,"revision":%d,"messages":%d,"of":%d,"writer":%q}`,
			b.Chain.Watchlist, b.Revision, upTo, len(b.Messages), p.cfg.Writer),
	}
	expectation{subject, last}.put(m)
	return m
}

// part is a batch that is about to go out with others in one atomic batch.
type part struct {
	batch event.Batch
	fence int // index of its fence among the group's messages
	span  trace.Span
}

// assemble makes one atomic batch of whole batches, at most one of each chain.
func (p *Publisher) assemble(group []state.Info) ([]*nats.Msg, []part, error) {
	var msgs []*nats.Msg
	parts := make([]part, 0, len(group))
	for _, info := range group {
		b, err := p.outbox.Batch(info.Order)
		if err != nil {
			return nil, nil, fmt.Errorf("publisher: outbox: %w", err)
		}
		last, err := p.expected(b.Chain)
		if err != nil {
			return nil, nil, err
		}
		for i := range b.Messages {
			msgs = append(msgs, p.outgoing(&b, &b.Messages[i]))
		}
		expectation{fenceFilter(p.cfg.Prefix, b.Chain), last}.put(msgs[len(msgs)-1])
		parts = append(parts, part{batch: b, fence: len(msgs) - 1})
	}
	return msgs, parts, nil
}

// expected is the sequence of the chain's last fence.
func (p *Publisher) expected(c event.Chain) (uint64, error) {
	a, known, err := p.outbox.Acked(c)
	if err != nil {
		return 0, fmt.Errorf("publisher: outbox: %w", err)
	}
	if !known {
		return p.behind[c], nil
	}
	return a.Sequence, nil
}

// acks says where the fences of an acknowledged group are.
func acks(parts []part, a *jetstreamext.BatchAck) []state.Ack {
	out := make([]state.Ack, 0, len(parts))
	for _, q := range parts {
		out = append(out, batchAck(&q.batch, firstOf(a)+uint64(q.fence)))
	}
	return out
}

// firstOf is the sequence of a group's first message.
func firstOf(a *jetstreamext.BatchAck) uint64 { return a.Sequence - a.BatchSize + 1 }

func batchAck(b *event.Batch, sequence uint64) state.Ack {
	return state.Ack{Chain: b.Chain, Order: b.Order, Revision: b.Revision, Sequence: sequence, Digest: sha256.Sum256(b.Fence().Data)}
}
