// Package bus finds the NATS server that holds an installation's stream, for
// the verbs that read or ask: the external one, the embedded one of a running
// worker, or, while no worker runs, the data directory, which it serves itself.
package bus

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/state"
)

// A Bus is a connection to the server that holds the stream.
type Bus struct {
	Conn *nats.Conn
	// AtRest says that no worker runs and that the server is this process's
	// own: nobody else is connected to it, and no worker can start until Close.
	AtRest bool
	// Where names the server for people. It holds no secret.
	Where string

	server *publisher.Server
	unlock func() error
}

// Open finds the server and connects to it. Settings that cannot be used are an
// *exit.UsageError.
func Open(s settings.Settings, verb string) (*Bus, error) {
	if !s.NATS.Embedded() {
		return dial(ServerConfig(s), verb)
	}
	dir := s.DataDir
	if err := CheckDir(dir); err != nil {
		return nil, exit.AsUsage(err)
	}
	if _, err := os.Stat(StreamDir(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil, exit.AsUsage(fmt.Errorf("no stream in %s: there is no %s; set RANKWATCH_DATA_DIR to a worker's data directory, or RANKWATCH_NATS_URL to its server", dir, StreamDir(dir)))
	}
	unlock, err := lock(dir)
	if errors.Is(err, state.ErrLocked) {
		return live(s, verb)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; the directory is what RANKWATCH_DATA_DIR says", err)
	}
	b, err := atRest(s, verb)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	b.unlock = unlock
	return b, nil
}

// readerWait is how long a reader waits for another one that serves the
// directory. A worker is recognised at once.
const readerWait = 5 * time.Second

// lock takes the directory's lock, waiting for another reader. ErrLocked means
// that a worker has it.
func lock(dir string) (unlock func() error, err error) {
	for end := time.Now().Add(readerWait); ; {
		unlock, err := state.Lock(dir)
		if !errors.Is(err, state.ErrLocked) {
			return unlock, err
		}
		if _, err := os.Stat(filepath.Join(dir, urlFile)); err == nil {
			return nil, state.ErrLocked
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("another rankwatch command reads %s, or a worker is just starting or ending there; wait for it to end", dir)
		}
	}
}

// live connects to the embedded server of the worker that has the directory.
func live(s settings.Settings, verb string) (*Bus, error) {
	at, err := URL(s)
	if err != nil {
		return nil, err
	}
	return dial(publisher.ServerConfig{URL: at}, verb)
}

// atRest serves the data directory in this process. The caller has its lock.
func atRest(s settings.Settings, verb string) (*Bus, error) {
	// What a worker that died has left there leads nowhere, and other readers
	// must not take this one for a worker.
	if err := Retract(s.DataDir); err != nil {
		return nil, err
	}
	c := ServerConfig(s)
	c.Listen = "off"
	srv, err := publisher.StartServer(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	nc, err := publisher.DialServer(srv, "rankwatch "+verb)
	if err != nil {
		srv.Shutdown()
		return nil, err
	}
	return &Bus{Conn: nc, AtRest: true, Where: s.DataDir, server: srv}, nil
}

func dial(c publisher.ServerConfig, verb string) (*Bus, error) {
	nc, err := publisher.Dial(c, "rankwatch "+verb)
	var bad *publisher.ConfigError
	if errors.As(err, &bad) {
		return nil, exit.AsUsage(err)
	}
	if err != nil {
		return nil, err
	}
	return &Bus{Conn: nc, Where: nc.ConnectedUrlRedacted()}, nil
}

// Close ends the connection, and the server if it is ours, and lets a worker
// start again.
func (b *Bus) Close() error {
	b.Conn.Close()
	if b.server != nil {
		b.server.Shutdown()
	}
	if b.unlock != nil {
		return b.unlock()
	}
	return nil
}

// URL is where the embedded server of the worker that has the data directory
// listens, by what the worker wrote there.
func URL(s settings.Settings) (string, error) {
	data, err := os.ReadFile(filepath.Join(s.DataDir, urlFile))
	switch at := strings.TrimSpace(string(data)); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("no worker runs in %s, or it has just started", s.DataDir)
	case err != nil:
		return "", fmt.Errorf("where the worker's NATS server listens: %w", err)
	case at == silent:
		return "", fmt.Errorf("a worker runs in %s and keeps its NATS server to itself, since its RANKWATCH_NATS_LISTEN is off; let it listen, or stop the worker", s.DataDir)
	default:
		return at, nil
	}
}

const (
	// urlFile is where a worker with an embedded server says where that listens.
	urlFile = "nats.url"
	// streamDir is the embedded server's directory in the data directory.
	streamDir = "jetstream"
	// restoringDir is where a restore keeps all that is not in place yet.
	restoringDir = "restoring"
)

// StreamDir is the embedded server's directory in a data directory.
func StreamDir(dir string) string { return filepath.Join(dir, streamDir) }

// RestoringDir is in a data directory while a backup is restored into it, and
// after a restore that did not end.
func RestoringDir(dir string) string { return filepath.Join(dir, restoringDir) }

// CheckDir refuses a data directory that a backup is being restored into, or
// was, but not to the end: what is in it may be half of an installation.
func CheckDir(dir string) error {
	_, err := os.Lstat(RestoringDir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	return fmt.Errorf("a backup is being restored into %s, or that was broken off: if no `rankwatch restore` runs, remove everything in %s and restore the backup again", dir, dir)
}

// silent stands for the URL of a server that does not listen.
const silent = "off"

// Announce writes into the data directory that a worker runs there, and where
// its embedded server listens; an empty url says that it does not.
func Announce(dir, url string) error {
	if url == "" {
		url = silent
	}
	if err := os.WriteFile(filepath.Join(dir, urlFile), []byte(url+"\n"), 0o600); err != nil {
		return fmt.Errorf("announce the NATS server: %w", err)
	}
	return nil
}

// Retract takes back what a worker announced.
func Retract(dir string) error {
	err := os.Remove(filepath.Join(dir, urlFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("announce the NATS server: %w", err)
	}
	return nil
}

// ServerConfig translates the settings for the publisher.
func ServerConfig(s settings.Settings) publisher.ServerConfig {
	listen := s.NATS.Listen
	if listen == "" {
		listen = "off"
	}
	return publisher.ServerConfig{
		Embedded: s.NATS.Embedded(), StoreDir: StreamDir(s.DataDir), Listen: listen,
		URL: strings.Join(s.NATS.URLs, ","), Creds: s.NATS.Creds, NKey: s.NATS.NKey,
		TLSCA: s.NATS.TLSCA, TLSCert: s.NATS.TLSCert, TLSKey: s.NATS.TLSKey,
	}
}

var _ io.Closer = (*Bus)(nil)
