package publisher

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// dialTimeout bounds one attempt to connect of a client that does not wait for
// a server to come up.
const dialTimeout = 5 * time.Second

// Dial connects to the external server that c names, once, for a client that
// reads or asks: name tells the server who it is. Settings that cannot be used
// are a ConfigError; a server that does not answer is another error, which
// names no secret of the URL.
func Dial(c ServerConfig, name string) (*nats.Conn, error) {
	at, err := checkURLs(c.URL)
	if err != nil {
		return nil, err
	}
	opts, err := credentialOptions(c, []nats.Option{nats.Name(name), nats.Timeout(dialTimeout), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.IgnoreAuthErrorAbort()})
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(at, opts...)
	if err == nil {
		return nc, nil
	}
	if bad := credentialError(err); bad != nil {
		return nil, bad
	}
	return nil, fmt.Errorf("publisher: connect to %s: %w", redact(at), err)
}

// DialServer connects to an embedded server in process.
func DialServer(s *Server, name string) (*nats.Conn, error) {
	nc, err := nats.Connect("", nats.Name(name), nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectInner))
	if err != nil {
		return nil, fmt.Errorf("publisher: connect to the embedded server: %w", err)
	}
	return nc, nil
}
