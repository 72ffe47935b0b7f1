package publisher

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// traceParent is what the n-th reading of these tests came about in.
func traceParent(n int) string { return fmt.Sprintf("00-%032x-%016x-01", n, n) }

// commitTraced is commit for a reading with a trace; n is 0 for none.
func (w *worker) commitTraced(watchlist string, events, n int) {
	w.t.Helper()
	b, _, tracked := w.reading("US", watchlist, events)
	if n > 0 {
		b.TraceParent = traceParent(n)
	}
	err := w.db.Commit(state.Commit{Watchlist: watchlist, Version: w.load(watchlist).Version, Tracked: tracked, Batches: []event.Batch{b}, At: time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
}

// recorded gives the publisher a tracer.
func recorded() (*tracetest.SpanRecorder, func(*Config)) {
	rec := tracetest.NewSpanRecorder()
	return rec, func(c *Config) {
		c.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec)).Tracer("test")
	}
}

// Every try sends the same trace on every message of the batch, in a group each
// batch its own, and is a span of that trace.
func TestEveryTryCarriesTheTraceOfTheReading(t *testing.T) {
	t.Parallel()
	for _, persisted := range []bool{false, true} {
		t.Run(fmt.Sprintf("persisted=%t", persisted), func(t *testing.T) {
			t.Parallel()
			e := startExternal(t)
			rec, tracer := recorded()
			w := newWorker(t, e.url(), tracer).open()
			w.commitTraced("a", 3, 1)
			w.commitTraced("b", 2, 2)
			w.commitTraced("c", 1, 0)
			var sent []string
			send := w.pub.send
			w.pub.send = func(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error) {
				first := len(sent) == 0
				for _, m := range msgs {
					list := strings.TrimPrefix(m.Subject, "_rw.rankwatch.head.")
					if f := strings.Split(m.Subject, "."); f[0]+"." == ingestRoot {
						list = f[3]
					}
					sent = append(sent, list+" "+strings.Join(m.Header[event.TraceParentHeader], ","))
				}
				if first && !persisted {
					return nil, nats.ErrTimeout
				}
				a, err := send(ctx, msgs)
				if first {
					return nil, nats.ErrTimeout
				}
				return a, err
			}
			w.run()
			w.drained()
			w.stop()
			slices.Sort(sent)
			if got, want := fmt.Sprint(slices.Compact(sent)), fmt.Sprint([]string{"a " + traceParent(1), "b " + traceParent(2), "c "}); got != want {
				t.Errorf("sent %s, want %s", got, want)
			}
			tries := map[string]string{}
			for _, s := range rec.Ended() {
				word := "sent"
				if s.Status().Code == codes.Error {
					word = "timeout"
				}
				tries[s.Parent().SpanID().String()] += s.Name() + " " + word + " "
			}
			want := "publish timeout publish sent "
			if persisted {
				want = "publish timeout " // it is found delivered
			}
			for n := 1; n <= 2; n++ {
				if got := tries[fmt.Sprintf("%016x", n)]; got != want {
					t.Errorf("tries of reading %d: %s, want %s", n, got, want)
				}
			}
			if len(tries) != 2 {
				t.Errorf("spans of %v", tries)
			}
		})
	}
}

// A reading that goes out by parts is one span, and all its messages carry its
// trace, also where the publisher itself traces nothing.
func TestPartsCarryTheTraceOfTheReading(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprintf("tracer=%t", on), func(t *testing.T) {
			t.Parallel()
			e := startExternal(t, stock)
			rec, tracer := recorded()
			if !on {
				tracer = func(*Config) {}
			}
			w := newWorker(t, e.url(), tracer).open()
			w.commitTraced("a", 2000, 1)
			w.run()
			w.drained()
			w.stop()
			seen := 0
			each(t, e.client(), "RANKWATCH", "rankwatch", func(m jetstream.Msg) {
				seen++
				if got := m.Headers()[event.TraceParentHeader]; len(got) != 1 || got[0] != traceParent(1) {
					t.Errorf("%s carries %q", m.Subject(), got)
				}
			})
			if seen != 2001 {
				t.Errorf("%d messages", seen)
			}
			sent := 0 // the first try finds out what the server takes
			for _, s := range rec.Ended() {
				if s.Status().Code != codes.Error {
					sent++
				}
			}
			if on != (sent == 1) || !on && len(rec.Ended()) > 0 {
				t.Errorf("%d spans, %d of them of a success", len(rec.Ended()), sent)
			}
		})
	}
}
