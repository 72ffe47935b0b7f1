// Package simulate is the verb that serves the FastMoss simulator alone, so
// that a worker can be tried against it without a token and without cost.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

const about = `simulate serves the ranking API as FastMoss does, with made-up creators whose
boards change every --step, until it is interrupted.

A fault is kind[:rate[:args]]. Rate is the share of the calls that it strikes, 1
unless given. Args, with commas between: after=N leaves N calls alone first, for=N
then looks at N calls, every=N strikes only each n-th of them, burst=N makes a
strike last N calls, sticky makes it last for good, page=N and region=US limit it,
delay=2s is how long slow and hung wait and what Retry-After asks for.
Kinds: `

const examples = `  # A worker against it: in one terminal
  rankwatch simulate --step 10s
  # and in another
  export RANKWATCH_FASTMOSS_URL=http://127.0.0.1:8090 RANKWATCH_FASTMOSS_TOKEN=simulator-token
  rankwatch run

  # One call by hand
  curl -s http://127.0.0.1:8090/creator/v1/rank/topPotential \
    -H 'Authorization: Bearer simulator-token' -H 'Content-Type: application/json' \
    -d '{"filter":{"region":"US","creator_category_id":4},"orderby":[{"field":"potential_index","order":"desc"}],"page":1,"pagesize":3}'

  # Every fourth call of page 2 is refused; one call in ten hangs for five seconds
  rankwatch simulate --fault 30003:1:every=4,page=2 --fault hung:0.1:delay=5s

  # 40 % of all calls go wrong, in every way that passes by itself
  rankwatch simulate --fault-rate 0.4

  # The same from a file (YAML or JSON):  faults: [{kind: 30003, rate: 0.2, burst: 5}, {kind: reset, after: 100, for: 10}]
  rankwatch simulate --faults faults.yaml`

// options are the flags.
type options struct {
	listen    string
	seed      uint64
	step      time.Duration
	lag       time.Duration
	now       string
	tokens    []string
	badToken  int
	quota     int64
	rate      float64
	ties      string
	ids       string
	totals    string
	message   string
	empty     bool
	table     bool
	faults    []string
	faultFile string
	faultRate float64
}

// Command returns the verb. A mistake in its flags is an *exit.UsageError.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "simulate",
		Short:   "Serve the FastMoss simulator alone",
		Long:    about + kinds(),
		Example: examples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8090", "address to serve on; port 0 takes a free one")
	f.Uint64Var(&o.seed, "seed", 1, "of the creators, their changes and the faults; the same seed gives the same")
	f.DurationVar(&o.step, "step", 30*time.Second, "time between two changes of the boards; 0 stands still")
	f.DurationVar(&o.lag, "lag", 48*time.Hour, "time from a period's end to its publication")
	f.StringVar(&o.now, "now", "", "time to begin at, RFC 3339 or a date (default the present)")
	f.StringArrayVar(&o.tokens, "token", []string{simulator.DefaultToken}, "bearer token to accept; repeatable")
	f.IntVar(&o.badToken, "bad-token", 30001, "code for other tokens: 30001 or 1002")
	f.Int64Var(&o.quota, "quota", 0, "successful calls a token has, then 30002; 0 is no limit")
	f.Float64Var(&o.rate, "rate", 0, "calls per second a token has, else 30003; 0 is no limit")
	f.StringVar(&o.ties, "ties", "stable", "order of equal entries: stable, reading or call (shuffled for each), rotate (turned for each reading)")
	f.StringVar(&o.ids, "ids", "string", "how uids are written: string, number or mixed")
	f.StringVar(&o.totals, "totals", "number", "how total is written: number or string")
	f.StringVar(&o.message, "message", "message", "name of the envelope's message: message or msg")
	f.BoolVar(&o.empty, "unpublished-empty", false, "answer an unpublished period with an empty success, not with 20001")
	f.BoolVar(&o.table, "table-fields", false, "write the fields of the documented table too")
	f.StringArrayVar(&o.faults, "fault", nil, "fault as kind[:rate[:args]]; repeatable, the first that strikes wins")
	f.StringVar(&o.faultFile, "faults", "", "file with more faults, YAML or JSON")
	f.Float64Var(&o.faultRate, "fault-rate", 0, "share of calls that go wrong, all kinds that pass by themselves mixed")
	completions(cmd)
	return cmd
}

func completions(cmd *cobra.Command) {
	for name, values := range map[string][]string{
		"ties": {"stable", "reading", "call", "rotate"}, "ids": {"string", "number", "mixed"},
		"totals": {"number", "string"}, "message": {"message", "msg"}, "bad-token": {"30001", "1002"}, "fault": kindList(),
	} {
		// It fails only for a flag that does not exist; a test completes each.
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

func run(ctx context.Context, o options, out, errs io.Writer) error {
	cfg, err := o.config(time.Now())
	if err != nil {
		return exit.AsUsage(err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return exit.AsUsage(fmt.Errorf("--listen %s: %w; choose another address, or port 0 for a free one", o.listen, err))
	}
	s := simulator.New(cfg)
	if err := greet(o, "http://"+ln.Addr().String(), out); err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := s.Serve(ctx, ln); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return farewell(s, errs)
}

// greet says how to reach the simulator; a test or a script can wait for the
// first line.
func greet(o options, url string, out io.Writer) error {
	_, err := fmt.Fprintf(out, `simulator listening url=%s
Point a worker at it:
  export RANKWATCH_FASTMOSS_URL=%s
  export RANKWATCH_FASTMOSS_TOKEN=%s
`, url, url, shellQuote(o.tokens[0]))
	return err
}

func farewell(s *simulator.Simulator, errs io.Writer) error {
	var sum simulator.Usage
	for _, u := range s.Calls() {
		sum.Calls += u.Calls
		sum.Charged += u.Charged
		sum.Rows += u.Rows
		sum.Faults += u.Faults
	}
	_, err := fmt.Fprintf(errs, "simulator stopped calls=%d charged=%d rows=%d faults=%d refused=%d\n",
		sum.Calls, sum.Charged, sum.Rows, sum.Faults, s.Refused())
	return err
}
