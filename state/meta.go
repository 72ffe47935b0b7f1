package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// The keys of bucketMeta.
const (
	keyFormat    = "format"    // number of the file's format
	keyCommitted = "committed" // when the last transaction was written
	keyRestored  = "restored"  // why the file is taken for a copy put here
	keyStream    = "stream"    // Stream
)

// A migration brings a file from one format to the next, in one transaction.
type migration func(*bbolt.Tx) error

// migrations are the steps from format 1 on. Each release that changes the
// format adds one; none is ever removed.
func migrations() []migration { return nil }

func putMeta(tx *bbolt.Tx, key string, body []byte) error {
	k := []byte(key)
	return tx.Bucket([]byte(bucketMeta)).Put(k, binary.BigEndian.AppendUint32(body, checksum(bucketMeta, k, body)))
}

func getMeta(tx *bbolt.Tx, key string) ([]byte, error) { return get(tx, bucketMeta, []byte(key)) }

// readFormat returns the file's format, or 0 if nothing was ever written to it.
func readFormat(tx *bbolt.Tx) (int, error) {
	if k, _ := tx.Cursor().First(); k == nil {
		return 0, nil
	}
	if tx.Bucket([]byte(bucketMeta)) == nil {
		return 0, fmt.Errorf("%w: a bbolt file of another program", ErrDamaged)
	}
	body, err := getMeta(tx, keyFormat)
	if err != nil {
		return 0, err
	}
	r := reader{b: body}
	format := r.count()
	if err := r.done(); err != nil || format == 0 {
		return 0, fmt.Errorf("%w: no format number", ErrDamaged)
	}
	return format, nil
}

// settle creates what a new file needs and brings an older one up to date.
func (db *DB) settle(steps []migration) error {
	current := len(steps) + 1
	format := 0
	err := db.guard(func() error {
		return db.bolt.View(func(tx *bbolt.Tx) (err error) {
			format, err = readFormat(tx)
			return err
		})
	})
	switch {
	case err != nil:
		return err
	case format > current:
		return fmt.Errorf("%w: its format is %d and this version knows up to %d; use that newer version, or another data directory", ErrNewer, format, current)
	case format == current:
		return db.checkBuckets()
	case db.readOnly && format == 0:
		return fmt.Errorf("nothing was written yet: %w", fs.ErrNotExist)
	case db.readOnly:
		return fmt.Errorf("%w: its format %d has to be brought up to date first; start the worker once", ErrReadOnly, format)
	}
	return db.guard(func() error {
		return db.bolt.Update(func(tx *bbolt.Tx) error { return migrate(tx, format, steps) })
	})
}

func migrate(tx *bbolt.Tx, format int, steps []migration) error {
	if format == 0 {
		for _, name := range bucketNames() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		format = 1
	}
	for ; format <= len(steps); format++ {
		if err := steps[format-1](tx); err != nil {
			return fmt.Errorf("bring format %d up to date: %w", format, err)
		}
	}
	if err := putMeta(tx, keyFormat, binary.AppendUvarint(nil, uint64(format))); err != nil {
		return err
	}
	return putMeta(tx, keyCommitted, appendTime(nil, time.Now()))
}

func (db *DB) checkBuckets() error {
	return db.guard(func() error {
		return db.bolt.View(func(tx *bbolt.Tx) error {
			for _, name := range bucketNames() {
				if tx.Bucket([]byte(name)) == nil {
					return fmt.Errorf("%w: bucket %s is missing", ErrDamaged, name)
				}
			}
			return nil
		})
	})
}

// stamp goes into every transaction.
func (t *txn) stamp(now time.Time) error {
	if t.mark != "" {
		// From now on the file looks like one that nobody copied.
		if err := putMeta(t.tx, keyRestored, []byte(t.mark)); err != nil {
			return err
		}
	}
	return putMeta(t.tx, keyCommitted, appendTime(nil, now))
}

// copySlack is how much later than its last transaction's stamp a file may
// have been modified. Writing and syncing take part of it.
const copySlack = 5 * time.Second

// suspicion returns why a file is taken for a copy that was put in place of
// another: it may be older than what the stream holds. modified is when the
// file last was, before it was opened.
func suspicion(tx *bbolt.Tx, modified time.Time) (string, error) {
	why, err := getMeta(tx, keyRestored)
	if err != nil {
		return "", err
	}
	if why != nil {
		return string(why), nil
	}
	body, err := getMeta(tx, keyCommitted)
	if err != nil {
		return "", err
	}
	r := reader{b: body}
	committed := r.time()
	if err := r.done(); err != nil {
		return "", malformed(bucketMeta, []byte(keyCommitted), err)
	}
	if modified.Sub(committed) <= copySlack {
		return "", nil
	}
	return fmt.Sprintf("modified at %s, after its last transaction at %s",
		modified.UTC().Format(time.RFC3339), committed.Format(time.RFC3339)), nil
}

// Suspect reports whether the file seems to be an old copy that was put here,
// and why. It is decided at Open and stays, over restarts too, until
// ClearRestored. A copy that kept its modification time goes unnoticed unless
// MarkRestored was called on it.
func (db *DB) Suspect() (bool, string) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.suspect != "", db.suspect
}

// MarkRestored makes the file suspect. Whoever restores a backup calls it.
func (db *DB) MarkRestored() error {
	const why = "restored from a backup"
	return db.setSuspect("mark restored", why, func(tx *bbolt.Tx) error { return putMeta(tx, keyRestored, []byte(why)) })
}

// ClearRestored ends the suspicion, once what the file says was held against
// the stream.
func (db *DB) ClearRestored() error {
	return db.setSuspect("clear restored", "", func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Delete([]byte(keyRestored))
	})
}

func (db *DB) setSuspect(what, why string, put func(*bbolt.Tx) error) error {
	return db.update(what, "", func(t *txn) error {
		t.mark = ""
		t.after = append(t.after, func(*index) { db.suspect = why })
		return put(t.tx)
	})
}

// A Stream says which stream the batches here belong to. Created is the
// server's, in UTC, and differs if the stream was deleted and made again.
type Stream struct {
	Name, Prefix string
	Created      time.Time
}

// Stream returns what SetStream stored; false if it never did.
func (db *DB) Stream() (s Stream, ok bool, err error) {
	err = db.view("read stream", "", func(tx *bbolt.Tx) error {
		body, err := getMeta(tx, keyStream)
		if err != nil || body == nil {
			return err
		}
		r := reader{b: body}
		s.Name = string(r.bytes(r.count()))
		s.Prefix = string(r.bytes(r.count()))
		s.Created = r.time()
		ok = true
		return malformed(bucketMeta, []byte(keyStream), r.done())
	})
	if err != nil {
		return Stream{}, false, err
	}
	return s, ok, nil
}

// SetStream stores s in place of the one before.
func (db *DB) SetStream(s Stream) error {
	return db.update("set stream", s.Name, func(t *txn) error {
		var b []byte
		for _, v := range []string{s.Name, s.Prefix} {
			b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
		}
		return putMeta(t.tx, keyStream, appendTime(b, s.Created))
	})
}

// Chains returns every chain that anything was ever stored of, by kind and
// name.
func (db *DB) Chains() ([]event.Chain, error) {
	var all []event.Chain
	err := db.view("list chains", "", func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketChains)).ForEach(func(k, _ []byte) error {
			c, err := parseChainKey(k)
			all = append(all, c)
			return malformed(bucketChains, k, err)
		})
	})
	return all, err
}

// Copy writes the whole file to w as of one moment. Commits go on meanwhile,
// except one that has to enlarge the file, which waits: w should be a local
// file.
func (db *DB) Copy(w io.Writer) error {
	if err := db.usable(); err != nil {
		return db.explain("copy", "", err)
	}
	// Without guard: a fault of w is not damage. bbolt copies with plain reads.
	tx, err := db.bolt.Begin(false)
	if err != nil {
		return db.explain("copy", "", err)
	}
	_, err = tx.WriteTo(w)
	return db.explain("copy", "", errors.Join(err, tx.Rollback()))
}
