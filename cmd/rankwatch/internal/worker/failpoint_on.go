//go:build failpoint && unix

package worker

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// afterCommit reads RANKWATCH_FAILPOINT=after-commit:<n>. The function that it
// returns kills this process with SIGKILL at its n-th call. It is nil without
// the variable.
func afterCommit() (func(), error) {
	text := os.Getenv("RANKWATCH_FAILPOINT")
	if text == "" {
		return nil, nil
	}
	count, ok := strings.CutPrefix(text, "after-commit:")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil || n < 1 {
		return nil, fmt.Errorf("RANKWATCH_FAILPOINT: %q is not after-commit:<n> with n of at least 1", text)
	}
	var calls atomic.Int64
	return func() {
		if calls.Add(1) == n {
			// Nothing may run after the kill: it is to look like a power cut.
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				panic(err)
			}
			select {}
		}
	}, nil
}

// ackWait reads RANKWATCH_FAILPOINT_ACK_WAIT: how long a turn of the fleet belongs
// to a worker that says nothing. It is 0 without the variable.
func ackWait() (time.Duration, error) {
	text := os.Getenv("RANKWATCH_FAILPOINT_ACK_WAIT")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("RANKWATCH_FAILPOINT_ACK_WAIT: %q is no duration above 0", text)
	}
	return d, nil
}
