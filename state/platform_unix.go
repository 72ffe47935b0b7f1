//go:build unix && !solaris && !aix

package state

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockFile takes the lock that bbolt will take again on the same descriptor.
// Having it first lets the file be examined while nobody writes to it.
func lockFile(f *os.File, shared bool, wait time.Duration) error {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	deadline := time.Now().Add(wait)
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock: %w", err)
		}
		if !time.Now().Before(deadline) {
			return errLocked
		}
		// The kernel has no lock with a time-out.
		time.Sleep(lockRetry)
	}
}

// unlockFile lets go of the lock, which closing the file does not while a map
// of it is left.
func unlockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// SyncDir makes a new file's name durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // a file system without it
	}
	return errors.Join(err, d.Close())
}

func lockExclusive(f *os.File) error { return lockFile(f, false, lockWait) }
