//go:build !unix || solaris || aix

package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// lockFile leaves locking to bbolt, which does it after the file was examined.
func lockFile(*os.File, bool, time.Duration) error { return nil }

func unlockFile(*os.File) error { return nil }

// SyncDir does nothing where directories cannot be synced.
func SyncDir(string) error { return nil }

// Lock takes the lock of dir that a worker holds, without changing its state:
// for whoever uses what else lies in the directory while no worker runs. It
// waits a second for another process to let go, then returns ErrLocked. The
// result releases the lock.
//
// Only bbolt can take its lock here, and only by opening the state: so a
// damaged one cannot be locked, and a directory without one, or with an empty
// file, gets one without a commit, which Open takes for none.
func Lock(dir string) (unlock func() error, err error) {
	db := &DB{path: filepath.Join(dir, FileName)}
	err = db.guard(func() (err error) {
		db.bolt, err = bbolt.Open(db.path, 0o600, &bbolt.Options{
			Timeout: lockWait,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				f, err = os.OpenFile(name, flag, mode)
				db.file = f
				return f, err
			},
			// Else opening writes the list of free pages, which Open leaves out.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
			NoStatistics:   true,
		})
		return err
	})
	if err != nil {
		if db.broken.Load() != nil && db.file != nil {
			err = errors.Join(err, db.abandon())
		}
		return nil, openError(db.path, err)
	}
	return func() error {
		if err := db.bolt.Close(); err != nil {
			return fmt.Errorf("state: unlock %s: %w", db.path, err)
		}
		return nil
	}, nil
}
