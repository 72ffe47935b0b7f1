// Package run is the verb that runs the worker.
package run

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/metrics"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/site"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/trace"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/version"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
)

const long = `Runs the worker: reads the watchlists, compares each reading with the one before
and publishes every change on NATS JetStream, exactly once.

It is set up by environment variables, of which only the token is needed:
RANKWATCH_FASTMOSS_TOKEN or RANKWATCH_FASTMOSS_TOKEN_FILE. Without
RANKWATCH_NATS_URL it runs a NATS server of its own, on 127.0.0.1:4222.

SIGHUP, or a change of the watchlist file, reloads the watchlists; a bad file
keeps the old ones. SIGTERM or SIGINT ends it after it published what it had.`

const examples = `  rankwatch check && RANKWATCH_FASTMOSS_TOKEN_FILE=token rankwatch run

  # against the simulator, without a token of your own: in one terminal
  rankwatch simulate
  # and in another
  export RANKWATCH_FASTMOSS_URL=http://127.0.0.1:8090 RANKWATCH_FASTMOSS_TOKEN=simulator-token
  RANKWATCH_WATCHLISTS=deploy/watchlists.yaml rankwatch run`

// Command returns the verb.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:     "run",
		Short:   "Run the worker",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
}

func run(ctx context.Context, stderr io.Writer) error {
	hup, stop := hangups()
	defer stop()
	s, err := settings.LoadWithToken()
	lists, data, ferr := worker.ReadWatchlists(s.Watchlists)
	if err := errors.Join(err, ferr); err != nil {
		return exit.AsUsage(err)
	}
	boundMemory(len(lists))
	log := worker.NewLogger(stderr, s.Log)
	for _, name := range settings.Unknown(os.Environ()) {
		log.Warn("unknown variable, ignored", "variable", name)
	}
	http, err := web.Listen(ctx, s.HTTP)
	if err != nil {
		return err
	}
	traces, err := trace.Open(ctx, trace.Config{Endpoint: s.OTLP, Version: version.Number(), Environ: os.Environ(), Logger: log})
	if err != nil {
		return errors.Join(exit.AsUsage(err), http.Close())
	}
	defer traces.Close(ctx)
	readings := metrics.NewReadings()
	w, err := worker.Open(ctx, worker.Config{Settings: s, Watchlists: lists, File: data, Observe: readings.Observe, Tracer: traces.Tracer(), Logger: log})
	if err != nil {
		return errors.Join(err, http.Close())
	}
	log.Info("started", "version", version.String(), "watchlists", len(lists), "data_dir", s.DataDir, "stream", s.Stream, "prefix", s.Prefix, "writer", w.Writer())
	// Parsing a large watchlist file takes much more than what it leaves.
	debug.FreeOSMemory()
	r := reloader{path: s.Watchlists, known: data, apply: w.Reload, refused: w.Refused, hup: hup, log: log}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Run(gctx) })
	g.Go(func() error { return r.run(gctx) })
	page := site.Site{Listener: http, Settings: s, Worker: w, Readings: readings, Logger: log}
	g.Go(func() error { return page.Serve(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}
