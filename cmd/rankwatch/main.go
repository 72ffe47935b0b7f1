// Command rankwatch watches rankings of creators and tells, once and
// truthfully, who came, who moved and who is gone.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // watchlists name time zones, on machines without a zone database too

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// The first signal drains. Then the handler goes, so that a second one ends
	// the process at once; but not its twin, which timeout(1) and others send to
	// the process and to its group.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second/2, stop) })
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
