package fastmoss

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// question is what one attempt asks for. Attempts count from 1.
type question struct {
	body                []byte
	page, size, attempt int
	while               func() error // has to allow the call, just before it
}

// span is one call as a trace shows it: without the waits for gate and pace
// before it, and without anything that the call sent.
func (c *Client) span(ctx context.Context, q question) (context.Context, trace.Span) {
	ctx, s := c.cfg.Tracer.Start(ctx, "call", trace.WithSpanKind(trace.SpanKindClient))
	if s.IsRecording() {
		s.SetAttributes(attribute.Int("rankwatch.page", q.page), attribute.Int("rankwatch.attempt", q.attempt))
	}
	return ctx, s
}

// endSpan says what became of a call.
func endSpan(s trace.Span, page *Page, err error) {
	defer s.End()
	if !s.IsRecording() {
		return
	}
	if err == nil {
		s.SetAttributes(
			attribute.String("rankwatch.outcome", "ok"),
			attribute.Int("http.response.status_code", http.StatusOK),
			attribute.Int("rankwatch.entries", page.Rows))
		return
	}
	outcome := "cancelled"
	e, answered := errors.AsType[*Error](err)
	switch {
	case answered:
		outcome = e.Kind.Word()
		if e.HTTPStatus != 0 {
			s.SetAttributes(attribute.Int("http.response.status_code", e.HTTPStatus))
		}
	case errors.Is(err, ErrToken):
		outcome = "token"
	}
	s.SetAttributes(attribute.String("rankwatch.outcome", outcome))
	s.SetStatus(codes.Error, err.Error())
}
