// Package turns makes a worker one of many that share their watchlists: it takes
// turns from the fleet's queue, reads, and arms the next turn before it gives up
// the one that it has.
//
// The bus decides who reads what, and in the end, by the fence, who was first.
// What is lost on the way costs a reading, never an event.
package turns

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// Config is what a Crew works with. All but AckWait is required.
type Config struct {
	Conn     *nats.Conn
	Stream   string
	Prefix   string
	Replicas int
	Writer   string // names this worker
	Host     string
	Version  string
	Limits   fleet.Limits
	AckWait  time.Duration

	Watcher *watcher.Worker
	Client  *fastmoss.Client
	File    []byte                                         // the watchlist file as this worker has it
	Parse   func(data []byte) ([]watcher.Watchlist, error) // reads a file
	Full    func() bool                                    // too much waits for the bus
	Waiting func() int                                     // batches that wait for the bus
	// Told returns the watchlists that the stream has boards of and that nobody has
	// told the end of.
	Told   func(context.Context) ([]string, error)
	Ready  <-chan struct{} // closed once the stream is set up
	Logger *slog.Logger
}

// LimitsOf says what a fleet may do at once with a token of so many calls per
// second: readings are scans that tear when they are slow, so each of them gets a
// call a second at least, if there is one.
func LimitsOf(rate float64, concurrency int) fleet.Limits {
	return fleet.Limits{Rate: rate, Readings: max(1, min(concurrency, int(rate)))}
}

// A Crew is a worker's part in its fleet. Run once; Offer and the questions may be
// called from anywhere.
type Crew struct {
	cfg     Config
	log     *slog.Logger
	started time.Time
	queue   *fleet.Queue
	files   *fleet.Files

	order  atomic.Uint64 // of the file that the watcher has
	hash   atomic.Pointer[string]
	stale  atomic.Bool // the fleet's newest file cannot be read here
	limits atomic.Pointer[fleet.Limits]
	asked  atomic.Int64                // when the queue answered last, in Unix nanoseconds
	shared atomic.Pointer[fleet.Queue] // queue, for those who ask at any time
	offers chan []byte
	says   chan func(context.Context) error
	redo   chan struct{} // schedules are to be looked at now
	fresh  chan struct{} // watchlists are new here

	catching sync.Mutex // held by whoever asks for a file that a turn tells of

	mu      sync.Mutex
	lanes   []*fastmoss.Lane
	working map[string]time.Time    // since when
	file    []byte                  // as this worker has it
	content []byte                  // of the fleet's
	refused string                  // hash of one of the fleet's that cannot be read here
	differs bool                    // from the fleet's
	applied time.Time               // when the fleet's was taken over
	told    bool                    // that it differs
	token   fastmoss.TokenCondition // as this worker knows
	stats   Stats
}

// Stats count this worker's turns since it started.
type Stats struct {
	Turns     uint64        // that were read to the end
	Retaken   uint64        // of those taken, had before by somebody who let them go
	Over      uint64        // of no use any more: read along with another one, or before, or the watchlist is gone
	Back      uint64        // handed back
	Lost      uint64        // not kept to the end
	Armed     uint64        // schedules that were missing, or changed
	LastLate  time.Duration // of the last turn, from when it was due to its start
	LastTaken time.Time
	Lateness  Lateness // of the turns that were read to the end
}

// New returns a Crew that does nothing until Run.
func New(cfg Config) *Crew {
	c := &Crew{
		cfg: cfg, log: cfg.Logger, started: time.Now(), file: cfg.File, working: map[string]time.Time{},
		offers: make(chan []byte, 1), redo: make(chan struct{}, 1), fresh: make(chan struct{}, 1), says: make(chan func(context.Context) error, maxSays),
	}
	c.limits.Store(&cfg.Limits)
	return c
}

// Stats tells what was done.
func (c *Crew) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

func (c *Crew) count(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// Run takes turns until ctx ends; what it has then it finishes or hands back, and
// returns nil. It fails only for what a person has to mend.
func (c *Crew) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.cfg.Ready:
	}
	if err := c.again(ctx, "join the fleet", c.Join); err != nil || ctx.Err() != nil {
		return err
	}
	if err := c.again(ctx, "ask how the token is", c.cfg.Watcher.RecallToken); err != nil || ctx.Err() != nil {
		return err
	}
	c.asked.Store(time.Now().UnixNano())
	hearing, err := c.hear()
	if err != nil {
		return err
	}
	defer hearing.stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.follow(ctx) })
	g.Go(func() error { return c.offer(ctx) })
	g.Go(func() error { return c.followToken(ctx) })
	g.Go(func() error { return c.sayAll(ctx) })
	g.Go(func() error { return c.tend(ctx) })
	g.Go(func() error { return c.work(ctx) })
	return g.Wait()
}

// Join sets up what the fleet shares, if that is not done yet. A ConfigError needs
// a person.
func (c *Crew) Join(ctx context.Context) (err error) {
	if c.files != nil {
		return nil
	}
	c.queue, err = fleet.OpenQueue(ctx, fleet.QueueConfig{
		Conn: c.cfg.Conn, Stream: c.cfg.Stream, Prefix: c.cfg.Prefix, Replicas: c.cfg.Replicas, AckWait: c.cfg.AckWait, Logger: c.log,
	}, c.cfg.Limits)
	if err != nil {
		return err
	}
	files, err := fleet.OpenFiles(ctx, fleet.FilesConfig{
		Conn: c.cfg.Conn, Stream: c.cfg.Stream, Replicas: c.cfg.Replicas, Writer: c.cfg.Writer, Logger: c.log,
	})
	if err != nil {
		return err
	}
	c.files = files
	c.shared.Store(c.queue)
	return nil
}

// errAway means that this worker has not found its fleet yet.
var errAway = errors.New("fleet: not joined yet")

// State asks the bus what the fleet's queue holds.
func (c *Crew) State(ctx context.Context) (fleet.State, error) {
	q := c.shared.Load()
	if q == nil {
		return fleet.State{}, errAway
	}
	return q.State(ctx)
}

// again repeats do until it succeeds, ctx ends (nil), or a person has to act.
func (c *Crew) again(ctx context.Context, what string, do func(context.Context) error) error {
	wait := newBackoff()
	for ctx.Err() == nil {
		err := do(ctx)
		var bad *publisher.ConfigError
		if err == nil || errors.As(err, &bad) {
			return err
		}
		if ctx.Err() == nil {
			c.log.Warn("fleet: trying again", "what", what, "err", err)
			pause(ctx, wait.NextBackOff())
		}
	}
	return nil
}

func newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// work runs one goroutine for each reading that the fleet may make at once: with
// fewer, the fleet would be slower while others are away.
func (c *Crew) work(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	look := time.NewTicker(10 * time.Second)
	defer look.Stop()
	for {
		l := *c.limits.Load()
		c.mu.Lock()
		for _, lane := range c.lanes {
			lane.SetRate(l.Pace())
		}
		for n := len(c.lanes); n < l.Readings; n++ {
			lane := c.cfg.Client.Lane(l.Pace())
			c.lanes = append(c.lanes, lane)
			g.Go(func() error { return c.hand(ctx, n, lane) })
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-look.C:
			c.followLimits(ctx)
		}
	}
}

// readyFor is how long the queue may be silent.
const readyFor = 25 * time.Second

// Ready says that turns can be had: the queue, which needs most of the fleet's NATS
// servers, has answered a short while ago.
func (c *Crew) Ready() error {
	if at := c.asked.Load(); at == 0 || time.Since(time.Unix(0, at)) > readyFor {
		return errors.New("fleet: the queue of turns does not answer; the log says why")
	}
	return nil
}

// followLimits takes over the limits that the last worker which started has set.
func (c *Crew) followLimits(ctx context.Context) {
	s, err := c.queue.State(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("fleet: the queue of turns does not answer", "err", err)
			c.restore(ctx)
		}
		return
	}
	c.asked.Store(time.Now().UnixNano())
	if was := *c.limits.Load(); s.Limits != was && s.Readings > 0 && s.Rate > 0 {
		c.log.Warn("another worker set other limits for the fleet; they hold here too",
			"rate", s.Rate, "readings", s.Readings, "was_rate", was.Rate, "was_readings", was.Readings)
		c.limits.Store(&s.Limits)
	}
}

// late is how long after its due time a turn was taken.
func late(t *fleet.Turn) time.Duration {
	if t.Due.IsZero() {
		return 0
	}
	return max(0, time.Since(t.Due))
}

// Working tells what is being read here, and since when.
func (c *Crew) Working() map[string]time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.working)
}
