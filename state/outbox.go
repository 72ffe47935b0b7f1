package state

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Queue returns the first max waiting batches in the order in which they have
// to go out, or all if max is 0. It passes over the board chains of blocked
// watchlists.
func (db *DB) Queue(max int) ([]Info, error) {
	if err := db.usable(); err != nil {
		return nil, db.explain("read queue", "", err)
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	if max <= 0 || max > len(db.ix.waiting.entries) {
		max = len(db.ix.waiting.entries)
	}
	q := make([]Info, 0, max)
	for _, e := range db.ix.waiting.entries {
		if len(q) == max {
			break
		}
		if _, ok := db.blocked[e.Chain.Watchlist]; ok && e.Chain.Kind == event.Board {
			continue
		}
		q = append(q, e.Info)
	}
	return q, nil
}

// Kept returns the acknowledged batches of a chain that are still stored, by
// revision.
func (db *DB) Kept(id event.Chain) ([]Info, error) {
	if err := db.usable(); err != nil {
		return nil, db.explain("read kept batches", id.Watchlist, err)
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	kept, _ := db.ix.split(id)
	all := make([]Info, len(kept))
	for i, e := range kept {
		all[i] = e.Info
	}
	return all, nil
}

// Batch returns a waiting or kept batch with its messages; ErrNotFound if it
// is neither.
func (db *DB) Batch(order uint64) (event.Batch, error) {
	var b event.Batch
	err := db.view("read batch", fmt.Sprint(order), func(tx *bbolt.Tx) error {
		i, err := findInfo(tx, order)
		if err != nil {
			return err
		}
		b, err = readBatch(tx, i)
		return err
	})
	if err != nil {
		return event.Batch{}, err
	}
	return b, nil
}

func findInfo(tx *bbolt.Tx, order uint64) (Info, error) {
	key := orderKey(order)
	for _, name := range []string{bucketWaiting, bucketKept} {
		if v := tx.Bucket([]byte(name)).Get(key); v != nil {
			return readInfo(name, key, v)
		}
	}
	return Info{}, ErrNotFound
}

func readBatch(tx *bbolt.Tx, i Info) (event.Batch, error) {
	key := orderKey(i.Order)
	body, err := getLarge(tx, bucketPayloads, key)
	if err != nil {
		return event.Batch{}, err
	}
	ms, err := parseMessages(bytes.Clone(body))
	if err != nil {
		return event.Batch{}, malformed(bucketPayloads, key, err)
	}
	trace, err := getTrace(tx, key)
	if err != nil {
		return event.Batch{}, err
	}
	b := event.Batch{Order: i.Order, Chain: i.Chain, Revision: i.Revision, TraceParent: trace, Messages: ms}
	if len(ms) != i.Messages || b.Size() != i.Bytes {
		return event.Batch{}, malformed(bucketPayloads, key, errMalformed)
	}
	return b, nil
}

// Acked returns the last batch of a chain that the stream is known to hold;
// false if it holds none.
func (db *DB) Acked(id event.Chain) (Ack, bool, error) {
	if err := checkChain(id); err != nil {
		return Ack{}, false, err
	}
	var c chain
	err := db.view("read acknowledged", id.Watchlist, func(tx *bbolt.Tx) (err error) {
		_, c, err = getChain(tx, id)
		return err
	})
	if err != nil {
		return Ack{}, false, err
	}
	return c.acked, c.acked.Revision > 0, nil
}

// Newest returns, of the batches that Acked returns for all chains, the one
// with the highest sequence; false if there is none.
func (db *DB) Newest() (Ack, bool, error) {
	var newest Ack
	err := db.view("read newest", "", func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketChains)).ForEach(func(k, v []byte) error {
			body, err := unseal(bucketChains, k, v)
			if err != nil {
				return err
			}
			id, err := parseChainKey(k)
			if err != nil {
				return malformed(bucketChains, k, err)
			}
			c, err := parseChain(id, body)
			if err != nil {
				return malformed(bucketChains, k, err)
			}
			if c.acked.Revision > 0 && c.acked.Sequence >= newest.Sequence {
				newest = c.acked
			}
			return nil
		})
	})
	if err != nil {
		return Ack{}, false, err
	}
	return newest, newest.Revision > 0, nil
}

// Acknowledge records in one transaction that the stream holds these batches,
// which all waited; ErrNotFound if one did not. A batch can only be in the
// stream behind the one before it, so all that waited before it on its chain
// counts as acknowledged too. The batches are kept as long as Config.Keep
// allows.
func (db *DB) Acknowledge(acks ...Ack) error {
	if len(acks) == 0 {
		return nil
	}
	return db.update("acknowledge", acks[0].Chain.Watchlist, func(t *txn) error {
		var moved []*entry
		done := make(map[uint64]struct{}, len(acks))
		for _, a := range acks {
			more, err := t.acknowledge(a, done)
			if err != nil {
				return err
			}
			moved = append(moved, more...)
		}
		t.after = append(t.after, func(ix *index) {
			for _, e := range moved {
				ix.setWaiting(e, false)
			}
			db.refused = false
		})
		// Twice what came in keeps up with any change of the limit, and keeps
		// one call from paying for thousands.
		return t.trim(t.ix.excess(moved, db.cfg.Keep, 2*len(moved)+16))
	})
}

// acknowledge records a and returns the batches that no longer wait. done has
// those of the same transaction.
func (t *txn) acknowledge(a Ack, done map[uint64]struct{}) ([]*entry, error) {
	if err := checkChain(a.Chain); err != nil {
		return nil, err
	}
	_, waiting := t.ix.split(a.Chain)
	var moved []*entry
	var last *entry
	for _, e := range waiting {
		if e.Order > a.Order {
			break
		}
		last = e
		if _, ok := done[e.Order]; ok {
			continue
		}
		done[e.Order] = struct{}{}
		moved = append(moved, e)
	}
	if last == nil || last.Order != a.Order || len(moved) == 0 {
		return nil, fmt.Errorf("%w: batch %d of %s does not wait", ErrNotFound, a.Order, chainKey(a.Chain))
	}
	if last.Revision != a.Revision {
		return nil, fmt.Errorf("%w: batch %d of %s is %d, not %d", ErrRevision, a.Order, chainKey(a.Chain), last.Revision, a.Revision)
	}
	for _, e := range moved {
		if err := t.move(e, bucketWaiting, bucketKept); err != nil {
			return nil, err
		}
	}
	return moved, t.setAcked(a.Chain, a)
}

// move puts a batch's entry, which is small, into the other bucket; its
// payload stays where it is.
func (t *txn) move(e *entry, from, to string) error {
	key := orderKey(e.Order)
	if err := t.delete(from, key); err != nil {
		return err
	}
	return t.put(to, key, e.Info.append)
}

func (t *txn) setAcked(id event.Chain, a Ack) error {
	l, c, err := getChain(t.tx, id)
	if err != nil {
		return err
	}
	if err := l.check(hasChain(id.Kind), true, bucketChains, chainKey(id)); err != nil {
		return err
	}
	c.acked = a
	return t.putChain(id, c)
}

// trim deletes kept batches, the first of their chains.
func (t *txn) trim(old []*entry) error {
	for _, e := range old {
		if err := t.deleteBatch(bucketKept, e.Order); err != nil {
			return err
		}
	}
	t.after = append(t.after, func(ix *index) {
		for _, e := range old {
			ix.drop(e)
		}
	})
	return nil
}

func (t *txn) deleteBatch(bucket string, order uint64) error {
	key := orderKey(order)
	if err := t.delete(bucket, key); err != nil {
		return err
	}
	return t.deleteLarge(bucketPayloads, key)
}
