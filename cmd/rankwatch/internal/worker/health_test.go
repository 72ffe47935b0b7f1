package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
