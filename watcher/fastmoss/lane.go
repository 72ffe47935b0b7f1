package fastmoss

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// A Lane is a caller with a pace of its own, for one reading after the other. It
// shares all else with its Client: the token, the gate, what the source asked to
// wait, the settings and the counts. So the calls of lanes add up, and whoever
// makes them sees to it that the sum of their rates is what the token bears.
//
// SetRate may be called at any time; Page and Rest by one goroutine at a time.
type Lane struct {
	client *Client
	pace   *pace
}

// Lane returns a caller of its own pace: perSecond calls a second at most,
// retries included and never two at once. It is above 0. The Client keeps its
// lanes, so there is one for each place in which readings follow each other, not
// one for each reading.
func (c *Client) Lane(perSecond float64) *Lane {
	l := &Lane{client: c, pace: newPace(perSecond, &c.hold)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lanes = append(c.lanes, l)
	return l
}

// SetRate makes perSecond, above 0, the full pace from the next call on. A lane
// that throttling has slowed down stays slowed down, by the same part.
func (l *Lane) SetRate(perSecond float64) { l.pace.setFull(perSecond) }

// Rest waits until the pace would allow the next call, and makes none. Whoever
// rests before it lets somebody else read has the two readings as far apart as
// the calls of one.
func (l *Lane) Rest(ctx context.Context) error { return l.pace.rest(ctx) }

// Page is Client.Page at the lane's pace.
func (l *Lane) Page(ctx context.Context, q Query, page, size int) (Page, error) {
	return l.PageWhile(ctx, func() error { return nil }, q, page, size)
}

// PageWhile is Page as long as while returns nil. It is asked when a call has waited
// for its time and is about to be made, and its error ends the question.
func (l *Lane) PageWhile(ctx context.Context, while func() error, q Query, page, size int) (Page, error) {
	p, err := l.retry(ctx, while, q, page, size)
	if err != nil {
		return Page{}, fmt.Errorf("page %d: %w", page, err)
	}
	return p, nil
}

func (l *Lane) retry(ctx context.Context, while func() error, q Query, page, size int) (Page, error) {
	c := l.client
	if err := checkPage(page, size); err != nil {
		return Page{}, err
	}
	body := q.AppendJSON(make([]byte, 0, 512), page, size)
	var wait *backoff.ExponentialBackOff
	for attempt, malformed := 1, 0; ; attempt++ {
		p, err := l.attempt(ctx, question{body, page, size, attempt, while})
		if err == nil {
			return p, nil
		}
		if ctx.Err() != nil {
			return Page{}, ended(ctx, err)
		}
		if errors.Is(err, ErrMalformed) {
			malformed++
		}
		if !passing(err) || attempt >= c.cfg.Attempts || malformed >= maxMalformed {
			return Page{}, err
		}
		if wait == nil {
			wait = c.newBackoff()
		}
		d := wait.NextBackOff()
		c.cfg.Logger.Debug("call is retried", "page", page, "attempt", attempt, "wait", d, "err", err)
		c.count.retries.Add(1)
		if sleep(ctx, nil, d) != nil {
			return Page{}, ended(ctx, err)
		}
	}
}

// ended is ctx's error, with what the source had said until then.
func ended(ctx context.Context, last error) error {
	if e, ok := errors.AsType[*Error](last); ok {
		return fmt.Errorf("%w; last answer: %s", ctx.Err(), e.Error())
	}
	return ctx.Err()
}

// passing says whether the same call may succeed later. A token file that is
// being replaced is unreadable for a moment, too.
func passing(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrThrottled) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrToken)
}

func (c *Client) newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(c.cfg.Backoff),
		backoff.WithMaxInterval(c.cfg.MaxBackoff),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0),
	)
}

// attempt makes one call when the gate and the pace allow it, and a second one
// if the token turns out to have been replaced meanwhile.
func (l *Lane) attempt(ctx context.Context, q question) (Page, error) {
	c := l.client
	defer c.gate.announce()
	for replaced := false; ; replaced = true {
		p, err := l.admit(ctx)
		if err != nil {
			return Page{}, err
		}
		if err := q.while(); err != nil {
			p.leave()
			return Page{}, err
		}
		started := time.Now()
		cctx, span := c.span(ctx, q)
		page, version, err := c.call(cctx, q.body, q.size)
		endSpan(span, &page, err)
		if errors.Is(err, ErrDenied) && !replaced && c.cfg.Token.renewed(version) {
			p.leave()
			c.cfg.Logger.Info("token was replaced, trying the new one")
			c.count.retries.Add(1)
			continue
		}
		err = l.learn(try{pass: p, version: version, started: started}, err)
		p.leave()
		return page, err
	}
}

// admit waits for the gate and for the pace.
func (l *Lane) admit(ctx context.Context) (*pass, error) {
	for {
		_, version, err := l.client.cfg.Token.current()
		if err != nil {
			return nil, err
		}
		p, err := l.client.gate.enter(ctx, version)
		if err != nil {
			return nil, err
		}
		err = l.pace.wait(ctx, p.shut)
		if err == nil {
			return p, nil
		}
		p.leave()
		if !errors.Is(err, errShut) {
			return nil, err
		}
		// The gate closed meanwhile and will say why.
	}
}
