package publisher

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// stock is a server on which nobody raised the batch limit.
func stock(o *server.Options) { o.JetStreamLimits.MaxBatchSize = 0 }

// applied folds the stream as the contract tells a consumer to: a reading's
// events count when its board comes, those that no board names don't. The
// result has the events of each applied reading, then its board.
func applied(t tb, nc *nats.Conn) []string {
	t.Helper()
	pending := map[string][]string{}
	var out []string
	each(t, nc, "RANKWATCH", "rankwatch", func(m jetstream.Msg) {
		s := must(event.ParseSubject("rankwatch", m.Subject()))
		switch s.Kind {
		case event.Status:
			out = append(out, key(m.Subject(), m.Data()))
		case event.Board:
			e := must(event.Decode[event.Snapshot](m.Data()))
			out = append(out, pending[e.Data.Reading]...)
			out = append(out, key(m.Subject(), m.Data()))
			delete(pending, e.Data.Reading)
		default:
			e := must(event.Decode[event.Change](m.Data()))
			pending[e.Data.Reading] = append(pending[e.Data.Reading], key(m.Subject(), m.Data()))
		}
	})
	return out
}

func TestLongReadingOnAStockServer(t *testing.T) {
	t.Parallel()
	e := startExternal(t, stock)
	w := newWorker(t, e.url()).start()
	o := observe(t, e.client(), "rankwatch")
	var want []string
	for _, n := range []int{3, 2000, 5, 998, 997, 999, 1000, 1996, 1997, 1998} {
		want = append(want, w.commit("a", n)...)
	}
	w.drained()
	o.expect(want)
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestLongReadingInOneBatchWhereAllowed(t *testing.T) {
	t.Parallel()
	w := newWorker(t, "", embedded(t.TempDir())).start()
	o := observe(t, connectTo(t, w.pub.URL()), "rankwatch")
	want := w.commit("a", 2001)
	w.drained()
	o.expect(want)
	if s := w.pub.Stats(); s.Groups > 1 || s.Refusals[string(reasonTooLarge)] > 0 {
		t.Fatalf("%+v", s)
	}
}

// A worker dies at every possible place of a reading in three parts.
func TestPartsSurviveAnyCut(t *testing.T) {
	t.Parallel()
	for turn := int64(1); turn < 4; turn++ { // 0 is refused as too large
		for _, persisted := range []bool{false, true} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("part %d/persisted=%t/restart=%t", turn, persisted, restart), func(t *testing.T) {
					t.Parallel()
					e := startExternal(t, stock)
					w := newWorker(t, e.url()).open()
					want := w.commit("a", 2)
					want = append(want, w.commit("a", 2001)...)
					want = append(want, w.commit("a", 1)...)
					died := make(chan struct{})
					send := w.pub.send
					n := int64(-2) // the small one and the one that is too large
					w.pub.send = func(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error) {
						n++
						if n != turn {
							return send(ctx, msgs)
						}
						if persisted {
							if _, err := send(ctx, msgs); err != nil {
								t.Errorf("send: %v", err)
							}
						}
						if restart {
							w.cancel()
							close(died)
						}
						return nil, nats.ErrTimeout
					}
					if restart {
						w.cfg.Drain = -1
						w.pub.cfg.Drain = -1
					}
					w.run()
					if restart {
						<-died
						w.stop()
						w.start()
					}
					w.drained()
					same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
				})
			}
		}
	}
}

// Two writers' parts come in between one another's. The loser's stay without a
// board; the winner's are each there once.
func TestPartsOfTwoWriters(t *testing.T) {
	t.Parallel()
	e := startExternal(t, stock)
	a, b := twoWriters(t, e.url())
	want := a.commit("x", 2)
	a.drained()
	b.run()
	b.wait(b.pub.Ready(), "ready")

	// A stops before its last part. B then publishes one part of its own
	// reading and stops; A goes on; B is fenced.
	hold := func(w *worker, turn int64) (reached <-chan struct{}, release func()) {
		arrived, let := make(chan struct{}), make(chan struct{})
		release = sync.OnceFunc(func() { close(let) })
		send := w.pub.send
		n := int64(-1)
		w.pub.send = func(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error) {
			if n++; n == turn {
				close(arrived)
				select {
				case <-let:
				case <-ctx.Done(): // the test has failed
				}
			}
			return send(context.WithoutCancel(ctx), msgs)
		}
		return arrived, release
	}
	a.stop()
	a.hidden()
	a.pub.limit = defaultBatch
	reachedA, releaseA := hold(a, 2)
	a.run()
	a.wait(a.pub.Ready(), "ready")
	b.stop()
	b.hidden()
	b.pub.limit = defaultBatch
	reachedB, releaseB := hold(b, 1)
	b.run()
	b.wait(b.pub.Ready(), "ready")

	want = append(want, a.commit("x", 2001)...)
	a.wait(reachedA, "last part of A")
	b.commit("x", 1500)
	b.wait(reachedB, "last part of B")
	releaseA()
	a.drained()
	releaseB()
	b.wait(signal(b.fenced), "fence")
	same(t, "consumer that follows the contract", applied(t, e.client()), want)
	if l := a.load("x"); l.Fenced {
		t.Fatal("the winner is fenced")
	}
}

func TestHeadIsNeverInAnEarlierPart(t *testing.T) {
	w := newWorker(t, "nats://127.0.0.1:1")
	p := &Publisher{cfg: w.cfg, limit: 10}
	for n := range 40 {
		b, _, _ := w.reading("US", "a", n)
		var got []string
		for at, rounds := 0, 0; at < len(b.Messages); rounds++ {
			if rounds > 10 {
				t.Fatalf("%d events: no end", n)
			}
			msgs, to := p.nextPart(&b, at, 7, 9)
			if len(msgs) > p.limit {
				t.Fatalf("%d events: a part of %d", n, len(msgs))
			}
			fences := 0
			for _, m := range msgs {
				if m.Header.Get(jetstream.ExpectedLastSubjSeqHeader) != "" {
					fences++
				}
				if to < len(b.Messages) && (strings.Contains(m.Subject, ".head.") || strings.HasSuffix(m.Subject, ".board")) {
					t.Fatalf("%d events: %s in an earlier part", n, m.Subject)
				}
				if !strings.Contains(m.Subject, ".part.") {
					got = append(got, m.Subject)
				}
			}
			if fences != 2 {
				t.Fatalf("%d events: a part with %d fences", n, fences)
			}
			at = to
		}
		if len(got) != len(b.Messages) {
			t.Fatalf("%d events: %d messages of %d", n, len(got), len(b.Messages))
		}
	}
}

// What a server leaves that ran out of room and lost the rest of the batch.
func TestTornBatchIsCompleted(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	want := w.commit("a", 2)
	w.drained()
	w.stop()
	want = append(want, w.commit("a", 30)...)
	infos := must(w.db.Queue(0))
	b := must(w.db.Batch(infos[0].Order))
	nc := e.client()
	for _, m := range b.Messages[:17] {
		if _, err := nc.Request(ingestRoot+m.Subject, m.Data, patience); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	w.drained()
	want = append(want, w.commit("a", 2)...)
	w.drained()
	same(t, "consumer", history(t, nc, "RANKWATCH", "rankwatch"), want)
}

// A part, or a whole batch, that was given up arrives after its repetition.
func TestLateArrivalIsRefused(t *testing.T) {
	t.Parallel()
	for turn := range int64(4) {
		t.Run(fmt.Sprintf("turn %d", turn), func(t *testing.T) {
			t.Parallel()
			e := startExternal(t, stock)
			w := newWorker(t, e.url()).open()
			w.pub.limit = defaultBatch
			want := w.commit("a", 2)
			want = append(want, w.commit("a", 2001)...)
			send := w.pub.send
			n := int64(-1)
			var late []*nats.Msg
			w.pub.send = func(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error) {
				if n++; n == turn {
					for _, m := range msgs {
						late = append(late, &nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Data})
					}
					return nil, nats.ErrTimeout
				}
				a, err := send(ctx, msgs)
				if n == turn+1 {
					if _, err := send(ctx, late); err == nil {
						t.Error("the late arrival was stored")
					}
				}
				return a, err
			}
			w.run()
			w.drained()
			same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
		})
	}
}
