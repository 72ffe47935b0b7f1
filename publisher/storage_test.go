package publisher

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestLittleRoomStopsPublishingUntilThereIsMore(t *testing.T) {
	t.Parallel()
	w := newWorker(t, "", embedded(t.TempDir())).open()
	var free atomic.Int64
	free.Store(math.MaxInt64)
	asked := make(chan struct{}, 1)
	w.pub.free = func(string) (int64, error) {
		n := free.Load()
		if n == 0 {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
		return n, nil
	}
	w.run()
	w.wait(w.pub.Ready(), "ready")
	o := observe(t, connectTo(t, w.pub.URL()), "rankwatch")
	want := w.commit("a", 2)
	o.expect(want)
	free.Store(0)
	want = append(want, w.commit("a", 2)...)
	w.wait(asked, "look at the disk")
	w.wait(asked, "second look at the disk")
	if s := w.pub.Stats(); !s.StorageBlocked {
		t.Fatalf("not blocked: %+v", s)
	}
	if got := o.seen(); len(got) != 3 {
		t.Fatalf("%d messages went out without room", len(got))
	}
	free.Store(math.MaxInt64)
	w.drained()
	o.expect(want)
	want = append(want, w.commit("a", 2)...)
	o.expect(want)
	if s := w.pub.Stats(); s.StorageBlocked {
		t.Fatalf("still blocked: %+v", s)
	}
}

func TestStorageErrorRestartsTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	for _, code := range []jetstream.ErrorCode{codeStoreFailed, codeInsufficient} {
		for _, persisted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/persisted=%t", code, persisted), func(t *testing.T) {
				t.Parallel()
				w := newWorker(t, "", embedded(t.TempDir())).open()
				before := w.pub.server.current()
				want := w.commit("a", 2)
				want = append(want, w.commit("a", 3)...)
				lose(w.pub, &jetstream.APIError{Code: 503, ErrorCode: code}, persisted, 1)
				w.run()
				w.drained()
				if w.pub.server.current() == before {
					t.Fatal("the server was not restarted")
				}
				same(t, "consumer", history(t, connectTo(t, w.pub.URL()), "RANKWATCH", "rankwatch"), want)
			})
		}
	}
}

func TestFreeSpace(t *testing.T) {
	if n, err := freeSpace(t.TempDir()); err != nil || n <= 0 {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := freeSpace(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("missing directory: %v", err)
	}
}
