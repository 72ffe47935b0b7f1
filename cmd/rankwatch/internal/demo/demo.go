// Package demo is the verb that shows the whole of rankwatch in one process:
// the API simulator, a worker, a NATS server, the web page, and an ordinary
// subscriber that prints what it hears.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/metrics"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/site"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

const long = `Runs everything in one process: a simulator of the ranking API whose boards
change all the time, a worker that reads three of them every three seconds, a NATS
server, and the web page. What happens is printed as an ordinary subscriber hears
it.

It needs no token, no network and no file; what it stores goes into a temporary
directory that is removed at the end.

The page is at 127.0.0.1:8080 and NATS at 127.0.0.1:4222, or at other ports if
those are taken. RANKWATCH_HTTP_LISTEN and RANKWATCH_NATS_LISTEN say where else;
the other RANKWATCH_HTTP_ variables count, too.`

const examples = `  rankwatch demo
  rankwatch demo --for 30s
  RANKWATCH_HTTP_LISTEN=127.0.0.1:9000 rankwatch demo

  # in another terminal, while it runs
  nats sub 'rankwatch.*.*.entered.*' -s nats://127.0.0.1:4222`

// lists is the demo's watchlist file.
const lists = `
defaults: {every: 3s, period: {type: month, value: latest}}
watchlists:
  - {name: us-beauty, top: 100, margin: 20, filter: {region: US, creator_category_id: 4}}
  - {name: br-all,    top: 80, filter: {region: BR}}
  - {name: jp-all,    top: 60, filter: {region: JP}}
`

// step is the time between two changes of the simulated boards.
const step = 1500 * time.Millisecond

type options struct {
	length time.Duration
	seed   uint64
}

// Command returns the verb.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "See it work: simulator, worker and NATS in one process",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.length < 0 {
				return exit.AsUsage(fmt.Errorf("--for %s: must be above 0", o.length))
			}
			return run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().DurationVar(&o.length, "for", 0, "end by itself after this time (default until interrupted)")
	cmd.Flags().Uint64Var(&o.seed, "seed", 1, "of the made-up creators; the same seed gives the same")
	return cmd
}

// run shows the demo until ctx or its time ends.
func run(ctx context.Context, o options, out, errs io.Writer) (err error) {
	began := time.Now()
	listen, err := listeners(ctx)
	if err != nil {
		return exit.AsUsage(err)
	}
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	dir, err := os.MkdirTemp("", "rankwatch-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the simulator: %w", err)
	}
	source := "http://" + ln.Addr().String()
	http, err := web.Listen(ctx, listen.HTTP)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	page, readings, err := openWorker(ctx, workerSettings(dir, source, listen), errs)
	if err != nil {
		return errors.Join(err, http.Close(), ln.Close())
	}
	page.Listener = http
	w := page.Worker
	s, err := subscribe(w.URL())
	if err != nil {
		return errors.Join(err, w.Close(), http.Close(), ln.Close())
	}
	defer s.close()
	show := &show{out: out, look: look{text.StyleOf(out)}, fold: newFold(prefix), bus: w.URL(), page: http.URL(), readings: readings, began: began}
	show.intro(source)

	// The API goes last: a reading under way at the end is not to fail.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return simulator.New(simulator.Config{Seed: o.seed, World: simulator.WorldConfig{Step: step}}).Serve(serving, ln)
	})
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		defer stopServing()
		return w.Run(gctx)
	})
	g.Go(func() error { return page.Serve(gctx) })
	g.Go(func() error { return show.follow(s.messages, done) })
	if err := g.Wait(); err != nil {
		return err
	}
	return show.summary()
}

const (
	stream = "RANKWATCH"
	prefix = "rankwatch"
)

// quiet logs what goes wrong; what goes well is told by the events.
func quiet(errs io.Writer) *slog.Logger {
	return worker.NewLogger(errs, settings.Log{Level: slog.LevelWarn})
}

// openWorker returns the worker with what is served about it, and what the summary
// counts its readings by.
func openWorker(ctx context.Context, s settings.Settings, errs io.Writer) (*site.Site, *readings, error) {
	watchlists, err := watcher.ParseWatchlists("demo", []byte(lists))
	if err != nil {
		return nil, nil, err
	}
	s.FastMoss.Concurrency = len(watchlists)
	var r readings
	counted, log := metrics.NewReadings(), quiet(errs)
	observe := func(a watcher.Attempt) {
		r.observe(a)
		counted.Observe(a)
	}
	w, err := worker.Open(ctx, worker.Config{Settings: s, Watchlists: watchlists, Observe: observe, Logger: log})
	return &site.Site{Settings: s, Worker: w, Readings: counted, Logger: log}, &r, err
}

// workerSettings are those of a worker that listens where it is told.
func workerSettings(dir, source string, listen settings.Settings) settings.Settings {
	s := listen
	s.DataDir, s.Stream, s.Prefix, s.Replicas, s.Retention, s.Backlog = dir, stream, prefix, 1, 24*time.Hour, 64<<20
	s.FastMoss = settings.FastMoss{URL: source, Token: settings.NewSecret(simulator.DefaultToken), Rate: 100, Timeout: 5 * time.Second}
	return s
}

// listeners is where the environment says to listen, or else where people look
// first, if nobody else listens there.
func listeners(ctx context.Context) (settings.Settings, error) {
	s, err := settings.LoadListeners(func(address string) string { return freeOr(ctx, address) })
	if err == nil && s.NATS.Listen == "" {
		err = errors.New("RANKWATCH_NATS_LISTEN: off is not for the demo, which hears its events there: set it to host:port, port 0 for any, or unset it")
	}
	return s, err
}

// freeOr returns the address if nobody listens on it, else any port.
func freeOr(ctx context.Context, address string) string {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return "127.0.0.1:0"
	}
	if err := ln.Close(); err != nil {
		return "127.0.0.1:0"
	}
	return address
}
