// Package plan is the verb that tells the bill before a call is made.
package plan

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/watcher"
)

const long = `Prints how many API calls the watchlists make a day, each and all together, and
what that costs at a price per call. It makes no call itself and needs no token.

The file is RANKWATCH_WATCHLISTS unless FILE is given.`

const examples = `  rankwatch plan
  rankwatch plan deploy/watchlists.yaml --price 0.14`

// Command returns the verb.
func Command() *cobra.Command {
	var price float64
	cmd := &cobra.Command{
		Use:     "plan [FILE]",
		Short:   "API calls and cost per day",
		Long:    long,
		Example: examples,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			return plan(file, price, cmd.OutOrStdout())
		},
	}
	cmd.Flags().Float64Var(&price, "price", 0, "of one call, in any currency")
	return cmd
}

func plan(file string, price float64, out io.Writer) error {
	var err error
	if file == "" {
		var s settings.Settings
		s, err = settings.Load()
		file = s.Watchlists
	}
	if math.IsNaN(price) || math.IsInf(price, 0) || price < 0 {
		err = errors.Join(err, fmt.Errorf("--price %v: must be 0 or above", price))
	}
	lists, _, ferr := worker.ReadWatchlists(file)
	if err := errors.Join(err, ferr); err != nil {
		return exit.AsUsage(err)
	}
	return watcher.MakePlan(lists, price, time.Now()).WriteText(out)
}
