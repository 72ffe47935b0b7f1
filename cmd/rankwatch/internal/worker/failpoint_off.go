//go:build !failpoint || !unix

package worker

import "time"

// afterCommit is nil: only a build with the tag failpoint can be made to die
// between the server's commit and the record of it.
func afterCommit() (func(), error) { return nil, nil }

// ackWait is 0: only a build with the tag failpoint has turns lost sooner.
func ackWait() (time.Duration, error) { return 0, nil }
