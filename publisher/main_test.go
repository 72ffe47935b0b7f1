package publisher

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"test.parallel": "6", // tests wait for servers most of the time, not for a processor
		"rapid.checks":  "5", // each check is many seconds of a server's life
	} {
		if err := flag.Set(name, value); err != nil { // before the command line, which wins
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
