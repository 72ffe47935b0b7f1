package turns

import (
	"sort"
	"time"
)

// A Lateness is a histogram of how long after they were due turns were begun that
// were then read to the end. Counts has the number of those within each of
// LatenessBounds, and of later ones at its end.
type Lateness struct {
	Counts [len(latenessBounds) + 1]uint64
	Sum    time.Duration
}

// In seconds: a turn comes at once if somebody is free, and ten minutes late if
// there is far more to read than the pace allows.
var latenessBounds = [...]float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// LatenessBounds are the upper bounds of a Lateness' counts, in seconds.
func LatenessBounds() []float64 { return latenessBounds[:] }

func (l *Lateness) add(late time.Duration) {
	l.Sum += late
	l.Counts[sort.SearchFloat64s(latenessBounds[:], late.Seconds())]++
}
