package fastmoss

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeniedClosesTheGateUntilThePauseIsOver(t *testing.T) {
	var h heard
	inBubble(t, func(c *Config) { c.OnCondition = h.hear }, func(t *testing.T, s *source, c *Client) {
		h.c = c
		s.says(200, coded(30001))
		err := ask(t, c)
		e, _ := errors.AsType[*Error](err)
		if !errors.Is(err, ErrDenied) || gated(err) || time.Until(e.Until) != 15*time.Minute {
			t.Fatalf("got %+v", e)
		}
		start := time.Now()
		for range 10 {
			err := ask(t, c)
			if !errors.Is(err, ErrDenied) || !gated(err) {
				t.Fatalf("got %v", err)
			}
		}
		if time.Since(start) != 0 || s.count() != 1 {
			t.Fatalf("closed gate: %s, %d calls", time.Since(start), s.count())
		}
		time.Sleep(15 * time.Minute)
		if err := ask(t, c); gated(err) || s.count() != 2 {
			t.Fatalf("no trial: %v, %d calls", err, s.count())
		}
		if err := ask(t, c); !gated(err) {
			t.Fatalf("got %v", err)
		}
		s.says(200, listOf(vendorItem))
		time.Sleep(15 * time.Minute)
		mustAsk(t, c)
		mustAsk(t, c)
		h.expect(t, "denied token 15m0s", "ok recovered -")
	})
}

func TestQuotaPauseDoublesUpToItsCap(t *testing.T) {
	var h heard
	inBubble(t, func(c *Config) { c.OnCondition = h.hear }, func(t *testing.T, s *source, c *Client) {
		h.c = c
		s.says(200, coded(30002))
		for i, want := range []time.Duration{1, 2, 4, 6, 6} {
			err := ask(t, c)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != ErrQuota || e.Gate || time.Until(e.Until) != want*time.Hour {
				t.Fatalf("trial %d: %+v", i, err)
			}
			time.Sleep(want*time.Hour - time.Second)
			if err := ask(t, c); !gated(err) {
				t.Fatalf("the gate opened early: %v", err)
			}
			time.Sleep(time.Second)
		}
		s.says(200, coded(20001)) // an answer that shows the token to work
		if err := ask(t, c); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		s.says(200, coded(30002))
		if e, _ := errors.AsType[*Error](ask(t, c)); time.Until(e.Until) != time.Hour {
			t.Fatalf("the pause did not start anew: %v", e)
		}
		h.expect(t, "quota limit 1h0m0s", "ok recovered -", "quota limit 1h0m0s")
	})
}

func TestDeniedAfterQuotaIsANewCondition(t *testing.T) {
	var h heard
	inBubble(t, func(c *Config) { c.OnCondition = h.hear }, func(t *testing.T, s *source, c *Client) {
		h.c = c
		s.says(200, coded(30002))
		ask(t, c)
		s.says(401, coded(30001))
		time.Sleep(time.Hour)
		ask(t, c)
		h.expect(t, "quota limit 1h0m0s", "denied token 15m0s")
		if c.Stats().Status != "denied" {
			t.Error(c.Stats().Status)
		}
	})
}

func TestOneTrialAtATimeAndTheOthersWaitForIt(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate = 1000 }, func(t *testing.T, s *source, c *Client) {
		s.says(200, coded(30002))
		ask(t, c)
		// The trial fails: it alone is spent.
		c.Reset()
		errs := askTogether(t, c, 5)
		var trials int
		for _, err := range errs {
			if !errors.Is(err, ErrQuota) {
				t.Fatalf("got %v", err)
			}
			if !gated(err) {
				trials++
			}
		}
		if trials != 1 || s.count() != 2 {
			t.Fatalf("%d trials, %d calls", trials, s.count())
		}
		// The trial succeeds: nobody is turned away.
		s.says(200, listOf(vendorItem))
		c.Reset()
		for _, err := range askTogether(t, c, 5) {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func askTogether(t *testing.T, c *Client, n int) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = ask(t, c) })
	}
	wg.Wait()
	return errs
}

func TestClosingTheGateTurnsWaitingCallsAway(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate = 0.01 }, func(t *testing.T, s *source, c *Client) {
		s.says(200, coded(30001))
		start := time.Now()
		for _, err := range askTogether(t, c, 5) {
			if !errors.Is(err, ErrDenied) {
				t.Fatal(err)
			}
		}
		if s.count() != 1 || time.Since(start) != 0 {
			t.Fatalf("%d calls in %s", s.count(), time.Since(start))
		}
	})
}

func TestATrialWithoutAnAnswerDecidesNothing(t *testing.T) {
	var h heard
	inBubble(t, func(c *Config) { c.OnCondition, c.Attempts = h.hear, 2 }, func(t *testing.T, s *source, c *Client) {
		h.c = c
		s.says(200, coded(30001))
		ask(t, c)
		c.Reset()
		s.says(502, "")
		if err := ask(t, c); !errors.Is(err, ErrUnavailable) || s.count() != 3 {
			t.Fatalf("%v, %d calls", err, s.count())
		}
		h.expect(t, "denied token 15m0s")
		s.says(200, listOf(vendorItem))
		mustAsk(t, c)
		h.expect(t, "denied token 15m0s", "ok recovered -")
	})
}

func TestResetDuringATrialBringsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{quotaPause: time.Hour, quotaMax: time.Hour, deniedPause: time.Hour, shut: make(chan struct{})}
		p, err := g.enter(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		g.close(p, 1, fault(ErrDenied, "x"), ReasonToken)
		p.leave()
		g.reset()
		trial, err := g.enter(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		g.reset()
		g.close(trial, 1, fault(ErrDenied, "x"), ReasonToken)
		trial.leave()
		if p, err := g.enter(t.Context(), 1); err != nil || !p.trial {
			t.Fatalf("the second reset was lost: %v", err)
		}
	})
}

func TestThrottlingThatStaysIsQuota(t *testing.T) {
	for name, x := range map[string]struct {
		status int
		body   string
	}{"30003": {200, coded(30003)}, "429": {429, ""}} {
		t.Run(name, func(t *testing.T) {
			var h heard
			inBubble(t, func(c *Config) { c.OnCondition = h.hear }, func(t *testing.T, s *source, c *Client) {
				h.c = c
				s.says(x.status, x.body)
				start := time.Now()
				for !errors.Is(ask(t, c), ErrQuota) {
					if time.Since(start) > 10*time.Minute {
						t.Fatal("still throttled")
					}
				}
				if d := time.Since(start); d < 5*time.Minute {
					t.Errorf("quota after %s already", d)
				}
				if n := s.count(); n > 60 {
					t.Errorf("%d calls were spent on being throttled", n)
				}
				// A throttled trial confirms it.
				time.Sleep(time.Hour)
				if e, _ := errors.AsType[*Error](ask(t, c)); e.Kind != ErrQuota || e.Gate || time.Until(e.Until) != 2*time.Hour {
					t.Errorf("got %+v", e)
				}
				h.expect(t, "quota throttled 1h0m0s")
			})
		})
	}
}

func TestThrottlingWithBreaksIsNotQuota(t *testing.T) {
	inBubble(t, func(c *Config) { c.Attempts = 1 }, func(t *testing.T, s *source, c *Client) {
		for range 20 {
			s.says(200, coded(30003))
			for range 2 {
				if err := ask(t, c); !errors.Is(err, ErrThrottled) {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
			s.says(200, listOf(vendorItem))
			mustAsk(t, c)
		}
		s.says(200, coded(30003))
		for range 20 { // hours apart: chance, not a condition
			if err := ask(t, c); !errors.Is(err, ErrThrottled) {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestAListenerMayCallBack(t *testing.T) {
	var c *Client
	var said []string
	inBubble(t, func(cfg *Config) {
		cfg.OnCondition = func(x TokenCondition) {
			said = append(said, x.Status)
			if x.Status != StatusOK && len(said) < 3 {
				c.Reset()
				c.Page(context.Background(), Query{}, 1, 1)
			}
		}
	}, func(t *testing.T, s *source, client *Client) {
		c = client
		s.says(200, coded(30002))
		ask(t, c)
		if s.count() != 2 || len(said) != 1 {
			t.Fatalf("%d calls, heard %v", s.count(), said)
		}
	})
}

func TestARotatedTokenIsTriedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(v string) {
		if err := os.WriteFile(path, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old\n")
	var h heard
	inBubble(t, func(c *Config) { c.Token, c.OnCondition = FileToken(path), h.hear }, func(t *testing.T, s *source, c *Client) {
		h.c = c
		mustAsk(t, c)
		// Replaced within the second in which the file is not looked at: the
		// denial makes it look.
		write("new\n")
		s.mu.Lock()
		old := s.answer
		s.answer = byToken("Bearer new", old)
		s.mu.Unlock()
		time.Sleep(600 * time.Millisecond)
		mustAsk(t, c)
		// Denied for good, then rotated: no pause is waited for.
		s.says(200, coded(30001))
		if err := ask(t, c); !errors.Is(err, ErrDenied) {
			t.Fatal(err)
		}
		s.says(200, listOf(vendorItem))
		write("newer\n")
		time.Sleep(time.Minute)
		mustAsk(t, c)
		h.expect(t, "denied token 15m0s", "ok recovered -")
		want := []string{"Bearer old", "Bearer old", "Bearer new", "Bearer new", "Bearer newer"}
		for i, tok := range s.tokens {
			if i >= len(want) || tok != want[i] {
				t.Fatalf("tokens sent: %q", s.tokens)
			}
		}
		checkRate(t, s.calls, 500*time.Millisecond)
	})
}

func TestAnswersUnderWayWhenTheGateClosesChangeNothing(t *testing.T) {
	var h heard
	inBubble(t, func(c *Config) { c.OnCondition, c.Rate = h.hear, 1000 }, func(t *testing.T, s *source, c *Client) {
		h.c = c
		all := make(chan struct{})
		s.mu.Lock()
		s.answer = func(*http.Request) (int, http.Header, string) { <-all; return 200, nil, coded(30002) }
		s.mu.Unlock()
		time.AfterFunc(time.Second, func() { close(all) })
		for _, err := range askTogether(t, c, 3) {
			if e, ok := errors.AsType[*Error](err); !ok || e.Kind != ErrQuota || e.Gate || time.Until(e.Until) != time.Hour {
				t.Errorf("got %+v", err)
			}
		}
		if s.count() != 3 {
			t.Errorf("%d calls, want 3", s.count())
		}
		h.expect(t, "quota limit 1h0m0s")
	})
}

func TestWaitingForATrialEndsWithItsContext(t *testing.T) {
	inBubble(t, func(c *Config) { c.Rate = 1000 }, func(t *testing.T, s *source, c *Client) {
		s.says(200, coded(30002))
		ask(t, c)
		c.Reset()
		s.says(503, "", "Retry-After", "60")
		done := make(chan error)
		go func() { done <- ask(t, c) }()
		time.Sleep(100 * time.Millisecond)
		s.says(200, listOf(vendorItem))
		time.Sleep(10 * time.Second) // the trial now waits for the hold to end
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Page(ctx, Query{}, 1, 1)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
