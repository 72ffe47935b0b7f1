package publisher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	reconnectWait  = 500 * time.Millisecond
	reconnectInner = 20 * time.Millisecond // in process
)

// A life lasts as long as one connection.
type life struct {
	ctx context.Context //nolint:containedctx // it stands for the connection, not for a call
	end context.CancelFunc
}

func newLife() *life {
	ctx, cancel := context.WithCancel(context.Background())
	return &life{ctx, cancel}
}

// tied returns a context that ends with the connection too: whoever waits for
// an answer then waits in vain.
func (p *Publisher) tied(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.live.Load().ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// connect opens the connection. A server that cannot be reached is tried for
// ever in the background; credentials or certificates that cannot be used are a
// ConfigError.
func (p *Publisher) connect() (*nats.Conn, error) {
	opts, err := p.connectOptions()
	if err != nil {
		return nil, err
	}
	at := p.cfg.Server.URL
	if p.server != nil {
		at = ""
	} else if at, err = checkURLs(at); err != nil {
		return nil, err
	}
	nc, err := nats.Connect(at, opts...)
	if err == nil {
		return nc, nil
	}
	if bad := credentialError(err); bad != nil {
		return nil, bad
	}
	p.log.Warn("nats unreachable, trying on", "url", redact(at), "err", err)
	if nc, err = nats.Connect(at, append(opts, nats.RetryOnFailedConnect(true), nats.ConnectHandler(func(*nats.Conn) { p.wake(true) }))...); err != nil {
		return nil, &ConfigError{What: "cannot use the NATS connection settings for " + redact(at), Do: "check RANKWATCH_NATS_URL, _CREDS, _NKEY and _TLS_*", Err: err}
	}
	return nc, nil
}

func (p *Publisher) connectOptions() ([]nats.Option, error) {
	wait := reconnectWait
	if p.server != nil {
		wait = reconnectInner
	}
	opts := []nats.Option{
		nats.Name("rankwatch " + p.cfg.Writer), nats.MaxReconnects(-1), nats.ReconnectWait(wait), nats.IgnoreAuthErrorAbort(),
		// A batch that waits in the client's buffer goes out long after it was
		// given up. The outbox is the buffer.
		nats.ReconnectBufSize(-1),
		nats.ReconnectHandler(func(*nats.Conn) {
			p.log.Info("nats connected again")
			p.wake(true)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			p.live.Swap(newLife()).end()
			if err != nil {
				p.log.Warn("nats connection lost, trying on", "err", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				p.denied.Store(&err)
			}
			p.log.Warn("nats reports an error", "err", err)
		}),
	}
	if p.server != nil {
		return append(opts, nats.InProcessServer(p.server)), nil
	}
	return credentialOptions(p.cfg.Server, opts)
}

// credentialOptions appends what proves who we are and who the server is.
func credentialOptions(c ServerConfig, opts []nats.Option) ([]nats.Option, error) {
	if c.Creds != "" {
		if _, err := os.Stat(c.Creds); err != nil {
			return nil, &ConfigError{What: "the NATS credentials cannot be read", Do: "check RANKWATCH_NATS_CREDS", Err: err}
		}
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, &ConfigError{What: "the NATS nkey file " + c.NKey + " cannot be used", Do: "check RANKWATCH_NATS_NKEY: a file with a user seed"}
		}
		opts = append(opts, o)
	}
	if c.TLSCA == "" && c.TLSCert == "" && c.TLSKey == "" {
		return opts, nil
	}
	conf, err := tlsConfig(c)
	if err != nil {
		return nil, err
	}
	return append(opts, nats.Secure(conf)), nil
}

func tlsConfig(c ServerConfig) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		pem, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return nil, &ConfigError{What: "the CA file cannot be read", Do: "check RANKWATCH_NATS_TLS_CA", Err: err}
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &ConfigError{What: c.TLSCA + " holds no certificate", Do: "check RANKWATCH_NATS_TLS_CA: a PEM file"}
		}
	}
	if c.TLSCert == "" && c.TLSKey == "" {
		return conf, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, &ConfigError{What: "the client certificate cannot be used", Do: "check RANKWATCH_NATS_TLS_CERT and RANKWATCH_NATS_TLS_KEY", Err: err}
	}
	conf.Certificates = []tls.Certificate{cert}
	return conf, nil
}

// credentialError returns a ConfigError if the server was reached and refused
// who we are, or we what it is.
func credentialError(err error) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return &ConfigError{What: "the NATS server refuses the credentials", Do: "check RANKWATCH_NATS_URL, _CREDS and _NKEY", Err: err}
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &name), errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return &ConfigError{What: "no TLS with the NATS server", Do: "check RANKWATCH_NATS_URL and RANKWATCH_NATS_TLS_*", Err: err}
	}
	return nil
}

// checkURLs trims a comma list of URLs. Its errors never quote one, since they
// may hold a password.
func checkURLs(list string) (string, error) {
	var out []string
	for i, s := range strings.Split(list, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			return "", &ConfigError{What: fmt.Sprintf("URL %d of the NATS server is none", i+1), Do: "set RANKWATCH_NATS_URL to nats://host:port, several with commas"}
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return "", &ConfigError{What: fmt.Sprintf("URL %d of the NATS server has the scheme %q", i+1, u.Scheme), Do: "use nats://, tls://, ws:// or wss:// in RANKWATCH_NATS_URL"}
		}
		out = append(out, s)
	}
	return strings.Join(out, ","), nil
}

// redact drops user, password and token from a comma list of URLs.
func redact(list string) string {
	var out []string
	for s := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			out = append(out, "(unreadable)")
			continue
		}
		u.User = nil
		u.RawQuery = ""
		out = append(out, u.String())
	}
	return strings.Join(out, ",")
}
