// Package alert is the verb that tells people and services of readings: a
// consumer that turns each into one message, not one per event.
package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/deliver"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/past"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/pipe"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/version"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/when"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/publisher/history"
)

const long = `Tells people and services of readings and statuses, one message a reading or
digest window, until SIGTERM or SIGINT. It finds the bus as replay does, and needs
one that runs: that of RANKWATCH_NATS_URL, or a running worker's.

Each route has a durable consumer on the stream, alert-<configuration>-<route>_<target>,
so nothing is lost while this does not run. Several processes with one configuration
share the work. A message is acknowledged after the target took it: a process that
dies in between repeats that one message. A target that fails is tried again, with
growing pauses; a message that it refuses is parked (alert parked, alert resend).

A route that is new to the stream begins with what is published from then on, or
with --from. T is ` + when.Form + `,
or all.

These end by themselves and touch no consumer: --test, --explain, --preview and
--dry-run with --last; the last three also read RANKWATCH_DATA_DIR while no worker
runs.`

const examples = `  rankwatch alert --config alerts.yaml --test
  rankwatch alert --config alerts.yaml --dry-run --last 20
  rankwatch alert --config alerts.yaml

  # which route takes what, and why the others do not
  rankwatch alert --config alerts.yaml --explain 3
  rankwatch alert --config alerts.yaml --preview movers

  # what was given up, and once more
  rankwatch alert parked
  rankwatch alert resend --config alerts.yaml --all`

type options struct {
	config   string
	from     string
	takeover time.Duration
	dryRun   bool
	last     int
	test     bool
	target   string // of --test; empty for all
	explain  int
	preview  string
	output   string

	given map[string]bool // flags
}

// Command returns the verb and its verbs.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "alert",
		Short:   "Send each reading's changes to Slack and other targets",
		Long:    long,
		Example: examples,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.test {
				return cobra.MaximumNArgs(1)(cmd, args)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.given = map[string]bool{}
			for _, name := range []string{"from", "takeover", "dry-run", "last", "explain", "preview", "test", "output"} {
				o.given[name] = cmd.Flags().Changed(name)
			}
			if len(args) > 0 {
				o.target = args[0]
			}
			return run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the alerts `FILE`")
	f.StringVar(&o.from, "from", "", "where routes begin that are new to the stream: `T`, or all; default: now")
	f.DurationVar(&o.takeover, "takeover", 30*time.Second, "how long after a process died another delivers what it had begun, at least 2s")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be sent and send nothing")
	f.IntVar(&o.last, "last", 0, "with --dry-run: of the last `N` readings and statuses, instead of new ones")
	f.BoolVar(&o.test, "test", false, "send a sample to each target, or to the one named after it")
	f.IntVar(&o.explain, "explain", 0, "which route takes what of the last `N` readings and statuses, and why not")
	f.StringVar(&o.preview, "preview", "", "print the last message of `ROUTE`, or a sample")
	f.StringVarP(&o.output, "output", "o", "table", "with --explain: table or json")
	cmd.AddCommand(parkedCommand(), resendCommand())
	return cmd
}

// check finds options that do not go together or cannot be used. All mistakes are
// reported at once.
func (o *options) check(now time.Time) (from deliver.Start, err error) {
	var all []error
	bad := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	var modes []string
	for _, m := range []string{"dry-run", "test", "explain", "preview"} {
		if o.given[m] {
			modes = append(modes, "--"+m)
		}
	}
	if len(modes) > 1 {
		bad("%s: choose one", strings.Join(modes, " and "))
	}
	for _, f := range []string{"from", "takeover"} {
		if o.given[f] && len(modes) > 0 {
			bad("--%s: is about delivering, leave it out with %s", f, modes[0])
		}
	}
	if o.given["last"] && (!o.dryRun || o.last < 1) {
		bad("--last %d: goes with --dry-run and is at least 1", o.last)
	}
	if o.given["explain"] && o.explain < 1 {
		bad("--explain %d: is at least 1", o.explain)
	}
	if o.given["output"] && !o.given["explain"] || !slices.Contains([]string{"table", "json"}, o.output) {
		bad("-o %s: goes with --explain and is table or json", o.output)
	}
	if o.given["takeover"] && o.takeover < 2*time.Second {
		bad("--takeover %s: is at least 2s", o.takeover)
	}
	switch {
	case o.from == "all":
		from.All = true
	case o.given["from"]:
		t, err := when.Parse(o.from, now)
		if err != nil {
			bad("--from: %w", err)
		}
		from.At = t
	}
	return from, errors.Join(all...)
}

func run(ctx context.Context, o options, out, errs io.Writer) (err error) {
	s, serr := settings.Load()
	from, oerr := o.check(time.Now())
	log := worker.NewLogger(errs, s.Log)
	setUp := load
	if o.dryRun || o.given["explain"] || o.given["preview"] {
		setUp = shown
	}
	set, cerr := setUp(s.Alert, o.config, log)
	if cerr == nil {
		cerr = o.known(set)
	}
	if err := errors.Join(serr, oerr, cerr); err != nil {
		return exit.AsUsage(err)
	}
	if o.test {
		return try(ctx, set, o.target, out)
	}
	resting := o.given["explain"] || o.given["preview"] || o.given["last"]
	return open(ctx, s, resting, func(b *bus.Bus, r *history.Reader) error {
		switch {
		case o.given["explain"]:
			return pipe.Quiet(func() error { return explain(ctx, r, set, explanation{o.explain, o.output, out}) })
		case o.given["preview"]:
			return pipe.Quiet(func() error { return preview(ctx, r, set, o.preview, out) })
		case o.dryRun:
			return pipe.Quiet(func() error { return rehearse(ctx, b.Conn, r, rehearsal{set: set, last: o.last, out: out, said: said}) })
		}
		c := deliver.Config{
			Name: set.Name, Routes: set.Routes, Targets: set.Targets, RetryFor: set.RetryFor, Conn: b.Conn, Replicas: s.Replicas,
			From: from, Takeover: o.takeover, Logger: log,
		}
		return open(ctx, s, false, func(_ *bus.Bus, own *history.Reader) error {
			c.Reader = own
			return work(ctx, c, set.threads)
		})
	})
}

// known checks names against the configuration.
func (o *options) known(set *setup) error {
	var all []error
	if o.given["preview"] && set.route(o.preview) == nil {
		all = append(all, fmt.Errorf("--preview %s: no such route; there are %s", o.preview, strings.Join(set.routes(), ", ")))
	}
	if _, ok := set.Targets[o.target]; o.target != "" && !ok {
		all = append(all, fmt.Errorf("--test %s: no such target; there are %s", o.target, strings.Join(set.targets(), ", ")))
	}
	return errors.Join(all...)
}

// open finds the bus and the stream for what do does. resting says that a data
// directory at rest will do.
func open(ctx context.Context, s settings.Settings, resting bool, do func(*bus.Bus, *history.Reader) error) (err error) {
	err = past.Read(ctx, s, "alert", func(b *bus.Bus, r *history.Reader) error {
		if b.AtRest && !resting {
			return exit.AsUsage(fmt.Errorf("no worker runs in %s: start one with `rankwatch run`, or set RANKWATCH_NATS_URL to its server", b.Where))
		}
		return do(b, r)
	})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// work delivers until ctx ends.
func work(ctx context.Context, c deliver.Config, t *threads) error {
	log, nc := c.Logger, c.Conn
	for _, name := range settings.Unknown(os.Environ()) {
		log.Warn("unknown variable, ignored", "variable", name)
	}
	nc.SetDisconnectErrHandler(func(_ *nats.Conn, err error) {
		if ctx.Err() == nil && err != nil { // nil if this process closed it
			log.Warn("the NATS server is gone, waiting for it", "err", err)
		}
	})
	nc.SetReconnectHandler(func(*nats.Conn) { log.Info("connected to NATS again") })
	d, err := deliver.Open(ctx, c)
	var bad *deliver.SetupError
	if errors.As(err, &bad) {
		return exit.AsUsage(err)
	}
	if err != nil {
		return err
	}
	if err := t.bind(ctx, nc, c.Reader.Stream().Config.Name); err != nil {
		return err
	}
	log.Info("started", "version", version.String(), "configuration", c.Name, "routes", strings.Join(names(c.Routes), ","), "stream", c.Reader.Stream().Config.Name)
	if err := d.Run(ctx); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

func names(routes []digest.Route) []string {
	var out []string
	for i := range routes {
		out = append(out, routes[i].Name)
	}
	return out
}
