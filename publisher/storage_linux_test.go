package publisher

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"golang.org/x/sys/unix"
)

// tmpfs mounts a small file system; only root may.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill leaves that many bytes free on the disk of dir.
func fill(t *testing.T, dir string, leave int64) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	left, err := freeSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	if left > leave {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, left-leave); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Errorf("free: %v", err)
		}
	}
}

// The disk really fills up while a batch is stored.
func TestFullDiskInTheMiddleOfABatch(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	for _, leave := range []int64{300, 700, 1000, 1300, 1600, 2000} {
		t.Run(fmt.Sprintf("%d KiB", leave), func(t *testing.T) {
			dir := tmpfs(t, "48m")
			w := newWorker(t, "", embedded(dir))
			w.cfg.Reserve = 200 << 10
			w.cfg.Timeout = time.Second
			w.open()
			trouble := troubles(w.pub)
			w.run()
			want := w.commit("a", 10)
			w.drained()
			release := fill(t, dir, leave<<10)
			want = append(want, w.commit("a", 1000)...) // some 800 KiB, stored twice
			want = append(want, w.commit("a", 3)...)
			w.wait(trouble, "trouble")
			release()
			w.drained()
			want = append(want, w.commit("a", 3)...)
			w.drained()
			same(t, "consumer", history(t, connectTo(t, w.pub.URL()), "RANKWATCH", "rankwatch"), want)
			t.Logf("refusals %v", w.pub.Stats().Refusals)
		})
	}
}

// troubles tells when a publish fails or finds too little room.
func troubles(p *Publisher) <-chan struct{} {
	ch := make(chan struct{}, 1)
	tell := func() {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	send, free := p.send, p.free
	p.send = func(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error) {
		a, err := send(ctx, msgs)
		if err != nil {
			tell()
		}
		return a, err
	}
	p.free = func(dir string) (int64, error) {
		n, err := free(dir)
		if n < p.cfg.Reserve {
			tell()
		}
		return n, err
	}
	return ch
}
