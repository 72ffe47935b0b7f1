package board

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

const yearVar = "RANKWATCH_YEAR"

// TestAYearOfHourlyBoards measures a path and look-ups over a stream of as many
// boards of 1000 places as RANKWATCH_YEAR says; 8760 take 1.4 GB of disk. Without
// it, a day's boards check the same.
func TestAYearOfHourlyBoards(t *testing.T) {
	t.Parallel()
	boards := 24
	if s := os.Getenv(yearVar); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		boards = n
	}
	r := storeYear(t, boards)
	o := options{name: "us-beauty", uid: "6787580688797710500", byUID: true, output: "table"}
	req := request{path: history.Query{Watchlists: []string{o.name}, Kinds: []event.Kind{event.Board}}}

	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	runtime.GC()
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	var out, errs bytes.Buffer
	began := time.Now()
	s := showing{options: o, request: req, from: r, to: streams{&out, &errs, text.Style{}}}
	err := s.creator(t.Context())
	took := time.Since(began)
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "member"); n < boards || !strings.Contains(out.String(), fmt.Sprintf("revisions 1 to %d", boards)) {
		t.Errorf("%d rows of %d:\n%.2000s", n, boards, out.String())
	}
	t.Logf("path over %d boards, %.1f MB: %v, heap at most %d MB", boards, float64(r.Stream().State.Bytes)/1e6, took, peak.Load()>>20)

	began = time.Now()
	const looks = 20
	for i := range looks {
		want := uint64(1 + i*boards/looks)
		m, err := r.BoardAtRevision(t.Context(), o.name, want)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := m.Revision(); n != want {
			t.Errorf("revision %d, want %d", n, want)
		}
	}
	t.Logf("a board at a revision: %v", time.Since(began)/looks)
}

// storeYear serves a stream with hourly boards of 1000 places.
func storeYear(t *testing.T, boards int) *history.Reader {
	t.Helper()
	srv, err := publisher.StartServer(publisher.ServerConfig{Embedded: true, StoreDir: t.TempDir(), Listen: "off"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	nc, err := publisher.DialServer(srv, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(32))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "RANKWATCH", Subjects: []string{"rankwatch.>"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	origin := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us-beauty"}
	s := event.Snapshot{Watchlist: "us-beauty", Region: "US", Outcome: event.OutcomeChanged, Total: 5000, Depth: 1000, Board: make([]event.Row, 1000)}
	for i := range boards {
		s.Revision = uint64(i + 1)
		for p := range s.Board {
			id := 10000 + (p+i*7)%1000 // everybody climbs by 7 and falls from the top
			s.Board[p] = event.Row{UID: fmt.Sprintf("67875806887977%d", id), UniqueID: fmt.Sprintf("itzesantana%d", id), Nickname: fmt.Sprintf("Itzel Santana %d ✨", id), Rank: p + 1, Position: p + 1, PotentialIndex: int64(100 - p/10), Member: true}
		}
		m, err := origin.Board(event.ReadingID(s.Watchlist, s.Revision, 1), at.Add(time.Duration(i)*time.Hour), &s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishAsync(m.Subject, m.Data); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	r, err := history.Open(ctx, nc, "RANKWATCH", "rankwatch")
	if err != nil {
		t.Fatal(err)
	}
	return r
}
