package watcher

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// watch starts a fileWatch and returns what it finds.
func watch(t *testing.T, w *fileWatch) <-chan string {
	t.Helper()
	before := goleak.IgnoreCurrent()
	found := make(chan string, 100)
	w.changed = func(data []byte) { found <- string(data) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		goleak.VerifyNone(t, before)
	})
	return found
}

func expect(t *testing.T, found <-chan string, want string) {
	t.Helper()
	select {
	case got := <-found:
		if got != want {
			t.Fatalf("found %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing found, want %q", want)
	}
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// notified watches by notification alone: the poll is too slow to help.
func notified(path, known string) *fileWatch {
	return &fileWatch{path: path, known: []byte(known), settle: 20 * time.Millisecond, poll: time.Hour}
}

// polled watches by looking alone: it never settles.
func polled(path, known string) *fileWatch {
	return &fileWatch{path: path, known: []byte(known), settle: time.Hour, poll: 20 * time.Millisecond}
}

func TestChangeBeforeWatching(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.yaml")
	write(t, path, "two")
	expect(t, watch(t, notified(path, "one")), "two")
}

func TestChangesAreFound(t *testing.T) {
	for name, watcher := range map[string]func(path, known string) *fileWatch{"notified": notified, "polled": polled} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "w.yaml")
			write(t, path, "one")
			found := watch(t, watcher(path, "one"))

			write(t, path, "in place")
			expectAtLast(t, found, "in place")

			write(t, filepath.Join(dir, ".w.swp"), "renamed")
			must(t, os.Rename(filepath.Join(dir, ".w.swp"), path))
			expect(t, found, "renamed")

			must(t, os.Rename(path, path+"~"))
			write(t, filepath.Join(dir, "new"), "after being away")
			must(t, os.Rename(filepath.Join(dir, "new"), path))
			expect(t, found, "after being away")

			// The same content again is no change; the next one is.
			must(t, os.Remove(path))
			write(t, filepath.Join(dir, "new"), "after being away")
			must(t, os.Rename(filepath.Join(dir, "new"), path))
			write(t, filepath.Join(dir, "new"), "last")
			must(t, os.Rename(filepath.Join(dir, "new"), path))
			expect(t, found, "last")
		})
	}
}

// expectAtLast lets a file that is written in place be seen half written.
func expectAtLast(t *testing.T, found <-chan string, want string) {
	t.Helper()
	for range 3 {
		select {
		case got := <-found:
			if got == want {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing found, want %q", want)
		}
	}
	t.Fatalf("never found %q", want)
}

// Kubernetes mounts file -> ..data/file and ..data -> ..2026_x, and swaps ..data
// by renaming.
func TestKubernetesSwap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, content string) {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "w.yaml"), content)
		must(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("..2026_1", "one")
	path := filepath.Join(dir, "w.yaml")
	must(t, os.Symlink(filepath.Join("..data", "w.yaml"), path))
	found := watch(t, notified(path, "one"))
	version("..2026_2", "two")
	expect(t, found, "two")
	version("..2026_3", "three")
	must(t, os.RemoveAll(filepath.Join(dir, "..2026_1")))
	expect(t, found, "three")
}

// A link into another directory tells nothing by itself; the poll finds it.
func TestLinkElsewhere(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target.yaml")
	write(t, target, "one")
	path := filepath.Join(t.TempDir(), "w.yaml")
	must(t, os.Symlink(target, path))
	w := notified(path, "one")
	w.poll = 20 * time.Millisecond
	found := watch(t, w)
	write(t, target+".new", "two")
	must(t, os.Rename(target+".new", target))
	expect(t, found, "two")
}

func TestDirectoryComesLaterAndAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf")
	path := filepath.Join(dir, "w.yaml")
	w := notified(path, "")
	w.poll = 20 * time.Millisecond
	found := watch(t, w)
	for _, content := range []string{"one", "two"} {
		staged := dir + ".new"
		must(t, os.Mkdir(staged, 0o700))
		write(t, filepath.Join(staged, "w.yaml"), content)
		must(t, os.RemoveAll(dir))
		must(t, os.Rename(staged, dir))
		expect(t, found, content)
	}
}

func TestWatchFileEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.yaml")
	write(t, path, "two")
	ctx, cancel := context.WithCancel(t.Context())
	known := []byte("one")
	var got string
	err := WatchFile(ctx, path, known, func(data []byte) {
		got = string(data)
		cancel()
	})
	if err != nil || got != "two" || string(known) != "one" {
		t.Errorf("got %q, %v", got, err)
	}
}
