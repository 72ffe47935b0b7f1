package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Check reads everything and returns all that is wrong: with bbolt's pages,
// with a value, with how batches and chains fit together, or with the index in
// memory. Commits wait meanwhile.
func (db *DB) Check() error {
	db.write.Lock()
	defer db.write.Unlock()
	return db.view("check", "", func(tx *bbolt.Tx) error {
		var all []error
		for err := range tx.Check() {
			all = append(all, fmt.Errorf("%w: %w", ErrDamaged, err))
		}
		if len(all) > 0 {
			return errors.Join(all...) // nothing further can be read safely
		}
		return errors.Join(checkValues(tx), checkBatches(tx, db.ix), checkChains(tx, db.ix))
	})
}

// checkValues reads the values that no batch refers to.
func checkValues(tx *bbolt.Tx) error {
	var all []error
	each := func(bucket string, read func(k, v []byte) error) {
		err := tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
			all = append(all, read(k, v))
			return nil
		})
		all = append(all, err)
	}
	each(bucketMeta, func(k, v []byte) error {
		_, err := unseal(bucketMeta, k, v)
		return err
	})
	// From both sides, so that neither a watchlist nor what is its is lost.
	each(bucketLists, func(k, _ []byte) error { return checkList(tx, string(k)) })
	each(bucketBoards, func(k, _ []byte) error { return checkList(tx, string(k)) })
	each(bucketChains, func(k, _ []byte) error {
		id, err := parseChainKey(k)
		return errors.Join(malformed(bucketChains, k, err), checkList(tx, id.Watchlist))
	})
	each(bucketDeparted, func(k, v []byte) error {
		body, err := unseal(bucketDeparted, k, v)
		if err != nil {
			return err
		}
		_, err = parseDeparture("", body)
		return malformed(bucketDeparted, k, err)
	})
	return errors.Join(all...)
}

func checkList(tx *bbolt.Tx, watchlist string) error {
	l, _, err := getChain(tx, event.Chain{Watchlist: watchlist, Kind: event.Board})
	if err != nil {
		return err
	}
	_, err = getChainOf(tx, l, event.Chain{Watchlist: watchlist, Kind: event.Status})
	if err != nil {
		return err
	}
	_, err = getBoard(tx, l, watchlist)
	return err
}

// checkBatches holds the buckets of waiting and kept batches against each
// other, their payloads and the index.
func checkBatches(tx *bbolt.Tx, ix *index) error {
	fresh := newIndex()
	if err := fresh.load(tx); err != nil {
		return err
	}
	var all []error
	stored := 0
	for _, pair := range [][2]*queue{{&fresh.waiting, &ix.waiting}, {&fresh.kept, &ix.kept}} {
		onDisk, inMemory := pair[0], pair[1]
		same := func(a, b *entry) bool { return *a == *b }
		if onDisk.bytes != inMemory.bytes || !slices.EqualFunc(onDisk.entries, inMemory.entries, same) {
			all = append(all, fmt.Errorf("%w: %d batches with %d bytes in the file, %d with %d in the index",
				ErrDamaged, len(onDisk.entries), onDisk.bytes, len(inMemory.entries), inMemory.bytes))
		}
		for _, e := range onDisk.entries {
			_, err := readBatch(tx, e.Info)
			all = append(all, err)
		}
		stored += len(onDisk.entries)
	}
	payloads := 0
	last := tx.Bucket([]byte(bucketPayloads)).Sequence()
	err := tx.Bucket([]byte(bucketPayloads)).ForEachBucket(func(k []byte) error {
		payloads++
		if bytes.Compare(k, orderKey(last)) > 0 {
			return fmt.Errorf("%w: payload %x was never given out", ErrDamaged, k)
		}
		return nil
	})
	if payloads != stored {
		all = append(all, fmt.Errorf("%w: %d payloads of %d batches", ErrDamaged, payloads, stored))
	}
	return errors.Join(append(all, err)...)
}

// checkChains tests what an index promises of each chain.
func checkChains(tx *bbolt.Tx, ix *index) error {
	var all []error
	entries := 0
	for id, es := range ix.chains {
		entries += len(es)
		_, c, err := getChain(tx, id)
		if err != nil {
			all = append(all, err)
			continue
		}
		if err := checkChainOrder(es, c); err != nil {
			all = append(all, fmt.Errorf("%w: chain %s: %w", ErrDamaged, chainKey(id), err))
		}
	}
	if n := len(ix.waiting.entries) + len(ix.kept.entries); n != entries {
		all = append(all, fmt.Errorf("%w: %d batches, %d in chains", ErrDamaged, n, entries))
	}
	err := tx.Bucket([]byte(bucketChains)).ForEach(func(k, _ []byte) error {
		id, err := parseChainKey(k)
		if err != nil {
			return malformed(bucketChains, k, err)
		}
		_, c, err := getChain(tx, id)
		if err == nil && (c.acked.Revision > c.last || id.Kind == event.Status && c.broken) {
			err = fmt.Errorf("%w: chain %s: %d acknowledged of %d", ErrDamaged, k, c.acked.Revision, c.last)
		}
		all = append(all, err)
		return nil
	})
	return errors.Join(append(all, err)...)
}

func checkChainOrder(es []*entry, c chain) error {
	waiting := false
	for i, e := range es {
		if i > 0 {
			if p := es[i-1]; p.Order >= e.Order || p.Revision >= e.Revision || waiting && p.Revision+1 != e.Revision {
				return fmt.Errorf("batch %d after %d", e.Revision, p.Revision)
			}
		}
		if waiting && !e.waiting {
			return fmt.Errorf("batch %d does not wait and the one before does", e.Revision)
		}
		waiting = e.waiting
		if !waiting && e.Revision > c.acked.Revision || waiting && e.Revision <= c.acked.Revision {
			return fmt.Errorf("batch %d, waiting %t, with %d acknowledged", e.Revision, waiting, c.acked.Revision)
		}
	}
	if waiting && es[len(es)-1].Revision != c.last {
		return fmt.Errorf("last batch is %d of %d", es[len(es)-1].Revision, c.last)
	}
	return nil
}
