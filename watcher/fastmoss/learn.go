package fastmoss

import (
	"errors"
	"sync/atomic"
	"time"
)

// A try is a call that was made.
type try struct {
	pass    *pass
	version uint64 // of the token
	started time.Time
}

// learn tells gate and pace what came of a call. It returns the call's error,
// turned into ErrQuota where throttling has lasted too long.
func (l *Lane) learn(t try, err error) error {
	c := l.client
	e, ok := errors.AsType[*Error](err)
	if err != nil && !ok {
		return err // no answer, for want of a token or of time
	}
	if err == nil {
		l.working(t)
		return nil
	}
	if e.RetryAfter > 0 {
		c.held(time.Now().Add(e.RetryAfter))
	}
	switch e.Kind {
	case ErrParameter, ErrNotFound:
		l.working(t)
	case ErrDenied:
		c.gate.close(t.pass, t.version, e, ReasonToken)
	case ErrQuota:
		c.streak.end()
		c.gate.close(t.pass, t.version, e, ReasonLimit)
	case ErrThrottled:
		l.throttled(t, e)
	}
	return e
}

// held makes everybody wait, for the source has asked for it.
func (c *Client) held(until time.Time) {
	if c.hold.extend(until) && c.cfg.OnHold != nil {
		c.cfg.OnHold(until)
	}
}

// working notes that the token is accepted.
func (l *Lane) working(t try) {
	l.client.streak.end()
	if perSecond, full := l.pace.good(); full {
		l.client.cfg.Logger.Info("full pace again", "rate", perSecond)
	}
	l.client.gate.open(t.pass)
}

func (l *Lane) throttled(t try, e *Error) {
	c := l.client
	perSecond, first := l.pace.slow(t.started)
	lasting := c.streak.grow()
	if first {
		c.cfg.Logger.Info("source throttles, slowing down", "rate", perSecond, "err", e)
	}
	// A trial that is throttled says nothing good of a token that was used up.
	if lasting || (t.pass.trial && c.gate.usedUp()) {
		c.streak.end()
		e.Kind = ErrQuota
		c.gate.close(t.pass, t.version, e, ReasonThrottled)
	}
}

type counters struct {
	ok, retries, cancelled, skipped atomic.Uint64
	failed                          [len(kinds)]atomic.Uint64 // by Kind
}

// Stats are counts since New, and the present state.
type Stats struct {
	// Calls counts the HTTP calls made, by outcome: "ok", "cancelled" when the
	// caller's context ended it, or the Word of a Kind. All are always there.
	Calls map[string]uint64
	// Retries counts the calls that were made again, Skipped the entries without
	// a usable uid.
	Retries, Skipped uint64
	// Waiting is how many callers wait for their turn now, Waited how long all
	// have waited in sum; those of lanes are among them.
	Waiting int
	Waited  time.Duration
	// Rate is the token's present pace in calls per second: Config.Rate, times
	// the part of its own pace that throttling has left to the slowest lane. The
	// number of lanes doesn't show in it.
	Rate float64
	// Status is the token's condition: "ok", "denied" or "quota".
	Status string
}

// Stats returns what metrics need.
func (c *Client) Stats() Stats {
	s := Stats{
		Calls:   map[string]uint64{"ok": c.count.ok.Load(), "cancelled": c.count.cancelled.Load()},
		Retries: c.count.retries.Load(),
		Skipped: c.count.skipped.Load(),
		Status:  c.gate.status(),
	}
	part := 1.0
	c.mu.Lock()
	for _, l := range c.lanes {
		s.Waiting += int(l.pace.waiting.Load())
		s.Waited += time.Duration(l.pace.waited.Load())
		part = min(part, l.pace.part())
	}
	c.mu.Unlock()
	s.Rate = c.cfg.Rate * part
	for k := ErrParameter; k <= ErrMalformed; k++ {
		s.Calls[k.Word()] = c.count.failed[k].Load()
	}
	return s
}
