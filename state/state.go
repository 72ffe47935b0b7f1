// Package state is what one worker must not forget: the tracked board of each
// watchlist, and the batches that have not reached the stream yet.
//
// A reading's new board and its messages are written in one transaction, so
// that after a crash at any instruction both exist or neither does. Whatever
// comes back from here is what was put in, to the byte: every value carries a
// checksum, and a file that is damaged, foreign or from a newer version is
// refused and left as it is.
package state

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// FileName is the name of the state file in its directory.
const FileName = "state.db"

// What can be wrong with a state file. Nothing was changed.
var (
	// ErrLocked means that another process has the directory open.
	ErrLocked = errors.New("in use by another rankwatch process")
	// ErrNewer means that a newer version of rankwatch wrote the file.
	ErrNewer = errors.New("written by a newer version of rankwatch")
	// ErrDamaged means that the file, or a value in it, is not what was
	// written. The same DB gives no more answers if it was the file.
	ErrDamaged = errors.New("damaged")
	// ErrReadOnly means that the directory or the file cannot be written, or
	// that it was opened for reading.
	ErrReadOnly = errors.New("not writable")
	// ErrClosed means that the DB was closed.
	ErrClosed = errors.New("closed")
)

// What can be wrong with a call. Nothing was written.
var (
	// ErrStale means that another Commit, Adopt or Break landed first. Load
	// again and compare again.
	ErrStale = errors.New("stale version")
	// ErrFenced means that the watchlist is blocked since another worker
	// writes it.
	ErrFenced = errors.New("fenced: another worker writes this watchlist")
	// ErrFull means that too much is waiting for the stream. Try again when
	// Backlog says that it is no longer full.
	ErrFull = errors.New("backlog full")
	// ErrNotFound means that no such batch is stored, or no longer.
	ErrNotFound = errors.New("batch not stored")
	// ErrRevision means that a batch or an acknowledgement does not continue
	// its chain: a fault of the caller.
	ErrRevision = errors.New("revision does not continue the chain")
)

// Config says where a worker's state is and how much of it may wait.
type Config struct {
	// Dir holds the state file. It is created if it is missing.
	Dir string
	// Backlog is how many bytes of payload may wait for the stream. A batch is
	// taken whatever its size when nothing waits. 0 means 1 GiB.
	Backlog int64
	// Keep is how many bytes of acknowledged payload stay, so that a stream
	// that lost them can have them again. 0 means 64 MiB.
	Keep int64
	// Retention is how long a departure is remembered. 0 means for ever.
	Retention time.Duration
}

const (
	defaultBacklog = 1 << 30
	defaultKeep    = 64 << 20
	// statusReserve lets a worker say that its backlog is full.
	statusReserve = 16 << 20
)

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("state: no data directory given")
	}
	if c.Backlog < 0 || c.Keep < 0 || c.Retention < 0 {
		return c, fmt.Errorf("state: negative limit: backlog %d, keep %d, retention %s", c.Backlog, c.Keep, c.Retention)
	}
	if c.Backlog == 0 {
		c.Backlog = defaultBacklog
	}
	if c.Keep == 0 {
		c.Keep = defaultKeep
	}
	return c, nil
}

// A DB is an open state file. All methods may be called by several goroutines.
type DB struct {
	cfg      Config
	path     string
	readOnly bool
	bolt     *bbolt.DB
	file     *os.File // bolt's, for closing it when bolt no longer can

	write   sync.Mutex // one writer; guards scratch and marked
	scratch []byte
	marked  bool // suspect is not in the file yet

	mu      sync.RWMutex // guards the fields below
	ix      *index
	blocked map[string]struct{}
	refused bool // a commit did not fit since the backlog last shrank
	suspect string

	closed atomic.Bool
	broken atomic.Pointer[error]
}

// A Departure is what is remembered of a creator that dropped out. PeakRank
// starts at 1.
type Departure struct {
	UID       string
	At        time.Time
	FirstSeen time.Time
	PeakRank  int
}

// An Info describes a stored batch. Bytes counts its payloads, At is when its
// reading was made.
type Info struct {
	Order    uint64
	Chain    event.Chain
	Revision uint64
	Messages int
	Bytes    int
	At       time.Time
}

// An Ack says which batch of a chain the stream holds last. The zero Ack
// stands for none.
type Ack struct {
	Chain    event.Chain
	Order    uint64 // of the batch here; 0 if it was never stored here
	Revision uint64
	Sequence uint64   // of the fence message in the stream
	Digest   [32]byte // SHA-256 of the fence message's payload
	// Lineage is what the ids of that batch carry. Only Adopt reads it, and it
	// is not stored with the Ack; 0 means unknown.
	Lineage int
}

// A Depth is how much waits for the stream. Oldest is zero when nothing does.
// Full means that a commit of a board would be, or has just been, refused.
type Depth struct {
	Batches int
	Bytes   int64
	Oldest  time.Time
	Full    bool
}

// Backlog returns how much waits for the stream, blocked watchlists included.
func (db *DB) Backlog() Depth {
	db.mu.RLock()
	defer db.mu.RUnlock()
	w := &db.ix.waiting
	d := Depth{Batches: len(w.entries), Bytes: w.bytes, Full: db.refused || w.bytes >= db.cfg.Backlog}
	if len(w.entries) > 0 {
		d.Oldest = w.entries[0].At
	}
	return d
}

// Writable makes a small change durable, and returns why that cannot be done. It
// waits for the disk.
func (db *DB) Writable() error {
	return db.update("try to write", "", func(*txn) error { return nil })
}

// Size returns how many bytes of the file are in use or free for reuse, or -1
// when the DB can no longer be used. The file never shrinks.
func (db *DB) Size() int64 {
	size := int64(-1)
	err := db.view("size", "", func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	if err != nil {
		return -1
	}
	return size
}

// Block fences watchlist: Commit takes no boards of it and Queue passes over
// its board chain until Unblock or the next Open.
func (db *DB) Block(watchlist string) error {
	if err := checkName(watchlist); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.blocked[watchlist] = struct{}{}
	return nil
}

// Unblock undoes Block.
func (db *DB) Unblock(watchlist string) error {
	if err := checkName(watchlist); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.blocked, watchlist)
	return nil
}

func (db *DB) isBlocked(watchlist string) bool {
	db.mu.RLock()
	defer db.mu.RUnlock()
	_, ok := db.blocked[watchlist]
	return ok
}

// Close waits for the transactions under way and releases the directory. A
// second Close does nothing.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	var err error
	if db.broken.Load() != nil {
		// A transaction that a fault broke off may hold bbolt's locks for
		// ever. The directory is released all the same.
		err = db.abandon()
	} else {
		err = db.bolt.Close()
	}
	if err != nil {
		return fmt.Errorf("state: close %s: %w", db.path, err)
	}
	return nil
}

// abandon releases the file behind bbolt's back. Its memory map stays.
func (db *DB) abandon() error { return errors.Join(unlockFile(db.file), db.file.Close()) }
