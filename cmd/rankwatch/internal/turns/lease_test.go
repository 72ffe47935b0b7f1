package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

const aWait = 15 * time.Second

var errDeaf = errors.New("nobody answers")

// A grantor grants time, as long as it hears.
type grantor struct {
	slow time.Duration
	deaf atomic.Bool

	mu    sync.Mutex
	times []time.Time
}

// asked is when it was asked.
func (g *grantor) asked() []time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.times)
}

func (g *grantor) ask(ctx context.Context) error {
	g.mu.Lock()
	g.times = append(g.times, time.Now())
	g.mu.Unlock()
	select {
	case <-time.After(g.slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.deaf.Load() {
		return errDeaf
	}
	return nil
}

func TestALeaseIsHeldAsLongAsSomebodyGrantsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &grantor{}
		l, ctx, release := keep(t.Context(), time.Now(), aWait, g.ask)
		defer release()
		for range 100 {
			time.Sleep(aWait / 3)
			if !l.held() || ctx.Err() != nil {
				t.Fatal("lost a lease that was granted")
			}
		}
		if n := len(g.asked()); n < 150 || n > 170 {
			t.Errorf("asked %d times in a hundred thirds", n)
		}
	})
}

func TestALeaseRunsOutFromWhenItWasLastAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &grantor{slow: time.Second}
		begin := time.Now()
		l, ctx, release := keep(t.Context(), begin, aWait, g.ask)
		defer release()
		time.Sleep(10 * time.Second) // asked at 3, 6 and 9
		g.deaf.Store(true)
		<-ctx.Done()
		last := slices.MaxFunc(g.asked()[:3], time.Time.Compare)
		if d := last.Sub(begin); d != 9*time.Second {
			t.Fatalf("the last one that was granted was asked for after %v", d)
		}
		time.Sleep(time.Until(last.Add(aWait)))
		if l.held() {
			t.Error("held although nobody granted it")
		}
		if d := time.Since(last); d > aWait+aWait/beats {
			t.Errorf("lost after %v", d)
		}
	})
}

func TestALeaseThatWasLostStaysLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lease{wait: aWait, until: time.Now().Add(aWait)}
		asked := time.Now()
		time.Sleep(aWait)
		l.extend(asked.Add(aWait / 2)) // the answer comes when it is too late
		if l.held() {
			t.Error("an answer that was too late brought it back")
		}
		// What is asked for before it is lost is not held on from the answer.
		l = &lease{wait: aWait, until: time.Now().Add(aWait)}
		asked = time.Now()
		time.Sleep(aWait - time.Nanosecond)
		if !l.held() {
			t.Error("lost too early")
		}
		l.extend(asked)
		time.Sleep(time.Nanosecond)
		if l.held() {
			t.Error("counted from the answer")
		}
	})
}

// The process stands still while it holds a turn, or between a turn's coming and
// its being taken.
func TestWhoStoodStillHasLostTheTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &grantor{}
		l, ctx, release := keep(t.Context(), time.Now().Add(-aWait), aWait, g.ask)
		defer release()
		if l.held() {
			t.Error("held a turn that came long ago")
		}
		<-ctx.Done()
		if len(g.asked()) > 0 {
			t.Error("asked for more of what is lost")
		}

		still := &lease{wait: aWait, until: time.Now().Add(aWait)}
		inner, lost := context.WithCancel(t.Context())
		still.lost = lost
		time.Sleep(time.Hour) // without a beat
		_, err := leased{lease: still}.Page(inner, fastmoss.Query{}, 1, 1)
		if !errors.Is(err, errLost) || inner.Err() == nil {
			t.Errorf("a call without the turn: %v", err)
		}
	})
}

func TestAReleasedLeaseAsksNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for held, want := range map[time.Duration]int{
			aWait / beats / 2: 0, // a reading that is over soon needs no more time
			aWait / beats:     1,
		} {
			g := &grantor{slow: time.Hour}
			_, ctx, release := keep(t.Context(), time.Now(), aWait, g.ask)
			time.Sleep(held)
			synctest.Wait()
			release()
			time.Sleep(aWait)
			if ctx.Err() == nil || len(g.asked()) != want {
				t.Errorf("held for %v: asked %d times, not %d", held, len(g.asked()), want)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate        float64
		concurrency int
		readings    int
		pace        float64
	}{
		{10, 4, 4, 2.5}, {3, 8, 3, 1}, {3.9, 8, 3, 1.3}, {1, 8, 1, 1}, {.2, 8, 1, .2}, {5, 1, 1, 5}, {5, 0, 1, 5},
	} {
		l := LimitsOf(c.rate, c.concurrency)
		if l.Readings != c.readings || l.Rate != c.rate || l.Pace() != c.pace {
			t.Errorf("%v calls a second, %d at once: %+v, each %v", c.rate, c.concurrency, l, l.Pace())
		}
	}
}

func TestLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for due, want := range map[time.Time]time.Duration{
			{}: 0, now.Add(-3 * time.Second): 3 * time.Second, now.Add(time.Second): 0, now: 0,
		} {
			if d := late(&fleet.Turn{Schedule: fleet.Schedule{Due: due}}); d != want {
				t.Errorf("due %v: late by %v", due, d)
			}
		}
	})
}
