package run

import (
	"os"
	"runtime/debug"
)

// softLimit is what the worker's own memory is kept below, in bytes, as long as
// it can be. Boards rest on disk, so ten thousand watchlists need far less; but
// the embedded server caches what it writes, and would otherwise let the heap
// grow to several times that.
const softLimit = 224 << 20

// perWatchlist is what the limit grows by beyond manyWatchlists, in bytes: under a
// limit below what is in use the collector would run all the time.
const perWatchlist, manyWatchlists = 8 << 10, 10_000

// boundMemory sets the limit, unless GOMEMLIMIT does, as in any Go program.
func boundMemory(watchlists int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softLimit + perWatchlist*int64(max(0, watchlists-manyWatchlists)))
	}
}
