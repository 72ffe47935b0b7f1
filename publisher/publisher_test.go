package publisher

import (
	"testing"

	"github.com/nats-io/nats.go"
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
