//go:build darwin || dragonfly || freebsd || linux

package publisher

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// freeSpace returns the bytes that an unprivileged process may still write to
// the file system of dir.
func freeSpace(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // the types differ between systems
}
