//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A disk is a small file system that becomes full and empty at once: its size
// is changed under the worker.
type disk struct {
	t   *testing.T
	dir string
}

// diskSize is far above the publisher's reserve of 64 MiB and what the longest
// run writes. Only what is used takes memory.
const diskSize = 1 << 30

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, dir: t.TempDir()}
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskSize)); err != nil {
		t.Skipf("a small disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", d.dir, err)
		}
	})
	return d
}

// resize sets the size, which is no less than what is used.
func (d *disk) resize(size int64) error {
	return syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size))
}

// fill leaves about that many bytes.
func (d *disk) fill(leave int64) {
	d.t.Helper()
	for {
		err := d.resize(d.used() + max(leave, int64(os.Getpagesize())))
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EINVAL) { // the worker wrote something meanwhile
			d.t.Fatalf("fill the disk: %v", err)
		}
	}
}

// grows returns when something has just been written, and a while later.
func (d *disk) grows(later time.Duration) {
	d.t.Helper()
	before := d.used()
	tick := time.NewTicker(50 * time.Microsecond)
	defer tick.Stop()
	limit := time.After(patience)
	for d.used() <= before {
		select {
		case <-tick.C:
		case <-limit:
			d.t.Fatal("nothing is written any more")
		}
	}
	<-time.After(later)
}

func (d *disk) used() int64 {
	d.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	return int64(s.Blocks-s.Bfree) * s.Bsize
}

func (d *disk) free() {
	d.t.Helper()
	if err := d.resize(diskSize); err != nil {
		d.t.Fatalf("free the disk: %v", err)
	}
}

// The disk of the worker and its server is full again and again, at once and at
// moments when a reading is being stored or published, with from nothing to half
// of the publisher's reserve left, while the lists go on changing. Each time the
// worker says so and goes on when there is room; in the end the stream holds
// every revision once, and each is what the source showed.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	withoutDetector(t)
	if testing.Short() {
		t.Skip("takes a minute")
	}
	d := newDisk(t)
	v := newVictim(t, 53)
	binary, err := built.plain()
	if err != nil {
		t.Fatal(err)
	}
	v.setup.binary = binary
	address := free(t)
	v.setup.env["RANKWATCH_DATA_DIR"], v.setup.env["RANKWATCH_NATS_LISTEN"] = d.dir, address
	o := newObserver(connect(t, "nats://"+address), "rankwatch")
	o.subscribe(t)
	w := v.setup.start(t)
	w.listening(t)
	o.hears(t)
	o.consume(t, "RANKWATCH")
	v.told(o)
	amounts := []int64{0, 128 << 10, 32 << 20, 512 << 10, 40 << 10, 2 << 20}
	for i := range rounds(t) / 2 {
		leave := amounts[i%len(amounts)]
		f := v.feeds[v.random.IntN(len(v.feeds))]
		drain(f.served)
		if _, err := (&watch{name: "any", feed: f}).scan(); err != nil {
			t.Fatal(err)
		}
		from := w.logged.length()
		d.grows(time.Duration(v.random.IntN(8)) * time.Millisecond)
		d.fill(leave)
		said, err := w.saysOne(from, "no space left on device", "disk full", "storage error")
		if err != nil {
			t.Fatalf("with %d bytes left: %v", leave, err)
		}
		v.goOn(2)
		d.free()
		v.told(o)
		t.Logf("%d bytes left: %s", leave, said)
	}
	for _, text := range []string{"disk full", "there is room again"} {
		if err := w.say(text); err != nil {
			t.Error(err)
		}
	}
	v.settle(o)
	stored := history(t, o.nc, "RANKWATCH", "rankwatch")
	w.stop(t)
	v.judge(stored)
	t.Logf("the embedded server was restarted %d times", strings.Count(w.logged.tail(1<<30), "restarting the embedded nats server"))
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := subset(o.core, stored); err != nil {
		t.Error(err)
	}
}

// hears waits for the first message: then there is a stream.
func (o *observer) hears(t *testing.T) {
	t.Helper()
	for limit := time.After(patience); ; {
		o.mu.Lock()
		some, more := len(o.core) > 0, o.more
		o.mu.Unlock()
		if some {
			return
		}
		select {
		case <-more:
		case <-limit:
			t.Fatal("nothing is published")
		}
	}
}

func drain(c chan int) {
	for len(c) > 0 {
		<-c
	}
}

// goOn waits for n more readings of each list.
func (v *victim) goOn(n int) {
	v.t.Helper()
	for _, f := range v.feeds {
		drain(f.served)
	}
	for i, f := range v.feeds {
		for range n {
			if _, err := (&watch{name: fmt.Sprintf("list-%d", i), feed: f}).scan(); err != nil {
				v.t.Fatal(err)
			}
		}
	}
}

// told waits until each list that is being shown now, or a later one, is
// published.
func (v *victim) told(o *observer) {
	v.t.Helper()
	for i, f := range v.feeds {
		f.mu.Lock()
		last := f.next
		f.mu.Unlock()
		c := o.messages(fmt.Sprintf("list-%d", i))
		for n := -1; n < last; {
			m, err := next(c)
			if err != nil {
				v.t.Fatalf("list-%d: list %d is not published after there was room again: %v", i, last, err)
			}
			if strings.HasSuffix(m.subject, ".board") {
				if n, err = generation(m); err != nil {
					v.t.Fatal(err)
				}
			}
		}
	}
}

func (r *record) length() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Len()
}

// saysOne waits until one of the texts comes after what had been written by
// then, and returns its line.
func (w *worker) saysOne(from int, texts ...string) (string, error) {
	timeout := time.After(patience)
	for {
		w.logged.mu.Lock()
		lines, more := w.logged.text.String()[from:], w.logged.more
		w.logged.mu.Unlock()
		for line := range strings.Lines(lines) {
			if slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(line, s) }) {
				return strings.TrimSpace(line), nil
			}
		}
		select {
		case <-more:
		case <-w.exited:
			return "", fmt.Errorf("the worker ended by itself: %v", w.cmd.ProcessState)
		case <-timeout:
			return "", fmt.Errorf("the worker says none of %q", texts)
		}
	}
}
