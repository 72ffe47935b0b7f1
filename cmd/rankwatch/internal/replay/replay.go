// Package replay is the verb that reads history: what was published, what it
// comes to between two points, and what other rules would have made of it.
package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/progress"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/when"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

const long = `Prints what was published, oldest first, the same each time: of the watchlists
NAME, or of all. It reads the stream: that of RANKWATCH_NATS_URL, or the embedded
one through the running worker's listener, or from RANKWATCH_DATA_DIR while no
worker runs. It disturbs no worker.

--publish sends the stored bytes again, under another prefix and with the header
Rankwatch-Replay: acknowledged where a stream takes in the new subjects, as plain
messages else.

T is ` + when.Form + `.
Times are those of the readings, as in the messages' time. Both ends count.`

const examples = `  rankwatch replay --since 7d
  rankwatch replay us-beauty --since 2026-11-01 --until 36h --kind entered,dropped
  rankwatch replay us-beauty --from-revision 40 --uid 6787580688797713413
  rankwatch replay -o json > history.jsonl
  rankwatch replay --since 30d --publish rebuild
  rankwatch replay us-beauty --since 1d --publish rehearsal --speed 60x`

type options struct {
	names        []string
	since, until string
	from, to     uint64
	kinds, uids  []string
	output       string

	publish, speed string
	outputSet      bool
}

// Command returns the verb.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "replay [NAME...]",
		Short:   "Past events, net changes, and what other rules would have told",
		Long:    long,
		Example: examples,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.names, o.outputSet = args, cmd.Flags().Changed("output")
			return replay(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "only readings made at `T` or later")
	f.StringVar(&o.until, "until", "", "only readings made at `T` or earlier")
	f.Uint64Var(&o.from, "from-revision", 0, "only revisions from `N` on")
	f.Uint64Var(&o.to, "to-revision", 0, "only revisions up to `N`")
	f.StringSliceVar(&o.kinds, "kind", nil, "only these kinds: "+strings.Join(kindNames, ", "))
	f.StringSliceVar(&o.uids, "uid", nil, "only changes of these creators")
	f.StringVarP(&o.output, "output", "o", "table", "table, json (the stored messages, one a line) or csv")
	f.StringVar(&o.publish, "publish", "", "publish the messages again under the subject prefix `PREFIX` instead of printing them")
	f.StringVar(&o.speed, "speed", "", "with --publish: keep the time between readings, divided by `N`: 1x, 60x, 0.5x; default: as fast as the bus takes them")
	return cmd
}

var kindNames = []string{"entered", "moved", "dropped", "index", "board", "status"}

// query checks the options and makes a query of them. All mistakes are reported
// at once.
func (o *options) query(now time.Time) (history.Query, error) {
	q := history.Query{Watchlists: o.names, UIDs: o.uids, FromRevision: o.from, ToRevision: o.to}
	var all []error
	parse := func(flag, text string, to *time.Time) {
		if text == "" {
			return
		}
		t, err := when.Parse(text, now)
		if err != nil {
			all = append(all, fmt.Errorf("--%s: %w", flag, err))
		}
		*to = t
	}
	parse("since", o.since, &q.Since)
	parse("until", o.until, &q.Until)
	if q.Since.After(now) {
		all = append(all, fmt.Errorf("--since %s: lies in the future", o.since))
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && q.Since.After(q.Until) {
		all = append(all, fmt.Errorf("--since %s --until %s: the range is reversed", o.since, o.until))
	}
	if o.from != 0 && o.to != 0 && o.from > o.to {
		all = append(all, fmt.Errorf("--from-revision %d --to-revision %d: the range is reversed", o.from, o.to))
	}
	for _, k := range o.kinds {
		if !slices.Contains(kindNames, k) {
			all = append(all, fmt.Errorf("--kind %s: allowed are %s", k, strings.Join(kindNames, ", ")))
		}
		q.Kinds = append(q.Kinds, event.Kind(k))
	}
	if !slices.Contains([]string{"table", "json", "csv"}, o.output) {
		all = append(all, fmt.Errorf("-o %s: allowed are table, json and csv", o.output))
	}
	return q, errors.Join(all...)
}

func replay(ctx context.Context, o options, out, errs io.Writer) (err error) {
	s, serr := settings.Load()
	q, qerr := o.query(time.Now())
	p, perr := o.republication(s.Prefix)
	if err := errors.Join(serr, qerr, perr); err != nil {
		return exit.AsUsage(err)
	}
	b, err := bus.Open(s, "replay")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := p.heard(b); err != nil {
		return err
	}
	r, err := history.Open(ctx, b.Conn, s.Stream, s.Prefix)
	if err != nil {
		return err
	}
	if p != nil {
		return p.run(ctx, b.Conn, source{r, q}, errs)
	}
	bar := progress.New(progress.Config{Errs: errs, Data: out, What: "messages"})
	defer bar.Done()
	w := bufio.NewWriterSize(out, 1<<20)
	err = r.Each(ctx, q, bar.Update, func(m *history.Message) error {
		if _, err := w.Write(m.Data); err != nil {
			return err
		}
		return w.WriteByte('\n')
	})
	return errors.Join(unlessStopped(ctx, err), w.Flush())
}

// unlessStopped leaves out that the user ended it: what was printed is right.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
