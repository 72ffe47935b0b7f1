package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/state"
)

func TestAProofIsBelievedForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, tries, broken := newProof(), 0, errors.New("broken")
		try := func() error { tries++; return broken }
		for range 100 {
			if err := p.of(t.Context(), try); !errors.Is(err, broken) {
				t.Fatal(err)
			}
		}
		if tries != 1 {
			t.Errorf("100 probes at once wrote %d times", tries)
		}
		time.Sleep(proofTime)
		broken = nil
		if err := p.of(t.Context(), try); err != nil || tries != 2 {
			t.Errorf("after a while: %v, %d trials", err, tries)
		}
	})
}

func TestProbesDoNotPileUpOnADiskThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		p, disk := newProof(), make(chan struct{})
		try := func() error { tries.Add(1); <-disk; return nil }
		began := time.Now()
		answers := make(chan error)
		for range 50 {
			go func() { answers <- p.of(context.Background(), try) }()
		}
		for range 50 {
			if err := <-answers; !errors.Is(err, errSlow) {
				t.Error(err)
			}
		}
		if tries.Load() != 1 || time.Since(began) != proofWait {
			t.Errorf("%d trials, answered after %s", tries.Load(), time.Since(began))
		}
		close(disk)
		synctest.Wait()
		if err := p.of(t.Context(), try); err != nil || tries.Load() != 1 {
			t.Errorf("once it answers: %v, %d trials", err, tries.Load())
		}
	})
}

// A connection is not enough: a server that hangs keeps it. What has waited since
// before the bus came back is no sign as long as something is taken.
func TestABusThatTakesNothingIsNotReady(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long, short := now.Add(-stuckTime-time.Second), now.Add(-time.Second)
	for _, c := range []struct {
		err     string
		waits   int
		oldest  time.Time
		publish time.Time
		want    bool
	}{
		{"timeout", 3, long, long, true},
		{"timeout", 3, long, time.Time{}, true},
		{"", 3, long, long, false},
		{"timeout", 0, time.Time{}, long, false},
		{"timeout", 3, short, long, false},
		{"timeout", 3, long, short, false},
	} {
		s, d := publisher.Stats{LastError: c.err, LastPublish: c.publish}, state.Depth{Batches: c.waits, Oldest: c.oldest}
		if got := stuck(s, d, now); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
