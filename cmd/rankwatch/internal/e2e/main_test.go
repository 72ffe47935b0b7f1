package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// built is how tests get the binary under test.
var built binaries

// withoutDetector skips a long test under the race detector, which sees nothing of
// real binaries: it runs in full without it.
func withoutDetector(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("takes long, and the race detector sees nothing of it: runs without")
	}
}

func TestMain(m *testing.M) {
	// Tests wait for ticks of a second most of the time, not for a processor. The
	// command line wins.
	if err := flag.Set("test.parallel", "10"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "rankwatch-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = builds(dir)
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
