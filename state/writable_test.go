package state

import (
	"errors"
	"testing"
)

func TestWritableChangesNothingThatIsStored(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{Dir: t.TempDir()})
	before := load(t, db, "us")
	for range 3 {
		ok(t, db.Writable())
	}
	want(t, "loaded", load(t, db, "us"), before)
	want(t, "waiting", db.Backlog().Batches, 0)
}

func TestAClosedStateIsNotWritable(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{Dir: t.TempDir()})
	ok(t, err)
	ok(t, db.Close())
	if err := db.Writable(); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}

func TestAStateOpenedForReadingIsNotWritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := Open(Config{Dir: dir})
	ok(t, err)
	ok(t, db.Close())
	db, err = OpenReadOnly(dir)
	ok(t, err)
	defer func() { ok(t, db.Close()) }()
	if err := db.Writable(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("%v, want ErrReadOnly", err)
	}
}
