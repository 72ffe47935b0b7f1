//go:build unix

package web

import (
	"math"

	"golang.org/x/sys/unix"
)

// maxFiles is how many files the process may have open.
func maxFiles() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(l.Cur)
}
