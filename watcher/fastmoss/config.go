package fastmoss

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// ErrConfig means that New was given settings that cannot work. The error lists
// all of them.
var ErrConfig = errors.New("fastmoss: bad configuration")

// Config holds the settings of a Client. BaseURL, Token and Rate are needed; a
// zero in the others takes the default.
type Config struct {
	// BaseURL is where the API is, such as https://openapi.fastmoss.com.
	BaseURL string
	Token   *TokenSource
	// Rate is in calls per second, retries included, for all callers together
	// that have no Lane.
	Rate float64
	// Timeout is for one call, from sending it to the last byte of the answer;
	// default 20s.
	Timeout time.Duration
	// MaxBody is the longest answer, in bytes and unpacked; default 8 MiB.
	MaxBody int64
	// Attempts is how often a call is made at most for one page; default 6.
	// Malformed answers end it earlier.
	Attempts int
	// Backoff is the mean wait before the second attempt, default 500ms. It
	// doubles up to MaxBackoff, default 30s.
	Backoff, MaxBackoff time.Duration
	// MaxRetryAfter caps what the source may ask for; default 10m.
	MaxRetryAfter time.Duration
	// QuotaPause is how long a used up token rests, default 1h. It doubles up to
	// MaxQuotaPause, default 6h, while trials find it used up.
	QuotaPause, MaxQuotaPause time.Duration
	// DeniedPause is how long a refused token rests; default 15m.
	DeniedPause time.Duration
	// ThrottleLimit is how long the source may throttle without a break before
	// this counts as a used up token; default 5m.
	ThrottleLimit time.Duration
	// OnCondition, if set, is called once for each change of the token's
	// condition, in order, from the goroutine of a call. It may use the Client.
	OnCondition func(TokenCondition)
	// OnHold, if set, is called when the source asks to wait for longer than is
	// known already, from the goroutine of a call. It must not block, and several
	// calls may be told at once.
	OnHold func(until time.Time)
	// Logger defaults to none.
	Logger *slog.Logger
	// Tracer gets a span for each call; default none. The source is told nothing
	// of it.
	Tracer trace.Tracer
	// HTTP defaults to a client of its own. Its redirect policy is not used: no
	// redirect is followed, for it would take the token elsewhere.
	HTTP *http.Client
}

// complete checks c and fills in what was left out.
func (c *Config) complete() (*url.URL, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u := checkURL(c.BaseURL, bad)
	if c.Token == nil {
		bad("no token: set a token or a token file")
	} else if _, err := c.Token.Token(); err != nil {
		errs = append(errs, err)
	}
	if !(c.Rate > 0) || math.IsInf(c.Rate, 0) {
		bad("rate %v is not above 0 calls per second", c.Rate)
	}
	if c.MaxBody < 0 || c.MaxBody == math.MaxInt64 {
		bad("body limit %d is not a sane number of bytes", c.MaxBody)
	} else if c.MaxBody == 0 {
		c.MaxBody = 8 << 20
	}
	if c.Attempts < 0 {
		bad("attempts %d is negative", c.Attempts)
	} else if c.Attempts == 0 {
		c.Attempts = 6
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		or    time.Duration
	}{
		{"timeout", &c.Timeout, 20 * time.Second},
		{"backoff", &c.Backoff, 500 * time.Millisecond},
		{"longest backoff", &c.MaxBackoff, max(30*time.Second, c.Backoff)},
		{"longest retry-after", &c.MaxRetryAfter, 10 * time.Minute},
		{"quota pause", &c.QuotaPause, time.Hour},
		{"longest quota pause", &c.MaxQuotaPause, max(6*time.Hour, c.QuotaPause)},
		{"denied pause", &c.DeniedPause, 15 * time.Minute},
		{"throttle limit", &c.ThrottleLimit, 5 * time.Minute},
	} {
		switch {
		case *d.value < 0:
			bad("%s %s is negative", d.name, *d.value)
		case *d.value == 0:
			*d.value = d.or
		}
	}
	if c.MaxBackoff < c.Backoff {
		bad("longest backoff %s is below the backoff %s", c.MaxBackoff, c.Backoff)
	}
	if c.MaxQuotaPause < c.QuotaPause {
		bad("longest quota pause %s is below the quota pause %s", c.MaxQuotaPause, c.QuotaPause)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider().Tracer("")
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrConfig, errors.Join(errs...))
	}
	return u, nil
}

func checkURL(base string, bad func(string, ...any)) *url.URL {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		// The parser's error repeats the URL, which may hold a password.
		bad("base URL cannot be parsed; it looks like https://openapi.fastmoss.com")
	case u.User != nil:
		bad("base URL holds a user or password; only the token authorises calls")
	case u.Scheme != "https" && u.Scheme != "http":
		bad("base URL has scheme %q; it must be https or http", u.Scheme)
	case u.Hostname() == "":
		bad("base URL names no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		bad("base URL has a query or fragment; give scheme, host and path only")
	}
	return u
}

// inTheClear says whether calls to u show the token to the network.
func inTheClear(u *url.URL) bool {
	if u.Scheme == "https" || u.Hostname() == "localhost" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback()
}

// newTransport keeps enough connections for all readings that go on at once.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          32,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}
