// Package watcher turns polled ranking boards into verified readings, and
// readings into batches of events.
//
// A reading is published only if all its pages belong together; what is torn,
// short, empty, mis-filtered or implausible is refused, tried again, and told
// as a status. The next board, its events and its statuses are handed to the
// store in one commit, so that a crash loses or repeats nothing.
package watcher
