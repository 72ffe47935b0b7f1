//go:build !failpoint || !unix

package worker

// afterCommit is nil: only a build with the tag failpoint can be made to die
// between the server's commit and the record of it.
func afterCommit() (func(), error) { return nil, nil }
