package worker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
)

// commit is the n-th commit of watchlist w, with one board of so many bytes.
func commit(n uint64, size int) watcher.Commit {
	chain := event.Chain{Watchlist: "w", Kind: event.Board}
	return watcher.Commit{
		Watchlist: "w", Version: n - 1, At: time.Unix(1, 0),
		Tracked: event.Tracked{Record: []byte("{}"), Board: []byte("board")},
		Batches: []event.Batch{{Chain: chain, Revision: n, Messages: []event.Message{
			{Subject: "p.US.w.board", Role: event.Fence, Data: make([]byte, size)},
		}}},
	}
}

func TestErrorsOfACommitAreTheWatchersOwn(t *testing.T) {
	db, err := state.Open(state.Config{Dir: t.TempDir(), Backlog: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(db.Check(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	s := worker.Store(db)
	if err := s.Commit(commit(1, 900)); err != nil {
		t.Fatal(err)
	}
	l, err := s.Load("w")
	if err != nil || !l.Known || l.Version != 1 || l.Revision != 1 || string(l.Board) != "board" {
		t.Fatalf("loaded %+v, %v", l, err)
	}
	if err := s.Commit(commit(1, 1)); !errors.Is(err, watcher.ErrStale) {
		t.Errorf("a second commit on the same version: %v", err)
	}
	if s.Full() {
		t.Error("full before anything was refused")
	}
	if err := s.Commit(commit(2, 900)); !errors.Is(err, watcher.ErrFull) {
		t.Errorf("past the backlog: %v", err)
	}
	if !s.Full() {
		t.Error("not full after a refusal")
	}
	if err := db.Block("w"); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(commit(2, 1)); !errors.Is(err, watcher.ErrFenced) {
		t.Errorf("while another worker writes it: %v", err)
	}
}

func TestDeparturesComeBackAsTheyWent(t *testing.T) {
	db, err := state.Open(state.Config{Dir: t.TempDir(), Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := worker.Store(db)
	now := time.Now().UTC().Truncate(time.Millisecond)
	gone := watcher.Departure{UID: "a", At: now, FirstSeen: now.Add(-time.Hour), PeakRank: 7}
	old := watcher.Departure{UID: "b", At: now.Add(-2 * time.Hour), FirstSeen: now.Add(-3 * time.Hour), PeakRank: 1}
	c := commit(1, 1)
	c.Departed = []watcher.Departure{gone, old}
	if err := s.Commit(c); err != nil {
		t.Fatal(err)
	}
	got, err := s.Departed("w", []string{"a", "b", "c"})
	if err != nil || len(got) != 1 || !got["a"].At.Equal(gone.At) || !got["a"].FirstSeen.Equal(gone.FirstSeen) || got["a"].PeakRank != 7 {
		t.Errorf("got %+v, %v; b is past the retention", got, err)
	}
}
