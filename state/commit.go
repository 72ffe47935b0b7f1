package state

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Loaded is all that is stored of a watchlist, apart from its batches. Of one
// that nothing was ever stored of, Lineage is 1 and the rest is zero.
type Loaded struct {
	event.Tracked
	Known   bool   // a record exists
	Version uint64 // counts Commit, Adopt and Break; 0 before the first

	Revision, Statuses uint64 // of the last batch committed, by chain; 0 none
	Lineage            int    // of the board chain, from 1
	Broken             bool   // the next board must be a baseline `restored`
	StreamRevision     uint64 // with Broken: of the last board in the stream; 0 none
	Fenced             bool   // see Block
}

// Load returns what is stored of watchlist.
func (db *DB) Load(watchlist string) (Loaded, error) {
	if err := checkName(watchlist); err != nil {
		return Loaded{}, err
	}
	var l Loaded
	err := db.view("load", watchlist, func(tx *bbolt.Tx) error {
		rec, boards, err := getChain(tx, event.Chain{Watchlist: watchlist, Kind: event.Board})
		if err != nil {
			return err
		}
		statuses, err := getChainOf(tx, rec, event.Chain{Watchlist: watchlist, Kind: event.Status})
		if err != nil {
			return err
		}
		board, err := getBoard(tx, rec, watchlist)
		if err != nil {
			return err
		}
		l = Loaded{
			Tracked: event.Tracked{Board: bytes.Clone(board)},
			Known:   rec.has&hasRecord != 0, Version: rec.version,
			Revision: boards.last, Statuses: statuses.last,
			Lineage: boards.lineage + 1, Broken: boards.broken, StreamRevision: boards.streamRevision,
		}
		if l.Known {
			l.Record = append([]byte{}, rec.record...)
		}
		return nil
	})
	l.Fenced = db.isBlocked(watchlist)
	return l, err
}

// recordsPerView bounds how long Records keeps a transaction open.
const recordsPerView = 1024

// Records calls fn with the record of each watchlist that has one, by name,
// and stops at its first error. Fn may keep what it is given and may call the
// DB; what is committed meanwhile may or may not be seen.
func (db *DB) Records(fn func(watchlist string, record []byte) error) error {
	type item struct {
		name   string
		record []byte
	}
	var last []byte
	for {
		var found []item
		more := false
		err := db.view("read records", "", func(tx *bbolt.Tx) error {
			c := tx.Bucket([]byte(bucketLists)).Cursor()
			k, v := after(c, last)
			for n := 0; k != nil; k, v = c.Next() {
				if n++; n > recordsPerView {
					more = true
					return nil
				}
				last = bytes.Clone(k)
				body, err := unseal(bucketLists, k, v)
				if err != nil {
					return err
				}
				l, err := parseList(body)
				if err != nil {
					return malformed(bucketLists, k, err)
				}
				if l.has&hasRecord != 0 {
					found = append(found, item{string(k), append([]byte{}, l.record...)})
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, i := range found {
			if err := fn(i.name, i.record); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// after moves c to the first key after last, or to the first of all if last
// is nil.
func after(c *bbolt.Cursor, last []byte) (k, v []byte) {
	if last == nil {
		return c.First()
	}
	k, v = c.Seek(last)
	if bytes.Equal(k, last) {
		return c.Next()
	}
	return k, v
}

// A Commit is one reading's outcome, or a change of condition.
type Commit struct {
	Watchlist string
	// Version is what Load returned.
	Version uint64
	// Tracked replaces what is stored; a nil Record or Board leaves the stored
	// one as it is.
	Tracked event.Tracked
	// Batches continue the watchlist's chains. Their Order is not read.
	Batches []event.Batch
	// Departed replaces what is remembered of these creators.
	Departed []Departure
	// At is when the reading was made.
	At time.Time
}

func (c Commit) check() error {
	if err := checkName(c.Watchlist); err != nil {
		return err
	}
	for _, b := range c.Batches {
		if err := checkChain(b.Chain); err != nil {
			return err
		}
		if b.Chain.Watchlist != c.Watchlist {
			return fmt.Errorf("state: commit %s: batch of watchlist %q", c.Watchlist, b.Chain.Watchlist)
		}
		if len(b.Messages) == 0 || b.Fence().Role != event.Fence {
			return fmt.Errorf("state: commit %s: batch %d does not end in a fence", c.Watchlist, b.Revision)
		}
	}
	for _, d := range c.Departed {
		if len(d.UID) > event.MaxUID || d.UID == "" {
			return fmt.Errorf("state: commit %s: departure with a uid of %d bytes", c.Watchlist, len(d.UID))
		}
	}
	return nil
}

// ofBoard reports whether c is about the board and not only about a status.
func (c Commit) ofBoard() bool {
	for _, b := range c.Batches {
		if b.Chain.Kind == event.Board {
			return true
		}
	}
	return c.Tracked.Board != nil
}

// Commit stores c in one transaction: all of it, or after an error nothing.
// ErrStale, ErrFenced, ErrFull and ErrRevision are about c. After an error of
// the disk c may be stored all the same: Load tells, by its Version.
func (db *DB) Commit(c Commit) error {
	if err := c.check(); err != nil {
		return err
	}
	err := db.update("commit", c.Watchlist, func(t *txn) error {
		l, err := getList(t.tx, c.Watchlist)
		if err != nil {
			return err
		}
		if l.version != c.Version {
			return fmt.Errorf("%w: %d, and the stored one is %d", ErrStale, c.Version, l.version)
		}
		if c.ofBoard() && db.isBlocked(c.Watchlist) {
			return ErrFenced
		}
		if err := db.room(t.ix, c.Batches); err != nil {
			return err
		}
		return t.commit(c, l)
	})
	if errors.Is(err, ErrFull) {
		db.mu.Lock()
		db.refused = true
		db.mu.Unlock()
	}
	return err
}

// room returns ErrFull if batches don't fit into the backlog. A single batch
// larger than the whole backlog must still get through.
func (db *DB) room(ix *index, batches []event.Batch) error {
	waiting := ix.waiting.bytes
	if waiting == 0 || len(batches) == 0 {
		return nil
	}
	var boards, all int64
	for _, b := range batches {
		n := int64(b.Size())
		all += n
		if b.Chain.Kind == event.Board {
			boards += n
		}
	}
	if boards > 0 && waiting+boards > db.cfg.Backlog || waiting+all > db.cfg.Backlog+statusReserve {
		return fmt.Errorf("%w: %d bytes wait for the stream, %d more are above the limit of %d", ErrFull, waiting, all, db.cfg.Backlog)
	}
	return nil
}

func (t *txn) commit(c Commit, l list) error {
	for _, b := range c.Batches {
		if err := t.enqueue(b, c.At, l); err != nil {
			return err
		}
		l.has |= hasChain(b.Chain.Kind)
	}
	if err := t.putTracked(c.Watchlist, l, c.Tracked); err != nil {
		return err
	}
	return t.putDeparted(c.Watchlist, c.Departed)
}

// putTracked stores l as the next version, with what of tracked is not nil.
func (t *txn) putTracked(watchlist string, l list, tracked event.Tracked) error {
	l.version++
	if tracked.Record != nil {
		l.has |= hasRecord
		l.record = tracked.Record
	}
	if tracked.Board != nil {
		l.has |= hasBoard
		err := t.putLarge(bucketBoards, []byte(watchlist), func(b []byte) []byte { return append(b, tracked.Board...) })
		if err != nil {
			return err
		}
	}
	return t.putList(watchlist, l)
}

// enqueue stores a batch that goes on its chain. l is the watchlist as it is
// in this transaction.
func (t *txn) enqueue(b event.Batch, at time.Time, l list) error {
	c, err := getChainOf(t.tx, l, b.Chain)
	if err != nil {
		return err
	}
	if b.Revision != c.last+1 {
		return fmt.Errorf("%w: %s batch %d after %d", ErrRevision, b.Chain.Kind, b.Revision, c.last)
	}
	c.last++
	if b.Chain.Kind == event.Board {
		c.broken, c.streamRevision = false, 0
	}
	if err := t.putChain(b.Chain, c); err != nil {
		return err
	}
	order, err := t.tx.Bucket([]byte(bucketPayloads)).NextSequence()
	if err != nil {
		return err
	}
	i := Info{Order: order, Chain: b.Chain, Revision: b.Revision, Messages: len(b.Messages), Bytes: b.Size(), At: at.UTC()}
	key := orderKey(order)
	if err := t.put(bucketWaiting, key, i.append); err != nil {
		return err
	}
	t.after = append(t.after, func(ix *index) { ix.add(&entry{Info: i, waiting: true}) })
	if err := t.putLarge(bucketPayloads, key, func(v []byte) []byte { return appendMessages(v, b.Messages) }); err != nil {
		return err
	}
	return t.putTrace(key, b.TraceParent)
}
