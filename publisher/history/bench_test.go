package history

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// number reads a size from the environment, for the runs that take minutes.
func number(b *testing.B, name string, otherwise int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// fill stores n events of about 1.3 KB as fast as the server takes them.
func (b *bus) fill(n int) {
	b.t.Helper()
	js := must(jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(4000)))
	o := event.Origin{Prefix: prefix, Region: "US", Watchlist: "us-beauty"}
	text := "some hundred bytes that stand for names, links and categories of a creator, as the source writes them"
	c := event.Change{Watchlist: "us-beauty", Region: "US", Period: &event.Period{Type: "month", Value: "2026-03"}, Before: &event.Place{}, After: &event.Place{}}
	c.Creator.Nickname, c.Creator.Avatar, c.Creator.URL = &text, &text, text
	for i := range n {
		c.Revision, c.Creator.UID = uint64(i/100+1), strconv.Itoa(6787580688797713413+i%1000)
		m := must(o.Change(event.Moved, event.ReadingID("us-beauty", c.Revision, 1), time.Now(), &c))
		_, err := js.PublishMsgAsync(&nats.Msg{Subject: "_in." + m.Subject, Data: m.Data, Header: nats.Header{"Content-Type": {event.ContentType}}}, jetstream.WithStallWait(limit))
		if err != nil {
			b.t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

// BenchmarkEach reads every stored event and writes it to a file, beside a bare
// ordered consumer that only counts. RANKWATCH_EVENTS says how many events.
func BenchmarkEach(b *testing.B) {
	n := number(b, "RANKWATCH_EVENTS", 20_000)
	bus := startBus(b)
	bus.fill(n)
	r, err := Open(b.Context(), bus.nc, streamName, prefix)
	if err != nil {
		b.Fatal(err)
	}
	file := must(os.Create(filepath.Join(b.TempDir(), "history.jsonl")))
	defer file.Close()
	var ours, bare time.Duration
	one := func() {
		must(file.Seek(0, 0))
		w := bufio.NewWriterSize(file, 1<<20)
		start, read := time.Now(), 0
		err := r.Each(b.Context(), Query{}, func(uint64, uint64) {}, func(m *Message) error {
			read++
			w.Write(m.Data)
			return w.WriteByte('\n')
		})
		if err != nil || w.Flush() != nil || read != n {
			b.Fatalf("%d messages: %v", read, err)
		}
		ours += time.Since(start)
	}
	other := func() {
		start := time.Now()
		c := must(bus.js.OrderedConsumer(b.Context(), streamName, jetstream.OrderedConsumerConfig{}))
		done, read := make(chan struct{}), 0
		cc := must(c.Consume(func(jetstream.Msg) {
			if read++; read == n {
				close(done)
			}
		}))
		<-done
		cc.Stop()
		bare += time.Since(start)
	}
	one()
	other() // once each to warm up
	ours, bare = 0, 0
	for b.Loop() {
		one()
		other()
	}
	b.ReportMetric(float64(n*b.N)/ours.Seconds(), "events/s")
	b.ReportMetric(float64(n*b.N)/bare.Seconds(), "bare/s")
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
}

// BenchmarkBoardAt looks for a board at a time, in a short history and in a
// year of hourly readings. RANKWATCH_ROWS says how long the boards are; a row
// has about 110 bytes.
func BenchmarkBoardAt(b *testing.B) {
	rows := number(b, "RANKWATCH_ROWS", 100)
	for _, boards := range []int{100, 8760} {
		b.Run(fmt.Sprintf("boards=%d", boards), func(b *testing.B) {
			bus := startBus(b)
			r := bus.reader()
			start := time.Now()
			// As far apart as readings are for a time in milliseconds.
			for tick := time.NewTicker(2 * time.Millisecond); len(bus.stored) < boards; <-tick.C {
				i := len(bus.stored)
				bus.reading(reading{list: "us-beauty", revision: uint64(i + 1), at: time.Now(), rows: rows})
				bus.stored[i].data = nil
			}
			whole := time.Since(start)
			b.ResetTimer()
			i := 0
			before := bus.nc.Stats().OutMsgs
			for b.Loop() {
				i++
				at := start.Add(whole * time.Duration(i*37%100+1) / 102)
				if _, err := r.BoardAt(b.Context(), "us-beauty", at); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(bus.nc.Stats().OutMsgs-before)/float64(i), "look-ups/op")
		})
	}
}

// BenchmarkSince finds the start of a range. Beside it stands what a consumer
// costs that begins at a time, which is no substitute, since it misses messages,
// and one that begins where it was found. RANKWATCH_EVENTS says how many events.
func BenchmarkSince(b *testing.B) {
	n := number(b, "RANKWATCH_EVENTS", 20_000)
	bus := startBus(b)
	bus.fill(n)
	r := bus.reader()
	info := must(r.State(b.Context()))
	whole := info.State.LastTime.Sub(info.State.FirstTime)
	at := func(i int) time.Time { return info.State.FirstTime.Add(whole * time.Duration(i*37%100+1) / 102) }
	for name, within := range map[string]uint64{"near": near, "exact": 1} {
		b.Run(name, func(b *testing.B) {
			before, i := bus.nc.Stats().OutMsgs, 0
			for ; b.Loop(); i++ {
				if _, err := r.search(b.Context(), at(i), within); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(bus.nc.Stats().OutMsgs-before)/float64(i), "look-ups/op")
		})
	}
	subjects := []string{prefix + ".*.us-beauty.moved.*", prefix + ".*.us-beauty.board"}
	for _, start := range []string{"by time", "by sequence"} {
		b.Run("consumer "+start, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				t := at(i)
				c := jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &t}
				if start == "by sequence" {
					c.DeliverPolicy, c.OptStartTime, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, nil, must(r.search(b.Context(), t, near))
				}
				made := must(bus.js.CreateConsumer(b.Context(), streamName, c))
				if err := bus.js.DeleteConsumer(b.Context(), streamName, made.CachedInfo().Name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
