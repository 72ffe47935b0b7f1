// Package site joins a worker with what is served about it: page, API, health
// and metrics.
package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/metrics"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/version"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
)

// A Site is served at a listener until its worker ends.
type Site struct {
	Listener *web.Listener // nil serves nothing
	Settings settings.Settings
	Worker   *worker.Worker
	Readings *metrics.Readings // what the worker's attempts are counted by
	Logger   *slog.Logger
}

// Serve serves until ctx ends.
func (s Site) Serve(ctx context.Context) error {
	requests := metrics.NewRequests(web.Handlers())
	told := metrics.Config{
		Worker: s.Worker, Readings: s.Readings, Backlog: s.Settings.Backlog,
		Build: metrics.Build{Version: version.Number(), Commit: version.Commit()},
		More:  requests.Collectors(),
	}
	if crew := s.Worker.Crew(); crew != nil {
		told.Crew = crew
	}
	scrapes, err := metrics.Handler(told)
	if err != nil {
		return errors.Join(fmt.Errorf("set up metrics: %w", err), s.Listener.Close())
	}
	return web.Run(ctx, s.Listener, web.Config{
		HTTP: s.Settings.HTTP, Worker: s.Worker, Stream: s.Settings.Stream, Prefix: s.Settings.Prefix, Version: version.Number(),
		Metrics: scrapes, Ready: s.Worker.Ready, Counter: requests, Logger: s.Logger,
	})
}
