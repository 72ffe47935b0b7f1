package fastmoss

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAllCallersTogetherKeepTheRate(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *source, c *Client) {
		start := time.Now()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 5 {
					if err := ask(t, c); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != 39*500*time.Millisecond {
			t.Errorf("40 calls took %s", d)
		}
		checkRate(t, s.calls, 500*time.Millisecond)
		if c.Stats().Waited == 0 {
			t.Error("waiting was not counted")
		}
	})
}

// checkRate says whether calls are at least gap apart, but for what the limiter
// rounds off.
func checkRate(t *testing.T, calls []time.Time, gap time.Duration) {
	t.Helper()
	for i := 1; i < len(calls); i++ {
		if d := calls[i].Sub(calls[i-1]); d < gap-time.Microsecond {
			t.Errorf("calls %d and %d are %s apart, want %s", i-1, i, d, gap)
		}
	}
}

func TestRetriesSpendPace(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate, c.Backoff = 0.1, time.Millisecond }, func(t *testing.T, s *source, c *Client) {
		s.says(200, coded(40001))
		if err := ask(t, c); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		if len(s.calls) != 6 {
			t.Fatalf("%d calls", len(s.calls))
		}
		checkRate(t, s.calls, 10*time.Second)
	})
}

func TestBackoffGrowsWithJitterUpToItsCap(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate, c.Attempts, c.Backoff, c.MaxBackoff = 1000, 8, time.Second, 4*time.Second }, func(t *testing.T, s *source, c *Client) {
		s.says(200, coded(40001))
		if err := ask(t, c); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		for i, mean := range []time.Duration{1, 2, 4, 4, 4, 4, 4} {
			mean *= time.Second
			if d := s.calls[i+1].Sub(s.calls[i]); d < mean/2 || d > mean*3/2+2*time.Millisecond {
				t.Errorf("wait %d is %s, want about %s", i+1, d, mean)
			}
		}
	})
}

func TestRetryAfterHoldsForTheWholeToken(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, x := range []struct {
		name   string
		status int
		after  func() string
		want   time.Duration
	}{
		{"seconds", 429, func() string { return "90" }, 90 * time.Second},
		{"date", 429, func() string { return date(90 * time.Second) }, 90 * time.Second},
		{"unavailable too", 503, func() string { return "90" }, 90 * time.Second},
		{"capped", 429, func() string { return "86400" }, 10 * time.Minute},
		{"capped date", 429, func() string { return date(48 * time.Hour) }, 10 * time.Minute},
		{"absurd", 429, func() string { return "99999999999999999999" }, 0},
		{"past date", 429, func() string { return date(-time.Hour) }, 0},
		{"garbage", 429, func() string { return "soon" }, 0},
		{"negative", 429, func() string { return "-5" }, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			inBubble(t, func(c *Config) { c.Rate, c.Attempts = 1000, 1 }, func(t *testing.T, s *source, c *Client) {
				s.says(x.status, "", "Retry-After", x.after())
				err := ask(t, c)
				if e, ok := errors.AsType[*Error](err); !ok || e.RetryAfter != x.want {
					t.Fatalf("got %+v", err)
				}
				s.says(200, listOf(vendorItem))
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() { mustAsk(t, c) })
				}
				wg.Wait()
				for _, at := range s.calls[1:] {
					if d := at.Sub(s.calls[0]); d < x.want || d > x.want+time.Second {
						t.Errorf("a call after %s, want %s", d, x.want)
					}
				}
			})
		})
	}
}

func TestRetryAfterReachesCallsThatAlreadyWait(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate, c.Attempts = 1, 1 }, func(t *testing.T, s *source, c *Client) {
		s.says(503, "", "Retry-After", "60")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { ask(t, c) })
		}
		wg.Wait()
		checkRate(t, s.calls, time.Minute)
	})
}

func TestThrottlingSlowsEverybodyDownAndSuccessRecovers(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate, c.Attempts, c.ThrottleLimit = 16, 1, time.Hour }, func(t *testing.T, s *source, c *Client) {
		s.says(200, coded(30003))
		for _, want := range []float64{8, 4, 2, 1, 1, 1} {
			if err := ask(t, c); !errors.Is(err, ErrThrottled) {
				t.Fatal(err)
			}
			if got := c.Stats().Rate; got != want {
				t.Fatalf("rate %v, want %v", got, want)
			}
		}
		s.says(200, listOf(vendorItem))
		n := len(s.calls)
		for want := 2.0; want <= 16; want++ {
			mustAsk(t, c)
			if got := c.Stats().Rate; got != want {
				t.Fatalf("rate %v, want %v", got, want)
			}
		}
		if d := s.calls[n].Sub(s.calls[n-1]); d != time.Second {
			t.Errorf("the slowest pace let a call through after %s", d)
		}
		mustAsk(t, c)
		if got := c.Stats().Rate; got != 16 {
			t.Errorf("rate %v is past the full one", got)
		}
	})
}

func TestCallsUnderWaySlowDownOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(16, &hold{})
		started := time.Now()
		time.Sleep(time.Second)
		for range 4 {
			p.slow(started)
		}
		if p.now != 8 {
			t.Errorf("rate %v, want 8", p.now)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate = 0.001 }, func(t *testing.T, s *source, c *Client) {
		mustAsk(t, c)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := c.Page(ctx, Query{}, 1, 1); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := c.Stats().Waiting; n != 3 {
			t.Errorf("%d wait, want 3", n)
		}
		wg.Wait()
		if d := time.Since(start); d != 3*time.Second || len(s.calls) != 1 {
			t.Errorf("%s, %d calls", d, len(s.calls))
		}
	})
}

func TestGivenUpTurnsAreNotSpent(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate = 0.1 }, func(t *testing.T, s *source, c *Client) {
		mustAsk(t, c)
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			c.Page(ctx, Query{}, 1, 1)
			cancel()
		}
		mustAsk(t, c)
		if d := s.calls[1].Sub(s.calls[0]); d != 10*time.Second {
			t.Errorf("the next call came after %s", d)
		}
	})
}

func TestCancelDuringBackoffTellsTheLastAnswer(t *testing.T) {
	inBubble(t, func(c *Config) { c.Backoff = time.Minute; c.MaxBackoff = time.Minute }, func(t *testing.T, s *source, c *Client) {
		s.says(200, coded(40001))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.Page(ctx, Query{}, 1, 1)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "code 40001") {
			t.Errorf("got %v", err)
		}
	})
}
