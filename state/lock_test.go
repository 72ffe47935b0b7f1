package state

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// locked takes the lock of dir and returns what gives it back.
func locked(t *testing.T, dir string) (unlock func()) {
	t.Helper()
	release, err := Lock(dir)
	ok(t, err)
	return func() { t.Helper(); ok(t, release()) }
}

func TestALockKeepsEverybodyOutUntilItIsReleased(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ok(t, openDB(t, Config{Dir: dir}).Close())
	unlock := locked(t, dir)
	for who, enter := range map[string]func() error{
		"a worker":     func() error { _, err := Open(Config{Dir: dir}); return err },
		"a reader":     func() error { _, err := OpenReadOnly(dir); return err },
		"another lock": func() error { _, err := Lock(dir); return err },
	} {
		if err := enter(); !errors.Is(err, ErrLocked) {
			t.Errorf("%s came in: %v", who, err)
		}
	}
	unlock()
	db := openDB(t, Config{Dir: dir})
	_, err := Lock(dir)
	wantErr(t, err, ErrLocked)
	ok(t, db.Close())
	locked(t, dir)()
}

func TestALockLeavesTheStateAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := openDB(t, Config{Dir: dir})
	ok(t, db.Commit(Commit{Watchlist: "us", At: time.Now(), Tracked: event.Tracked{Record: []byte("{}"), Board: []byte("b")}}))
	ok(t, db.Close())
	path := filepath.Join(dir, FileName)
	before, err := os.ReadFile(path)
	ok(t, err)
	locked(t, dir)()
	after, err := os.ReadFile(path)
	ok(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the state changed")
	}
}

func TestALockWhereNoStateIsLeavesNone(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"no file": t.TempDir(), "an empty file": t.TempDir()} {
		if name == "an empty file" {
			ok(t, os.WriteFile(filepath.Join(dir, FileName), nil, 0o600))
		}
		locked(t, dir)()
		if _, err := OpenReadOnly(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a reader finds one: %v", name, err)
		}
		ok(t, openDB(t, Config{Dir: dir}).Check())
	}
	_, err := Lock(filepath.Join(t.TempDir(), "gone"))
	wantErr(t, err, fs.ErrNotExist)
}
