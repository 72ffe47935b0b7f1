package publisher

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// span begins one try to publish a batch, in the trace of the reading that the
// batch came about in, whichever process made that. It is nil without a trace.
func (p *Publisher) span(ctx context.Context, b *event.Batch) trace.Span {
	if p.cfg.Tracer == nil || b.TraceParent == "" {
		return nil
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{event.TraceParentHeader: b.TraceParent})
	_, s := p.cfg.Tracer.Start(ctx, "publish", trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.destination.name", p.cfg.Stream),
		attribute.Int("messaging.batch.message_count", len(b.Messages)),
		attribute.String("rankwatch.watchlist", b.Chain.Watchlist),
		attribute.String("rankwatch.kind", string(b.Chain.Kind)),
		attribute.Int64("rankwatch.revision", int64(b.Revision))))
	return s
}

// endSpan says where the batch's fence is in the stream, or why it is not known
// to be there.
func endSpan(s trace.Span, sequence uint64, err error) {
	if s == nil {
		return
	}
	defer s.End()
	if err == nil {
		s.SetAttributes(attribute.Int64("rankwatch.sequence", int64(sequence)))
		return
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		s.SetAttributes(attribute.String("error.type", string(r.why)))
	}
	s.SetStatus(codes.Error, err.Error())
}

// spans begins a try for each batch of a group.
func (p *Publisher) spans(ctx context.Context, parts []part) {
	for i := range parts {
		parts[i].span = p.span(ctx, &parts[i].batch)
	}
}

// endSpans ends what spans began; the group's first message got that sequence.
func endSpans(parts []part, first uint64, err error) {
	for _, q := range parts {
		endSpan(q.span, first+uint64(q.fence), err)
	}
}
