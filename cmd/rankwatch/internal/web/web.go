// Package web serves page, API, health and metrics over HTTP.
//
// It only reads, and what it is asked never holds up the worker: connections,
// waiting and memory are bounded.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
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
	Ready func(ctx context.Context) error
	// Counter counts requests. It may be nil.
	Counter Counter
	Logger  *slog.Logger
}

// A Listener is an address taken, before anything is served there.
type Listener struct {
	ln    net.Listener
	token bool
}

// Listen takes the address that the settings name. It returns nil if that is none.
// An address that cannot be had, or a token file of no use, is an
// *exit.UsageError.
func Listen(ctx context.Context, s settings.HTTP) (*Listener, error) {
	if s.Listen == "" {
		return nil, nil
	}
	if s.TokenFile != "" {
		if _, err := readToken(s.TokenFile); err != nil {
			return nil, exit.AsUsage(fmt.Errorf("RANKWATCH_HTTP_TOKEN_FILE: %w", err))
		}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, exit.AsUsage(fmt.Errorf("RANKWATCH_HTTP_LISTEN: another process listens on %s: stop it, or set the variable to another port (0 for any, off for none): %w", s.Listen, err))
	}
	if err != nil {
		return nil, exit.AsUsage(fmt.Errorf("RANKWATCH_HTTP_LISTEN: cannot listen on %s: set the variable to an address of this machine, or off: %w", s.Listen, err))
	}
	return &Listener{ln: ln, token: s.Token.Set() || s.TokenFile != ""}, nil
}

// Close gives the address back if Run was never called. A nil Listener has none.
func (l *Listener) Close() error {
	if l == nil {
		return nil
	}
	return l.ln.Close()
}

// URL is where the page is, empty of a nil Listener.
func (l *Listener) URL() string {
	if l == nil {
		return ""
	}
	at := l.ln.Addr().String()
	if a, ok := l.ln.Addr().(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		at = net.JoinHostPort("localhost", strconv.Itoa(a.Port))
	}
	return "http://" + at + "/"
}

// announce logs where the page is, and once if everybody may look at it.
func (l *Listener) announce(log *slog.Logger) {
	log.Info("http listening", "url", l.URL())
	if a, ok := l.ln.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && !l.token {
		log.Warn("http is open to whoever can reach this machine: set RANKWATCH_HTTP_TOKEN or listen on loopback", "listen", a.String())
	}
}

const (
	headerTime = 5 * time.Second
	idleTime   = 30 * time.Second
	// writeTime is for answers that are not a stream of events.
	writeTime = 30 * time.Second
	maxHeader = 12 << 10
	graceTime = 2 * time.Second
)

// Run serves at l until ctx ends. A nil Listener serves nothing. Answers under way
// then have a moment left, and listeners to events none.
func Run(ctx context.Context, l *Listener, cfg Config) error {
	if l == nil {
		return nil
	}
	h, err := Handler(cfg, l.ln.Addr())
	if err != nil {
		return errors.Join(err, l.Close())
	}
	l.announce(cfg.Logger)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	srv := &http.Server{
		Handler: answering(listening(ctx, h)), ConnContext: withConn, DisableGeneralOptionsHandler: true,
		// No limit for reading bodies: requests that have one are refused.
		ReadHeaderTimeout: headerTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return serving },
		// What clients do wrong is no news to an operator.
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(limit(l.ln)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close() // the connections that are left are cut
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// listening ends what listens to events with ctx: by itself it would never end.
func listening(ctx context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handlerOf(r.URL.Path) == handlerEvents {
			until, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			r = r.WithContext(until)
		}
		next.ServeHTTP(w, r)
	})
}

// Handler answers everything that is asked at an address.
func Handler(cfg Config, at net.Addr) (http.Handler, error) {
	s := newStreams(cfg.Worker.Conn(), cfg.Stream, cfg.Prefix)
	files, err := static(page.Files())
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	compress, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.SuffixETag(api.GzipSuffix))
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	mux := http.NewServeMux()
	answers := compress(api.New(api.Config{Worker: cfg.Worker, Reader: s.reader, Version: cfg.Version, Logger: cfg.Logger}))
	mux.Handle("/api", answers)
	mux.Handle("/api/", answers)
	mux.Handle("/api/v1/events", feed.New(feed.Config{Reader: s.reader, Logger: cfg.Logger}))
	mux.Handle("/healthz", health(nil))
	mux.Handle("/readyz", health(cfg.Ready))
	if cfg.Metrics != nil {
		mux.Handle("/metrics", cfg.Metrics)
	}
	mux.Handle("/", compress(files))
	guarded := &guard{next: mux, hosts: hostsOf(at, cfg.HTTP.Hosts), token: newToken(cfg.HTTP, cfg.Logger), log: cfg.Logger}
	return counting(guarded, cfg.Counter), nil
}

// health answers 200, or 503 with what check says, one problem a line of it.
func health(check func(context.Context) error) http.Handler {
	type answer struct {
		Status   string   `json:"status"` // ok or unavailable
		Problems []string `json:"problems"`
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		out, status := answer{Status: "ok", Problems: []string{}}, http.StatusOK
		if check != nil {
			if err := check(r.Context()); err != nil {
				out, status = answer{Status: "unavailable", Problems: strings.Split(err.Error(), "\n")}, http.StatusServiceUnavailable
			}
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(out) // a client that is gone is told nothing
	})
}
