package state

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Waiting returns how many batches of a watchlist wait for the stream, of all its
// chains.
func (db *DB) Waiting(watchlist string) (int, error) {
	if err := db.usable(); err != nil {
		return 0, db.explain("count batches", watchlist, err)
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	n := 0
	for _, k := range []event.Kind{event.Board, event.Status} {
		_, waiting := db.ix.split(event.Chain{Watchlist: watchlist, Kind: k})
		n += len(waiting)
	}
	return n, nil
}

// Record returns the record of a watchlist, nil if it has none.
func (db *DB) Record(watchlist string) ([]byte, error) {
	if err := checkName(watchlist); err != nil {
		return nil, err
	}
	var record []byte
	err := db.view("read record", watchlist, func(tx *bbolt.Tx) error {
		l, err := getList(tx, watchlist)
		if err == nil && l.has&hasRecord != 0 {
			record = append([]byte{}, l.record...)
		}
		return err
	})
	return record, err
}

// Amend replaces the record of a watchlist by what change makes of it, as a new
// version. Change is given nil if there is no record, and changes nothing by
// returning nil.
func (db *DB) Amend(watchlist string, change func(record []byte) ([]byte, error)) error {
	if err := checkName(watchlist); err != nil {
		return err
	}
	return db.update("amend", watchlist, func(t *txn) error {
		l, err := getList(t.tx, watchlist)
		if err != nil {
			return err
		}
		var was []byte
		if l.has&hasRecord != 0 {
			was = append([]byte{}, l.record...)
		}
		now, err := change(was)
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
		if now == nil {
			return nil
		}
		return t.putTracked(watchlist, l, event.Tracked{Record: now})
	})
}
