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

// A pace spaces the calls of one token, for all callers together. It slows down
// when the source throttles, multiplicatively, and recovers additively.
type pace struct {
	// turn is held by the caller whose call is next. Only one reservation is
	// ever open, so a change of rate or a hold concerns everybody at once.
	turn    chan struct{}
	limiter *rate.Limiter
	full    float64 // calls per second
	limit   time.Duration
	lull    time.Duration

	waiting atomic.Int64
	waited  atomic.Int64 // nanoseconds

	mu        sync.Mutex
	now       float64 // calls per second
	held      time.Time
	slowed    time.Time
	since     time.Time // of the first throttled answer in a row
	last      time.Time
	throttles int
}

// newPace allows perSecond calls. Throttling that lasts for limit is more than
// a matter of pace; answers more than lull apart are not one episode.
func newPace(perSecond float64, limit, lull time.Duration) *pace {
	return &pace{
		turn:    make(chan struct{}, 1),
		limiter: rate.NewLimiter(rate.Limit(perSecond), 1),
		full:    perSecond,
		now:     perSecond,
		limit:   limit,
		lull:    lull,
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
		if err := sleep(ctx, shut, p.hold()); err != nil {
			return err
		}
		r := p.limiter.Reserve()
		if err := sleep(ctx, shut, r.Delay()); err != nil {
			r.Cancel()
			return err
		}
		// A hold may have been laid on during the sleep.
		if p.hold() <= 0 {
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

// hold is how long the source has asked everybody to wait.
func (p *pace) hold() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held.IsZero() {
		return 0
	}
	return time.Until(p.held)
}

// holdFor makes every call wait for d from now.
func (p *pace) holdFor(d time.Duration) {
	if d <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.held) {
		p.held = until
	}
}

// slow is told of a throttled answer to a call made at started. It returns the
// new rate, whether this left the full rate, and whether throttling has lasted
// too long to be a matter of pace.
func (p *pace) slow(started time.Time) (perSecond float64, first, lasting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if p.throttles == 0 || at.Sub(p.last) > p.lull {
		p.since, p.throttles = at, 0
	}
	p.last = at
	p.throttles++
	// Calls that were already under way when the rate was lowered say nothing
	// about the lower rate.
	if !started.Before(p.slowed) {
		first = p.now == p.full
		p.slowed = at
		p.set(max(p.now/2, p.full*slowest))
	}
	return p.now, first, p.throttles >= fewThrottles && at.Sub(p.since) >= p.limit
}

// good is told of an answer that was not throttled. It says whether this has
// brought back the full rate.
func (p *pace) good() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.throttles = 0
	if p.now == p.full {
		return false
	}
	p.set(min(p.now+p.full*regain, p.full))
	return p.now == p.full
}

// forget ends an episode of throttling without changing the rate.
func (p *pace) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.throttles = 0
}

func (p *pace) set(perSecond float64) {
	p.now = perSecond
	p.limiter.SetLimit(rate.Limit(perSecond))
}

func (p *pace) rate() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}
