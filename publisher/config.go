package publisher

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/statecopy"
	"github.com/rankwatch/rankwatch/state"
)

// Outbox is what the publisher needs of the worker's store, which state.DB is.
// Its methods must be safe to call while others commit.
type Outbox interface {
	// What waits, in order; 0 means all of it.
	Queue(limit int) ([]state.Info, error)
	Batch(order uint64) (event.Batch, error)
	Acked(c event.Chain) (state.Ack, bool, error)
	Newest() (state.Ack, bool, error)
	Kept(c event.Chain) ([]state.Info, error)
	Chains() ([]event.Chain, error)
	Load(watchlist string) (state.Loaded, error)
	Stream() (state.Stream, bool, error)
	Suspect() (bool, string)

	// These change the outbox, in one transaction each. Block lasts until the
	// process ends.
	Acknowledge(acks ...state.Ack) error
	Rewind(c event.Chain, to state.Ack) error
	Adopt(a state.Ack, t *event.Tracked, departed []state.Departure) (dropped int, err error)
	Break(c event.Chain, holds state.Ack) (dropped int, err error)
	SetStream(s state.Stream) error
	ClearRestored() error
	Block(watchlist string) error

	// These serve workers that share watchlists; see Config.Shared.
	Waiting(watchlist string) (int, error)
	Amend(watchlist string, change func(record []byte) ([]byte, error)) error
}

// ServerConfig says where the server is: Embedded with StoreDir and Listen, or
// else at URL with the rest.
type ServerConfig struct {
	Embedded bool
	// StoreDir is JetStream's directory as `nats-server -sd` takes it.
	StoreDir string
	// Listen is host:port, port 0 for any; "off" or empty means connections
	// from this process only.
	Listen string
	// NoSync leaves it to the caller to write the directory through to the disk,
	// after Shutdown: for one that nobody relies on yet.
	NoSync bool

	URL                    string // comma list
	Creds, NKey            string // files
	TLSCA, TLSCert, TLSKey string // files
}

// Config sets a Publisher up. Stream, Prefix, Retention, Writer, Outbox and
// Server are required.
type Config struct {
	Server    ServerConfig
	Stream    string
	Prefix    string
	Replicas  int           // of the stream; 0 means 1
	Retention time.Duration // age of events and old boards, at least 100ms
	Writer    string        // names this process; boards carry it
	Outbox    Outbox
	Logger    *slog.Logger // nil discards
	Tracer    trace.Tracer // gets a span for each try of a batch that has a trace; may be nil

	// Shared says that other workers write the same watchlists. Then whoever
	// commits must Sync first, and what another worker published meanwhile is
	// taken over instead of stopping the watchlist.
	Shared bool

	// OnFenced is called from Run when another worker's board was met on a
	// watchlist while running, and it is for it to say so: detail tells who wrote
	// what. Boards of the watchlist wait until a restart. May be nil.
	OnFenced func(watchlist, detail string)
	// Resume is given the record of a watchlist that is taken over from the
	// stream, and the last status that the stream has of it, and returns the
	// record that goes on from there: the one of the head knows no statuses that
	// came after it. May be nil.
	Resume func(record []byte, last event.Condition) ([]byte, error)
	// AfterCommit is called between the server's commit of a batch and the
	// record of it in the outbox: a failpoint. May be nil.
	AfterCommit func()
	// State is handed out to `rankwatch backup`, by way of a copy in StateDir. Nil
	// hands out none.
	State    statecopy.Source
	StateDir string

	Reserve int64         // free bytes below which nothing is published to the embedded server; 0 means 64 MiB
	Timeout time.Duration // of one request to the server; 0 means 5s
	Drain   time.Duration // what the end of Run may spend on what still waits; 0 means 5s, negative none
}

const (
	defaultReserve = 64 << 20
	defaultTimeout = 5 * time.Second
	defaultDrain   = 5 * time.Second
)

// A ConfigError needs a person: nothing can be published until a setting or
// the server is changed. Nothing was written.
type ConfigError struct {
	What string // what is wrong, where
	Do   string // what to do about it
	Err  error  // the cause; may be nil
}

func (e *ConfigError) Error() string {
	s := "publisher: " + e.What
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Do != "" {
		s += "; " + e.Do
	}
	return s
}

func (e *ConfigError) Unwrap() error { return e.Err }

func (c Config) withDefaults() (Config, error) {
	if err := checkNames(c.Stream, c.Prefix); err != nil {
		return c, err
	}
	switch {
	case c.Outbox == nil || c.Writer == "":
		return c, errors.New("publisher: config needs an outbox and a writer")
	case c.Retention < 100*time.Millisecond:
		return c, &ConfigError{What: fmt.Sprintf("a retention of %s is too short", c.Retention), Do: "set RANKWATCH_RETENTION to at least 100ms"}
	case c.Replicas < 0 || c.Replicas > 5:
		return c, &ConfigError{What: fmt.Sprintf("%d replicas", c.Replicas), Do: "set RANKWATCH_REPLICAS to 1..5"}
	case !c.Server.Embedded && c.Server.URL == "":
		return c, errors.New("publisher: config needs a server")
	}
	c.Replicas = max(c.Replicas, 1)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnFenced == nil {
		c.OnFenced = func(string, string) {}
	}
	if c.AfterCommit == nil {
		c.AfterCommit = func() {}
	}
	if c.Reserve == 0 {
		c.Reserve = defaultReserve
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Drain == 0 {
		c.Drain = defaultDrain
	}
	return c, nil
}

func checkNames(stream, prefix string) error {
	if stream == "" || strings.ContainsAny(stream, " \t\r\n.*>/\\") {
		return &ConfigError{What: fmt.Sprintf("%q is no stream name", stream), Do: "set RANKWATCH_STREAM to a name without spaces, dots, slashes, * and >"}
	}
	if !ValidPrefix(prefix) {
		return &ConfigError{What: fmt.Sprintf("%q is no subject prefix", prefix), Do: "set RANKWATCH_SUBJECT_PREFIX to " + PrefixForm}
	}
	return nil
}

// PrefixForm says what ValidPrefix takes, for errors.
const PrefixForm = "letters, digits, - and _, beginning with a letter or digit; dots may part several such words"

// ValidPrefix says whether messages may be published under a subject prefix.
func ValidPrefix(prefix string) bool {
	for word := range strings.SplitSeq(prefix, ".") {
		if word == "" || word[0] == '_' || word[0] == '-' {
			return false
		}
		for i := range len(word) {
			c := word[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
