package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// fill stores readings of size events of about 1.3 KB each, as fast as the
// server takes them, and returns how many readings that are.
func (b *bus) fill(events, size int) int {
	b.Helper()
	js := must(jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(4000)))
	put := func(m event.Message, err error) {
		if err == nil {
			_, err = js.PublishMsgAsync(&nats.Msg{Subject: "_in." + m.Subject, Data: m.Data, Header: nats.Header{"Content-Type": {event.ContentType}}}, jetstream.WithStallWait(limit))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us"}
	text := "some hundred bytes that stand for names, links and categories of a creator, as the source writes them"
	n := int64(123456)
	for r := range events / size {
		id := event.ReadingID("us", uint64(r+1), 1)
		for i := range size {
			places := i%12 - 6
			c := event.Change{
				Watchlist: "us", Region: "US", Revision: uint64(r + 1), Reading: "R" + id, N: i + 1, Of: size, Period: &event.Period{Type: "month", Value: "2026-03"},
				Before: &event.Place{Rank: 50 + places, Position: 1, PotentialIndex: 7}, After: &event.Place{Rank: 50}, Places: &places, Cause: &event.Cause{Passed: 1},
			}
			c.Creator = event.Creator{UID: strconv.Itoa(6787580688797713413 + i), Nickname: &text, Avatar: &text, URL: text, FollowerCount: &n}
			c.Metrics = event.Metrics{UnitsSold: &n, VideoUnitsSold: &n, LiveUnitsSold: &n, SalesCategoryL3: []event.Category{{ID: 1, Name: "Concealer & Foundation"}}}
			put(o.Change(event.Moved, id, time.Now(), &c))
		}
		put(o.Board(id, time.Now(), &event.Snapshot{Watchlist: "us", Region: "US", Revision: uint64(r + 1), Reading: "R" + id, Counts: event.Counts{Moved: size}, Board: make([]event.Row, size)}))
	}
	<-js.PublishAsyncComplete()
	return events / size
}

// A null target takes everything and tells when it has all. With weigh it looks
// at the live heap after a quarter and at the end.
type null struct {
	readings int
	all      chan struct{}
	weigh    bool
	heap     [2]float64 // MiB
}

func (n *null) Send(_ context.Context, m *digest.Message) error {
	n.readings += len(m.Sections)
	if n.weigh && n.readings == cap(n.all)/4 {
		n.heap[0] = live()
	}
	if n.readings == cap(n.all) {
		if n.weigh {
			n.heap[1] = live()
		}
		close(n.all)
	}
	return nil
}

func live() float64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc) / (1 << 20)
}

// BenchmarkDeliver takes every stored event through routing and digesting to a
// target that does nothing, beside a bare consumer that only counts.
// RANKWATCH_EVENTS says how many events.
func BenchmarkDeliver(b *testing.B) {
	events := 20_000
	if text := os.Getenv("RANKWATCH_EVENTS"); text != "" {
		events = must(strconv.Atoi(text))
	}
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("reading=%d", size), func(b *testing.B) {
			bus := startBus(b)
			readings := bus.fill(events, size)
			var ours, bare time.Duration
			one := func(n int, weigh bool) (heap [2]float64) {
				to := &null{all: make(chan struct{}, readings), weigh: weigh}
				c := bus.config(bus.nc, to, digest.DefaultRoutes("t")[0])
				c.Name, c.Logger = fmt.Sprintf("n%d", n), slog.New(slog.DiscardHandler)
				d := must(Open(b.Context(), c))
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				start := time.Now()
				go func() { done <- d.Run(ctx) }()
				<-to.all
				ours += time.Since(start)
				cancel()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				return to.heap
			}
			other := func() {
				start := time.Now()
				c := must(bus.js.OrderedConsumer(b.Context(), "RANKWATCH", jetstream.OrderedConsumerConfig{}))
				done, read := make(chan struct{}), 0
				cc := must(c.Consume(func(jetstream.Msg) {
					if read++; read == events+readings {
						close(done)
					}
				}))
				<-done
				cc.Stop()
				bare += time.Since(start)
			}
			n := 0
			for b.Loop() {
				n++
				other()
				one(n, false)
			}
			b.ReportMetric(float64(events*n)/ours.Seconds(), "events/s")
			b.ReportMetric(float64(events*n)/bare.Seconds(), "bare/s")
			b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
			heap := one(n+1, true) // with the server's, which is in this process
			b.ReportMetric(heap[0], "MiB-after-a-quarter")
			b.ReportMetric(heap[1], "MiB-at-the-end")
		})
	}
}
