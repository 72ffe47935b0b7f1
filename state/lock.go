//go:build unix && !solaris && !aix

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Lock takes the lock of dir that a worker holds, without reading or changing
// its state: for whoever uses what else lies in the directory while no worker
// runs. It waits a second for another process to let go, then returns
// ErrLocked. A directory without a state file gets an empty one, which Open
// takes for none. The result releases the lock.
func Lock(dir string) (unlock func() error, err error) {
	path := filepath.Join(dir, FileName)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, openError(path, err)
	}
	if err := lockExclusive(f); err != nil {
		return nil, openError(path, errors.Join(err, f.Close()))
	}
	return func() error {
		if err := errors.Join(unlockFile(f), f.Close()); err != nil {
			return fmt.Errorf("state: unlock %s: %w", path, err)
		}
		return nil
	}, nil
}
