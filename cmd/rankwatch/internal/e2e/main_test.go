package e2e

import (
	"os"
	"testing"

	"fmt"
)

var built binaries

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rankwatch-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = builds(dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}
