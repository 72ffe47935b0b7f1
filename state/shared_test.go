package state

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
)

var errAmend = errors.New("no")

// Amend replaces a record, makes one, leaves it, or fails.
func (x *machine) Amend(t *rapid.T) {
	name := x.name(t)
	l := x.m.list(name)
	to := x.bytes(t, "record")
	fails := rapid.IntRange(0, 4).Draw(t, "fails") == 0
	calls := 0
	err := x.db.Amend(name, func(record []byte) ([]byte, error) {
		calls++
		x.same(t, "record to amend", record, l.record)
		for i := range record {
			record[i] = '!' // it is a copy
		}
		if fails {
			return []byte("never"), errAmend
		}
		return to, nil
	})
	if calls != 1 {
		t.Fatalf("asked %d times", calls)
	}
	if fails {
		wantErr(x.t, err, errAmend)
		return
	}
	x.check(t, err)
	if to != nil {
		l.record = to
		l.version++
	}
}

// checkShared compares what only workers that share ask for.
func (x *machine) checkShared(t *rapid.T) {
	for _, name := range []string{"a", "ab", "b", "never"} {
		waits := 0
		for _, k := range []event.Kind{event.Board, event.Status} {
			waits += len(x.m.of(event.Chain{Watchlist: name, Kind: k}, false))
		}
		n, err := x.db.Waiting(name)
		x.check(t, err)
		x.same(t, "waiting of "+name, n, waits)
		record, err := x.db.Record(name)
		x.check(t, err)
		var want []byte
		if l := x.m.lists[name]; l != nil {
			want = l.record
		}
		x.same(t, "record of "+name, record, want)
		for i := range record {
			record[i] = '!' // it is a copy
		}
	}
}

func TestAmendAndCommitDoNotLoseEachOther(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{})
	const each = 20
	done := make(chan error, 2)
	go func() {
		for range each {
			err := db.Amend("a", func(record []byte) ([]byte, error) { return append(record, 'x'), nil })
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	go func() {
		for n := 0; n < each; {
			l, err := db.Load("a")
			if err == nil {
				err = db.Commit(Commit{Watchlist: "a", Version: l.Version, Tracked: event.Tracked{Record: append(l.Record, 'y')}, At: noon})
			}
			if errors.Is(err, ErrStale) {
				continue
			}
			if err != nil {
				done <- err
				return
			}
			n++
		}
		done <- nil
	}()
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	record, err := db.Record("a")
	slices.Sort(record)
	if want := fmt.Sprintf("%s%s", chars('x', each), chars('y', each)); err != nil || string(record) != want {
		t.Errorf("record %s: %v", record, err)
	}
	if l, err := db.Load("a"); err != nil || l.Version != 2*each {
		t.Errorf("version %d: %v", l.Version, err)
	}
}

func chars(c byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = c
	}
	return b
}

func TestSharedAnswersAfterTheEnd(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{})
	for _, name := range []string{"", "\x00"} {
		if _, err := db.Record(name); err == nil {
			t.Errorf("the record of %q", name)
		}
		if err := db.Amend(name, func([]byte) ([]byte, error) { return nil, nil }); err == nil {
			t.Errorf("amended %q", name)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Waiting("a"); !errors.Is(err, ErrClosed) {
		t.Errorf("%d wait: %v", n, err)
	}
	if _, err := db.Record("a"); !errors.Is(err, ErrClosed) {
		t.Errorf("record: %v", err)
	}
	if err := db.Amend("a", func([]byte) ([]byte, error) { return []byte("r"), nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("amend: %v", err)
	}
}
