package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// mountSmall mounts a file system of size bytes; only the superuser may.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("needs the right to mount a small file system:", err)
	}
	t.Cleanup(func() { ok(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := mountSmall(t, "4m")
	ballast := filepath.Join(dir, "ballast")
	ok(t, os.WriteFile(ballast, make([]byte, 2<<20), 0o600))
	db := openDB(t, Config{Dir: dir})

	full := func() uint64 {
		t.Helper()
		for {
			l := load(t, db, "us")
			err := db.Commit(Commit{
				Watchlist: "us", Version: l.Version, At: noon, Tracked: event.Tracked{Record: []byte{byte(l.Version + 1)}},
				Batches: []event.Batch{batch(boards, l.Revision+1, 100_000)},
			})
			if err == nil {
				continue
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			wantErr(t, err, syscall.ENOSPC, db.path, "commit us")
			want(t, "loaded", load(t, db, "us"), l)
			q, err := db.Queue(0)
			ok(t, err)
			want(t, "waiting", len(q), int(l.Revision))
			want(t, "record", l.Record, []byte{byte(l.Revision)})
			return l.Revision
		}
	}
	before := full()
	if before < 3 {
		t.Fatal("full after", before)
	}
	want(t, "again full", full(), before)
	if err := db.Writable(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	// What is stored can be read, and checked, while nothing can be written.
	_, err := db.Batch(before)
	ok(t, err)
	ok(t, db.Check())
	db = reopen(t, db)

	ok(t, os.Remove(ballast))
	if after := full(); after <= before {
		t.Fatalf("with room again, %d commits after %d", after, before)
	}
}

// Whatever a first start that found no room leaves must not look damaged.
func TestFullDiskAtTheStart(t *testing.T) {
	for _, free := range []int{0, 4 << 10, 8 << 10, 12 << 10, 16 << 10} {
		t.Run(fmt.Sprint(free), func(t *testing.T) {
			dir := mountSmall(t, "64k")
			ballast := filepath.Join(dir, "ballast")
			ok(t, os.WriteFile(ballast, make([]byte, 64<<10-free), 0o600))
			_, err := Open(Config{Dir: dir})
			wantErr(t, err, syscall.ENOSPC, dir)
			_, err = OpenReadOnly(dir)
			wantErr(t, err, fs.ErrNotExist)
			ok(t, os.Remove(ballast))
			db := openDB(t, Config{Dir: dir})
			commit(t, db, boards, 1)
		})
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := mountSmall(t, "1m")
	db := openDB(t, Config{Dir: dir})
	commit(t, db, boards, 1)
	ok(t, db.Close())
	ok(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, err := Open(Config{Dir: dir})
	wantErr(t, err, ErrReadOnly, dir, "let this user write there")
	_, err = Open(Config{Dir: filepath.Join(dir, "sub")})
	wantErr(t, err, ErrReadOnly)
	r, err := OpenReadOnly(dir)
	ok(t, err)
	want(t, "queue", waiting(t, r, 0), "b/us:1")
	ok(t, r.Close())
}
