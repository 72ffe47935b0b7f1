// Package history reads what an installation has published: the messages of a
// range in the order of the stream, and single boards by revision or time.
//
// It only reads. What it hands out are the stored bytes themselves, so that
// two readings of the same range are the same to the byte.
package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// A Message is one as the stream holds it. Data must not be changed.
type Message struct {
	Subject  string
	Sequence uint64
	Stored   time.Time // by the server
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
	_, rest, ok := bytes.Cut(m.Data, []byte(key))
	if !ok {
		return ""
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return ""
	}
	return string(rest[:end])
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
}

// Open looks the stream up. ErrNoStream means that there is none.
func Open(ctx context.Context, nc *nats.Conn, stream, prefix string) (*Reader, error) {
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	s, err := js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s: %w", stream, ErrNoStream)
	}
	if err != nil {
		return nil, fmt.Errorf("history: stream %s: %w", stream, err)
	}
	return &Reader{js: js, nc: nc, stream: s, name: stream, prefix: prefix}, nil
}

// patience bounds one wait for the server.
const patience = 10 * time.Second

// Stream is what the server said of the stream when the reader was opened.
func (r *Reader) Stream() *jetstream.StreamInfo { return r.stream.CachedInfo() }

// Prefix is the subject prefix of the messages.
func (r *Reader) Prefix() string { return r.prefix }

// Expired says of the time at which a message was stored whether messages of
// then may have been deleted for their age. Those that are about to be count
// too, since reading takes its time. It is nil for a stream that keeps all.
func (r *Reader) Expired() func(stored time.Time) bool {
	age := r.Stream().Config.MaxAge
	if age <= 0 {
		return nil
	}
	age -= min(time.Minute, age/10)
	return func(stored time.Time) bool { return time.Since(stored) > age }
}

// A Chain is where one of a watchlist's chains ends: the subject and sequence of
// its last message.
type Chain struct {
	event.Chain
	Region   string
	Sequence uint64
}

// Chains lists the chains of boards and of statuses that the stream has, in
// stream order, without their messages. Those of all watchlists if none is
// named.
func (r *Reader) Chains(ctx context.Context, watchlists ...string) ([]Chain, error) {
	q := Query{Watchlists: watchlists, Kinds: []event.Kind{event.Board, event.Status}}
	conf := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true, FilterSubjects: q.filters(r.prefix),
	}
	var out []Chain
	at := make(map[event.Chain]int)
	err := r.consume(ctx, conf, nil, func(m *Message, _ uint64) error {
		s, err := event.ParseSubject(r.prefix, m.Subject)
		if err != nil {
			return nil //nolint:nilerr // not one of ours
		}
		c := Chain{Chain: event.Chain{Watchlist: s.Watchlist, Kind: s.Kind}, Region: s.Region, Sequence: m.Sequence}
		if i, ok := at[c.Chain]; ok {
			out[i] = c // of another region, and later
			return nil
		}
		at[c.Chain] = len(out)
		out = append(out, c)
		return nil
	})
	return out, err
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
