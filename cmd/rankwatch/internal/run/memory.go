package run

import (
	"os"
	"runtime/debug"
)

// softLimit is what the worker's own memory is kept below, in bytes, as long as
// it can be. Boards rest on disk, so ten thousand watchlists need far less.
const softLimit = 224 << 20

// boundMemory trades memory that is there for CPU time, up to softLimit: a
// reading allocates some megabytes, and collecting after each one would cost
// more than reading. GOGC and GOMEMLIMIT say otherwise, as in any Go program.
func boundMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softLimit)
	}
}
