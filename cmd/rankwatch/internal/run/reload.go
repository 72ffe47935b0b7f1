package run

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/watcher"
)

// hangups begins to listen for SIGHUP, which ends a process that does not.
func hangups() (signals <-chan os.Signal, stop func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup, func() { signal.Stop(hup) }
}

// A reloader hands new watchlists on while the worker runs. A bad file changes
// nothing but the log, and what a fleet shows of this worker.
type reloader struct {
	path    string
	known   []byte // content of the file that the worker runs with
	apply   func(lists []watcher.Watchlist, data []byte)
	refused func(data []byte)
	hup     <-chan os.Signal
	log     *slog.Logger
}

func (r *reloader) run(ctx context.Context) error {
	changed := make(chan []byte)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return watcher.WatchFile(ctx, r.path, r.known, func(data []byte) {
			select {
			case changed <- data:
			case <-ctx.Done():
			}
		})
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-r.hup:
				lists, data, err := worker.ReadWatchlists(r.path)
				r.take("signal", lists, data, err)
			case data := <-changed:
				lists, err := watcher.ParseWatchlists(r.path, data)
				r.take("file", lists, data, err)
			}
		}
	})
	return g.Wait()
}

func (r *reloader) take(cause string, lists []watcher.Watchlist, data []byte, err error) {
	if err != nil {
		if data != nil {
			r.refused(data)
		}
		r.log.Error("reload refused, old watchlists stay", "file", r.path, "cause", cause, "err", err)
		return
	}
	r.apply(lists, data)
	r.log.Info("reloaded", "file", r.path, "cause", cause, "watchlists", len(lists))
}
