// Package board is the verb that shows one board, the present one or one of the
// past, and a creator's path over the boards.
package board

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/past"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/pipe"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/when"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

const long = `Shows the board of a watchlist: the present one, or that of a time or revision,
with what changed since the revision before it. With --uid, one creator's path: its
place in every published revision, and a drawing of its rank.

It reads the stream as replay does: that of RANKWATCH_NATS_URL, or the embedded one
through the running worker's listener, or from RANKWATCH_DATA_DIR while no worker
runs. A board costs a few look-ups, however long the history is.

T is ` + when.Form + `.

-o json prints the stored message of a board, and for a path an object a revision.
-o csv is for spreadsheets, as replay --help has it. A path's standing is member,
waiting (a member that the reading did not show), listed (seen, and no member),
below (the visible part of the list, which goes on), or unlisted.`

const examples = `  rankwatch board us-beauty
  rankwatch board us-beauty --at 36h
  rankwatch board us-beauty --revision 40 --all
  rankwatch board us-beauty -o csv > board.csv
  rankwatch board us-beauty --uid 6787580688797713413 --since 7d`

type options struct {
	name     string
	at       string
	revision uint64
	byNumber bool // --revision was given
	all      bool
	uid      string
	byUID    bool // --uid was given
	span     past.Range
	output   string
}

// Command returns the verb.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "board NAME",
		Short:   "A board as it is or was, or one creator's path over time",
		Long:    long,
		Example: examples,
		Args:    exit.OneArg("watchlist"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			o.byNumber, o.byUID = cmd.Flags().Changed("revision"), cmd.Flags().Changed("uid")
			return run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.at, "at", "", "the board of the last reading made at `T` or before")
	f.Uint64Var(&o.revision, "revision", 0, "the board of revision `N`")
	f.BoolVar(&o.all, "all", false, "everything that was read, not only the members")
	f.StringVar(&o.uid, "uid", "", "the path of this creator")
	o.span.Flags(f)
	f.StringVarP(&o.output, "output", "o", "table", "table, json or csv")
	return cmd
}

// A request is what the options ask for.
type request struct {
	at   time.Time // of the board; zero if that does not matter
	path history.Query
}

// check makes a request of the options. All mistakes are reported at once.
func (o *options) check(now time.Time) (request, error) {
	var all []error
	bad := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	r := request{path: history.Query{Watchlists: []string{o.name}, Kinds: []event.Kind{event.Board}}}
	if o.at != "" {
		t, err := when.Parse(o.at, now)
		switch {
		case err != nil:
			bad("--at: %w", err)
		case t.After(now):
			bad("--at %s: lies in the future", o.at)
		}
		r.at = t
	}
	if o.byNumber && o.revision == 0 {
		bad("--revision 0: revisions count from 1")
	}
	if o.at != "" && o.byNumber {
		bad("--at and --revision: give one of both")
	}
	if o.byUID && o.uid == "" {
		bad("--uid: is empty")
	}
	if o.byUID && (o.at != "" || o.byNumber || o.all) {
		bad("--uid: a path has no --at, --revision or --all; --since, --until, --from-revision and --to-revision limit it")
	}
	if !o.byUID && o.span.Given() {
		bad("--since, --until, --from-revision and --to-revision limit the path of a --uid; --at and --revision choose a board")
	}
	if err := o.span.Limit(&r.path, now); err != nil {
		all = append(all, err)
	}
	if !slices.Contains([]string{"table", "json", "csv"}, o.output) {
		bad("-o %s: allowed are table, json and csv", o.output)
	}
	return r, errors.Join(all...)
}

func run(ctx context.Context, o options, out, errs io.Writer) error {
	s, serr := settings.Load()
	req, oerr := o.check(time.Now())
	if err := errors.Join(serr, oerr); err != nil {
		return exit.AsUsage(err)
	}
	return past.Read(ctx, s, "board", func(_ *bus.Bus, r *history.Reader) error {
		if past.Empty(r) {
			return errors.New(past.Nothing(r))
		}
		if err := past.Check(ctx, r, o.name); err != nil {
			return err
		}
		return pipe.Quiet(func() error {
			s := showing{options: o, request: req, from: r, to: streams{out, errs, text.StyleOf(out)}}
			if o.byUID {
				return s.creator(ctx)
			}
			return s.board(ctx)
		})
	})
}

// streams are where a verb writes.
type streams struct {
	out, errs io.Writer
	style     text.Style
}

// A showing is what is shown, of which history, and where.
type showing struct {
	options
	request
	from *history.Reader
	to   streams
}

// board shows the board that is asked for.
func (s *showing) board(ctx context.Context) error {
	m, err := s.find(ctx)
	if err != nil {
		return err
	}
	if s.output == "json" {
		_, err := s.to.out.Write(append(m.Data[:len(m.Data):len(m.Data)], '\n'))
		return err
	}
	v, err := newView(ctx, s.from, m)
	if err != nil {
		return err
	}
	if s.output == "csv" {
		return v.csv(s.to.out, s.all)
	}
	_, err = io.WriteString(s.to.out, v.table(s.to.style, s.all))
	return err
}

func (s *showing) find(ctx context.Context) (m *history.Message, err error) {
	var what string
	switch at := s.request.at; {
	case s.byNumber:
		what = fmt.Sprintf("no revision %d of %s", s.revision, s.name)
		m, err = s.from.BoardAtRevision(ctx, s.name, s.revision)
	case !at.IsZero():
		what = fmt.Sprintf("no board of %s at %s", s.name, at.UTC().Format(time.RFC3339))
		m, err = s.from.BoardAt(ctx, s.name, at)
	default:
		what = "no board of " + s.name
		m, err = s.from.LastBoard(ctx, s.name)
	}
	if !errors.Is(err, history.ErrNotFound) {
		return m, err
	}
	extent, xerr := past.Extent(ctx, s.from, s.name)
	return nil, errors.Join(fmt.Errorf("%s: %s", what, extent), xerr)
}
