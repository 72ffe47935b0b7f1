// Package history reads what an installation has published: the messages of a
// range in the order of the stream, and single boards by revision or time.
//
// It only reads. What it hands out are the stored bytes themselves, so that
// two readings of the same range are the same to the byte.
package history

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// What a reader cannot find. Nothing is wrong with the connection.
var (
	// ErrNoStream means that the server has no stream of that name.
	ErrNoStream = errors.New("no such stream")
	// ErrNotFound means that the stream holds no such board.
	ErrNotFound = errors.New("no such board")
)

// ErrGone means that the NATS server did not answer, or not in time.
var ErrGone = errors.New("the NATS server does not answer")

// ErrWentBack means that the stream is not the one that was followed any more: it
// was made anew, or put back to an earlier state.
var ErrWentBack = errors.New("the stream went back")

// A Message is one as the stream holds it. Data must not be changed.
type Message struct {
	Subject  string
	Sequence uint64
	Stored   time.Time // by the server
	Header   nats.Header
	Data     []byte
}

// Time is when the message's reading was made, or its condition began: the
// envelope's time. It is zero if there is none.
func (m *Message) Time() time.Time {
	t, err := time.Parse(time.RFC3339, m.field(`"time":"`))
	if err != nil {
		return time.Time{}
	}
	return t
}

// ID is the envelope's id, and empty if there is none.
func (m *Message) ID() string { return m.field(`"id":"`) }

// field finds the text of an envelope's key without decoding the message. No
// value can hold such a key, since quotes in values are escaped; and the
// envelope's keys come before all others.
func (m *Message) field(key string) string {
	at := bytes.Index(m.Data, []byte(key))
	if at < 0 {
		return ""
	}
	start := at + len(key)
	for i := start; i < len(m.Data); i++ {
		switch m.Data[i] {
		case '\\':
			return decoded(m.Data[start-1:])
		case '"':
			return string(m.Data[start:i])
		}
	}
	return ""
}

// decoded is a text with escapes in it, from its first quote on.
func decoded(data []byte) string {
	var s string
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&s); err != nil {
		return ""
	}
	return s
}

// Revision is the revision that the message's id names. Statuses have none.
func (m *Message) Revision() (uint64, bool) {
	r, _, ok := event.ParseReadingID(m.ID())
	return r, ok
}

// A Reader reads one stream. Its methods may be called by several goroutines.
type Reader struct {
	js     jetstream.JetStream
	nc     *nats.Conn
	stream jetstream.Stream
	name   string
	prefix string

	// What tests make smaller.
	patience time.Duration
	ahead    int // bytes
	skew     time.Duration
}

const (
	// defaultPatience bounds one wait for the server.
	defaultPatience = 10 * time.Second
	// defaultAhead is how much the server sends ahead of what was processed.
	defaultAhead = 8 << 20
	// defaultSkew is by how much the clocks of workers and servers may differ:
	// what lies outside a range by more is not read.
	defaultSkew = time.Hour
)

// Open looks the stream up. ErrNoStream means that there is none.
func Open(ctx context.Context, nc *nats.Conn, stream, prefix string) (*Reader, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	r := &Reader{js: js, nc: nc, name: stream, prefix: prefix, patience: defaultPatience, ahead: defaultAhead, skew: defaultSkew}
	wait, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	r.stream, err = js.Stream(wait, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s: %w", stream, ErrNoStream)
	}
	if err != nil {
		return nil, r.explain(ctx, "look it up", err)
	}
	return r, nil
}

// Stream is what the server said of the stream, when the reader was opened or
// later.
func (r *Reader) Stream() *jetstream.StreamInfo { return r.stream.CachedInfo() }

// direct says that single messages can be read without asking the leader, and
// the last ones before a point.
func (r *Reader) direct() bool { return r.Stream().Config.AllowDirect }

// Prefix is the subject prefix of the messages.
func (r *Reader) Prefix() string { return r.prefix }

// Expired says of the time at which a message was stored whether the server may
// have deleted messages of then for their age. Those that are about to go count
// too, since reading takes its time. It is nil for a stream without a limit of
// age, such as the worker's.
func (r *Reader) Expired() func(stored time.Time) bool {
	age := r.Stream().Config.MaxAge
	if age <= 0 {
		return nil
	}
	age -= min(time.Minute, age/10)
	return func(stored time.Time) bool { return time.Since(stored) > age }
}

// A Chain is where one of a watchlist's chains ends: region, sequence and time of
// its last message.
type Chain struct {
	event.Chain
	Region   string
	Sequence uint64
	Stored   time.Time // by the server
	Size     int       // bytes of that message
}

// sizeHeader has the bytes of a message of which only headers are asked for.
const sizeHeader = "Nats-Msg-Size"

// Chains lists the chains of boards and of statuses that the stream has, in
// the order of their last messages, without these. Those of all watchlists if
// none is named.
func (r *Reader) Chains(ctx context.Context, watchlists ...string) ([]Chain, error) {
	s, err := compile(r.prefix, Query{Watchlists: watchlists, Kinds: []event.Kind{event.Board, event.Status}})
	if err != nil {
		return nil, err
	}
	at := make(map[event.Chain]Chain)
	p := pass{r: r, conf: jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true, FilterSubjects: s.filters}}
	p.fn = func(m *Message, _ uint64) error {
		subject, err := event.ParseSubject(r.prefix, m.Subject)
		if err != nil || !s.named(subject.Watchlist) {
			return nil //nolint:nilerr // not one of ours
		}
		// A later one of the same chain is one of another region.
		c := event.Chain{Watchlist: subject.Watchlist, Kind: subject.Kind}
		size, err := strconv.Atoi(m.Header.Get(sizeHeader))
		if err != nil {
			return fmt.Errorf("history: stream %s sequence %d: %s: %w", r.name, m.Sequence, sizeHeader, err)
		}
		at[c] = Chain{Chain: c, Region: subject.Region, Sequence: m.Sequence, Stored: m.Stored, Size: size}
		return nil
	}
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(at), func(a, b Chain) int { return cmp.Compare(a.Sequence, b.Sequence) }), nil
}

// Watchlists lists the watchlists that the stream has a board or a status of, by
// name; those of them that are named, if any are.
func (r *Reader) Watchlists(ctx context.Context, names ...string) ([]string, error) {
	chains, err := r.Chains(ctx, names...)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range chains {
		out = append(out, c.Watchlist)
	}
	return unique(out), nil
}
