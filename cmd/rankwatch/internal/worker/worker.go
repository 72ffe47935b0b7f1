// Package worker joins the parts of a running worker: the state, the bus, the
// API client and the watcher.
//
// What fails because of a setting fails in Open, before anything was started,
// so that the caller can tell a mistake of the user from a fault of the world.
package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/turns"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/version"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/publisher/statecopy"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// sweepEvery is how often departures past the retention are forgotten.
const sweepEvery = time.Hour

// A Config holds what a worker is made of. Observe may be nil; it is called
// after each reading and must not block. Tracer is nil for no traces.
type Config struct {
	Settings   settings.Settings
	Watchlists []watcher.Watchlist
	File       []byte // that they were read from; for workers that share them
	Observe    func(watcher.Attempt)
	Tracer     trace.Tracer
	Logger     *slog.Logger
}

// A Worker reads watchlists and publishes what changed, until its Run ends.
type Worker struct {
	cfg       Config
	db        *state.DB
	publisher *publisher.Publisher
	client    *fastmoss.Client
	watcher   *watcher.Worker
	crew      *turns.Crew // nil of a worker that shares nothing
	writer    string
	proof     *proof
}

// Open opens the state and the bus and joins them. Mistakes in the
// configuration are *exit.UsageError. It starts no reading; Run or Close must
// follow.
func Open(ctx context.Context, cfg Config) (*Worker, error) {
	w := &Worker{cfg: cfg, proof: newProof()}
	dieAfterCommit, err := afterCommit()
	if err != nil {
		return nil, exit.AsUsage(err)
	}
	if err := w.openSource(); err != nil {
		return nil, exit.AsUsage(err)
	}
	if err := w.openState(); err != nil {
		return nil, exit.AsUsage(err)
	}
	// What a worker that died has left there leads nowhere.
	err = bus.Retract(cfg.Settings.DataDir)
	if err == nil {
		err = w.openBus(ctx, dieAfterCommit)
	}
	if err != nil {
		return nil, errors.Join(err, w.db.Close())
	}
	return w, nil
}

func (w *Worker) openSource() (err error) {
	// The watcher exists before the first call is made.
	c := sourceConfig(w.cfg.Settings.FastMoss, w.cfg.Tracer, w.cfg.Logger)
	c.OnCondition = func(t fastmoss.TokenCondition) {
		w.watcher.TokenCondition(t)
		if w.crew != nil {
			w.crew.TokenCondition(t)
		}
	}
	if w.cfg.Settings.Cluster {
		c.OnHold = func(until time.Time) { w.crew.Hold(until) }
	}
	w.client, err = fastmoss.New(c)
	return err
}

// NewSource returns the client that the settings ask for.
func NewSource(f settings.FastMoss, log *slog.Logger) (*fastmoss.Client, error) {
	return fastmoss.New(sourceConfig(f, nil, log))
}

func sourceConfig(f settings.FastMoss, tracer trace.Tracer, log *slog.Logger) fastmoss.Config {
	token := fastmoss.FileToken(f.TokenFile)
	if f.TokenFile == "" {
		token = fastmoss.StaticToken(f.Token.Reveal())
	}
	return fastmoss.Config{BaseURL: f.URL, Token: token, Rate: f.Rate, Timeout: f.Timeout, Logger: log, Tracer: tracer}
}

func (w *Worker) openState() error {
	s := w.cfg.Settings
	if err := bus.CheckDir(s.DataDir); err != nil {
		return err
	}
	db, err := state.Open(state.Config{Dir: s.DataDir, Backlog: s.Backlog, Retention: s.Retention})
	if err != nil {
		return fmt.Errorf("%w; the directory is what RANKWATCH_DATA_DIR says", err)
	}
	// Again, now that a restore would see that there is a state: of two that start
	// at once at least one sees the other.
	if err := bus.CheckDir(s.DataDir); err != nil {
		return errors.Join(err, db.Close())
	}
	w.db = db
	return nil
}

// openBus opens the publisher, after the state: its lock is what keeps a
// second worker off the embedded server's directory.
func (w *Worker) openBus(ctx context.Context, dieAfterCommit func()) (err error) {
	s := w.cfg.Settings
	writer := rand.Text()
	w.writer = writer
	var backedUp statecopy.Source
	if !s.Cluster {
		// Of many workers any would answer, each with another copy; and what they
		// keep is in the stream.
		backedUp = w.db
	}
	w.publisher, err = publisher.Open(ctx, publisher.Config{
		Server: bus.ServerConfig(s), Stream: s.Stream, Prefix: s.Prefix, Replicas: s.Replicas, Retention: s.Retention,
		Writer: writer, Outbox: w.db, Logger: w.cfg.Logger, Tracer: w.cfg.Tracer, AfterCommit: dieAfterCommit,
		State: backedUp, StateDir: s.DataDir, Shared: s.Cluster,
		Resume:   watcher.Resume,
		OnFenced: func(watchlist, detail string) { w.watcher.Fenced(watchlist, detail) },
	})
	if err != nil {
		return asUsage(err)
	}
	if s.NATS.Embedded() {
		if err := bus.Announce(s.DataDir, w.URL()); err != nil {
			w.publisher.Close()
			return err
		}
	}
	watch := watcher.Config{
		Watchlists: w.cfg.Watchlists, Source: w.client, Store: store{w.db}, Prefix: s.Prefix, Writer: writer,
		Concurrency: s.FastMoss.Concurrency, MaxPayload: w.publisher.MaxPayload, Adopt: w.adopt,
		Committed: w.publisher.Notify, Observe: w.cfg.Observe, Logger: w.cfg.Logger,
		Tracer: w.cfg.Tracer,
	}
	if s.Cluster {
		watch.Shared = &watcher.Shared{
			Sync: func(ctx context.Context, watchlist string, k watcher.Known) (bool, error) {
				return w.publisher.Sync(ctx, watchlist, publisher.Known(k))
			},
			Marks: func(watchlist string) (watcher.Known, error) {
				k, err := w.publisher.Marks(watchlist)
				return watcher.Known(k), err
			},
			Flush: w.publisher.Flush, PutHead: w.publisher.PutHead,
		}
		watch.Store = sharedStore{store{w.db}, w.publisher}
	}
	w.watcher, err = watcher.New(watch)
	if err == nil && s.Cluster {
		err = w.joinFleet(ctx, writer)
	}
	if err != nil {
		w.publisher.Close()
	}
	return err
}

// joinFleet makes this worker one of several. What only a person can mend is
// found out now, if the bus is there.
func (w *Worker) joinFleet(ctx context.Context, writer string) error {
	s := w.cfg.Settings
	wait, err := ackWait()
	if err != nil {
		return exit.AsUsage(err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	w.crew = turns.New(turns.Config{
		Conn: w.publisher.Conn(), Stream: s.Stream, Prefix: s.Prefix, Replicas: s.Replicas,
		Writer: writer, Host: host, Version: version.Number(),
		Limits: turns.LimitsOf(s.FastMoss.Rate, s.FastMoss.Concurrency), AckWait: wait,
		Watcher: w.watcher, Client: w.client, File: w.cfg.File,
		Parse: func(data []byte) ([]watcher.Watchlist, error) {
			return watcher.ParseWatchlists("the fleet's file", data)
		},
		Full:    func() bool { return w.db.Backlog().Full },
		Waiting: func() int { return w.db.Backlog().Batches },
		Told:    w.publisher.Told,
		Ready:   w.publisher.Ready(), Logger: w.cfg.Logger,
	})
	if !w.publisher.Conn().IsConnected() {
		return nil
	}
	var bad *publisher.ConfigError
	if err := w.crew.Join(ctx); errors.As(err, &bad) {
		return asUsage(err)
	}
	return nil
}

// Writer is what this process calls itself in boards, in the log of others, and in
// `rankwatch fleet`.
func (w *Worker) Writer() string { return w.writer }

// Crew is this worker's part in its fleet, nil if it is alone.
func (w *Worker) Crew() *turns.Crew { return w.crew }

// asUsage marks what only a change of the configuration can mend.
func asUsage(err error) error {
	var c *publisher.ConfigError
	if errors.As(err, &c) {
		return exit.AsUsage(err)
	}
	return err
}

// adopt brings what the stream has of a watchlist into the state. A bus that has
// the connection and does not answer is as good as away.
func (w *Worker) adopt(ctx context.Context, watchlist string) error {
	if !w.publisher.Conn().IsConnected() {
		return fmt.Errorf("%w: not connected to NATS, and the watchlist is new here: the stream may know it", watcher.ErrBusAway)
	}
	tracked, ack, departed, found, err := w.publisher.Head(ctx, watchlist)
	if err != nil {
		return fmt.Errorf("%w: %w", watcher.ErrBusAway, err)
	}
	if !found {
		return nil
	}
	if _, err := w.db.Adopt(ack, &tracked, departed); err != nil {
		return fmt.Errorf("adopt %s: %w", watchlist, err)
	}
	return nil
}

// URL is where NATS clients of the worker connect to, empty if the embedded
// server does not listen.
func (w *Worker) URL() string { return w.publisher.URL() }

// Reload replaces the watchlists at once, and lets calls be tried again that a
// bad token or a used up quota held back.
//
// A worker of a fleet offers the file to all instead; data is what lists were read
// from.
func (w *Worker) Reload(lists []watcher.Watchlist, data []byte) {
	w.client.Reset()
	if w.crew != nil {
		w.crew.Offer(data)
		return
	}
	w.watcher.Reload(lists)
}

// Refused notes that the watchlist file is one that cannot be used, which others of
// a fleet are to see.
func (w *Worker) Refused(data []byte) {
	if w.crew != nil {
		w.crew.Unreadable(data)
	}
}

// Run works until ctx ends, and returns nil then. Readings stop first; what
// they committed is published for a bounded time, and what then still waits
// stays in the state. Everything is closed when it returns.
func (w *Worker) Run(ctx context.Context) error {
	// The publisher outlives the readings, so that their last commits go out.
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishing()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.publisher.Run(publishing) })
	g.Go(func() error {
		defer stopPublishing()
		if w.crew == nil {
			return w.watcher.Run(gctx)
		}
		reading, rctx := errgroup.WithContext(gctx)
		reading.Go(func() error { return w.watcher.Run(rctx) })
		reading.Go(func() error { return w.crew.Run(rctx) })
		return reading.Wait()
	})
	g.Go(func() error { return w.sweep(gctx) })
	err := g.Wait()
	w.client.Close()
	return errors.Join(err, w.release())
}

// Close releases everything when Run was never called.
func (w *Worker) Close() error {
	w.client.Close()
	w.publisher.Close()
	return w.release()
}

// release lets go of the data directory.
func (w *Worker) release() error {
	return errors.Join(bus.Retract(w.cfg.Settings.DataDir), w.db.Close())
}

// sweep forgets departures that no reentry can refer to any more.
func (w *Worker) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := w.db.Sweep(time.Now().Add(-w.cfg.Settings.Retention)); err != nil {
			// They only take room; a full disk must not end the worker.
			w.cfg.Logger.Warn("old departures not forgotten", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Standings tells how every watchlist is doing, by name.
func (w *Worker) Standings() []watcher.Standing { return w.watcher.Standings() }

// Standing tells of one watchlist, and whether it is configured.
func (w *Worker) Standing(name string) (watcher.Standing, bool) { return w.watcher.Standing(name) }

// TokenStanding tells of the API token, nil if all is well.
func (w *Worker) TokenStanding() *watcher.Condition { return w.watcher.TokenStanding() }

// Profiles is what is remembered of the creators on a watchlist's present board,
// and the revision that this was last published as. It is nil of a watchlist
// that was not read yet.
func (w *Worker) Profiles(watchlist string) (map[string]watcher.Profile, uint64, error) {
	l, err := w.load(watchlist)
	if err != nil || !l.Known {
		return nil, 0, err
	}
	p, err := watcher.Profiles(l.Board)
	return p, l.Revision, err
}

// Profile is Profiles of one creator, nil if there is none.
func (w *Worker) Profile(watchlist, uid string) (*watcher.Profile, uint64, error) {
	l, err := w.load(watchlist)
	if err != nil || !l.Known {
		return nil, 0, err
	}
	p, err := watcher.ProfileOf(l.Board, uid)
	return p, l.Revision, err
}

// profileWait bounds how long the bus is asked for profiles.
const profileWait = 5 * time.Second

// load returns what is tracked of a watchlist. A worker that shares its watchlists
// asks the stream, since another one may have read last.
func (w *Worker) load(watchlist string) (state.Loaded, error) {
	if w.crew != nil {
		ctx, cancel := context.WithTimeout(context.Background(), profileWait)
		defer cancel()
		t, revision, err := w.publisher.Tracked(ctx, watchlist)
		if err != nil || t == nil {
			return state.Loaded{}, err
		}
		return state.Loaded{Tracked: *t, Known: true, Revision: revision}, nil
	}
	l, err := w.db.Load(watchlist)
	if errors.Is(err, state.ErrClosed) {
		// The worker is ending, and nobody can be told more than that.
		return l, fmt.Errorf("%w: %w", history.ErrGone, err)
	}
	return l, err
}

// Conn is the worker's connection to the bus.
func (w *Worker) Conn() *nats.Conn { return w.publisher.Conn() }
