// Package replay is the verb that reads history: what was published, what it
// comes to between two points, and what other rules would have made of it.
package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/past"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/pipe"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/progress"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/when"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
)

const long = `Prints what was published, oldest first, the same each time: of the watchlists
NAME, or of all. It reads the stream: that of RANKWATCH_NATS_URL, or the embedded
one through the running worker's listener, or from RANKWATCH_DATA_DIR while no
worker runs. It disturbs no worker.

--publish sends the stored bytes again, under another prefix and with the header
Rankwatch-Replay: acknowledged where a stream takes in the new subjects, as plain
messages else.

T is ` + when.Form + `.
Times are those of the readings, as in the messages' time. Both ends count.

With --net it prints, for each watchlist, the one difference between its boards at
both ends of the range: as they were at --since and --until, or those of the first
and last revision; without a bound, where history begins and ends.

With --rules it reads the stored boards again under the rules that FILE, a
watchlist file, has for them, and tells what would have been published, beside
what was: counts per kind, and each event that only one of the two has. top,
margin, ties, rules, rollover and baseline count; readings that the guard held back
are not stored.

-o table is for eyes: a line a message, as wide as the terminal, colored on one
unless NO_COLOR is set. -o json prints the stored messages themselves, one a line.
-o csv is for spreadsheets (RFC 4180): a row a message, empty for null; control
characters are left out of texts, and a text that begins with = + - or @ has a quote
before it, so that no spreadsheet runs it as a formula. Import the column uid as
text: it has more digits than a spreadsheet's numbers.`

const examples = `  rankwatch replay --since 7d
  rankwatch replay us-beauty --since 2026-11-01 --until 36h --kind entered,dropped
  rankwatch replay us-beauty --from-revision 40 --uid 6787580688797713413
  rankwatch replay -o json > history.jsonl

  # what the last week came to, in one step
  rankwatch replay us-beauty --net --since 7d

  # would fewer messages do? Edit a copy and try it before living with it
  rankwatch replay --rules watchlists.new.yaml

  # again on the bus, for a downstream service that is rebuilt
  rankwatch replay --since 30d --publish rebuild
  rankwatch replay us-beauty --since 1d --publish rehearsal --speed 60x`

type options struct {
	names       []string
	span        past.Range
	kinds, uids []string
	output      string
	net         bool
	rules       string // path of a watchlist file
	publish     string
	speed       string
	outputSet   bool
	empty       error // flags with empty values
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
			o.names, o.outputSet, o.empty = args, cmd.Flags().Changed("output"), past.Filled(cmd.Flags())
			err := replay(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				// Before there was anything to end in the middle of.
				_, err = fmt.Fprintln(cmd.ErrOrStderr(), "interrupted before anything was read")
			}
			return err
		},
	}
	f := cmd.Flags()
	o.span.Flags(f)
	f.StringSliceVar(&o.kinds, "kind", nil, "only these kinds: "+strings.Join(kindNames, ", "))
	f.StringArrayVar(&o.uids, "uid", nil, "only changes of this creator; repeatable")
	f.StringVarP(&o.output, "output", "o", "table", "table, json (the stored messages, one a line) or csv")
	f.BoolVar(&o.net, "net", false, "one net difference between both ends instead of the steps")
	f.StringVar(&o.rules, "rules", "", "what the rules of this watchlist `FILE` would have told, beside what was published")
	f.StringVar(&o.publish, "publish", "", "publish the messages again under the subject prefix `PREFIX` instead of printing them")
	f.StringVar(&o.speed, "speed", "", "with --publish: keep the time between readings, divided by `N`: 1x, 60x, 0.5x; default: as fast as the bus takes them")
	return cmd
}

var kindNames = []string{"entered", "moved", "dropped", "index", "board", "status"}

// query checks the options and makes a query of them. All mistakes are reported
// at once.
func (o *options) query(now time.Time) (history.Query, error) {
	q := history.Query{Watchlists: o.names, UIDs: o.uids}
	all := []error{o.empty, o.span.Limit(&q, now)}
	for _, k := range o.kinds {
		if !slices.Contains(kindNames, k) {
			all = append(all, fmt.Errorf("--kind %s: allowed are %s", k, strings.Join(kindNames, ", ")))
		}
		q.Kinds = append(q.Kinds, event.Kind(k))
	}
	if !slices.Contains([]string{"table", "json", "csv"}, o.output) {
		all = append(all, fmt.Errorf("-o %s: allowed are table, json and csv", o.output))
	}
	return q, errors.Join(append(all, o.modes()...)...)
}

// modes finds options that do not go together.
func (o *options) modes() []error {
	var all []error
	if o.net && o.rules != "" {
		all = append(all, errors.New("--net and --rules: choose one"))
	}
	if o.publish != "" && (o.net || o.rules != "") {
		all = append(all, errors.New("--publish sends stored messages: leave out --net and --rules"))
	}
	if o.rules != "" && len(o.uids) > 0 {
		all = append(all, errors.New("--rules and --uid: rules are about whole boards, leave --uid out"))
	}
	if (o.net || o.rules != "") && slices.ContainsFunc(o.kinds, func(k string) bool { return k == "board" || k == "status" }) {
		all = append(all, errors.New("--kind: with --net and --rules only entered, moved, dropped and index"))
	}
	return all
}

func replay(ctx context.Context, o options, out, errs io.Writer) error {
	s, serr := settings.Load()
	q, qerr := o.query(time.Now())
	var file []watcher.Watchlist
	var ferr error
	if o.rules != "" {
		file, _, ferr = worker.ReadWatchlists(o.rules)
	}
	again, perr := o.republication(s.Prefix)
	if err := errors.Join(serr, qerr, ferr, perr); err != nil {
		return exit.AsUsage(err)
	}
	return past.Read(ctx, s, "replay", func(b *bus.Bus, r *history.Reader) error {
		if err := again.heard(b); err != nil {
			return err
		}
		v := &view{
			conn: b.Conn, reader: r, query: q, format: o.output, errs: errs, again: again,
			target: target{out: out, style: text.StyleOf(out), prefix: s.Prefix, names: o.names},
		}
		return pipe.Quiet(func() error { return v.show(ctx, o, file) })
	})
}

// A view is a range of history and where it is printed.
type view struct {
	conn   *nats.Conn
	reader *history.Reader
	query  history.Query
	format string
	target
	errs  io.Writer
	again *republication // nil to print
}

// show prints what the options ask for.
func (v *view) show(ctx context.Context, o options, file []watcher.Watchlist) error {
	if past.Empty(v.reader) {
		err := v.note("%s", past.Nothing(v.reader))
		if o.net || o.rules != "" || v.again != nil {
			return err
		}
		return errors.Join(err, newPrinter(v.format, v.target).close())
	}
	if err := past.Check(ctx, v.reader, v.query.Watchlists...); err != nil {
		return err
	}
	notes, err := past.Begins(ctx, v.reader, v.query)
	if err != nil {
		return err
	}
	for _, n := range notes {
		if _, err := fmt.Fprintln(v.errs, n); err != nil {
			return err
		}
	}
	switch {
	case v.again != nil:
		return v.again.run(ctx, v.conn, source{v.reader, v.query}, v.errs)
	case o.net:
		return ended(v.net(ctx))
	case o.rules != "":
		return ended(v.backtest(ctx, file))
	}
	return v.messages(ctx)
}

// note says something on standard error.
func (v *view) note(format string, args ...any) error {
	_, err := fmt.Fprintf(v.errs, format+"\n", args...)
	return err
}

// messages prints what the query selects.
func (v *view) messages(ctx context.Context) error {
	p := newPrinter(v.format, v.target)
	read, err := v.each(ctx, v.query, p.print)
	if err == nil && read == 0 {
		err = v.note("no message in this range")
	}
	if cerr := p.close(); err == nil || errors.Is(err, errStopped) {
		err = cmp.Or(cerr, err)
	}
	return ended(err)
}

// errStopped means that the user ended the reading, and was told so.
var errStopped = errors.New("interrupted")

// ended takes being interrupted for an end like any other.
func ended(err error) error {
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// each goes over messages and returns their number. An interruption ends it
// after a whole one with errStopped.
func (v *view) each(ctx context.Context, q history.Query, fn func(*history.Message) error) (int, error) {
	bar := progress.New(progress.Config{Errs: v.errs, Data: v.out, What: "messages"})
	read := 0
	err := v.reader.Each(ctx, q, bar.Update, func(m *history.Message) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		read++
		return fn(m)
	})
	bar.Done()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		if err = v.note("interrupted after %s", text.Some(read, "message")); err == nil {
			err = errStopped
		}
	}
	return read, err
}

// unlessStopped leaves out that the user ended it.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
