package publisher

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// lose makes publishes fail: those whose turn, from 0, is in turns. Persisted
// ones are stored first.
func lose(p *Publisher, err error, persisted bool, turns ...int64) *atomic.Int64 {
	var n atomic.Int64
	send := p.send
	p.send = func(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error) {
		turn := n.Add(1) - 1
		for _, x := range turns {
			if x != turn {
				continue
			}
			if persisted {
				if _, err := send(ctx, msgs); err != nil {
					return nil, err
				}
			}
			return nil, err
		}
		return send(ctx, msgs)
	}
	return &n
}

func TestFailedPublishLeavesEachMessageOnce(t *testing.T) {
	failures := map[string]error{
		"timeout":       nats.ErrTimeout,
		"no responders": nats.ErrNoResponders,
		"disconnected":  nats.ErrConnectionReconnecting,
		"fence":         &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence},
		"race":          &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequenceConstant},
		"inflight":      &jetstream.APIError{Code: 429, ErrorCode: codeInflight},
		"unknown":       &jetstream.APIError{Code: 500, ErrorCode: 10999},
	}
	for name, failure := range failures {
		for _, persisted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/persisted=%t", name, persisted), func(t *testing.T) {
				t.Parallel()
				e := startExternal(t)
				w := newWorker(t, e.url()).open()
				var want []string
				// All in the outbox before the start, so that they make groups.
				byList := map[string][]string{}
				for i := range 4 {
					for _, list := range []string{"a", "b", "c"} {
						byList[list] = append(byList[list], w.commit(list, i)...)
					}
					byList["a"] = append(byList["a"], w.status("a", "stale"))
				}
				nc := e.client()
				o := observe(t, nc, "rankwatch")
				for _, l := range byList {
					want = append(want, l...)
				}
				lose(w.pub, failure, persisted, 0, 1, 3)
				w.run()
				w.drained()
				o.count(len(want))
				eachList(t, o.seen(), byList)
				eachList(t, history(t, nc, "RANKWATCH", "rankwatch"), byList)
			})
		}
	}
}

// eachList compares what was seen of each watchlist; watchlists may interleave.
func eachList(t tb, got []string, want map[string][]string) {
	t.Helper()
	by := map[string][]string{}
	for _, k := range got {
		list := strings.Split(k, ".")[2]
		by[list] = append(by[list], k)
	}
	for list, w := range want {
		same(t, "watchlist "+list, by[list], w)
		delete(by, list)
	}
	for list, g := range by {
		t.Fatalf("watchlist %s: %d messages that nobody published", list, len(g))
	}
}

func TestDeletedStreamGetsItsKeptReadingsAgain(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	var want []string
	for i := range 5 {
		want = append(want, w.commit("a", i)...)
	}
	want = append(want, w.status("a", "stale"))
	w.drained()
	w.stop()
	js := must(jetstream.New(e.client()))
	if err := js.DeleteStream(t.Context(), "RANKWATCH"); err != nil {
		t.Fatal(err)
	}
	want = append(want, w.commit("a", 2)...) // while it is down
	w.start()
	w.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
	if l := w.load("a"); l.Lineage > 1 || l.Broken {
		t.Fatalf("the chain is broken: %+v", l)
	}
}

func TestStreamDeletedWhileRunningComesBack(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	want := w.commit("a", 3)
	w.drained()
	js := must(jetstream.New(e.client()))
	if err := js.DeleteStream(t.Context(), "RANKWATCH"); err != nil {
		t.Fatal(err)
	}
	want = append(want, w.commit("a", 2)...)
	w.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestLostStreamBreaksTheChainWhereNothingIsKept(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url())
	w.db = openConfig(t, state.Config{Dir: t.TempDir(), Keep: 1})
	w.start()
	for range 30 {
		w.commit("a", 2)
	}
	w.drained()
	w.stop()
	js := must(jetstream.New(e.client()))
	if err := js.DeleteStream(t.Context(), "RANKWATCH"); err != nil {
		t.Fatal(err)
	}
	w.commit("a", 2) // cannot follow on anything any more
	w.start()
	if l := w.load("a"); !l.Broken || l.Lineage != 2 || l.Revision != 31 || l.StreamRevision != 0 {
		t.Fatalf("not broken: %+v", l)
	}
	want := w.commit("a", 1) // revision 32, lineage 2
	w.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
	// A fresh worker knows the lineage from the stream.
	w.stop()
	f := newWorker(t, e.url()).start()
	if l := f.load("a"); l.Revision != 32 || l.Lineage != 2 || string(l.Record) != "record a/32~2" {
		t.Fatalf("taken over: %+v", l)
	}
}

func TestOlderStreamIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	dir, old := t.TempDir(), t.TempDir()
	w := newWorker(t, "", embedded(dir)).start()
	var want []string
	add := func(n int) {
		for i := range n {
			want = append(want, w.commit("a", i)...)
			want = append(want, w.status("a", "stale"))
		}
		w.drained()
	}
	add(3)
	w.stop()
	copyDir(t, dir, old)
	w.start()
	add(3)
	w.stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	copyDir(t, old, dir)
	w.start()
	add(2)
	same(t, "consumer", history(t, connectTo(t, w.pub.URL()), "RANKWATCH", "rankwatch"), want)
	if l := w.load("a"); l.Lineage > 1 || l.Revision != 8 {
		t.Fatalf("chain: %+v", l)
	}
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// older replaces the worker's state by a copy made by Copy.
func (w *worker) snapshot() string {
	w.t.Helper()
	dir := w.t.TempDir()
	f, err := os.Create(dir + "/" + state.FileName)
	if err == nil {
		err = w.db.Copy(f)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func (w *worker) use(dir string) {
	w.t.Helper()
	w.db = openDB(w.t, dir)
}

func TestOlderOutboxTakesOverWhatTheStreamHas(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	o := observe(t, e.client(), "rankwatch")
	var want []string
	for i := range 3 {
		want = append(want, w.commit("a", i)...)
		want = append(want, w.status("a", "stale"))
	}
	w.drained()
	w.stop()
	want = append(want, w.commit("a", 7)...) // waits in the copy too
	old := w.snapshot()
	w.start()
	want = append(want, w.commit("a", 5)...)
	want = append(want, w.commit("b", 5)...)
	want = append(want, w.status("a", "recovered"))
	w.drained()
	w.stop()
	w.use(old)
	w.start()
	if l := w.load("a"); l.Revision != 5 || string(l.Record) != "record a/5" || string(l.Board) != "board a/5" {
		t.Fatalf("a: %+v", l)
	}
	if l := w.load("b"); l.Revision != 1 || !l.Known {
		t.Fatalf("b: %+v", l)
	}
	want = append(want, w.commit("a", 1)...)
	want = append(want, w.status("a", "stale"))
	o.expect(want)
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestOlderOutboxWithADeliveredBatchWaiting(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	want := w.commit("a", 2)
	w.drained()
	w.stop()
	want = append(want, w.commit("a", 3)...)
	want = append(want, w.commit("a", 4)...)
	old := w.snapshot()
	w.start()
	w.drained()
	w.stop()
	w.use(old)
	w.start()
	if d := w.db.Backlog(); d.Batches != 0 {
		t.Fatalf("%d batches wait that are delivered", d.Batches)
	}
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestRegionChangeIsFencedToo(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	want := w.commitIn("US", "a", 3)
	w.drained()
	w.stop()
	// Both wait; the first one's acknowledgement gets lost.
	want = append(want, w.commitIn("US", "a", 2)...)
	want = append(want, w.commitIn("GB", "a", 2)...)
	w.open()
	lose(w.pub, nats.ErrTimeout, true, 0)
	w.run()
	want = append(want, w.commitIn("all", "a", 2)...)
	w.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestFreshOutboxContinuesTheStream(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	want := w.commit("a", 12)
	want = append(want, w.commit("a", 11)...)
	want = append(want, w.status("a", "stale"))
	w.drained()
	w.stop()
	f := newWorker(t, e.url(), func(c *Config) { c.Writer = "writer-f" }).start()
	tr, ack, departed, ok, err := f.pub.Head(t.Context(), "a")
	if err != nil || !ok || ack.Revision != 2 || string(tr.Record) != "record a/2" || len(departed) != 2 {
		t.Fatalf("head: %q %+v %v %t %v", tr.Record, ack, departed, ok, err)
	}
	if departed[0].UID != "u4" || departed[0].PeakRank != 5 || departed[0].FirstSeen.IsZero() {
		t.Fatalf("departures: %+v", departed)
	}
	if _, _, _, ok, err := f.pub.Head(t.Context(), "nobody"); ok || err != nil {
		t.Fatalf("head of nobody: %t %v", ok, err)
	}
	if l := f.load("a"); l.Revision != 2 || !l.Known {
		t.Fatalf("loaded: %+v", l)
	}
	want = append(want, f.commit("a", 1)...)
	want = append(want, f.status("a", "recovered"))
	f.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestUnknownHistoryMetByTheFirstBatch(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	want := w.commit("a", 2)
	want = append(want, w.commit("a", 2)...)
	want = append(want, w.status("a", "stale"))
	w.drained()
	w.stop()
	f := newWorker(t, e.url(), func(c *Config) { c.Writer = "writer-f" })
	f.commit("a", 9) // a first reading, made while the bus was away
	want = append(want, f.status("a", "recovered"))
	f.start()
	f.drained()
	if l := f.load("a"); l.Revision != 2 || string(l.Record) != "record a/2" {
		t.Fatalf("loaded: %+v", l)
	}
	want = append(want, f.commit("a", 1)...)
	f.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestServerAwayWithABacklog(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	o := observe(t, e.client(), "rankwatch")
	want := w.commit("a", 2)
	o.expect(want)
	e.stop()
	for i := range 200 {
		want = append(want, w.commit("a", i%7)...)
	}
	if d := w.db.Backlog(); d.Batches == 0 {
		t.Fatal("nothing waits")
	}
	e.start()
	w.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestServerUnreachableAtTheStart(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	e.stop()
	w := newWorker(t, e.url())
	want := w.commit("a", 2)
	w.open().run()
	if w.pub.MaxPayload() <= 1000 {
		t.Fatalf("max payload %d", w.pub.MaxPayload())
	}
	want = append(want, w.commit("a", 2)...)
	e.start()
	w.wait(w.pub.Ready(), "ready")
	w.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestEmbeddedServerRestart(t *testing.T) {
	t.Parallel()
	w := newWorker(t, "", embedded(t.TempDir())).start()
	url := w.pub.URL()
	want := w.commit("a", 2)
	w.drained()
	if err := w.pub.server.Restart(); err != nil {
		t.Fatal(err)
	}
	if w.pub.URL() != url {
		t.Fatalf("moved from %s to %s", url, w.pub.URL())
	}
	want = append(want, w.commit("a", 2)...)
	w.drained()
	same(t, "consumer", history(t, connectTo(t, url), "RANKWATCH", "rankwatch"), want)
}

func TestMaxPayloadFits(t *testing.T) {
	t.Parallel()
	w := newWorker(t, "", embedded(t.TempDir())).start()
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: strings.Repeat("w", 63)}
	m := must(o.Board("w/1", w.pub.stats.snapshot().LastPublish, &event.Snapshot{Revision: 1}))
	m.Data = append(m.Data, strings.Repeat(" ", w.pub.MaxPayload()-len(m.Data))...)
	b := event.Batch{Chain: event.Chain{Watchlist: o.Watchlist, Kind: event.Board}, Revision: 1, Messages: []event.Message{m}}
	if err := w.db.Commit(state.Commit{Watchlist: o.Watchlist, Batches: []event.Batch{b}}); err != nil {
		t.Fatal(err)
	}
	w.pub.Notify()
	w.drained()
}

func TestPoisonBatchHoldsUpOnlyItsChain(t *testing.T) {
	t.Parallel()
	w := newWorker(t, "", embedded(t.TempDir())).open()
	m := must(event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "big"}.Board("big/1", w.pub.stats.snapshot().LastPublish, &event.Snapshot{Revision: 1}))
	m.Data = append(m.Data, strings.Repeat(" ", 2<<20)...)
	b := event.Batch{Chain: event.Chain{Watchlist: "big", Kind: event.Board}, Revision: 1, Messages: []event.Message{m}}
	if err := w.db.Commit(state.Commit{Watchlist: "big", Batches: []event.Batch{b}}); err != nil {
		t.Fatal(err)
	}
	want := w.commit("a", 2)
	want = append(want, w.commit("a", 2)...)
	o := observe(t, connectTo(t, w.pub.URL()), "rankwatch")
	w.run()
	o.expect(want)
	want = append(want, w.status("big", "stale"))
	o.expect(want)
}

// An old copy must not be replayed over a stream that lost more: its ids were
// used for other readings since.
func TestRestoredOutboxOnALostStreamBreaksTheChain(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 2)
	w.commit("a", 2)
	w.drained()
	w.stop()
	if err := w.db.MarkRestored(); err != nil {
		t.Fatal(err)
	}
	js := must(jetstream.New(e.client()))
	if err := js.DeleteStream(t.Context(), "RANKWATCH"); err != nil {
		t.Fatal(err)
	}
	w.start()
	if l := w.load("a"); !l.Broken || l.Lineage != 2 || l.Revision != 2 {
		t.Fatalf("not broken: %+v", l)
	}
	if suspect, why := w.db.Suspect(); suspect {
		t.Fatalf("still suspect: %s", why)
	}
	want := w.commit("a", 1)
	w.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestRestoredOutboxOnAWholeStreamGoesOn(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	want := w.commit("a", 2)
	w.drained()
	w.stop()
	if err := w.db.MarkRestored(); err != nil {
		t.Fatal(err)
	}
	want = append(want, w.commit("a", 2)...)
	w.start()
	w.drained()
	if l := w.load("a"); l.Broken || l.Lineage > 1 {
		t.Fatalf("broken: %+v", l)
	}
	if suspect, _ := w.db.Suspect(); suspect {
		t.Fatal("still suspect")
	}
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}
