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

// boundMemory sets the limit, unless GOMEMLIMIT does, as in any Go program.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softLimit)
	}
}
