package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Watchers commit, a publisher drains, and others look on.
func TestConcurrentUse(t *testing.T) {
	defer goleak.VerifyNone(t)
	db, err := Open(Config{Dir: t.TempDir(), Keep: 20_000})
	ok(t, err)
	const lists, revisions = 4, 25
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	committed := make(chan struct{}, lists*revisions)
	for i := range lists {
		id := event.Chain{Watchlist: fmt.Sprint("list-", i), Kind: event.Board}
		g.Go(func() error {
			for r := uint64(1); r <= revisions; r++ {
				if err := tryCommit(db, batch(id, r, 3000)); err != nil {
					return err
				}
				committed <- struct{}{}
			}
			return nil
		})
	}
	published := make(map[event.Chain]uint64)
	g.Go(func() error {
		for n := 0; n < lists*revisions; {
			select {
			case <-committed:
			case <-ctx.Done():
				return ctx.Err()
			}
			k, err := drain(db, published)
			if err != nil {
				return err
			}
			n += k
		}
		return nil
	})
	g.Go(func() error {
		for {
			d := db.Backlog()
			if d.Bytes != int64(d.Batches)*3000 {
				return fmt.Errorf("%d bytes in %d batches", d.Bytes, d.Batches)
			}
			a, found, err := db.Newest()
			if err != nil || ctx.Err() != nil || found && a.Revision == revisions && d.Batches == 0 {
				return errors.Join(err, ctx.Err())
			}
		}
	})
	ok(t, g.Wait())
	for id, r := range published {
		want(t, id.Watchlist, r, uint64(revisions))
	}
	ok(t, db.Check())
	ok(t, db.Close())
}

// drain publishes all that waits and checks its order.
func drain(db *DB, published map[event.Chain]uint64) (int, error) {
	q, err := db.Queue(3)
	if err != nil || len(q) == 0 {
		return 0, err
	}
	var acks []Ack
	for _, i := range q {
		b, err := db.Batch(i.Order)
		if err != nil {
			return 0, err
		}
		if published[b.Chain]++; published[b.Chain] != b.Revision {
			return 0, fmt.Errorf("%v is out of order", b.Chain)
		}
		acks = append(acks, ackOf(i, i.Order))
	}
	if err := db.Acknowledge(acks...); err != nil {
		return 0, err
	}
	more, err := drain(db, published)
	return len(q) + more, err
}

// A disk error after the last write can leave a transaction stored whose
// commit has failed. The index must then follow the file, not the error.
func TestIndexFollowsTheFile(t *testing.T) {
	db := openDB(t, Config{})
	commit(t, db, boards, 1)
	before := db.ix
	ok(t, db.bolt.Update(func(tx *bbolt.Tx) error { // behind the index's back
		l, err := getList(tx, "us")
		ok(t, err)
		t1 := &txn{tx: tx}
		return t1.commit(Commit{Watchlist: "us", Batches: []event.Batch{batch(boards, 2, 100)}, At: noon}, l)
	}))
	ok(t, db.reload())
	if db.ix == before {
		t.Fatal("index was not read again")
	}
	want(t, "queue", waiting(t, db, 0), "b/us:1 b/us:2")
	want(t, "revision", load(t, db, "us").Revision, uint64(2))
	wantErr(t, db.Commit(Commit{Watchlist: "us", Version: 1, Batches: []event.Batch{batch(boards, 2, 100)}}), ErrStale)
	commit(t, db, boards, 3)
	ack(t, db, 3)
}

func TestFailedWriteReadsTheIndexAgain(t *testing.T) {
	db, err := Open(Config{Dir: t.TempDir()})
	ok(t, err)
	commit(t, db, boards, 1)
	before := db.ix
	wantErr(t, db.Commit(Commit{Watchlist: "us"}), ErrStale)
	if db.ix != before {
		t.Fatal("index was read again for nothing")
	}
	ok(t, db.file.Close()) // what is mapped stays readable
	wantErr(t, tryCommit(db, batch(boards, 2, 100)), os.ErrClosed)
	if db.ix == before {
		t.Fatal("index was not read again")
	}
	want(t, "queue", waiting(t, db, 0), "b/us:1")
	if err := db.Close(); err == nil {
		t.Fatal("closed a file twice")
	}
}
