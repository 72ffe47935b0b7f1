package publisher

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// BenchmarkReading is one reading with 100 events and a 1000-place board, from
// the commit to the recorded acknowledgement.
func BenchmarkReading(b *testing.B) {
	w := newWorker(b, "", embedded(b.TempDir())).start()
	pad := make([]byte, 150<<10)
	for i := range pad {
		pad[i] = ' '
	}
	var spent time.Duration // stopping the benchmark's own timer costs more than a reading
	for range b.N {
		batch, _, tracked := w.reading("US", "a", 100)
		m := &batch.Messages[len(batch.Messages)-1]
		m.Data = append(m.Data, pad...)
		l := w.load("a")
		start := time.Now()
		if err := w.db.Commit(state.Commit{Watchlist: "a", Version: l.Version, Tracked: tracked, Batches: []event.Batch{batch}, At: time.Now()}); err != nil {
			b.Fatal(err)
		}
		w.pub.Notify()
		w.drained()
		spent += time.Since(start)
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "µs/reading")
}

// BenchmarkBacklog drains small readings of many watchlists.
func BenchmarkBacklog(b *testing.B) {
	w := newWorker(b, "", embedded(b.TempDir())).open()
	for i := range b.N {
		w.commit("w"+strconv.Itoa(i%500), 5)
	}
	b.ResetTimer()
	w.run()
	w.drained()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "readings/s")
}

// BenchmarkStart is the recovery of a worker with 10,000 watchlists that agree
// with the stream, embedded server included.
func BenchmarkStart(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("watchlists=%d", n), func(b *testing.B) {
			w := newWorker(b, "", embedded(b.TempDir())).open()
			for i := range n {
				w.commit("w"+strconv.Itoa(i), 1)
				w.status("w"+strconv.Itoa(i), "stale")
			}
			w.run()
			w.drained()
			w.stop()
			b.ResetTimer()
			for range b.N {
				w.open().run()
				w.wait(w.pub.Ready(), "ready")
				b.StopTimer()
				w.stop()
				b.StartTimer()
			}
		})
	}
}
