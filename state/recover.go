package state

import (
	"errors"
	"fmt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Rewind makes the kept batches after to.Revision wait again, before the
// others of their chain, because the stream went back and holds no more than
// to; the zero Ack stands for nothing. If not all up to the last acknowledged
// batch are kept it returns ErrNotFound, and only Break is left.
//
// With the revision that is acknowledged already, it takes over its sequence.
func (db *DB) Rewind(id event.Chain, to Ack) error {
	if err := checkAck(id, to); err != nil {
		return err
	}
	return db.update("rewind", id.Watchlist, func(t *txn) error {
		_, c, err := getChain(t.tx, id)
		if err != nil {
			return err
		}
		if to.Revision > c.acked.Revision {
			return fmt.Errorf("%w: rewind of %s from %d to %d", ErrRevision, chainKey(id), c.acked.Revision, to.Revision)
		}
		if c.acked.Revision == 0 {
			return nil
		}
		kept, _ := t.ix.split(id)
		first := len(kept)
		for first > 0 && kept[first-1].Revision > to.Revision {
			first--
		}
		again := kept[first:]
		if uint64(len(again)) != c.acked.Revision-to.Revision {
			return fmt.Errorf("%w: of batches %d to %d of %s, %d are kept", ErrNotFound, to.Revision+1, c.acked.Revision, chainKey(id), len(again))
		}
		for _, e := range again {
			if err := t.move(e, bucketKept, bucketWaiting); err != nil {
				return err
			}
		}
		t.after = append(t.after, func(ix *index) {
			for _, e := range again {
				ix.setWaiting(e, true)
			}
		})
		c.acked = to
		return t.putChain(id, c)
	})
}

func checkAck(id event.Chain, a Ack) error {
	if err := checkChain(id); err != nil {
		return err
	}
	if a != (Ack{}) && a.Chain != id || a.Revision == 0 && a != (Ack{}) {
		return fmt.Errorf("state: acknowledgement of %s batch %d given for chain %s", chainKey(a.Chain), a.Revision, chainKey(id))
	}
	return nil
}

// Adopt takes over what another worker, or this one in a life it has
// forgotten, put into the stream: ack becomes the last batch of its chain, and
// all batches stored of that chain are dropped. The result counts those of
// them that had not been acknowledged.
//
// For a board chain it also replaces the record and the board by those of
// tracked, or forgets them if that is nil, and the departures; the chain is
// no longer broken, and its lineage is at least ack's. For a status chain
// tracked and departed are not read.
func (db *DB) Adopt(ack Ack, tracked *event.Tracked, departed []Departure) (dropped int, err error) {
	id := ack.Chain
	if err := checkAck(id, ack); err != nil {
		return 0, err
	}
	err = db.update("adopt", id.Watchlist, func(t *txn) error {
		l, c, err := getChain(t.tx, id)
		if err != nil {
			return err
		}
		if dropped, err = t.dropChain(db, id); err != nil {
			return err
		}
		c.last, c.acked = ack.Revision, ack
		l.has |= hasChain(id.Kind)
		if id.Kind == event.Status {
			return errors.Join(t.putChain(id, c), t.putTracked(id.Watchlist, l, event.Tracked{}))
		}
		c.broken, c.streamRevision = false, 0
		c.lineage = max(c.lineage, ack.Lineage-1)
		if err := t.putChain(id, c); err != nil {
			return err
		}
		return t.replaceTracked(id.Watchlist, l, tracked, departed)
	})
	if err != nil {
		return 0, err
	}
	return dropped, nil
}

func (t *txn) replaceTracked(watchlist string, l list, tracked *event.Tracked, departed []Departure) error {
	if err := t.deleteLarge(bucketBoards, []byte(watchlist)); err != nil {
		return err
	}
	if err := t.replaceDeparted(watchlist, departed); err != nil {
		return err
	}
	l.has &^= hasRecord | hasBoard
	l.record = nil
	if tracked == nil {
		return t.putTracked(watchlist, l, event.Tracked{})
	}
	l.has |= hasRecord
	return t.putTracked(watchlist, l, *tracked)
}

// Break gives up a chain's batches, because the stream holds something that
// they do not continue: stream, or nothing if that is the zero Ack. The
// chain's next batch comes after all revisions that either side has used. The
// result counts the dropped batches that had not been acknowledged.
//
// A board chain is broken from then on, and in a new lineage: its next board
// has to be a baseline `restored`. The record and the board stay.
func (db *DB) Break(id event.Chain, stream Ack) (dropped int, err error) {
	if err := checkAck(id, stream); err != nil {
		return 0, err
	}
	err = db.update("break", id.Watchlist, func(t *txn) error {
		l, c, err := getChain(t.tx, id)
		if err != nil {
			return err
		}
		if dropped, err = t.dropChain(db, id); err != nil {
			return err
		}
		l.has |= hasChain(id.Kind)
		c.last, c.acked = max(c.last, stream.Revision), stream
		if id.Kind == event.Board {
			c.lineage = max(c.lineage, stream.Lineage-1) + 1
			c.broken, c.streamRevision = true, stream.Revision
		}
		return errors.Join(t.putChain(id, c), t.putTracked(id.Watchlist, l, event.Tracked{}))
	})
	if err != nil {
		return 0, err
	}
	return dropped, nil
}

// dropChain deletes all batches of a chain and returns how many waited.
func (t *txn) dropChain(db *DB, id event.Chain) (int, error) {
	kept, waiting := t.ix.split(id)
	if err := t.trim(kept); err != nil {
		return 0, err
	}
	for _, e := range waiting {
		if err := t.deleteBatch(bucketWaiting, e.Order); err != nil {
			return 0, err
		}
	}
	t.after = append(t.after, func(ix *index) {
		for _, e := range waiting {
			ix.drop(e)
		}
		db.refused = false
	})
	return len(waiting), nil
}
