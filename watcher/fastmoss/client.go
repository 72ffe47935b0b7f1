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
)

const path = "creator/v1/rank/topPotential"

// maxMalformed is how often a malformed answer is asked for again in a row of
// attempts: it cost money, and is more often a fact than a hiccup.
const maxMalformed = 3

// maxKept is the longest body whose memory is kept for the next one, in bytes.
const maxKept = 1 << 20

// A Client asks for pages with one token. Its gate is shared by all callers, and
// its pace by all but its lanes; it is safe for concurrent use.
type Client struct {
	cfg   Config
	url   string
	http  *http.Client
	own   *http.Transport // nil if the http.Client was given
	gate  *gate
	count counters
	// hold and streak are the token's, and so concern all lanes.
	hold   hold
	streak streak
	whole  *Lane // of callers without a lane of their own

	mu    sync.Mutex
	lanes []*Lane // whole among them

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
		cfg:    cfg,
		url:    base.JoinPath(path).String(),
		streak: streak{limit: cfg.ThrottleLimit, lull: 2 * max(cfg.ThrottleLimit, cfg.MaxRetryAfter)},
		gate: &gate{
			quotaPause: cfg.QuotaPause, quotaMax: cfg.MaxQuotaPause, deniedPause: cfg.DeniedPause,
			tell: cfg.OnCondition, shut: make(chan struct{}),
		},
	}
	c.whole = c.Lane(cfg.Rate)
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
	return c.whole.Page(ctx, q, page, size)
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
