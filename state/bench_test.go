package state

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// BenchmarkCommit is one reading of a 1000-place board with 100 changes: its
// commit and its acknowledgement.
func BenchmarkCommit(b *testing.B) {
	db, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	board := bytes.Repeat([]byte("0123456789"), 20_000)
	change := bytes.Repeat([]byte("x"), 1100)
	tracked := event.Tracked{Record: change, Board: bytes.Repeat([]byte("t"), 60_000)}
	ms := make([]event.Message, 0, 101)
	for i := range 100 {
		ms = append(ms, event.Message{Subject: fmt.Sprintf("rankwatch.US.us-beauty.moved.%d", 6787580688797713413+i), Data: change})
	}
	ms = append(ms, event.Message{Subject: "rankwatch.US.us-beauty.board", Role: event.Fence, Data: board})
	id := event.Chain{Watchlist: "us-beauty", Kind: event.Board}
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		err := db.Commit(Commit{
			Watchlist: "us-beauty", Version: n - 1, Tracked: tracked, At: time.Now(),
			Batches: []event.Batch{{Chain: id, Revision: n, Messages: ms}},
		})
		if err != nil {
			b.Fatal(err)
		}
		q, err := db.Queue(1)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := db.Batch(q[0].Order); err != nil {
			b.Fatal(err)
		}
		if err := db.Acknowledge(Ack{Chain: id, Order: q[0].Order, Revision: n, Sequence: n * 101}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(db.Size())/(1<<20), "MiB")
}
