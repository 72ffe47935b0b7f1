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
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/history"
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
	tell := func(c fastmoss.TokenCondition) { w.watcher.TokenCondition(c) }
	w.client, err = NewSource(w.cfg.Settings.FastMoss, tell, w.cfg.Tracer, w.cfg.Logger)
	return err
}

// NewSource returns the client that the settings ask for. onCondition and tracer
// may be nil.
func NewSource(f settings.FastMoss, onCondition func(fastmoss.TokenCondition), tracer trace.Tracer, log *slog.Logger) (*fastmoss.Client, error) {
	token := fastmoss.FileToken(f.TokenFile)
	if f.TokenFile == "" {
		token = fastmoss.StaticToken(f.Token.Reveal())
	}
	return fastmoss.New(fastmoss.Config{
		BaseURL: f.URL, Token: token, Rate: f.Rate, Timeout: f.Timeout, Logger: log, OnCondition: onCondition, Tracer: tracer,
	})
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
	w.publisher, err = publisher.Open(ctx, publisher.Config{
		Server: bus.ServerConfig(s), Stream: s.Stream, Prefix: s.Prefix, Replicas: s.Replicas, Retention: s.Retention,
		Writer: writer, Outbox: w.db, Logger: w.cfg.Logger, Tracer: w.cfg.Tracer, AfterCommit: dieAfterCommit,
		State: w.db, StateDir: s.DataDir,
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
	w.watcher, err = watcher.New(watcher.Config{
		Watchlists: w.cfg.Watchlists, Source: w.client, Store: store{w.db}, Prefix: s.Prefix, Writer: writer,
		Concurrency: s.FastMoss.Concurrency, MaxPayload: w.publisher.MaxPayload, Adopt: w.adopt,
		Committed: w.publisher.Notify, Observe: w.cfg.Observe, Logger: w.cfg.Logger,
		Tracer: w.cfg.Tracer,
	})
	if err != nil {
		w.publisher.Close()
	}
	return err
}

// asUsage marks what only a change of the configuration can mend.
func asUsage(err error) error {
	var c *publisher.ConfigError
	if errors.As(err, &c) {
		return exit.AsUsage(err)
	}
	return err
}

// adopt brings what the stream has of a watchlist into the state.
func (w *Worker) adopt(ctx context.Context, watchlist string) error {
	if !w.publisher.Conn().IsConnected() {
		return errors.New("not connected to NATS yet, and the watchlist is new here: the stream may know it")
	}
	tracked, ack, departed, found, err := w.publisher.Head(ctx, watchlist)
	if err != nil || !found {
		return err
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
func (w *Worker) Reload(lists []watcher.Watchlist) {
	w.client.Reset()
	w.watcher.Reload(lists)
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
		return w.watcher.Run(gctx)
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

func (w *Worker) load(watchlist string) (state.Loaded, error) {
	l, err := w.db.Load(watchlist)
	if errors.Is(err, state.ErrClosed) {
		// The worker is ending, and nobody can be told more than that.
		return l, fmt.Errorf("%w: %w", history.ErrGone, err)
	}
	return l, err
}

// Conn is the worker's connection to the bus.
func (w *Worker) Conn() *nats.Conn { return w.publisher.Conn() }
