package fastmoss

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const path = "creator/v1/rank/topPotential"

// maxMalformed is how often a malformed answer is asked for again in a row of
// attempts: it cost money, and is more often a fact than a hiccup.
const maxMalformed = 3

// maxKept is the longest body whose memory is kept for the next one, in bytes.
const maxKept = 1 << 20

// A Client asks for pages with one token. Its pace and its gate are shared by
// all callers; it is safe for concurrent use.
type Client struct {
	cfg   Config
	url   string
	http  *http.Client
	own   *http.Transport // nil if the http.Client was given
	pace  *pace
	gate  *gate
	count counters
	// scratch holds *scratch: what decoding one answer needs.
	scratch sync.Pool
}

type scratch struct {
	dec  *decoder
	body bytes.Buffer
}

// New checks the settings, all of them at once, and reads the token. It makes no
// call and starts nothing.
func New(cfg Config) (*Client, error) {
	base, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg:  cfg,
		url:  base.JoinPath(path).String(),
		pace: newPace(cfg.Rate, cfg.ThrottleLimit, 2*max(cfg.ThrottleLimit, cfg.MaxRetryAfter)),
		gate: &gate{
			quotaPause: cfg.QuotaPause, quotaMax: cfg.MaxQuotaPause, deniedPause: cfg.DeniedPause,
			tell: cfg.OnCondition, shut: make(chan struct{}),
		},
	}
	c.scratch.New = func() any { return &scratch{dec: newDecoder()} }
	c.http = &http.Client{}
	if cfg.HTTP != nil {
		*c.http = *cfg.HTTP
	} else {
		c.own = newTransport()
		c.http.Transport = c.own
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if inTheClear(base) {
		cfg.Logger.Warn("token travels unencrypted", "host", base.Host)
	}
	return c, nil
}

// Close drops idle connections. Calls may go on.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// Reset has a token that rests tried again at once, and its file looked at: call
// it after a reload.
func (c *Client) Reset() {
	c.cfg.Token.expire()
	c.gate.reset()
}

// Page asks for one page of size entries; pages count from 1. What may pass is
// retried, at the token's pace, until Attempts are used up or ctx ends; then the
// last *Error is returned, or ctx's error. An error that wraps ErrToken means
// that there was no token to send.
//
// The page is what the source gave, and nothing is said of whether it is about
// the query: its Period and regions are for the caller to check.
func (c *Client) Page(ctx context.Context, q Query, page, size int) (Page, error) {
	p, err := c.retry(ctx, q, page, size)
	if err != nil {
		return Page{}, fmt.Errorf("page %d: %w", page, err)
	}
	return p, nil
}

func (c *Client) retry(ctx context.Context, q Query, page, size int) (Page, error) {
	if err := checkPage(page, size); err != nil {
		return Page{}, err
	}
	body := q.AppendJSON(make([]byte, 0, 512), page, size)
	var wait *backoff.ExponentialBackOff
	for attempt, malformed := 1, 0; ; attempt++ {
		p, err := c.attempt(ctx, question{body, page, size, attempt})
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
func (c *Client) attempt(ctx context.Context, q question) (Page, error) {
	defer c.gate.announce()
	for replaced := false; ; replaced = true {
		p, err := c.admit(ctx)
		if err != nil {
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
		err = c.learn(try{pass: p, version: version, started: started}, err)
		p.leave()
		return page, err
	}
}

// admit waits for the gate and for the pace.
func (c *Client) admit(ctx context.Context) (*pass, error) {
	for {
		_, version, err := c.cfg.Token.current()
		if err != nil {
			return nil, err
		}
		p, err := c.gate.enter(ctx, version)
		if err != nil {
			return nil, err
		}
		err = c.pace.wait(ctx, p.shut)
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

// call sends the request, whatever gate and pace say, and returns the version of
// the token that it used.
func (c *Client) call(ctx context.Context, body []byte, size int) (Page, uint64, error) {
	token, version, err := c.cfg.Token.current()
	if err != nil {
		return Page{}, version, err
	}
	s := c.scratch.Get().(*scratch)
	page, e := c.exchange(ctx, s, body, token)
	if s.body.Reset(); s.body.Cap() <= maxKept {
		c.scratch.Put(s)
	}
	if e == nil && page.Rows > size {
		e = &Error{Kind: ErrMalformed, HTTPStatus: http.StatusOK, Message: fmt.Sprintf("asked for %d entries, got %d", size, page.Rows)}
	}
	if e == nil {
		c.count.ok.Add(1)
		c.count.skipped.Add(uint64(page.Skipped))
		return page, version, nil
	}
	if ctx.Err() != nil {
		c.count.cancelled.Add(1)
		return Page{}, version, ctx.Err()
	}
	e.Message, e.RequestID = clean(e.Message, token), clean(e.RequestID, token)
	c.count.failed[e.Kind.entry()].Add(1)
	return Page{}, version, e
}

func (c *Client) exchange(ctx context.Context, s *scratch, body []byte, token string) (Page, *Error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return Page{}, fault(ErrUnavailable, "request: %v", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "rankwatch")
	resp, err := c.http.Do(req)
	if err != nil {
		return Page{}, c.unreachable(0, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	after := retryAfter(resp.Header, time.Now(), c.cfg.MaxRetryAfter)
	n, err := s.body.ReadFrom(io.LimitReader(resp.Body, c.cfg.MaxBody+1))
	var page Page
	var e *Error
	switch {
	case n > c.cfg.MaxBody && resp.StatusCode == http.StatusOK:
		e = fault(ErrMalformed, "answer is longer than %d bytes", c.cfg.MaxBody)
		e.HTTPStatus = resp.StatusCode
	case n > c.cfg.MaxBody:
		e = fault(kindOfStatus(resp.StatusCode, false, false), "answer is longer than %d bytes", c.cfg.MaxBody)
		e.HTTPStatus = resp.StatusCode
	case err != nil:
		e = c.unreachable(resp.StatusCode, err)
	default:
		page, e = s.dec.judge(reply{status: resp.StatusCode, header: resp.Header, body: &s.body, at: time.Now().UTC()})
	}
	if e != nil {
		e.RetryAfter = after
	}
	return page, e
}

// unreachable is an exchange that broke off. A status that has come by then
// still says what it says.
func (c *Client) unreachable(status int, err error) *Error {
	k := ErrUnavailable
	if status != 0 {
		k = kindOfStatus(status, false, false)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	e := fault(k, "%v", err)
	if errors.Is(err, context.DeadlineExceeded) {
		e.Message = "no complete answer within " + c.cfg.Timeout.String()
	}
	e.HTTPStatus = status
	return e
}
