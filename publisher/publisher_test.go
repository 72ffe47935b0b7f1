package publisher

import (
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func connectTo(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestReadingsReachSubscribersOnceAndInOrder(t *testing.T) {
	w := newWorker(t, "", embedded(t.TempDir())).start()
	nc := connectTo(t, w.pub.URL())
	o := observe(t, nc, "rankwatch")
	var want []string
	for i := range 20 {
		want = append(want, w.commit("a", i)...)
	}
	want = append(want, w.status("a", "stale"))
	o.expect(want)
	same(t, "consumer", history(t, nc, "RANKWATCH", "rankwatch"), want)
	w.stop()
	if d := w.db.Backlog(); d.Batches != 0 {
		t.Fatalf("%d batches wait after the end", d.Batches)
	}
}

func TestEndFinishesWhatWaitsAndLeavesNothingRunning(t *testing.T) {
	for _, server := range []string{"embedded", "external"} {
		t.Run(server, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			e := startExternal(t)
			observer := e.client()
			mod := func(*Config) {}
			if server == "embedded" {
				mod = embedded(t.TempDir())
			}
			w := newWorker(t, e.url(), mod)
			w.start()
			var want []string
			for range 30 {
				want = append(want, w.commit("a", 3)...)
			}
			w.stop()
			if n := w.db.Backlog().Batches; n != 0 {
				t.Fatalf("%d batches wait", n)
			}
			if server == "external" {
				same(t, "consumer", history(t, observer, "RANKWATCH", "rankwatch"), want)
			}
			observer.Close()
			e.stop()
			goleak.VerifyNone(t, before)
		})
	}
}

func TestEndIsBoundedWhenTheServerIsAway(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 1)
	w.drained()
	e.stop()
	w.commit("a", 1)
	w.stop()
	if n := w.db.Backlog().Batches; n != 1 {
		t.Fatalf("%d batches wait, want 1", n)
	}
}

func TestFailpointSitsBetweenCommitAndRecord(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	reached := make(chan int, 10)
	w := newWorker(t, e.url())
	w.cfg.AfterCommit = func() { reached <- w.db.Backlog().Batches }
	w.start()
	w.commit("a", 1)
	if n := <-reached; n != 1 {
		t.Fatalf("%d batches wait at the failpoint, want 1", n)
	}
	w.drained()
}

func TestInProcessOnly(t *testing.T) {
	t.Parallel()
	w := newWorker(t, "", embedded(t.TempDir()))
	w.cfg.Server.Listen = "off"
	w.start()
	if u := w.pub.URL(); u != "" {
		t.Fatalf("url %q", u)
	}
	want := w.commit("a", 3)
	w.drained()
	same(t, "consumer", history(t, w.pub.Conn(), "RANKWATCH", "rankwatch"), want)
}
