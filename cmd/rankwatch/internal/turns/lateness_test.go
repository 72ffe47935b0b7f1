package turns

import (
	"testing"
	"time"
)

// A bound is within its count, as Prometheus has it.
func TestLatenessIsCountedByItsUpperBound(t *testing.T) {
	t.Parallel()
	bounds := LatenessBounds()
	for late, want := range map[time.Duration]int{
		0: 0, 100 * time.Millisecond: 0, 101 * time.Millisecond: 1, 10 * time.Second: 6, 10 * time.Minute: len(bounds) - 1, time.Hour: len(bounds),
	} {
		var l Lateness
		l.add(late)
		if l.Counts[want] != 1 || l.Sum != late {
			t.Errorf("%s: %v, want it at %d", late, l.Counts, want)
		}
	}
}
