// Package check is the verb that finds mistakes before a worker meets them,
// and shows what one reading would publish.
package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/config"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/watcher"
)

const long = `Checks the settings and the watchlist file (RANKWATCH_WATCHLISTS unless FILE is
given) and prints every mistake with its place.

With --alerts, or where RANKWATCH_ALERTS or a RANKWATCH_ALERT_ variable is set, it
checks the alert configuration as well, and tells which of its routes no watchlist has anything for.

With --once it also makes one reading of that watchlist, which costs its calls,
compares it with what the worker knows, and prints each message that would be
published. Nothing is written. It compares with the state in RANKWATCH_DATA_DIR,
or with the stream of a running worker; where there is neither, the reading
counts as the first one.`

const examples = `  rankwatch check
  rankwatch check deploy/watchlists.yaml
  rankwatch check --alerts deploy/alerts.yaml

  # one reading; with -o json one message a line
  RANKWATCH_FASTMOSS_TOKEN_FILE=token rankwatch check --once us-beauty
  rankwatch check --once us-beauty -o json | jq -r .subject`

type options struct {
	file   string // empty: the setting
	alerts string // empty: the setting
	once   string // empty: no reading
	output string
}

// Command returns the verb.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Check settings and watchlists; --once shows what a reading would publish",
		Long:    long,
		Example: examples,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.file = args[0]
			}
			return check(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.once, "once", "", "make one reading of the watchlist with this name and print what would be published")
	cmd.Flags().StringVar(&o.alerts, "alerts", "", "check this alert configuration too (default RANKWATCH_ALERTS, if set)")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "format of the messages: text or json")
	// It fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func check(ctx context.Context, o options, out, errs io.Writer) error {
	load := settings.Load
	if o.once != "" {
		load = settings.LoadWithToken
	}
	s, err := load()
	if o.file != "" {
		s.Watchlists = o.file
	}
	if o.alerts != "" {
		s.Alert.File = o.alerts
	}
	lists, _, ferr := worker.ReadWatchlists(s.Watchlists)
	alerts, aerr := config.Load(s.Alert, alert.Lookup())
	if errors.Is(aerr, config.ErrNoTarget) {
		aerr = nil // alerts are another process's, or nobody's
	}
	if o.output != "text" && o.output != "json" {
		err = errors.Join(err, fmt.Errorf("-o %s: allowed are text and json", o.output))
	}
	if err := errors.Join(err, ferr, aerr); err != nil {
		return exit.AsUsage(err)
	}
	if o.once != "" {
		return once(ctx, o, s, lists, out, errs)
	}
	if err := report(s.Watchlists, lists, out); err != nil || alerts == nil {
		return err
	}
	return reportAlerts(s.Alert.File, alerts, lists, out)
}

// reportAlerts says the same of an alert configuration.
func reportAlerts(file string, c *config.Config, lists []watcher.Watchlist, out io.Writer) error {
	if file == "" {
		file = "alerts by the environment"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ok, %s\n", file, c)
	for _, n := range c.Notes(lists) {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// report says that the file is good, and what about it may surprise.
func report(file string, lists []watcher.Watchlist, out io.Writer) error {
	p := watcher.MakePlan(lists, 0, time.Now())
	noun := "watchlists"
	if len(lists) == 1 {
		noun = "watchlist"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ok, %d %s, about %.0f calls a day\n", file, len(lists), noun, math.Ceil(p.Calls))
	for _, r := range p.Rows {
		if r.ServedBy != "" {
			fmt.Fprintf(&b, "note: %s shares the readings of %s\n", r.Watchlist, r.ServedBy)
		}
		if r.EdgeNote != "" {
			fmt.Fprintf(&b, "note: %s: %s\n", r.Watchlist, r.EdgeNote)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
