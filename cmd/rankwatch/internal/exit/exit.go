// Package exit says how an error of a verb ends the process.
package exit

import "errors"

// Exit codes of every verb. Usage means that nothing was started.
const (
	Done   = 0
	Failed = 1
	Usage  = 2
)

// A UsageError is a mistake in the command line or the configuration, found
// before anything was started.
type UsageError struct{ Err error }

// Error returns the text of the mistake itself.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e *UsageError) Unwrap() error { return e.Err }

// AsUsage marks err as a mistake of the user; nil stays nil.
func AsUsage(err error) error {
	if err == nil {
		return nil
	}
	return &UsageError{Err: err}
}

// Code returns the exit code that err ends the process with.
func Code(err error) int {
	var usage *UsageError
	switch {
	case err == nil:
		return Done
	case errors.As(err, &usage):
		return Usage
	}
	return Failed
}
