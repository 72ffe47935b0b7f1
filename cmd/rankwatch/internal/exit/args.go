package exit

import (
	"fmt"

	"github.com/spf13/cobra"
)

// OneArg accepts one argument and names the verb, and what the argument is of,
// where there is another number of them.
func OneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return AsUsage(fmt.Errorf("%s: name one %s (%s %s); %d were given", cmd.Name(), what, cmd.Root().Name(), cmd.Use, len(args)))
	}
}
