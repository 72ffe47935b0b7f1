package history

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/event"
)

func TestWhatTheWorkerTrackedIsThatOfItsNewestBoard(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	r := b.reader()
	if _, _, err := r.Tracked(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of a watchlist without a head: %v", err)
	}
	b.head("a") // of no version that is known
	if _, _, err := r.Tracked(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of another version: %v", err)
	}
	for _, n := range []string{"6", "7"} {
		must(b.js.PublishMsg(t.Context(), &nats.Msg{
			Subject: "_rw." + prefix + ".head.a", Data: event.PackTracked(event.Tracked{Record: []byte("r"), Board: []byte("board " + n)}),
			Header: nats.Header{"Nats-Rollup": {"sub"}, event.RevisionHeader: {n}},
		}))
	}
	if got, n, err := r.Tracked(t.Context(), "a"); err != nil || n != 7 || string(got.Board) != "board 7" {
		t.Errorf("revision %d, %q, %v", n, got.Board, err)
	}
}
