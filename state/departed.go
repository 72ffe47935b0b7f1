package state

import (
	"bytes"
	"time"

	"go.etcd.io/bbolt"
)

// Departed returns what is remembered of those of uids that dropped out of
// watchlist no longer than Config.Retention before now.
func (db *DB) Departed(watchlist string, uids []string, now time.Time) (map[string]Departure, error) {
	if err := checkName(watchlist); err != nil {
		return nil, err
	}
	found := make(map[string]Departure)
	if len(uids) == 0 {
		return found, nil
	}
	err := db.view("read departures", watchlist, func(tx *bbolt.Tx) error {
		for _, uid := range uids {
			key := departedKey(watchlist, uid)
			body, err := get(tx, bucketDeparted, key)
			if err != nil {
				return err
			}
			if body == nil {
				continue
			}
			d, err := parseDeparture(uid, body)
			if err != nil {
				return malformed(bucketDeparted, key, err)
			}
			if db.cfg.Retention == 0 || now.Sub(d.At) <= db.cfg.Retention {
				found[uid] = d
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (t *txn) putDeparted(watchlist string, all []Departure) error {
	for _, d := range all {
		if err := t.put(bucketDeparted, departedKey(watchlist, d.UID), d.append); err != nil {
			return err
		}
	}
	return nil
}

// replaceDeparted forgets all departures of watchlist but those in all.
func (t *txn) replaceDeparted(watchlist string, all []Departure) error {
	prefix := departedKey(watchlist, "")
	var old [][]byte
	c := t.tx.Bucket([]byte(bucketDeparted)).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		old = append(old, bytes.Clone(k))
	}
	for _, k := range old {
		if err := t.delete(bucketDeparted, k); err != nil {
			return err
		}
	}
	return t.putDeparted(watchlist, all)
}

// How much of the departures one transaction of Sweep reads and deletes.
const (
	sweepReads   = 8192
	sweepDeletes = 512
)

// Sweep forgets the departures before cutoff. It takes many small
// transactions, so that commits get their turn; after an error some departures
// may be left.
func (db *DB) Sweep(cutoff time.Time) error {
	var last []byte
	for {
		old, next, err := db.departedBefore(cutoff, last)
		if err != nil {
			return err
		}
		if len(old) > 0 {
			if err := db.forget(old, cutoff); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		last = next
	}
}

// departedBefore returns the keys of some departures after key last that are
// before cutoff, and the key to go on from, nil at the end.
func (db *DB) departedBefore(cutoff time.Time, last []byte) (old [][]byte, next []byte, err error) {
	err = db.view("sweep departures", "", func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketDeparted)).Cursor()
		read := 0
		for k, v := after(c, last); k != nil; k, v = c.Next() {
			expired, err := departed(k, v, cutoff)
			if err != nil {
				return err
			}
			if expired {
				old = append(old, bytes.Clone(k))
			}
			if read++; read >= sweepReads || len(old) >= sweepDeletes {
				next = bytes.Clone(k)
				return nil
			}
		}
		return nil
	})
	return old, next, err
}

func departed(k, v []byte, cutoff time.Time) (before bool, err error) {
	body, err := unseal(bucketDeparted, k, v)
	if err != nil {
		return false, err
	}
	d, err := parseDeparture("", body)
	return d.At.Before(cutoff), malformed(bucketDeparted, k, err)
}

func (db *DB) forget(keys [][]byte, cutoff time.Time) error {
	return db.update("sweep departures", "", func(t *txn) error {
		b := t.tx.Bucket([]byte(bucketDeparted))
		for _, k := range keys {
			v := b.Get(k)
			if v == nil {
				continue
			}
			// It may have dropped out again since it was read.
			expired, err := departed(k, v, cutoff)
			if err != nil {
				return err
			}
			if !expired {
				continue
			}
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}
