package fastmoss

import (
	"context"
	"errors"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// reopenLook is how often Open looks for a replaced token, and at the clock, which
// may have been set.
const reopenLook = 5 * time.Second

// HoldUntil has all calls wait until t, or until MaxRetryAfter from now if that
// is earlier: another process that shares the token was asked to. OnHold is not
// called.
func (c *Client) HoldUntil(t time.Time) {
	if latest := time.Now().Add(c.cfg.MaxRetryAfter); t.After(latest) {
		t = latest
	}
	c.hold.extend(t)
}

// Condition takes over what another process found the shared token to be, as if
// a call of this one had found it, but without calling OnCondition. Denied and
// quota close the gate until NextTry; if it is closed for the same status
// already, the later end of the pause counts. A token that was replaced here since
// the gate closed is tried all the same. StatusOK opens the gate. Calls that are
// under way go on, a trial among them. A status of another name changes nothing.
func (c *Client) Condition(t TokenCondition) { c.gate.adopt(t, c.version()) }

// Open waits until the gate would let a call through, be it as a trial, and makes
// none. Whoever comes next may close it again. It returns early with ctx's error.
func (c *Client) Open(ctx context.Context) error {
	for {
		change, left := c.gate.ahead(c.version())
		if change == nil {
			return nil
		}
		if err := sleep(ctx, change, min(left, reopenLook)); err != nil && !errors.Is(err, errShut) {
			return err
		}
	}
}

// version is of the token that would be sent now. If it cannot be read, that is
// for the calls to tell; the gate goes by the last one.
func (c *Client) version() uint64 {
	_, version, _ := c.cfg.Token.current()
	return version
}

// adopt has the gate closed or opened by a call of another process. That is the
// first strike of a condition that is new here, and none of a known one: how often
// the others have tried is in their pause already.
func (g *gate) adopt(t TokenCondition, version uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := ErrDenied
	switch t.Status {
	case StatusOK:
		if g.cause != nil {
			g.works()
		}
		return
	case event.StatusQuota:
		k = ErrQuota
	case event.StatusDenied:
	default:
		return
	}
	if g.cause != nil && g.cause.Kind == k {
		if t.NextTry.After(g.until) {
			g.until = t.NextTry
		}
		return
	}
	if g.cause != nil {
		version = g.version
	}
	g.until, g.strikes = t.NextTry, 1
	g.shutFor(Error{Kind: k, told: t.Detail}, version)
}

// ahead returns nil if a call would be let through. Otherwise it returns what is
// closed when that may have changed, and how long the pause still lasts.
func (g *gate) ahead(version uint64) (change <-chan struct{}, left time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.cause == nil:
		return nil, 0
	case g.trying:
		return g.change(), reopenLook
	case g.due(version):
		return nil, 0
	}
	return g.change(), time.Until(g.until)
}
