// Package fleet is the verb that shows the workers which share watchlists: what
// waits, who reads what, and what is not as it should be.
//
// It only looks. What it asks for sets nothing up and changes no limit.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/pipe"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/fleet"
)

const long = `Shows the workers that share the watchlists of one stream (RANKWATCH_CLUSTER=true):
the watchlist file that counts, what the fleet may do at once, how many turns wait and
how late they are, and each worker that answers, with what it reads now.

It needs RANKWATCH_NATS_URL, RANKWATCH_STREAM and RANKWATCH_SUBJECT_PREFIX as the
workers have them. It only looks: it sets nothing up, and no worker does anything else
for it.

Turns are held by the workers that read them. Those that nobody accounts for belong to
workers that did not answer in time; for some seconds also to one that died, and to
nobody after they were handed back.

-o json prints one object. Times are in UTC; what begins with late, and for, is in
seconds.`

const examples = `  rankwatch fleet
  rankwatch fleet --wait 3s
  rankwatch fleet -o json | jq '.workers[] | {host, reading}'`

// maxWait keeps a mistyped --wait from looking like a hang.
const maxWait = time.Minute

type options struct {
	output string
	wait   time.Duration
}

// Command returns the verb.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "fleet",
		Short:   "The workers that share watchlists, and how they are",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	f.DurationVar(&o.wait, "wait", time.Second, "how long workers may take to answer")
	return cmd
}

// check finds what cannot be done. All mistakes are reported at once.
func (o options) check() error {
	var all []error
	if o.output != "table" && o.output != "json" {
		all = append(all, fmt.Errorf("-o %s: allowed are table and json", o.output))
	}
	if o.wait <= 0 || o.wait > maxWait {
		all = append(all, fmt.Errorf("--wait %s: must be above 0s and at most %s", o.wait, maxWait))
	}
	return errors.Join(all...)
}

var errAlone = errors.New("RANKWATCH_NATS_URL is not set, and a worker with a NATS server of its own shares its watchlists with nobody; set it to the server of the workers that do")

func run(ctx context.Context, o options, out io.Writer) (err error) {
	s, serr := settings.Load()
	if err := errors.Join(serr, o.check()); err != nil {
		return exit.AsUsage(err)
	}
	if s.NATS.Embedded() {
		return exit.AsUsage(errAlone)
	}
	b, err := bus.Open(s, "fleet")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	v, err := fleet.Look(ctx, b.Conn, s.Stream, s.Prefix)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w; %s does not answer: is JetStream on there, and has this user what the reader's role in deploy/nats/nats-server.conf has?", err, b.Where)
	}
	if err != nil {
		return explain(ctx, b, s, err)
	}
	r, err := gather(ctx, question{conn: b.Conn, view: v, prefix: s.Prefix, wait: o.wait})
	if err != nil {
		return err
	}
	r.Stream, r.Prefix = s.Stream, s.Prefix
	return pipe.Quiet(func() error {
		if o.output == "json" {
			return json.NewEncoder(out).Encode(r)
		}
		return printer{Style: text.StyleOf(out), now: time.Now()}.print(out, r)
	})
}

// explain says what is there in place of a fleet.
func explain(ctx context.Context, b *bus.Bus, s settings.Settings, err error) error {
	var bad *publisher.ConfigError
	if errors.As(err, &bad) {
		return exit.AsUsage(err)
	}
	if !errors.Is(err, fleet.ErrNoFleet) {
		return err
	}
	js, jerr := jetstream.New(b.Conn)
	if jerr != nil {
		return errors.Join(err, jerr)
	}
	switch _, serr := js.Stream(ctx, s.Stream); {
	case serr == nil:
		return fmt.Errorf("%w at %s; stream %s is there and is that of a single worker, unless one with RANKWATCH_CLUSTER=true is just starting", err, b.Where, s.Stream)
	case errors.Is(serr, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w at %s, and no stream %s either: no worker has been here yet, or RANKWATCH_STREAM is another", err, b.Where, s.Stream)
	default:
		return fmt.Errorf("%w at %s", err, b.Where)
	}
}
