// Package web serves page, API, health and metrics over HTTP.
//
// It only reads, and what it is asked never holds up the worker: connections,
// waiting and memory are bounded.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/api"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/feed"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/page"
)

// A Worker is what is asked, and has the connection to the bus.
type Worker interface {
	api.Worker
	Conn() *nats.Conn
}

// A Config holds what a server serves. Metrics and Ready may be nil: then there
// are no metrics, and it is ready as soon as it serves.
type Config struct {
	HTTP    settings.HTTP
	Worker  Worker
	Stream  string
	Prefix  string
	Version string
	Metrics http.Handler
	// Ready says why the worker is not ready, in words that anybody may read.
	Ready  func(ctx context.Context) error
	Logger *slog.Logger
}

// A Listener is an address taken, before anything is served there.
type Listener struct{ ln net.Listener }

// Listen takes the address that the settings name. It returns nil if that is none.
// An address that cannot be had is an *exit.UsageError.
func Listen(ctx context.Context, s settings.HTTP) (*Listener, error) {
	if s.Listen == "" {
		return nil, nil
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return nil, exit.AsUsage(fmt.Errorf("RANKWATCH_HTTP_LISTEN: %w; choose another address, port 0 for any, or off", err))
	}
	return &Listener{ln}, nil
}

// Close gives the address back if Run was never called. A nil Listener has none.
func (l *Listener) Close() error {
	if l == nil {
		return nil
	}
	return l.ln.Close()
}

// URL is where the page is.
func (l *Listener) URL() string {
	host, port, err := net.SplitHostPort(l.ln.Addr().String())
	if err != nil {
		return "http://" + l.ln.Addr().String() + "/"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

const (
	headerTime = 5 * time.Second
	idleTime   = 2 * time.Minute
	// writeTime is for answers that are not a stream of events.
	writeTime = 30 * time.Second
	maxHeader = 16 << 10
	graceTime = 2 * time.Second
)

// Run serves at l until ctx ends. A nil Listener serves nothing. Answers under way
// then have a moment left, and listeners to events none.
func Run(ctx context.Context, l *Listener, cfg Config) error {
	if l == nil {
		return nil
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	srv := &http.Server{
		Handler:           handler(cfg),
		ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return serving },
		ErrorLog:    slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l.ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	if err := srv.Shutdown(grace); errors.Is(err, context.DeadlineExceeded) {
		_ = srv.Close() // the connections that are left are cut
	}
	<-ended
	return nil
}

func handler(cfg Config) http.Handler {
	s := &streams{conn: cfg.Worker.Conn(), stream: cfg.Stream, prefix: cfg.Prefix}
	a := api.New(api.Config{Worker: cfg.Worker, Reader: s.reader, Version: cfg.Version, Logger: cfg.Logger})
	a.Handle("/api/v1/events", feed.New(feed.Config{Reader: s.reader, Logger: cfg.Logger}))
	mux := http.NewServeMux()
	mux.Handle("/api/", a)
	mux.Handle("/healthz", health(nil))
	mux.Handle("/readyz", health(cfg.Ready))
	if cfg.Metrics != nil {
		mux.Handle("/metrics", cfg.Metrics)
	}
	mux.Handle("/", http.FileServerFS(page.Files()))
	return mux
}

// health answers 200, or 503 with what check says.
func health(check func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		text := "ok\n"
		if check != nil {
			if err := check(r.Context()); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				text = err.Error() + "\n"
			}
		}
		_, _ = fmt.Fprint(w, text) // a client that is gone is told nothing
	})
}
