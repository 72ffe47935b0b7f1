// Package outgoing makes the HTTP client with which alerts go to their targets.
//
// A target's address comes from a configuration that not everybody who writes
// it may use to reach into the network that the process runs in. So a client
// connects to public addresses only, unless told otherwise: what is checked is
// the address of the connection, not the name, so that it does not matter what
// the name resolves to a moment later. A target's URL is often its secret:
// errors that went through Strip hold the host and nothing else of it.
package outgoing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// DefaultTimeout is how long a request may take, from the connection to the end
// of the answer.
const DefaultTimeout = 20 * time.Second

// MaxBody is how many bytes of an answer can be read. Reading on gives
// ErrTooLarge.
const MaxBody = 1 << 20

const (
	maxHeader    = 64 << 10 // bytes
	maxRedirects = 3
)

// ErrAddress means that a name leads to an address that is not public. No
// connection was made.
var ErrAddress = errors.New("outgoing: not a public address")

// ErrTooLarge means that an answer is longer than MaxBody.
var ErrTooLarge = errors.New("outgoing: the answer is too large")

// A Config says where a client may connect to. The zero value is the safe one.
type Config struct {
	// AllowPrivate lets it connect to any address.
	AllowPrivate bool
	// Proxy takes a proxy from HTTPS_PROXY, HTTP_PROXY and NO_PROXY. It is off by
	// default, since a proxy resolves names itself: only the proxy's own address
	// is checked then, and it has to be public, or AllowPrivate set.
	Proxy bool
	// Timeout is that of a request as a whole; 0 is DefaultTimeout.
	Timeout time.Duration
	// Roots are the authorities that vouch for targets; nil for the system's.
	Roots *x509.CertPool
}

func (c *Config) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return DefaultTimeout
}

// New returns a client. It speaks TLS 1.2 or later, follows a redirect only to
// the same host (see Redirect), and reads at most MaxBody bytes of an answer.
func New(c Config) *http.Client {
	return &http.Client{Transport: Transport(c), CheckRedirect: Redirect, Timeout: c.timeout()}
}

// Transport is what New's client sends with. It follows no redirects.
func Transport(c Config) http.RoundTripper {
	t := &http.Transport{
		DialContext:            c.Dial,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        c.TLS(),
		TLSHandshakeTimeout:    c.timeout(),
		ResponseHeaderTimeout:  c.timeout(),
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        90 * time.Second,
	}
	if c.Proxy {
		t.Proxy = http.ProxyFromEnvironment
	}
	return bounded{t}
}

// TLS is how connections are secured.
func (c *Config) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots}
}

// Dial connects to an address, if it is one that the configuration allows.
func (c *Config) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: c.timeout()}
	if !c.AllowPrivate {
		// Control is called with the resolved address, just before it is connected to.
		d.Control = func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%w: %s", ErrAddress, address)
			}
			return Check(to.Addr())
		}
	}
	return d.DialContext(ctx, network, address)
}

// bounded cuts off answers that are too long.
type bounded struct{ base http.RoundTripper }

// RoundTrip sends a request.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Body = &body{ReadCloser: res.Body, left: MaxBody}
	return res, nil
}

// CloseIdleConnections lets http.Client do so.
func (b bounded) CloseIdleConnections() {
	if c, ok := b.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type body struct {
	io.ReadCloser
	left int
}

// Read fails with ErrTooLarge where an answer goes on after MaxBody bytes.
func (b *body) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if len(p) > b.left+1 { // one more, to see whether it goes on
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}
