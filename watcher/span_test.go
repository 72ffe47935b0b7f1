package watcher

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// record makes the rig's worker trace from now on.
func (r *rig) record() *tracetest.SpanRecorder {
	rec := tracetest.NewSpanRecorder()
	r.worker.cfg.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec)).Tracer("test")
	return rec
}

// spansOf writes the spans that ended, in the order in which they began, with
// what they say and an ! if they failed.
func spansOf(rec *tracetest.SpanRecorder) string {
	var out []string
	for _, s := range rec.Started() {
		line := s.Name()
		ended := slices.ContainsFunc(rec.Ended(), func(e sdktrace.ReadOnlySpan) bool { return e.SpanContext().Equal(s.SpanContext()) })
		if !ended {
			line += " never ended"
		}
		if s.Status().Code == codes.Error {
			line += "!"
		}
		for _, key := range []string{"watchlists", "watchlist", "outcome", "reason", "revision", "events"} {
			for _, a := range s.Attributes() {
				if a.Key == attribute.Key("rankwatch."+key) {
					line += fmt.Sprintf(" %s=%s", key, a.Value.String())
				}
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

func TestSpansSayWhatBecameOfAReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		step := func(list, want string) {
			t.Helper()
			rec := r.record()
			r.read(list)
			r.want(spansOf(rec), want)
		}
		step("a9 b8", `reading watchlists=["us"] outcome=baseline revision=1 events=0; scan; commit watchlist=us outcome=baseline reason=first revision=1 events=0`)
		step("a9 b8", `reading watchlists=["us"] outcome=unchanged events=0; scan; commit watchlist=us outcome=unchanged`)
		step("a9 c8 b7", `reading watchlists=["us"] outcome=changed revision=2 events=2; scan; commit watchlist=us outcome=changed revision=2 events=2`)
		step("", `reading! watchlists=["us"] outcome=rejected events=0; scan!`)
		r.store.refuse = []error{ErrStale, ErrStale}
		step("a9 c8 d7", `reading watchlists=["us"] outcome=changed revision=3 events=2; scan; commit watchlist=us outcome=changed revision=3 events=2`)
		r.store.refuse = []error{ErrFull}
		step("a9 c8 b7", `reading! watchlists=["us"] outcome=paused events=0; scan; commit! watchlist=us outcome=paused reason=backlog`)
		r.source.err = context.Canceled
		rec := r.record()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r.worker.ReadNow(ctx, "us")
		r.want(spansOf(rec), `reading watchlists=["us"] outcome=abandoned events=0; scan!`)
	})
}

// Watchlists that share a reading share its trace, each with a commit of its own.
func TestASharedReadingIsOneTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		r.source.rows = []listed{{"a", 9}, {"b", 8}}
		r.worker.cfg.Watchlists = parseLists(t, `
defaults: {every: 1h, top: 10, period: {type: month, value: 2026-03}}
watchlists:
  - {name: one, filter: {region: US}}
  - {name: two, filter: {region: US}, rules: {moved: {min_places: 3}}}
`)
		r.store.refuse = []error{ErrFenced}
		rec := r.record()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.worker.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.want(spansOf(rec), `reading! watchlists=["one","two"] outcome=mixed events=0; scan; `+
			`commit! watchlist=one outcome=paused reason=fenced; commit watchlist=two outcome=baseline reason=first revision=1 events=0`)
	})
}

// What a reading commits carries its trace: a board that of its commit, a status
// of a failure that of the reading. What no reading brings about has none.
func TestBatchesCarryTheirTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		check := func(list, of string, batches int) {
			t.Helper()
			rec := r.record()
			r.store.out = nil
			for _, b := range r.committed(list) {
				batches--
				if want := headerOf(rec, of); b != want {
					t.Errorf("%q: batch carries %q, the %s is %s", list, b, of, want)
				}
			}
			if batches != 0 {
				t.Errorf("%q: %d batches are missing", list, batches)
			}
		}
		check("a9 b8", "commit", 1)
		check("", "reading", 1)
		check("a9 c8", "commit", 2) // board and recovered
		r.record()
		r.worker.Fenced("us", "another")
		r.store.out = nil
		r.worker.sayNotices()
		if len(r.store.out) != 1 || r.store.out[0].TraceParent != "" {
			t.Errorf("a notice: %+v", r.store.out)
		}
	})
}

func TestWithoutATracerBatchesCarryNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		n := 0
		for _, list := range []string{"a9 b8", "", "a9 c8"} {
			for _, b := range r.committed(list) {
				if n++; b != "" {
					t.Errorf("%q: batch carries %q", list, b)
				}
			}
		}
		if n != 4 {
			t.Errorf("%d batches", n)
		}
	})
}

// An error that the source gave is told; the token cannot be in one.
func TestAFailedReadingSaysWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		rec := r.record()
		r.source.err = &fastmoss.Error{Kind: fastmoss.ErrUnavailable, HTTPStatus: 502}
		r.read("a9")
		for _, s := range rec.Ended() {
			if d := s.Status().Description; !strings.Contains(d, "HTTP 502") {
				t.Errorf("%s says %q", s.Name(), d)
			}
		}
	})
}

// committed makes a reading and returns the traces of its batches.
func (r *rig) committed(list string) []string {
	r.t.Helper()
	r.store.out = nil
	r.source.rows = nil
	for _, f := range strings.Fields(list) {
		r.source.rows = append(r.source.rows, listed{f[:1], int64(f[1] - '0')})
	}
	r.worker.ReadNow(r.t.Context(), "us")
	var out []string
	for _, b := range r.store.out {
		out = append(out, b.TraceParent)
	}
	r.store.out = nil
	return out
}

// headerOf is what messages carry that came about in the span of that name.
func headerOf(rec *tracetest.SpanRecorder, name string) string {
	for _, s := range rec.Ended() {
		if s.Name() == name {
			return traceParent(trace.ContextWithSpanContext(context.Background(), s.SpanContext()))
		}
	}
	return "no span " + name
}
