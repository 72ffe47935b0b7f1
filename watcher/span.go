package watcher

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// outcomeAbandoned is of a reading that nothing came of: the worker ended, or
// the watchlists were configured anew meanwhile. Attempts never have it.
const outcomeAbandoned = "abandoned"

// outcomeMixed is of a reading that the watchlists sharing it took differently.
const outcomeMixed = "mixed"

// tally is what became of one reading for all of its watchlists.
type tally struct {
	outcome  string
	revision uint64
	events   int
	err      error // the last
}

func (t *tally) add(a Attempt) {
	switch t.outcome {
	case "", a.Outcome:
		t.outcome = a.Outcome
	default:
		t.outcome = outcomeMixed
	}
	t.revision = a.Revision
	t.events += a.Events
	if a.Err != nil {
		t.err = a.Err
	}
}

// note takes in what an attempt came to.
func (j *job) note(a Attempt) {
	j.tally.add(a)
	if j.attempts != nil {
		j.attempts[a.Watchlist] = a
	}
}

// endReading ends the span of a whole reading. Revisions of different
// watchlists do not add up: only a lone one's is told here.
func endReading(s trace.Span, j *job) {
	defer s.End()
	if !s.IsRecording() {
		return
	}
	t := j.tally
	if t.outcome == "" {
		t.outcome = outcomeAbandoned
	}
	s.SetAttributes(
		attribute.StringSlice("rankwatch.watchlists", j.names),
		attribute.String("rankwatch.outcome", t.outcome),
		attribute.Int("rankwatch.events", t.events))
	if len(j.names) == 1 && t.revision > 0 {
		s.SetAttributes(attribute.Int64("rankwatch.revision", int64(t.revision)))
	}
	if t.err != nil {
		s.SetStatus(codes.Error, t.err.Error())
	}
}

// endScan ends the span of a scan, which is all calls of a reading.
func endScan(s trace.Span, sc *Scan, err error) {
	defer s.End()
	switch {
	case !s.IsRecording():
	case err != nil:
		s.SetStatus(codes.Error, err.Error())
	default:
		s.SetAttributes(
			attribute.Int("rankwatch.entries", len(sc.Items)), attribute.Int("rankwatch.total", sc.Total),
			attribute.String("rankwatch.period", sc.Period.Type+" "+sc.Period.Value))
	}
}

// endCommit ends the span of what a scan meant for one watchlist. An attempt
// without an outcome is one that came to nothing.
func endCommit(s trace.Span, name string, a Attempt) {
	defer s.End()
	if !s.IsRecording() {
		return
	}
	if a.Outcome == "" {
		a.Outcome = outcomeAbandoned
	}
	s.SetAttributes(attribute.String("rankwatch.watchlist", name), attribute.String("rankwatch.outcome", a.Outcome))
	if a.Reason != "" {
		s.SetAttributes(attribute.String("rankwatch.reason", a.Reason))
	}
	if a.Revision > 0 {
		s.SetAttributes(attribute.Int64("rankwatch.revision", int64(a.Revision)), attribute.Int("rankwatch.events", a.Events))
	}
	if a.Err != nil {
		s.SetStatus(codes.Error, a.Err.Error())
	}
}

// traceParent is ctx's span in the form that messages carry; empty if there is
// none.
func traceParent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c.Get(event.TraceParentHeader)
}

// follow makes batches part of ctx's trace.
func follow(ctx context.Context, batches []event.Batch) {
	parent := traceParent(ctx)
	for i := range batches {
		batches[i].TraceParent = parent
	}
}
