// Package cli is the root of the command line: it joins the verbs, prints
// their errors and chooses the exit code.
package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/service"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/backup"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/board"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/check"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/demo"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/fleet"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/plan"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/replay"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/run"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/simulate"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/verify"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/version"
)

const about = `rankwatch watches rankings of creators and publishes, once and truthfully, who
entered a board, who moved and who dropped out, as CloudEvents on NATS JetStream.

Try it without a token, a network or a file:

  rankwatch demo`

// Main runs the verb that args name and returns the exit code. Data goes to
// out, errors to errs.
func Main(ctx context.Context, args []string, out, errs io.Writer) int {
	running := ""
	root := newRoot(&running)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.Done
	}
	// Whatever fails before a verb runs is cobra refusing the arguments.
	if running == "" {
		err = exit.AsUsage(fmt.Errorf("%w\nRun 'rankwatch --help', or --help after a verb, to see what is allowed", err))
	}
	text := " " + err.Error()
	if strings.Contains(text, "\n") && running != "" {
		text = "\n" + err.Error() // several mistakes: one a line
	}
	name := strings.TrimSpace("rankwatch " + running)
	if _, werr := fmt.Fprintf(errs, "%s:%s\n", name, text); werr != nil {
		return exit.Failed
	}
	return exit.Code(err)
}

// newRoot joins the verbs. *running is set to a verb's name when it starts.
func newRoot(running *string) *cobra.Command {
	root := &cobra.Command{
		Use:           "rankwatch",
		Short:         "Watch creator rankings and publish every change, exactly once",
		Long:          about,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return fmt.Errorf("no verb was given")
		},
	}
	for _, verb := range []*cobra.Command{
		run.Command(), demo.Command(), simulate.Command(), check.Command(), plan.Command(), replay.Command(), board.Command(), verify.Command(),
		fleet.Command(), alert.Command(), service.Command(), backup.Command(), backup.RestoreCommand(), version.Command(),
	} {
		for _, v := range append(verb.Commands(), verb) {
			work := v.RunE
			v.RunE = func(cmd *cobra.Command, args []string) error {
				*running = strings.TrimPrefix(cmd.CommandPath(), "rankwatch ")
				return work(cmd, args)
			}
		}
		root.AddCommand(verb)
	}
	return root
}
