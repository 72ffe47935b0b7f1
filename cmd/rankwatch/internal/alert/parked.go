package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/deliver"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/pipe"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/publisher/history"
)

func parkedCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "parked",
		Short: "List the messages that were given up",
		Long: `Lists the messages that a target refused, or did not take for too long: they are
kept for 30 days in a stream of their own. alert resend delivers them once more.`,
		Example: "  rankwatch alert parked\n  rankwatch alert parked -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd.Context(), output, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func list(ctx context.Context, output string, out, errs io.Writer) error {
	s, serr := settings.Load()
	var oerr error
	if !slices.Contains([]string{"table", "json"}, output) {
		oerr = fmt.Errorf("-o %s: allowed are table and json", output)
	}
	if err := errors.Join(serr, oerr); err != nil {
		return exit.AsUsage(err)
	}
	return open(ctx, s, false, func(b *bus.Bus, r *history.Reader) error {
		p, err := deliver.FindParked(ctx, b.Conn, r)
		if err != nil {
			return err
		}
		records, err := p.List(ctx)
		if err != nil {
			return err
		}
		return pipe.Quiet(func() error { return printParked(records, output, out, errs) })
	})
}

func printParked(records []deliver.Record, output string, out, errs io.Writer) error {
	if output == "json" {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		for i := range records {
			if err := e.Encode(&records[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(records) == 0 {
		_, err := fmt.Fprintln(errs, "nothing is parked")
		return err
	}
	for i := range records {
		r := &records[i]
		if _, err := fmt.Fprintf(out, "%s  %s  %s/%s to %s  %s\n            %s after %s: %s\n", r.ID, r.LastTry.UTC().Format(time.RFC3339),
			text.Printable(r.Configuration), text.Printable(r.Route), text.Printable(r.Target), text.Printable(r.Message),
			text.Printable(r.Reason), text.Some(r.Attempts, "try"), text.Printable(r.Detail)); err != nil {
			return err
		}
	}
	return nil
}

func resendCommand() *cobra.Command {
	var config string
	var all bool
	cmd := &cobra.Command{
		Use:   "resend [ID...]",
		Short: "Deliver messages once more that were given up",
		Long: `Delivers parked messages once more: those with these IDs, or --all of the
configuration. The readings are fetched from the stream again and put together as
the route does now. A message that the target takes is parked no more. What is past
the stream's retention is gone; that is said, and a message of which nothing is left
is removed.`,
		Example: "  rankwatch alert resend --config alerts.yaml 904404c8d7\n  rankwatch alert resend --config alerts.yaml --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			return resend(cmd.Context(), config, again{ids: args, all: all, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr()})
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the alerts `FILE`")
	cmd.Flags().BoolVar(&all, "all", false, "all of the configuration")
	return cmd
}

// again is what to send once more.
type again struct {
	ids  []string
	all  bool
	out  io.Writer
	errs io.Writer

	set    *setup
	parked *deliver.Parked
	reader *history.Reader
}

func resend(ctx context.Context, config string, a again) error {
	s, serr := settings.Load()
	var oerr, cerr error
	if a.all == (len(a.ids) > 0) {
		oerr = errors.New("name IDs, which `rankwatch alert parked` lists, or give --all")
	}
	a.set, cerr = load(s.Alert, config, worker.NewLogger(a.errs, s.Log))
	if err := errors.Join(serr, oerr, cerr); err != nil {
		return exit.AsUsage(err)
	}
	return open(ctx, s, false, func(b *bus.Bus, r *history.Reader) (err error) {
		a.reader = r
		if err := a.set.threads.bind(ctx, b.Conn, r.Stream().Config.Name); err != nil {
			return err
		}
		if a.parked, err = deliver.FindParked(ctx, b.Conn, r); err != nil {
			return err
		}
		records, err := a.chosen(ctx)
		if err != nil {
			return err
		}
		failed := 0
		for i := range records {
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted: %d of %s left, parked as before", len(records)-i, text.Some(len(records), "message"))
			}
			said, err := a.one(ctx, &records[i])
			if err != nil {
				failed++
				said = text.Printable(err.Error())
			}
			if _, err := fmt.Fprintf(a.out, "%s  %s  %s\n", records[i].ID, text.Printable(records[i].Message), said); err != nil {
				return err
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d of %s not sent, parked as before", failed, text.Some(len(records), "message"))
		}
		return nil
	})
}

// chosen are the records that are meant. Unknown IDs are an *exit.UsageError.
func (a *again) chosen(ctx context.Context) ([]deliver.Record, error) {
	records, err := a.parked.List(ctx)
	if err != nil {
		return nil, err
	}
	if a.all {
		return slices.DeleteFunc(records, func(r deliver.Record) bool { return r.Configuration != a.set.Name }), nil
	}
	var out []deliver.Record
	var bad []error
	for _, id := range a.ids {
		i := slices.IndexFunc(records, func(r deliver.Record) bool { return r.ID == id })
		switch {
		case i < 0:
			bad = append(bad, fmt.Errorf("%s: nothing is parked under this ID", id))
		case records[i].Configuration != a.set.Name:
			bad = append(bad, fmt.Errorf("%s: is of configuration %s, this is %s", id, records[i].Configuration, a.set.Name))
		default:
			out = append(out, records[i])
		}
	}
	return out, exit.AsUsage(errors.Join(bad...))
}

// one sends a record once more and says what came of it.
func (a *again) one(ctx context.Context, rec *deliver.Record) (string, error) {
	route := a.set.route(rec.Route)
	if route == nil || a.set.Targets[route.Target] == nil {
		return "", fmt.Errorf("route %s is not in the configuration any more", rec.Route)
	}
	m, expired, err := rec.Remake(ctx, a.reader, route)
	if err != nil {
		return "", err
	}
	note := ""
	if len(expired) > 0 {
		note = "; past the retention: " + text.Printable(strings.Join(expired, ", "))
	}
	if m == nil {
		if err := a.parked.Remove(context.WithoutCancel(ctx), rec); err != nil {
			return "", err
		}
		return "removed, the route takes nothing that is left of it" + note, nil
	}
	if err := a.send(ctx, route, m); err != nil {
		return "", err
	}
	if err := a.parked.Remove(context.WithoutCancel(ctx), rec); err != nil {
		return "", fmt.Errorf("sent, but: %w", err)
	}
	return "sent" + note, nil
}

// send waits as long as a target asks for that, within bounds.
func (a *again) send(ctx context.Context, route *digest.Route, m *digest.Message) error {
	once, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	for {
		err := a.set.Targets[route.Target].Send(once, m)
		var later *digest.LaterError
		if !errors.As(err, &later) || later.Blocked {
			return err
		}
		select {
		case <-time.After(later.After):
		case <-once.Done():
			return err
		}
	}
}
