// Package deliver brings what routes take from the stream to their targets.
//
// Each route has a durable consumer of its own, of which one message is out at a
// time: so a route's messages go out in order, however many processes share the
// configuration, and a target that is down holds up its own routes only. A
// message is acknowledged only after the target took it and that was written
// down. A process that dies in between repeats that one message, and none is
// lost.
package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A Config is what one process delivers. Name is the configuration's: processes
// with the same name share its routes.
type Config struct {
	Name    string
	Routes  []digest.Route
	Targets map[string]digest.Sender
	// RetryFor is how long a message is tried before it is parked; 0 is for ever.
	RetryFor time.Duration

	Conn *nats.Conn
	// Reader should have a connection of its own: what it reads ahead would hold
	// up the rest.
	Reader   *history.Reader
	Replicas int // of what is kept beside the stream
	From     Start
	// Takeover is how long after a process died another one delivers what it had
	// begun. Zero is 30 seconds; at least 2.
	Takeover time.Duration
	Logger   *slog.Logger
}

// A Start is where a route begins that is new to the stream. The zero Start is
// with what is published from now on. All begins with the oldest message, At with
// what was stored at that time or later.
type Start struct {
	All bool
	At  time.Time
}

const (
	defaultTakeover = 30 * time.Second
	minTakeover     = 2 * time.Second
	// lingering bounds what is finished after the process was told to end.
	lingering = 5 * time.Second
	// sendLimit bounds one attempt of a target that has no bound itself.
	sendLimit = 2 * time.Minute
	// requestLimit bounds one request to the bus.
	requestLimit = 5 * time.Second
)

// A SetupError is a mistake in the configuration, or something on the server
// that stands in its way. Do says what can be done about it.
type SetupError struct{ What, Do string }

// Error returns both.
func (e *SetupError) Error() string { return e.What + ": " + e.Do }

// Deliveries are the routes of a configuration, ready to run.
type Deliveries struct {
	cfg    Config
	js     jetstream.JetStream
	marks  jetstream.KeyValue
	parked *Parked
	routes []*route

	retry func() *backoff.ExponentialBackOff // what tests make shorter
}

// Open prepares the routes: their consumers, the bucket of their marks and the
// stream of what is parked. All mistakes are reported at once, as *SetupError. It
// starts nothing.
func Open(ctx context.Context, cfg Config) (*Deliveries, error) {
	if cfg.Takeover == 0 {
		cfg.Takeover = defaultTakeover
	}
	cfg.Takeover = max(cfg.Takeover, minTakeover)
	d := &Deliveries{cfg: cfg, retry: newBackoff}
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, fmt.Errorf("alert: %w", err)
	}
	d.js = js
	if d.marks, err = openMarks(ctx, js, cfg.stream(), cfg.Replicas); err != nil {
		return nil, err
	}
	if d.parked, err = OpenParked(ctx, cfg.Conn, cfg.Reader, cfg.Replicas); err != nil {
		return nil, err
	}
	var all []error
	for i := range cfg.Routes {
		r := newRoute(d, &cfg.Routes[i])
		if r.sender == nil {
			all = append(all, &SetupError{What: fmt.Sprintf("route %s: no target %q", r.Name, r.Target), Do: "name one of the configuration's targets"})
			continue
		}
		if err := r.ensure(ctx); err != nil {
			all = append(all, err)
			continue
		}
		d.routes = append(d.routes, r)
	}
	return d, errors.Join(all...)
}

func (c *Config) stream() string { return c.Reader.Stream().Config.Name }

func newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second), backoff.WithMaxInterval(time.Minute), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.3), backoff.WithMaxElapsedTime(0))
}

// Run delivers until ctx ends, and returns nil then: a message that is being
// sent may still be taken for some seconds, another one goes back to the stream.
// A server that goes away is waited for. What only a person can mend ends all
// routes: a process that ends is noticed.
func (d *Deliveries) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range d.routes {
		g.Go(func() error { return r.run(ctx) })
	}
	return g.Wait()
}

// linger returns a context that ends some seconds after ctx: for what would be
// repeated if it were given up.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		wait, done := context.WithTimeout(out, lingering)
		defer done()
		<-wait.Done()
		cancel()
	})
	return out, func() { stop(); cancel() }
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ctx.Err()
	}
}
