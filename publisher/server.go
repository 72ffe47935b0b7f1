package publisher

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// maxEmbeddedBatch is the embedded server's limit of messages in one atomic
// batch. The longest reading has 2001 and a head.
const maxEmbeddedBatch = 4096

// serverReady bounds what a started server may take to answer.
const serverReady = 10 * time.Second

// Server is an embedded nats-server with JetStream. It writes through to the
// disk before it acknowledges, unless told not to. The store directory has no lock of its own: its
// user must hold one.
type Server struct {
	cfg ServerConfig
	log *slog.Logger

	mu   sync.Mutex
	srv  *server.Server
	port int // what port 0 became, so that a restart keeps it
}

// StartServer starts an embedded server and waits until it takes connections.
// A busy or unusable address is a ConfigError.
func StartServer(cfg ServerConfig, log *slog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, log: log}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start() error {
	opts, err := s.options()
	if err != nil {
		return err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("publisher: embedded server: %w", err)
	}
	bridge := &logBridge{log: s.log}
	srv.SetLoggerV2(bridge, false, false, false)
	// Start returns when the streams are recovered and the listener is open, or
	// when the server gave up, which it only logs.
	srv.Start()
	if bridge.fatal() != nil || !srv.ReadyForConnections(serverReady) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return &ConfigError{
			What: "the embedded NATS server did not start on " + s.cfg.Listen,
			Do:   "see RANKWATCH_NATS_LISTEN and RANKWATCH_DATA_DIR", Err: bridge.fatal(),
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv = srv
	if a, ok := srv.Addr().(*net.TCPAddr); ok {
		s.port = a.Port
	}
	return nil
}

func (s *Server) options() (*server.Options, error) {
	o := &server.Options{
		ServerName: "rankwatch", JetStream: true, StoreDir: s.cfg.StoreDir, SyncAlways: !s.cfg.NoSync,
		NoSigs: true, NoLog: true, DontListen: s.cfg.Listen == "" || s.cfg.Listen == "off",
		JetStreamLimits: server.JSLimitOpts{MaxBatchSize: maxEmbeddedBatch},
		// By default the server takes three quarters of what is free at its
		// start for a limit, which shrinks as its own files grow. The reserve
		// watches the disk instead.
		JetStreamMaxStore: 1 << 50,
	}
	if o.DontListen {
		return o, nil
	}
	host, port, err := net.SplitHostPort(s.cfg.Listen)
	var n int
	if err == nil {
		n, err = strconv.Atoi(port)
	}
	if err != nil || n < 0 || n > 65535 {
		return nil, &ConfigError{What: fmt.Sprintf("%q is no address to listen on", s.cfg.Listen), Do: "set RANKWATCH_NATS_LISTEN to host:port, or off"}
	}
	o.Host, o.Port = host, n
	if n == 0 {
		o.Port = server.RANDOM_PORT
		if s.port != 0 {
			o.Port = s.port
		}
	}
	return o, s.probe(o)
}

// probe listens for a moment: the server itself would only log that it could
// not.
func (s *Server) probe(o *server.Options) error {
	if o.Port == server.RANDOM_PORT {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return &ConfigError{
			What: "another process listens on " + s.cfg.Listen,
			Do:   "stop it, set RANKWATCH_NATS_LISTEN to another port (0 for any, off for none), or use that server with RANKWATCH_NATS_URL", Err: syscall.EADDRINUSE,
		}
	}
	if err != nil {
		return &ConfigError{What: "the embedded NATS server cannot listen on " + s.cfg.Listen, Do: "set RANKWATCH_NATS_LISTEN to an address of this machine, or off", Err: err}
	}
	return l.Close()
}

// InProcessConn connects to the server that runs now, so that a client
// survives a Restart. It makes Server a nats.InProcessConnProvider.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current().InProcessConn() }

func (s *Server) current() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv
}

// URL is where clients connect; empty if they cannot.
func (s *Server) URL() string {
	if s.cfg.Listen == "" || s.cfg.Listen == "off" {
		return ""
	}
	return s.current().ClientURL()
}

// Restart stops the server and starts it again at the same address. After an
// error there is no server; Restart may be called again.
func (s *Server) Restart() error {
	s.Shutdown()
	return s.start()
}

// Shutdown stops the server and returns when its files are closed.
func (s *Server) Shutdown() {
	srv := s.current()
	srv.Shutdown()
	srv.WaitForShutdown()
}

// logBridge hands what an operator acts on to slog.
type logBridge struct {
	log *slog.Logger
	mu  sync.Mutex
	err error
}

func (b *logBridge) fatal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *logBridge) Fatalf(format string, v ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = fmt.Errorf(format, v...)
}

func (b *logBridge) Warnf(format string, v ...any) {
	b.log.Warn("nats server", "detail", fmt.Sprintf(format, v...))
}

func (b *logBridge) Errorf(format string, v ...any) {
	b.log.Warn("nats server error", "detail", fmt.Sprintf(format, v...))
}

func (b *logBridge) Noticef(string, ...any) {}
func (b *logBridge) Debugf(string, ...any)  {}
func (b *logBridge) Tracef(string, ...any)  {}
