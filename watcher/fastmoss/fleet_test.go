package fastmoss

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAHoldReachesAllLanesAndTheClient(t *testing.T) {
	const asked = time.Minute
	for name, lay := range map[string]func(t *testing.T, s *source, c *Client){
		"asked of a lane": func(t *testing.T, s *source, c *Client) {
			s.says(503, "", "Retry-After", "60")
			if err := askIn(t, c.Lane(1)); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			s.says(200, listOf(vendorItem))
		},
		"asked of another process": func(_ *testing.T, _ *source, c *Client) { c.HoldUntil(time.Now().Add(asked)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *Config) { c.Rate, c.Attempts = 0.1, 1 }, func(t *testing.T, s *source, c *Client) {
				lanes := []*Lane{c.Lane(0.1), c.Lane(0.1)}
				mustAsk(t, c)
				mustAskIn(t, lanes[0])
				var wg sync.WaitGroup
				wg.Go(func() { mustAsk(t, c) })
				wg.Go(func() { mustAskIn(t, lanes[0]) }) // both wait for their pace already
				synctest.Wait()
				start := time.Now()
				lay(t, s, c)
				n := s.count()
				wg.Go(func() { mustAskIn(t, lanes[1]) })
				wg.Wait()
				if s.count() != n+3 {
					t.Fatalf("%d calls", s.count())
				}
				for _, at := range s.calls[n:] {
					if at.Sub(start) < asked {
						t.Errorf("a call after %s", at.Sub(start))
					}
				}
			})
		})
	}
}

func TestOnHoldTellsOfHoldsThatLastLonger(t *testing.T) {
	var told []time.Duration
	var start time.Time
	inBubble(t, func(c *Config) {
		c.Rate, c.Attempts = 1000, 1
		c.OnHold = func(until time.Time) { told = append(told, until.Sub(start)) }
	}, func(t *testing.T, s *source, c *Client) {
		start = time.Now()
		// Two calls under way at once: the second asks for less.
		s.answer = func(*http.Request) (int, http.Header, string) {
			after, n := "60", s.count()
			if n == 2 {
				after = "30"
			}
			time.Sleep(time.Duration(n) * time.Second)
			return 503, http.Header{"Retry-After": {after}}, ""
		}
		lanes := []*Lane{c.Lane(1), c.Lane(1)}
		var wg sync.WaitGroup
		for _, l := range lanes {
			wg.Go(func() { askIn(t, l) })
			synctest.Wait()
		}
		wg.Wait()
		s.says(200, listOf(vendorItem))
		mustAsk(t, c)
		c.HoldUntil(time.Now().Add(time.Minute))
		c.HoldUntil(time.Now().Add(time.Second)) // never shorter
		mustAsk(t, c)
		c.HoldUntil(time.Now().Add(24 * time.Hour)) // not past what is tolerated
		mustAsk(t, c)
		if want := []time.Duration{61 * time.Second}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		var at []time.Duration
		for _, x := range s.calls[2:] {
			at = append(at, x.Sub(start).Round(time.Millisecond))
		}
		if want := []time.Duration{61 * time.Second, 121 * time.Second, 721 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("calls at %v, want %v", at, want)
		}
	})
}

func foreign(status, detail string, pause time.Duration) TokenCondition {
	now := time.Now().UTC().Round(0) // as it comes from elsewhere
	return TokenCondition{Status: status, Detail: detail, Since: now, NextTry: now.Add(pause)}
}

func TestAForeignConditionClosesAndOpensTheGate(t *testing.T) {
	for status, kind := range map[string]Kind{"denied": ErrDenied, "quota": ErrQuota} {
		t.Run(status, func(t *testing.T) {
			var h heard
			inBubble(t, func(c *Config) { c.OnCondition = h.hear }, func(t *testing.T, s *source, c *Client) {
				h.c = c
				lanes := []*Lane{c.Lane(0.01), c.Lane(0.01)}
				for _, l := range lanes {
					mustAskIn(t, l)
				}
				start := time.Now()
				errs := make([]error, len(lanes))
				var wg sync.WaitGroup
				for i, l := range lanes {
					wg.Go(func() { errs[i] = askIn(t, l) })
				}
				synctest.Wait()
				c.Condition(foreign(status, `HTTP 401, "no"`, time.Hour))
				wg.Wait()
				want := "page 1: " + kind.Error() + `: HTTP 401, "no"; no call made; next try ` +
					start.Add(time.Hour).UTC().Format(time.RFC3339) + "; " + kinds[kind].advice
				for _, err := range append(errs, ask(t, c)) {
					if !errors.Is(err, kind) || !gated(err) || err.Error() != want {
						t.Errorf("got  %v\nwant %s", err, want)
					}
				}
				if c.Stats().Status != status || time.Since(start) != 0 {
					t.Errorf("%s after %s", c.Stats().Status, time.Since(start))
				}
				c.Condition(TokenCondition{Status: StatusOK})
				c.Condition(TokenCondition{Status: StatusOK}) // told twice
				c.Condition(foreign("strange", "", time.Hour))
				for _, l := range lanes {
					mustAskIn(t, l)
				}
				// A gate that was opened closes again for calls that wait.
				wg.Go(func() { errs[0] = askIn(t, lanes[0]) })
				synctest.Wait()
				c.Condition(foreign(status, "", time.Hour))
				wg.Wait()
				if !errors.Is(errs[0], kind) || s.count() != 4 {
					t.Errorf("%d calls, %v", s.count(), errs[0])
				}
				h.expect(t)
			})
		})
	}
}

func TestAForeignConditionOfAClosedGate(t *testing.T) {
	for _, x := range []struct {
		name         string
		own, foreign string
		pause        time.Duration
		kind         Kind
		until        time.Duration
	}{
		{"later", "quota", "quota", 5 * time.Hour, ErrQuota, 5 * time.Hour},
		{"earlier", "quota", "quota", time.Minute, ErrQuota, time.Hour},
		{"of another status", "quota", "denied", time.Minute, ErrDenied, time.Minute},
		{"of the other status", "denied", "quota", time.Hour, ErrQuota, time.Hour},
	} {
		t.Run(x.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *source, c *Client) {
				s.says(200, coded(map[string]int{"quota": 30002, "denied": 30001}[x.own]))
				ask(t, c)
				c.Condition(foreign(x.foreign, "said elsewhere", x.pause))
				e, ok := errors.AsType[*Error](ask(t, c))
				if !ok || !e.Gate || e.Kind != x.kind || time.Until(e.Until) != x.until {
					t.Fatalf("got %+v", e)
				}
				if own := x.own == x.foreign; own != (e.Message == "because") {
					t.Errorf("got %+v", e)
				}
			})
		})
	}
}

// The foreign finding counts as the first strike, so a trial of ours that fails
// has the second one's pause, and is no news.
func TestATrialAfterAForeignConditionIsTheSecondStrike(t *testing.T) {
	var h heard
	inBubble(t, func(c *Config) { c.OnCondition = h.hear }, func(t *testing.T, s *source, c *Client) {
		h.c = c
		c.Condition(foreign("quota", "", time.Hour))
		c.Condition(foreign("quota", "", time.Hour)) // told twice
		time.Sleep(time.Hour)
		s.says(200, coded(30002))
		if e, ok := errors.AsType[*Error](ask(t, c)); !ok || e.Gate || time.Until(e.Until) != 2*time.Hour {
			t.Fatalf("got %+v", e)
		}
		h.expect(t)
		time.Sleep(2 * time.Hour)
		s.says(200, listOf(vendorItem))
		mustAsk(t, c)
		h.expect(t, "ok recovered -")
	})
}

func TestAForeignConditionDuringATrial(t *testing.T) {
	for _, x := range []struct {
		name   string
		answer string
		says   []string
	}{
		{"that works", listOf(vendorItem), []string{"denied token 15m0s"}},
		{"that fails", coded(30001), []string{"denied token 15m0s", "denied token 15m0s"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var h heard
			inBubble(t, func(c *Config) { c.OnCondition, c.Rate = h.hear, 1000 }, func(t *testing.T, s *source, c *Client) {
				h.c = c
				s.says(200, coded(30001))
				ask(t, c)
				c.Reset()
				answered := make(chan struct{})
				s.mu.Lock()
				s.answer = func(*http.Request) (int, http.Header, string) { <-answered; return 200, nil, x.answer }
				s.mu.Unlock()
				trial, waits := make(chan error, 1), make(chan error, 1)
				go func() { trial <- ask(t, c) }()
				time.Sleep(time.Second)
				go func() { waits <- ask(t, c) }()
				synctest.Wait()
				s.says(200, listOf(vendorItem))
				c.Condition(TokenCondition{Status: StatusOK})
				if err := <-waits; err != nil { // waits for the trial no longer
					t.Error(err)
				}
				close(answered)
				if err := <-trial; gated(err) || (err != nil) != (x.answer == coded(30001)) {
					t.Errorf("the trial got %v", err)
				}
				h.expect(t, x.says...)
				// The gate shuts as ever.
				c.Condition(TokenCondition{Status: StatusOK})
				s.says(200, coded(30002))
				for _, err := range askTogether(t, c, 3) {
					if !errors.Is(err, ErrQuota) {
						t.Errorf("got %v", err)
					}
				}
			})
		})
	}
}

func TestClientsThatTellEachOtherMakeFewTrials(t *testing.T) {
	var other *Client
	inBubble(t, func(c *Config) {
		c.Rate, c.OnCondition = 1000, func(x TokenCondition) { other.Condition(x) }
	}, func(t *testing.T, s *source, c *Client) {
		cfg := c.cfg
		cfg.OnCondition = c.Condition
		var err error
		if other, err = New(cfg); err != nil {
			t.Fatal(err)
		}
		s.says(200, coded(30002))
		good := make(chan time.Time, 2)
		for _, x := range []*Client{c, other} {
			go func() {
				l := x.Lane(1)
				for askIn(t, l) != nil {
					if err := x.Open(t.Context()); err != nil {
						t.Error(err)
					}
				}
				good <- time.Now()
			}()
			synctest.Wait() // the second is told before it has called
		}
		if s.count() != 1 {
			t.Fatalf("%d calls", s.count())
		}
		time.Sleep(4 * time.Hour) // past the trials after one hour, and after three
		if n := s.count(); n != 5 {
			t.Errorf("%d calls in four hours", n)
		}
		// What one of them learns by a reload is known to both.
		s.says(200, listOf(vendorItem))
		start := time.Now()
		c.Reset()
		for range 2 {
			if d := (<-good).Sub(start); d > time.Second {
				t.Errorf("works again after %s", d)
			}
		}
	})
}

func TestOpenWakesUpOnEveryWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(v string) {
		if err := os.WriteFile(path, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Not when Open would look anyway.
	const when = 61 * time.Second
	in := func(f func()) { time.AfterFunc(when, f) }
	// A trial that a hold delays, so that Open waits for its outcome.
	try := func(s *source, c *Client, status int, body string) {
		c.HoldUntil(time.Now().Add(when))
		c.Reset()
		go c.Page(context.Background(), Query{}, 1, 1)
		synctest.Wait()
		s.says(status, body)
	}
	for _, x := range []struct {
		name   string
		during func(s *source, c *Client)
		want   time.Duration
		calls  int
	}{
		{"the pause ends", func(*source, *Client) {}, 15 * time.Minute, 1},
		{"the pause has grown", func(_ *source, c *Client) {
			in(func() { c.Condition(foreign("denied", "", time.Hour)) })
		}, when + time.Hour, 1},
		{"reset", func(_ *source, c *Client) { in(c.Reset) }, when, 1},
		{"another process found it to work", func(_ *source, c *Client) {
			in(func() { c.Condition(TokenCondition{Status: StatusOK}) })
		}, when, 1},
		{"another status ends sooner", func(_ *source, c *Client) {
			in(func() { c.Condition(foreign("quota", "", time.Second)) })
		}, when + time.Second, 1},
		{"the token was replaced", func(*source, *Client) { in(func() { write("new") }) }, when + 4*time.Second, 1},
		{"a trial works", func(s *source, c *Client) { try(s, c, 200, listOf(vendorItem)) }, when, 2},
		{"a trial fails", func(s *source, c *Client) { try(s, c, 200, coded(30001)) }, when + 15*time.Minute, 2},
		{"a trial has no answer", func(s *source, c *Client) { try(s, c, 502, "") }, when, 2},
	} {
		t.Run(x.name, func(t *testing.T) {
			write("old")
			inBubble(t, func(c *Config) { c.Token, c.Attempts = FileToken(path), 1 }, func(t *testing.T, s *source, c *Client) {
				start := time.Now()
				if err := c.Open(t.Context()); err != nil || time.Since(start) != 0 {
					t.Fatalf("an open gate: %v after %s", err, time.Since(start))
				}
				s.says(200, coded(30001))
				ask(t, c)
				x.during(s, c)
				if err := c.Open(t.Context()); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(start); d != x.want || s.count() != x.calls {
					t.Errorf("open after %s and %d calls, want %s and %d", d, s.count(), x.want, x.calls)
				}
				// What it says holds: the next call is made.
				s.says(200, listOf(vendorItem))
				mustAsk(t, c)
			})
		})
	}
}

// Others may not have the new token yet: what they say is of the old one.
func TestAForeignConditionDoesNotKeepAReplacedTokenFromItsTrial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for _, status := range []string{"denied", "quota"} {
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		inBubble(t, func(c *Config) { c.Token = FileToken(path) }, func(t *testing.T, s *source, c *Client) {
			s.says(200, coded(30001))
			ask(t, c)
			if err := os.WriteFile(path, []byte("new-"+status), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			c.Condition(foreign(status, "", time.Hour))
			s.says(200, listOf(vendorItem))
			mustAsk(t, c)
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *source, c *Client) {
		c.Condition(foreign("denied", "", time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := c.Open(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute+time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}
