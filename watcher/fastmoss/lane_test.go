package fastmoss

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func askIn(t *testing.T, l *Lane) error {
	t.Helper()
	_, err := l.Page(t.Context(), Query{}, 1, 100)
	return err
}

func mustAskIn(t *testing.T, l *Lane) {
	t.Helper()
	if err := askIn(t, l); err != nil {
		t.Error(err)
	}
}

// checkPerSecond says whether no second holds more than most calls.
func checkPerSecond(t *testing.T, calls []time.Time, most int) {
	t.Helper()
	for i := most; i < len(calls); i++ {
		if d := calls[i].Sub(calls[i-most]); d < time.Second-time.Microsecond {
			t.Errorf("%d calls within %s", most+1, d)
		}
	}
}

// Slots go from process to process, each with lanes of its own, and nobody
// knows of the others' calls.
func TestLanesOfManyProcessesKeepTheTokensRate(t *testing.T) {
	const perSecond, most, processes = 6, 3, 4
	inBubble(t, func(c *Config) { c.Rate = perSecond }, func(t *testing.T, s *source, first *Client) {
		clients := []*Client{first}
		for range processes - 1 {
			c, err := New(first.cfg)
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}
		var wg sync.WaitGroup
		for slot := range most {
			wg.Go(func() {
				lanes := make([]*Lane, processes)
				for i, c := range clients {
					lanes[i] = c.Lane(perSecond / most)
				}
				var last time.Time
				for reading := range 12 {
					l := lanes[(slot+reading)%processes]
					for range 1 + reading%4 {
						mustAskIn(t, l)
						now := time.Now()
						if d := now.Sub(last); d < 500*time.Millisecond-time.Microsecond {
							t.Errorf("slot %d: calls %s apart", slot, d)
						}
						last = now
						time.Sleep(time.Duration(reading) * 30 * time.Millisecond)
					}
					if err := l.Rest(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if s.count() != most*30 {
			t.Fatalf("%d calls", s.count())
		}
		checkPerSecond(t, s.calls, perSecond+most)
	})
}

func TestRestLastsUntilTheNextCallMayCome(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *source, c *Client) {
		l := c.Lane(0.5)
		rest := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			if err := l.Rest(t.Context()); err != nil || time.Since(start) != want {
				t.Fatalf("rested %s, want %s: %v", time.Since(start), want, err)
			}
		}
		rest(0) // no call yet
		mustAskIn(t, l)
		rest(2 * time.Second)
		rest(0)
		mustAskIn(t, l)
		time.Sleep(1500 * time.Millisecond)
		rest(500 * time.Millisecond)
		mustAskIn(t, l)
		time.Sleep(time.Minute)
		rest(0)
		// Rests save nothing up.
		mustAskIn(t, l)
		mustAskIn(t, l)
		if d := s.calls[4].Sub(s.calls[3]); d != 2*time.Second {
			t.Errorf("calls %s apart", d)
		}
		l.SetRate(0.1)
		rest(10 * time.Second)
		mustAskIn(t, l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Rest(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if s.count() != 6 {
			t.Errorf("rests made calls: %d", s.count())
		}
	})
}

func TestRetriesInALaneSpendItsPace(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate, c.Backoff = 1000, time.Millisecond }, func(t *testing.T, s *source, c *Client) {
		s.says(200, coded(40001))
		if err := askIn(t, c.Lane(0.1)); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		checkRate(t, s.calls, 10*time.Second)
		if n := c.Stats().Retries; n != 5 {
			t.Errorf("%d retries counted", n)
		}
	})
}

func TestThrottlingSlowsDownOneLaneAndSetRateKeepsThePart(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate, c.Attempts = 16, 1 }, func(t *testing.T, s *source, c *Client) {
		slow, other := c.Lane(4), c.Lane(4)
		rate := func(want float64) {
			t.Helper()
			if got := c.Stats().Rate; got != want {
				t.Fatalf("rate %v, want %v", got, want)
			}
		}
		rate(16)
		s.says(200, coded(30003))
		for _, want := range []float64{8, 4} {
			if err := askIn(t, slow); !errors.Is(err, ErrThrottled) {
				t.Fatal(err)
			}
			rate(want)
		}
		s.says(200, listOf(vendorItem))
		gap := func(l *Lane, want time.Duration) {
			t.Helper()
			l.Rest(t.Context())
			mustAskIn(t, l)
			start := time.Now()
			l.Rest(t.Context())
			if d := time.Since(start); d < want-time.Microsecond || d > want {
				t.Errorf("gap %s, want %s", d, want)
			}
		}
		gap(other, 250*time.Millisecond)
		slow.SetRate(8)
		rate(4)
		gap(slow, time.Second/8*16/5) // a good answer has brought it from 4 parts to 5
		for range 11 {
			mustAskIn(t, slow)
		}
		rate(16)
		gap(slow, 125*time.Millisecond)
	})
}

// What one lane is told of throttling ends for all when another reads well.
func TestThrottlingWithoutABreakIsOfAllLanes(t *testing.T) {
	for _, x := range []struct {
		breaks bool
		want   Kind
	}{{false, ErrQuota}, {true, ErrThrottled}} {
		t.Run(fmt.Sprint("breaks ", x.breaks), func(t *testing.T) {
			inBubble(t, func(c *Config) { c.Attempts = 1 }, func(t *testing.T, s *source, c *Client) {
				lanes := []*Lane{c.Lane(1), c.Lane(1), c.Lane(1)}
				var err error
				for i := range 8 {
					s.says(200, coded(30003))
					err = askIn(t, lanes[i%2])
					if x.breaks {
						s.says(200, listOf(vendorItem))
						mustAskIn(t, lanes[2])
					}
					time.Sleep(time.Minute)
				}
				if !errors.Is(err, x.want) {
					t.Errorf("got %v, want %v", err, x.want)
				}
			})
		})
	}
}

func TestStatsTellOfLanesThatWait(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate = 0.1 }, func(t *testing.T, s *source, c *Client) {
		lanes := []*Lane{c.Lane(0.1), c.Lane(0.1)}
		mustAsk(t, c)
		for _, l := range lanes {
			mustAskIn(t, l)
		}
		var wg sync.WaitGroup
		wg.Go(func() { mustAsk(t, c) })
		for _, l := range lanes {
			wg.Go(func() { mustAskIn(t, l) })
		}
		synctest.Wait()
		if n := c.Stats().Waiting; n != 3 {
			t.Errorf("%d wait, want 3", n)
		}
		wg.Wait()
		if now := c.Stats(); now.Waiting != 0 || now.Waited != 30*time.Second || now.Calls["ok"] != 6 {
			t.Errorf("got %+v", now)
		}
	})
}

// What a turn allowed when it began may not be allowed any more once the call has
// waited for its time, or is made again.
func TestACallIsAllowedJustBeforeItIsMade(t *testing.T) {
	errLost := errors.New("lost")
	for name, status := range map[string]int{"after its pace": 200, "before it is made again": 503} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *Config) { c.Rate = 1 }, func(t *testing.T, s *source, c *Client) {
				l := c.Lane(0.1)
				var allowed atomic.Bool
				allowed.Store(true)
				ask := func() error {
					_, err := l.PageWhile(t.Context(), func() error {
						if !allowed.Load() {
							return errLost
						}
						allowed.Store(status == 200)
						return nil
					}, Query{}, 1, MaxPageSize)
					return err
				}
				if status == 200 {
					s.says(200, listOf(vendorItem))
					if err := ask(); err != nil {
						t.Fatal(err)
					}
					time.AfterFunc(5*time.Second, func() { allowed.Store(false) }) // while the pace is waited for
				} else {
					s.says(status, "")
				}
				if err := ask(); !errors.Is(err, errLost) || s.count() != 1 {
					t.Errorf("%v after %d calls", err, s.count())
				}
			})
		})
	}
}
