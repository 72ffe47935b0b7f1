package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	lockWait  = time.Second // a worker that is stopping may still have it
	lockRetry = 20 * time.Millisecond
)

var errLocked = fmt.Errorf("%w: stop that one, or use another data directory", ErrLocked)

// Open opens the state in cfg.Dir for one worker, and creates it if there is
// none. It waits a second for another process to let go of the directory, then
// returns ErrLocked; ErrNewer, ErrDamaged and ErrReadOnly mean that the file
// can't be used and was not touched.
func Open(cfg Config) (*DB, error) { return open(cfg, false, migrations()) }

// OpenReadOnly opens the state in dir for reading while no worker has it:
// ErrLocked if one does, fs.ErrNotExist if there is none. Several processes
// may read at once.
func OpenReadOnly(dir string) (*DB, error) { return open(Config{Dir: dir}, true, migrations()) }

func open(cfg Config, readOnly bool, steps []migration) (*DB, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.Dir, FileName)
	db := &DB{cfg: cfg, path: path, readOnly: readOnly, ix: newIndex(), blocked: make(map[string]struct{})}
	if !readOnly {
		if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
			return nil, openError(cfg.Dir, err)
		}
	}
	o := opener{shared: readOnly}
	if err := db.openBolt(&o); err != nil {
		return nil, openError(path, err)
	}
	err = db.start(o, steps)
	if err != nil {
		return nil, openError(path, errors.Join(err, db.Close()))
	}
	return db, nil
}

// openBolt leaves nothing open when it fails.
func (db *DB) openBolt(o *opener) error {
	err := db.guard(func() (err error) {
		db.bolt, err = bbolt.Open(db.path, 0o600, &bbolt.Options{
			Timeout:  lockWait,
			OpenFile: o.open,
			ReadOnly: db.readOnly,
			// The list of free pages is found again at Open. Writing it with
			// every commit would cost the more the longer a backlog once was.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
			NoStatistics:   true,
		})
		return err
	})
	db.file = o.file
	if err != nil && db.broken.Load() != nil && o.file != nil {
		err = errors.Join(err, db.abandon())
	}
	return err
}

func (db *DB) start(o opener, steps []migration) error {
	if err := db.settle(steps); err != nil {
		return err
	}
	if o.size == 0 {
		if err := SyncDir(db.cfg.Dir); err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
	}
	if err := db.reload(); err != nil {
		return err
	}
	if o.size == 0 {
		return nil
	}
	return db.guard(func() error {
		return db.bolt.View(func(tx *bbolt.Tx) (err error) {
			db.suspect, err = suspicion(tx, o.modified)
			return err
		})
	})
}

// An opener opens the state file for bbolt, locks it and examines it before
// bbolt believes a byte of it.
type opener struct {
	shared   bool
	file     *os.File
	size     int64     // at first
	modified time.Time // at first
}

func (o *opener) open(name string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag, mode)
	if err != nil {
		return nil, err
	}
	if err := o.examine(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o.file = f
	return f, nil
}

func (o *opener) examine(f *os.File) error {
	if err := lockFile(f, o.shared, lockWait); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file", ErrDamaged)
	}
	o.size, o.modified = fi.Size(), fi.ModTime()
	switch {
	case o.size > 0 && !neverCommitted(f):
		return checkPages(f, o.size)
	case o.shared:
		return fmt.Errorf("nothing was written yet: %w", fs.ErrNotExist)
	}
	// What an Open that failed half-way left, for want of space say.
	o.size = 0
	return f.Truncate(0)
}

// openError says what to do about an error of Open.
func openError(path string, err error) error {
	for _, known := range []error{ErrLocked, ErrNewer, ErrReadOnly, fs.ErrNotExist} {
		if errors.Is(err, known) {
			return fmt.Errorf("state: open %s: %w", path, err)
		}
	}
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		err = errLocked
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("%w: %w; let this user write there, or use another data directory", ErrReadOnly, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		err = damagedFile(fmt.Errorf("%w: %w", ErrDamaged, err))
	case errors.Is(err, ErrDamaged):
		err = damagedFile(err)
	}
	return fmt.Errorf("state: open %s: %w", path, err)
}

func damagedFile(err error) error {
	return fmt.Errorf("%w; restore a backup, or move the file away: the worker then goes on from what the stream holds, without what waited to be published", err)
}
