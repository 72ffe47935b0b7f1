package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// maxScratch is the most memory kept from one transaction for the next.
const maxScratch = 4 << 20

// A txn is a write transaction. What it does to the index waits in after
// until the transaction is durable.
type txn struct {
	tx    *bbolt.Tx
	ix    *index // as of the last transaction
	after []func(*index)
	buf   []byte // values of this transaction, which bbolt reads at its end
	mark  string // suspicion to be written, which this transaction would hide
}

// fail makes all later operations return err.
func (db *DB) fail(err error) error {
	db.broken.CompareAndSwap(nil, &err)
	return err
}

// usable returns why the DB can no longer be used.
func (db *DB) usable() error {
	if err := db.broken.Load(); err != nil {
		return *err
	}
	if db.closed.Load() {
		return ErrClosed
	}
	return nil
}

// guard turns a panic of bbolt, or a fault in its memory map when the file is
// cut or the disk fails under it, into ErrDamaged.
func (db *DB) guard(fn func() error) (err error) {
	if err := db.usable(); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = db.fail(fmt.Errorf("%w: %v", ErrDamaged, p))
		}
	}()
	return fn()
}

// explain words an error for whoever runs the worker. what says what was
// being done, key to which watchlist.
func (db *DB) explain(what, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		err = ErrClosed
	case errors.Is(err, berrors.ErrDatabaseReadOnly):
		err = ErrReadOnly
	}
	if key != "" {
		what += " " + key
	}
	return fmt.Errorf("state: %s: %s: %w", db.path, what, err)
}

// view runs fn in a read transaction. What fn keeps it must copy.
func (db *DB) view(what, key string, fn func(*bbolt.Tx) error) error {
	return db.explain(what, key, db.guard(func() error { return db.bolt.View(fn) }))
}

// update runs fn in a write transaction. On an error of fn nothing has
// changed; on one of the disk it may have, and the index follows the file.
func (db *DB) update(what, key string, fn func(*txn) error) error {
	db.write.Lock()
	defer db.write.Unlock()
	t := &txn{ix: db.ix, buf: db.scratch[:0]}
	if !db.marked {
		t.mark = db.suspect
	}
	prepared := false
	err := db.guard(func() (err error) {
		// Not bbolt's Update: after a fault it would roll back by scanning the
		// file, in a goroutine that nothing guards.
		if t.tx, err = db.bolt.Begin(true); err != nil {
			return err
		}
		if err = fn(t); err == nil {
			err = t.stamp(time.Now())
		}
		if err != nil {
			return errors.Join(err, t.tx.Rollback())
		}
		prepared = true
		return t.tx.Commit()
	})
	if cap(t.buf) <= maxScratch {
		db.scratch = t.buf[:0]
	}
	switch {
	case err == nil:
		db.marked = true
		db.mu.Lock()
		for _, do := range t.after {
			do(db.ix)
		}
		db.mu.Unlock()
	case prepared && db.usable() == nil:
		if e := db.reload(); e != nil {
			// An index that may be wrong could publish what was never committed.
			err = errors.Join(err, db.fail(e))
		}
	}
	return db.explain(what, key, err)
}

// reload reads the index from the file.
func (db *DB) reload() error {
	ix := newIndex()
	err := db.guard(func() error {
		return db.bolt.View(func(tx *bbolt.Tx) error {
			return ix.load(tx)
		})
	})
	if err != nil {
		return err
	}
	db.mu.Lock()
	db.ix, db.refused = ix, false
	db.mu.Unlock()
	return nil
}

func (ix *index) load(tx *bbolt.Tx) error {
	for _, name := range []string{bucketKept, bucketWaiting} {
		err := tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
			i, err := readInfo(name, k, v)
			if err != nil {
				return err
			}
			ix.add(&entry{Info: i, waiting: name == bucketWaiting})
			return nil
		})
		if err != nil {
			return err
		}
	}
	ix.sort()
	given := tx.Bucket([]byte(bucketPayloads)).Sequence()
	for _, q := range []*queue{&ix.waiting, &ix.kept} {
		if n := len(q.entries); n > 0 && q.entries[n-1].Order > given {
			return fmt.Errorf("%w: batch %d and only %d were given out", ErrDamaged, q.entries[n-1].Order, given)
		}
	}
	return nil
}

func readInfo(bucket string, k, v []byte) (Info, error) {
	body, err := unseal(bucket, k, v)
	if err != nil {
		return Info{}, err
	}
	order, err := parseOrderKey(k)
	if err != nil {
		return Info{}, malformed(bucket, k, err)
	}
	i, err := parseInfo(order, body)
	return i, malformed(bucket, k, err)
}

func malformed(bucket string, k []byte, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s %q: %w", ErrDamaged, bucket, k, err)
}

// get returns a value's body, which lives as long as tx, or nil if there is
// none.
func get(tx *bbolt.Tx, bucket string, key []byte) ([]byte, error) {
	v := tx.Bucket([]byte(bucket)).Get(key)
	if v == nil {
		return nil, nil
	}
	return unseal(bucket, key, v)
}

// getLarge is get for a value with a bucket of its own.
func getLarge(tx *bbolt.Tx, bucket string, key []byte) ([]byte, error) {
	b := tx.Bucket([]byte(bucket)).Bucket(key)
	if b == nil {
		return nil, nil
	}
	v := b.Get([]byte(keyLarge))
	if v == nil {
		return nil, fmt.Errorf("%w: %s %q is empty", ErrDamaged, bucket, key)
	}
	return unseal(bucket, key, v)
}

// put stores what fill appends.
func (t *txn) put(bucket string, key []byte, fill func([]byte) []byte) error {
	return t.tx.Bucket([]byte(bucket)).Put(key, t.sealed(bucket, key, fill))
}

// sealed makes a value in the transaction's buffer.
func (t *txn) sealed(bucket string, key []byte, fill func([]byte) []byte) []byte {
	// Only the value may be sealed, not what is in the buffer before it.
	start := len(t.buf)
	t.buf = fill(t.buf)
	t.buf = binary.BigEndian.AppendUint32(t.buf, checksum(bucket, key, t.buf[start:]))
	return t.buf[start:len(t.buf):len(t.buf)]
}

// putLarge stores what fill appends in a bucket of its own. A value before it
// is replaced.
func (t *txn) putLarge(bucket string, key []byte, fill func([]byte) []byte) error {
	b, err := t.tx.Bucket([]byte(bucket)).CreateBucketIfNotExists(key)
	if err != nil {
		return err
	}
	return b.Put([]byte(keyLarge), t.sealed(bucket, key, fill))
}

// putTrace stores the trace of a batch whose messages are there already, if it
// has one.
func (t *txn) putTrace(order []byte, trace string) error {
	if trace == "" {
		return nil
	}
	value := t.sealed(bucketPayloads, traceKey(order), func(b []byte) []byte { return append(b, trace...) })
	return t.tx.Bucket([]byte(bucketPayloads)).Bucket(order).Put([]byte(keyTrace), value)
}

// getTrace returns the trace of a batch, empty if it has none.
func getTrace(tx *bbolt.Tx, order []byte) (string, error) {
	b := tx.Bucket([]byte(bucketPayloads)).Bucket(order)
	if b == nil {
		return "", nil
	}
	v := b.Get([]byte(keyTrace))
	if v == nil {
		return "", nil
	}
	body, err := unseal(bucketPayloads, traceKey(order), v)
	return string(body), err
}

// traceKey is what the checksum of a trace takes for its key.
func traceKey(order []byte) []byte { return append(bytes.Clone(order), keyTrace...) }

// deleteLarge forgets a value with a bucket of its own. None is fine.
func (t *txn) deleteLarge(bucket string, key []byte) error {
	err := t.tx.Bucket([]byte(bucket)).DeleteBucket(key)
	if errors.Is(err, berrors.ErrBucketNotFound) {
		return nil
	}
	return err
}

func (t *txn) delete(bucket string, key []byte) error {
	return t.tx.Bucket([]byte(bucket)).Delete(key)
}

func getList(tx *bbolt.Tx, watchlist string) (list, error) {
	body, err := get(tx, bucketLists, []byte(watchlist))
	if body == nil || err != nil {
		return list{}, err
	}
	l, err := parseList(body)
	return l, malformed(bucketLists, []byte(watchlist), err)
}

func (t *txn) putList(watchlist string, l list) error {
	return t.put(bucketLists, []byte(watchlist), l.append)
}

// getChain returns a chain along with its watchlist.
func getChain(tx *bbolt.Tx, id event.Chain) (list, chain, error) {
	l, err := getList(tx, id.Watchlist)
	if err != nil {
		return list{}, chain{}, err
	}
	c, err := getChainOf(tx, l, id)
	return l, c, err
}

func getChainOf(tx *bbolt.Tx, l list, id event.Chain) (chain, error) {
	key := chainKey(id)
	body, err := get(tx, bucketChains, key)
	if err != nil {
		return chain{}, err
	}
	if err := l.check(hasChain(id.Kind), body != nil, bucketChains, key); err != nil || body == nil {
		return chain{}, err
	}
	c, err := parseChain(id, body)
	return c, malformed(bucketChains, key, err)
}

// check compares what l says there must be with what was found.
func (l list) check(has byte, found bool, bucket string, key []byte) error {
	if (l.has&has != 0) == found {
		return nil
	}
	return fmt.Errorf("%w: %s %q is lost, or its watchlist", ErrDamaged, bucket, key)
}

func (t *txn) putChain(id event.Chain, c chain) error {
	return t.put(bucketChains, chainKey(id), c.append)
}

func getBoard(tx *bbolt.Tx, l list, watchlist string) ([]byte, error) {
	board, err := getLarge(tx, bucketBoards, []byte(watchlist))
	if err != nil {
		return nil, err
	}
	return board, l.check(hasBoard, board != nil, bucketBoards, []byte(watchlist))
}
