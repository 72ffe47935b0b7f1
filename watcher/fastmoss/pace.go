package fastmoss

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// slowest is the part of the full rate that throttling leaves.
	slowest = 1.0 / 16
	// regain is the part of the full rate that each good answer gives back.
	regain = 1.0 / 16
	// fewThrottles is how many throttled answers make a condition of the token
	// out of what may be chance.
	fewThrottles = 3
)

// errShut means that the gate was closed while a call waited for its turn.
var errShut = errors.New("fastmoss: gate closed")

// A pace spaces the calls of those who share it. It slows down when the source
// throttles, multiplicatively, and recovers additively.
type pace struct {
	// turn is held by the caller whose call is next. Only one reservation is
	// ever open, so a change of rate or a hold concerns everybody at once.
	turn    chan struct{}
	limiter *rate.Limiter
	hold    *hold

	waiting atomic.Int64
	waited  atomic.Int64 // nanoseconds

	mu     sync.Mutex
	full   float64 // calls per second
	now    float64 // calls per second
	slowed time.Time
}

// newPace allows perSecond calls, but while h lasts none.
func newPace(perSecond float64, h *hold) *pace {
	return &pace{
		turn:    make(chan struct{}, 1),
		limiter: rate.NewLimiter(rate.Limit(perSecond), 1),
		hold:    h,
		full:    perSecond,
		now:     perSecond,
	}
}

// wait returns when a call may be made. It ends early with ctx's error, or with
// errShut when shut is closed.
func (p *pace) wait(ctx context.Context, shut <-chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	start := time.Now()
	p.waiting.Add(1)
	defer func() {
		p.waiting.Add(-1)
		p.waited.Add(int64(time.Since(start)))
	}()
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-shut:
		return errShut
	}
	defer func() { <-p.turn }()
	for {
		if err := sleep(ctx, shut, p.hold.left()); err != nil {
			return err
		}
		r := p.limiter.Reserve()
		if err := sleep(ctx, shut, r.Delay()); err != nil {
			r.Cancel()
			return err
		}
		// A hold may have been laid on during the sleep.
		if p.hold.left() <= 0 {
			return nil
		}
	}
}

func sleep(ctx context.Context, shut <-chan struct{}, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-shut:
		return errShut
	}
}

// rest waits until a call could be made, but for holds.
func (p *pace) rest(ctx context.Context) error {
	for {
		d := p.gap()
		if d <= 0 {
			return nil
		}
		if err := sleep(ctx, nil, d); err != nil {
			return err
		}
	}
}

// gap is how long the pace makes the next call wait.
func (p *pace) gap() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration((1 - p.limiter.Tokens()) / p.now * float64(time.Second))
}

// slow is told of a throttled answer to a call made at started. It returns the
// new rate and whether this left the full rate.
func (p *pace) slow(started time.Time) (perSecond float64, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Calls that were already under way when the rate was lowered say nothing
	// about the lower rate.
	if !started.Before(p.slowed) {
		first = p.now == p.full
		p.slowed = time.Now()
		p.set(max(p.now/2, p.full*slowest))
	}
	return p.now, first
}

// good is told of an answer that was not throttled. It returns the new rate and
// whether this has brought back the full one.
func (p *pace) good() (perSecond float64, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == p.full {
		return p.now, false
	}
	p.set(min(p.now+p.full*regain, p.full))
	return p.now, p.now == p.full
}

// setFull changes the full rate and keeps the part of it that is left.
func (p *pace) setFull(perSecond float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	part := p.now / p.full // exactly 1 if all is left
	p.full = perSecond
	p.set(perSecond * part)
}

func (p *pace) set(perSecond float64) {
	p.now = perSecond
	p.limiter.SetLimit(rate.Limit(perSecond))
}

// part is what throttling leaves of the full rate.
func (p *pace) part() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now / p.full
}

// A hold is how long the source has asked everybody to wait.
type hold struct {
	mu    sync.Mutex
	until time.Time
}

func (h *hold) left() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until.IsZero() {
		return 0
	}
	return time.Until(h.until)
}

// extend makes every call wait until then. It says whether they would not have
// waited for so long already.
func (h *hold) extend(until time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !until.After(h.until) {
		return false
	}
	h.until = until
	return true
}

// A streak is throttling without a break. Throttling that lasts for limit is more
// than a matter of pace; answers more than lull apart are not one streak.
type streak struct {
	limit, lull time.Duration

	mu          sync.Mutex
	since, last time.Time // of the first throttled answer in a row, and of the last
	throttles   int
}

// grow is told of a throttled answer. It says whether throttling has lasted too
// long to be a matter of pace.
func (s *streak) grow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now()
	if s.throttles == 0 || at.Sub(s.last) > s.lull {
		s.since, s.throttles = at, 0
	}
	s.last = at
	s.throttles++
	return s.throttles >= fewThrottles && at.Sub(s.since) >= s.limit
}

func (s *streak) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttles = 0
}
