package api

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
	"github.com/rankwatch/rankwatch/publisher/event"
)

func TestShelvesStayWithinTheirBytes(t *testing.T) {
	t.Parallel()
	bus := webtest.StartBus(t)
	r, err := bus.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const lists, revisions, places = 6, 5, 100
	for w := range lists {
		for n := range revisions {
			bus.Board(event.Snapshot{Watchlist: fmt.Sprint("w", w), Region: "US", Revision: uint64(n + 1), Board: webtest.Rows(places, webtest.UIDs(places, n)...)})
		}
	}
	one := revisions*(thinSize+places*spotSize) + places*personSize + 256
	s := newShelves(3 * one)
	fill := func(w int) (read int) {
		name := fmt.Sprint("w", w)
		last, err := r.LastBoard(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		err = s.use(t.Context(), r, name, func(sh *shelf) error {
			before := len(sh.boards)
			err := sh.fill(t.Context(), r, last, span{name, 1, revisions})
			read = len(sh.boards) - before
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return read
	}
	for _, step := range []struct{ list, read, kept int }{
		{0, revisions, 1}, {1, revisions, 2}, {2, revisions, 3}, {0, 0, 3}, {3, revisions, 3}, {1, revisions, 3}, {0, 0, 3}, {5, revisions, 3},
	} {
		if read := fill(step.list); read != step.read || len(s.of) != step.kept {
			t.Errorf("w%d: %d boards were read, want %d; %d shelves are kept, want %d", step.list, read, step.read, len(s.of), step.kept)
		}
	}
	small := newShelves(one - 1)
	s = small
	if fill(0); len(small.of) != 0 {
		t.Error("a shelf that is too large alone is kept")
	}
}

func TestWhoWaitsForAShelfCanGiveUp(t *testing.T) {
	t.Parallel()
	bus := webtest.StartBus(t)
	r, err := bus.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newShelves(1 << 20)
	err = s.use(t.Context(), r, "w", func(*shelf) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return s.use(ctx, r, "w", func(*shelf) error { t.Error("two have the shelf"); return nil })
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
