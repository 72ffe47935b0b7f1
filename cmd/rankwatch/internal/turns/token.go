package turns

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// What one worker learns of the token holds for all: they stop together, and one
// of them tries whether it works again.

// maxSays is how much may wait to be told to the fleet.
const maxSays = 64

// The others try the token later than the worker that found it not to work.
const (
	asideMin = 20 * time.Second
	asideMax = 90 * time.Second
)

// TokenCondition tells the fleet how the token is, as this worker found. It does
// not block.
func (c *Crew) TokenCondition(t fastmoss.TokenCondition) {
	c.mu.Lock()
	c.token = t
	c.mu.Unlock()
	c.say(func(ctx context.Context) error {
		return c.files.PutToken(ctx, fleet.Token{Status: t.Status, Reason: t.Reason, Detail: t.Detail, Since: t.Since, NextTry: t.NextTry})
	})
}

// Hold tells the fleet that the source wants no calls for a while. It does not
// block.
func (c *Crew) Hold(until time.Time) {
	c.say(func(ctx context.Context) error { return c.files.PutHold(ctx, until) })
}

// learn tells the fleet of a trial that failed: the token's condition is no news,
// but the next trial is.
func (c *Crew) learn(err error) {
	e, ok := errors.AsType[*fastmoss.Error](err)
	if !ok || e.Gate || e.Until.IsZero() {
		return
	}
	status := event.StatusQuota
	if errors.Is(e, fastmoss.ErrDenied) {
		status = event.StatusDenied
	} else if !errors.Is(e, fastmoss.ErrQuota) {
		return
	}
	c.mu.Lock()
	t := c.token
	c.mu.Unlock()
	if t.Status != status || !e.Until.After(t.NextTry) {
		return // it is news, which comes by itself, or no later trial
	}
	t.NextTry = e.Until
	c.TokenCondition(t)
}

// say has something told in the background. What does not fit is dropped: every
// worker finds out for itself.
func (c *Crew) say(what func(context.Context) error) {
	select {
	case c.says <- what:
	default:
		c.log.Warn("fleet: others not told how the token is")
	}
}

func (c *Crew) sayAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case what := <-c.says:
			if err := c.again(ctx, "tell others how the token is", what); err != nil {
				return err
			}
		}
	}
}

func (c *Crew) followToken(ctx context.Context) error {
	return c.again(ctx, "follow how the token is", func(ctx context.Context) error {
		return c.files.WatchToken(ctx, c.heardToken, c.cfg.Client.HoldUntil)
	})
}

func (c *Crew) heardToken(t fleet.Token) {
	if t.Writer == c.cfg.Writer {
		return
	}
	n := fastmoss.TokenCondition{Status: t.Status, Reason: t.Reason, Detail: t.Detail, Since: t.Since, NextTry: t.NextTry}
	if !n.NextTry.IsZero() {
		n.NextTry = n.NextTry.Add(asideMin + rand.N(asideMax-asideMin))
	}
	c.mu.Lock()
	c.token = n
	c.mu.Unlock()
	c.cfg.Client.Condition(n)
	c.cfg.Watcher.HearToken(n)
}
