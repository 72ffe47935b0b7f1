package digest

import (
	"context"
	"fmt"
	"time"
)

// A Sender brings messages to one target. Send returns nil once the target took
// the message. It does not retry: its errors say what may be tried. It may be
// called by several goroutines.
type Sender interface {
	Send(ctx context.Context, m *Message) error
}

// A RefusedError says that the target will never take this message, whoever
// tries again and when. Reason is a stable word, such as invalid_blocks or
// too_large; neither it nor the text holds a secret.
type RefusedError struct {
	Reason string
	Err    error
}

// Error tells the reason and the cause.
func (e *RefusedError) Error() string { return fmt.Sprintf("refused (%s): %v", e.Reason, e.Err) }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// A LaterError says that the target asks to wait, for example by Retry-After.
// Blocked says that it takes no message at all until a person mends it, so that
// none is parked meanwhile.
type LaterError struct {
	After   time.Duration
	Blocked bool
	Err     error
}

// Error tells how long and the cause.
func (e *LaterError) Error() string {
	if e.Blocked {
		return fmt.Sprintf("somebody has to mend this: %v", e.Err)
	}
	return fmt.Sprintf("try again in %s: %v", e.After.Round(time.Second), e.Err)
}

// Unwrap returns the cause.
func (e *LaterError) Unwrap() error { return e.Err }
