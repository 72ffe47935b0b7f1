//go:build !unix || solaris || aix

package state

import (
	"errors"
	"os"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockFile leaves locking to bbolt, which does it after the file was examined.
func lockFile(*os.File, bool, time.Duration) error { return nil }

func unlockFile(*os.File) error { return nil }

// SyncDir does nothing where directories cannot be synced.
func SyncDir(string) error { return nil }

// lockExclusive only looks whether somebody has the lock: bbolt cannot be made
// to hold it without opening the state.
func lockExclusive(f *os.File) error {
	b, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{Timeout: lockWait, ReadOnly: false})
	if errors.Is(err, berrors.ErrTimeout) {
		return errLocked
	}
	if err != nil {
		return err
	}
	return b.Close()
}
