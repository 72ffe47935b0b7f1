package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// TestMain makes this test binary run as rankwatch when it is called by that
// name, so that scripts and tests run the real main.
func TestMain(m *testing.M) {
	// Tests wait for ticks most of the time, not for a processor. The command line wins.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(m, map[string]func(){"rankwatch": main})
}

// TestScripts runs the transcripts. Each has a simulator of its own at
// RANKWATCH_FASTMOSS_URL, whose boards stand still, and $TOKEN for it; at $TAKEN listens somebody else.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			server := httptest.NewServer(simulator.New(simulator.Config{World: simulator.WorldConfig{Step: -1}}))
			e.Defer(server.Close)
			e.Setenv("RANKWATCH_FASTMOSS_URL", server.URL)
			e.Setenv("RANKWATCH_FASTMOSS_RATE", "1000")
			e.Setenv("RANKWATCH_HTTP_LISTEN", "127.0.0.1:0")
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Defer(func() { taken.Close() })
			e.Setenv("TAKEN", taken.Addr().String())
			e.Setenv("TOKEN", simulator.DefaultToken)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "worked": worked, "deaf": deaf},
	})
}

// exits runs a program and checks its exit code: `exits 2 rankwatch frob`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var e *exec.ExitError
	switch {
	case errors.As(err, &e):
		got = e.ExitCode()
	case err != nil:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v: exit code %d, want %d", args[1:], got, want)
	}
}
