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
func (c *Client) learn(t try, err error) error {
	e, ok := errors.AsType[*Error](err)
	if err != nil && !ok {
		return err // no answer, for want of a token or of time
	}
	if err == nil {
		c.working(t)
		return nil
	}
	c.pace.holdFor(e.RetryAfter)
	switch e.Kind {
	case ErrParameter, ErrNotFound:
		c.working(t)
	case ErrDenied:
		c.gate.close(t.pass, t.version, e, ReasonToken)
	case ErrQuota:
		c.pace.forget()
		c.gate.close(t.pass, t.version, e, ReasonLimit)
	case ErrThrottled:
		c.throttled(t, e)
	}
	return e
}

// working notes that the token is accepted.
func (c *Client) working(t try) {
	if c.pace.good() {
		c.cfg.Logger.Info("full pace again", "rate", c.cfg.Rate)
	}
	c.gate.open(t.pass)
}

func (c *Client) throttled(t try, e *Error) {
	perSecond, first, lasting := c.pace.slow(t.started)
	if first {
		c.cfg.Logger.Info("source throttles, slowing down", "rate", perSecond, "err", e)
	}
	// A trial that is throttled says nothing good of a token that was used up.
	if lasting || (t.pass.trial && c.gate.usedUp()) {
		c.pace.forget()
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
	// have waited in sum.
	Waiting int
	Waited  time.Duration
	// Rate is the present pace in calls per second.
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
		Waiting: int(c.pace.waiting.Load()),
		Waited:  time.Duration(c.pace.waited.Load()),
		Rate:    c.pace.rate(),
		Status:  c.gate.status(),
	}
	for k := ErrParameter; k <= ErrMalformed; k++ {
		s.Calls[k.Word()] = c.count.failed[k].Load()
	}
	return s
}
