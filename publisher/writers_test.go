package publisher

import (
	"errors"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// hidden opens a worker and stops answering for it, so that others start
// beside it.
func (w *worker) hidden() *worker {
	w.t.Helper()
	w.open()
	if err := w.pub.service.Stop(); err != nil {
		w.t.Fatal(err)
	}
	// Stopping returns before the server knows.
	if err := w.pub.nc.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return w
}

// twoWriters returns two workers that do not know of each other. The first one
// runs.
func twoWriters(t *testing.T, url string) (a, b *worker) {
	t.Helper()
	b = newWorker(t, url, func(c *Config) { c.Writer = "writer-b" }).hidden()
	a = newWorker(t, url).hidden().run()
	a.wait(a.pub.Ready(), "ready")
	return a, b
}

func TestSecondWriterIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	newWorker(t, e.url()).start()
	b := newWorker(t, e.url(), func(c *Config) { c.Writer = "writer-b" })
	_, err := Open(t.Context(), b.cfg)
	var bad *ConfigError
	if !errors.As(err, &bad) || !strings.Contains(bad.What, "writer-a") {
		t.Fatalf("second writer: %v", err)
	}
	// Another prefix on the same server is another installation.
	c := newWorker(t, e.url(), func(c *Config) { c.Stream, c.Prefix = "OTHER", "other" })
	p, err := Open(t.Context(), c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
}

func TestStaleWriterIsFencedAndNothingOfItIsSeen(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	a, b := twoWriters(t, e.url())
	o := observe(t, e.client(), "rankwatch")
	var want []string
	want = append(want, a.commit("x", 3)...)
	want = append(want, a.commit("x", 2)...)
	o.expect(want)
	b.run()
	b.wait(b.pub.Ready(), "ready")
	if l := b.load("x"); l.Revision != 2 || string(l.Record) != "record x/2" {
		t.Fatalf("the newcomer did not take over revision 2: %+v", l)
	}
	want = append(want, b.commit("x", 4)...)
	want = append(want, b.commit("y", 1)...)
	o.expect(want)
	a.commit("x", 7)
	want = append(want, a.commit("z", 2)...)
	a.wait(signal(a.fenced), "fence")
	o.expect(want)
	if err := a.db.Commit(state.Commit{Watchlist: "x", Version: a.load("x").Version, Tracked: event.Tracked{Board: []byte("b")}}); !errors.Is(err, state.ErrFenced) {
		t.Fatalf("commit after the fence: %v", err)
	}
	// Its statuses still go out, also behind the other writer's.
	want = append(want, b.status("x", "stale"))
	o.expect(want)
	want = append(want, a.status("x", "fenced"))
	o.expect(want)
	want = append(want, b.status("x", "recovered"))
	o.expect(want)
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
	// Started anew, the fenced one takes what is there.
	a.stop()
	b.stop()
	if err := a.db.Unblock("x"); err != nil { // a block does not outlive the process
		t.Fatal(err)
	}
	a.start()
	if l := a.load("x"); l.Revision != 3 || a.db.Backlog().Batches != 0 {
		t.Fatalf("after the restart: %+v, %+v", l, a.db.Backlog())
	}
	want = append(want, a.commit("x", 1)...)
	o.expect(want)
}

func signal(ch <-chan string) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		<-ch
		close(out)
	}()
	return out
}

func TestFencedNeighbourDoesNotHoldUpItsGroup(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	a, b := twoWriters(t, e.url())
	o := observe(t, e.client(), "rankwatch")
	want := map[string][]string{}
	add := func(list string, keys []string) { want[list] = append(want[list], keys...) }
	for _, list := range []string{"p", "q", "r"} {
		add(list, a.commit(list, 2))
	}
	a.drained()
	b.run()
	b.wait(b.pub.Ready(), "ready")
	add("q", b.commit("q", 1))
	b.drained()
	// One group, q in its middle.
	a.stop()
	a.open()
	a.pub.started = true // as if it had been running all along
	for _, list := range []string{"p", "q", "r"} {
		keys := a.commit(list, 3)
		if list != "q" {
			add(list, keys)
		}
	}
	a.run()
	a.wait(signal(a.fenced), "fence")
	o.count(len(want["p"]) + len(want["q"]) + len(want["r"]))
	eachList(t, o.seen(), want)
	eachList(t, history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

// What somebody else wrote while this worker was looking elsewhere, and that
// lies before what it acknowledged last, is met by the next batch after a
// restart. It is history then, not a rival.
func TestForeignBoardFromBeforeTheStartIsTakenOver(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	a, b := twoWriters(t, e.url())
	a.commit("x", 1)
	a.drained()
	b.run()
	b.wait(b.pub.Ready(), "ready")
	b.commit("x", 1)
	b.drained()
	a.commit("y", 1) // newer than b's board
	a.drained()
	a.stop()
	b.stop()
	a.start()
	a.commit("x", 1)
	a.drained()
	if l := a.load("x"); l.Revision != 2 || l.Fenced || len(a.fenced) > 0 {
		t.Fatalf("x: %+v", l)
	}
	a.commit("x", 1)
	a.drained()
	if l := a.load("x"); l.Revision != 3 {
		t.Fatalf("x: %+v", l)
	}
}

// The stream went back and grew again to the same sequence with other content.
func TestCoincidingSequenceIsNotMistaken(t *testing.T) {
	t.Parallel()
	dir, old := t.TempDir(), t.TempDir()
	w := newWorker(t, "", embedded(dir)).start()
	want := w.commit("a", 2)
	w.drained()
	w.stop()
	copyDir(t, dir, old)
	w.start()
	w.commit("a", 2)
	w.drained()
	w.stop()
	copyDir(t, old, dir)
	b := newWorker(t, "", embedded(dir), func(c *Config) { c.Writer = "writer-b" }).start()
	want = append(want, b.commit("a", 2)...)
	b.drained()
	b.stop()
	w.start()
	c := event.Chain{Watchlist: "a", Kind: event.Board}
	mine, _, err := w.db.Acked(c)
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, err := b.db.Acked(c)
	if err != nil || mine.Digest != theirs.Digest || mine.Sequence != theirs.Sequence {
		t.Fatalf("acknowledged %+v, the stream has %+v (%v)", mine, theirs, err)
	}
	want = append(want, w.commit("a", 1)...)
	w.drained()
	same(t, "consumer", history(t, connectTo(t, w.pub.URL()), "RANKWATCH", "rankwatch"), want)
}

func TestHeadOfAnotherBoardIsNotUsed(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 1)
	batch, _, tracked := w.reading("US", "a", 1)
	batch.Messages = append(batch.Messages[:1], batch.Messages[2]) // without its head
	if err := w.db.Commit(state.Commit{Watchlist: "a", Version: w.load("a").Version, Tracked: tracked, Batches: []event.Batch{batch}}); err != nil {
		t.Fatal(err)
	}
	w.pub.Notify()
	w.drained()
	w.stop()
	f := newWorker(t, e.url()).start()
	if l := f.load("a"); l.Known || l.Revision != 2 {
		t.Fatalf("loaded: %+v", l)
	}
	if tr, ack, _, ok, err := f.pub.Head(t.Context(), "a"); err != nil || !ok || ack.Revision != 2 || tr.Record != nil {
		t.Fatalf("head: %+v %+v %t %v", tr, ack, ok, err)
	}
}
