package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/statecopy"
)

// defaultMaxPayload is NATS' own default.
const defaultMaxPayload = 1 << 20

// A Publisher drains an outbox to a stream. Its exported methods may be called
// from several goroutines; Run only once.
type Publisher struct {
	cfg    Config
	log    *slog.Logger
	outbox Outbox
	server *Server // nil with an external one
	nc     *nats.Conn
	js     jetstream.JetStream
	send   sender
	free   func(dir string) (int64, error)

	notify chan struct{} // something waits, or the connection is back
	ready  chan struct{}
	stats  counters
	stream atomic.Pointer[jetstream.StreamInfo] // as of the last set-up
	denied atomic.Pointer[error]                // last violation of permissions
	live   atomic.Pointer[life]                 // of the present connection
	lost   atomic.Bool                          // the stream may have changed since the last recovery
	flow   bell                                 // rings when something has left the outbox
	shared shared
	backs  atomic.Uint64 // how often the stream went back

	close   sync.Once
	service micro.Service
	desk    *statecopy.Desk // nil if no state is handed out

	// Below is Run's own.
	started  bool   // recovered once
	startSeq uint64 // the stream's last when that began
	back     bool   // the stream is not what the outbox remembers
	limit    int    // messages in a batch that the server takes
	blocked  map[string]bool
	behind   map[event.Chain]uint64
	suspects map[event.Chain]bool   // refused, to be settled
	solo     map[event.Chain]bool   // to be published alone
	delayed  map[event.Chain]*delay // refused alone, and nothing learned
	torn     map[event.Chain]bool   // events without their board are on the stream
	timeouts int                    // in a row
	restart  bool                   // the embedded server has to be started again
	backoff  *backoff.ExponentialBackOff
}

// Open starts the embedded server or connects to an external one. If that can
// be reached at once, the stream is set up, and whatever needs a person is a
// ConfigError; otherwise Run does it, once it can. Close the Publisher if Run is
// never called.
func Open(ctx context.Context, cfg Config) (*Publisher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg: cfg, log: cfg.Logger, outbox: cfg.Outbox, free: freeSpace,
		notify: make(chan struct{}, 1), ready: make(chan struct{}),
		limit: defaultBatch, backoff: newBackoff(),
		blocked: make(map[string]bool), behind: make(map[event.Chain]uint64), suspects: make(map[event.Chain]bool),
		solo: make(map[event.Chain]bool), delayed: make(map[event.Chain]*delay), torn: make(map[event.Chain]bool),
	}
	p.send = p.sendBatch
	p.live.Store(newLife())
	p.shared.seen, p.shared.disbelief = make(map[string]sighting), behindFor
	if err := p.checkOutbox(); err != nil {
		return nil, err
	}
	if err := p.openDesk(); err != nil {
		return nil, err
	}
	if cfg.Server.Embedded {
		if p.server, err = StartServer(cfg.Server, p.log); err != nil {
			return nil, err
		}
		if u := p.server.URL(); u != "" {
			p.log.Info("nats listening", "url", u)
		}
	}
	// The first attempt with more tells what the server's limit is.
	p.limit = maxEmbeddedBatch
	p.lost.Store(true)
	if err := p.begin(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Publisher) begin(ctx context.Context) error {
	nc, err := p.connect()
	if err != nil {
		return err
	}
	p.nc = nc
	if p.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(p.cfg.Timeout)); err != nil {
		return fmt.Errorf("publisher: jetstream: %w", err)
	}
	if !nc.IsConnected() {
		return nil
	}
	err = p.setup(ctx)
	var bad *ConfigError
	if errors.As(err, &bad) {
		return err
	}
	if err != nil {
		p.log.Warn("nats not ready, trying on", "err", err)
	}
	return nil
}

func newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(10*time.Second),
		backoff.WithRandomizationFactor(0.5), backoff.WithMaxElapsedTime(0))
}

// Notify says that something was committed to the outbox. It never blocks.
func (p *Publisher) Notify() { p.wake(false) }

// wake rouses Run; with lost it looks at the stream again first.
func (p *Publisher) wake(lost bool) {
	if lost {
		p.lost.Store(true)
	}
	select {
	case p.notify <- struct{}{}:
	default:
	}
}

// Ready is closed once the stream is set up and the outbox agrees with it.
// Until then Head may be called, but a watchlist may still be taken over.
func (p *Publisher) Ready() <-chan struct{} { return p.ready }

// MaxPayload is the largest payload in bytes that the server takes, headers
// allowed for. Before the first connection it is what servers take by default.
func (p *Publisher) MaxPayload() int {
	limit := p.nc.MaxPayload()
	if limit <= 0 {
		limit = defaultMaxPayload
	}
	return int(limit) - headerRoom
}

// URL is where other clients find the server: without credentials, and empty
// if they cannot.
func (p *Publisher) URL() string {
	if p.server != nil {
		return p.server.URL()
	}
	return redact(p.cfg.Server.URL)
}

// Conn is the connection, for readers of history. It lives until Close.
func (p *Publisher) Conn() *nats.Conn { return p.nc }

// Stats tells what was done and how things are.
func (p *Publisher) Stats() Stats {
	s := p.stats.snapshot()
	s.Connected = p.nc.IsConnected()
	return s
}

// Free is how many bytes may still be written where Config.StateDir is, -1 if that
// is unknown. It asks the file system, which may hang.
func (p *Publisher) Free() int64 {
	n, err := freeSpace(p.cfg.StateDir)
	if err != nil || n == math.MaxInt64 {
		return -1
	}
	return n
}

// Close releases the connection, then the embedded server. Run does it at its
// end; a second Close does nothing.
func (p *Publisher) Close() {
	p.close.Do(func() {
		if p.service != nil {
			if err := p.service.Stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				p.log.Warn("nats service not stopped", "err", err)
			}
		}
		if p.desk != nil {
			p.desk.Close()
		}
		if p.nc != nil {
			p.nc.Close()
		}
		if p.server != nil {
			p.server.Shutdown()
		}
	})
}
