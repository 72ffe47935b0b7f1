package watcher

import (
	"errors"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Store keeps each watchlist's tracked board and what is to be published. It
// is safe for concurrent use.
type Store interface {
	Load(watchlist string) (Loaded, error)
	// Commit makes one step durable as a whole, or not at all: ErrStale, ErrFull
	// and ErrFenced mean that nothing was written.
	Commit(Commit) error
	// Departed finds who of uids dropped out of the watchlist within the
	// retention.
	Departed(watchlist string, uids []string) (map[string]Departure, error)
	Records(func(watchlist string, record []byte) error) error
	// Full says that no more readings may wait for the bus.
	Full() bool
}

// What a Store answers. Nothing was written.
var (
	// ErrStale means that another step landed first: load and compute again.
	ErrStale = errors.New("watcher: stale version")
	// ErrFull means that the backlog is at its limit.
	ErrFull = errors.New("watcher: backlog full")
	// ErrFenced means that another worker writes this watchlist.
	ErrFenced = errors.New("watcher: watchlist fenced")
)

// ErrBusAway is what Adopt answers while the bus cannot tell what the stream has
// of a watchlist. Nothing was read; it is asked again soon.
var ErrBusAway = errors.New("watcher: bus away")

// Loaded is what a Store knows of a watchlist. Version is 0 if it was never
// written, Revision and Statuses are the last numbers of its two chains.
// Broken says that the stream lost history that cannot be brought back: the
// next board is a baseline, and StreamRevision is the last one the stream has,
// 0 for none.
type Loaded struct {
	event.Tracked
	Known          bool
	Version        uint64
	Revision       uint64
	Statuses       uint64
	Lineage        int
	Broken         bool
	StreamRevision uint64
	Fenced         bool
}

// A Commit is one step of a watchlist. Version is the one that was loaded. A
// nil Tracked.Board keeps the stored board.
type Commit struct {
	Watchlist string
	Version   uint64
	Tracked   event.Tracked
	Batches   []event.Batch
	Departed  []Departure
	At        time.Time
}

// A Departure is remembered as long as the stream holds the creator's dropped
// event.
type Departure struct {
	UID       string
	At        time.Time
	FirstSeen time.Time
	PeakRank  int
}
