// Package pipe lets a verb end well when nobody reads its output any more, as
// in `rankwatch replay | head`.
package pipe

import (
	"errors"
	"io/fs"
	"os/signal"
	"syscall"
)

// Quiet does work that writes to standard output. That its reader has gone is
// not an error: the rest was not wanted. Without it the signal for that would
// end the process where it stands, with a server and a lock open.
func Quiet(work func() error) error {
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	err := work()
	// Files alone: a lost connection to a server is an error.
	var file *fs.PathError
	if errors.As(err, &file) && errors.Is(file.Err, syscall.EPIPE) {
		return nil
	}
	return err
}
