package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/leader"
)

// chunk is how many messages are asked for at once where it is not known how
// many there are.
const chunk = 512

// Get returns the message at a sequence, or ErrNotFound if the stream does not
// hold it any more, or not yet.
func (r *Reader) Get(ctx context.Context, sequence uint64) (*Message, error) {
	wait, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	m, err := r.stream.GetMsg(wait, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("sequence %d: %w", sequence, ErrNotFound)
	}
	if err != nil {
		return nil, r.explain(ctx, fmt.Sprintf("sequence %d", sequence), err)
	}
	return &Message{Subject: m.Subject, Sequence: m.Sequence, Stored: m.Time, Data: m.Data}, nil
}

// Reading returns the events of the reading that a board closes, in order and
// without the board. ErrNotFound means that not all of them are there any more.
//
// It costs one look-up, however long the history is, since a reading's messages
// are stored together; a reading that was published in parts costs some more.
func (r *Reader) Reading(ctx context.Context, board *Message) ([]Message, error) {
	head, err := board.Head()
	if err != nil {
		return nil, err
	}
	n := uint64(head.Counts.Total())
	if n == 0 {
		return nil, nil
	}
	if !r.direct() {
		return nil, fmt.Errorf("history: stream %s has no direct reads: allow them with `nats stream edit %s --allow-direct`", r.name, r.name)
	}
	of := closed{board: board, watchlist: head.Watchlist, reading: head.Reading, prefix: r.prefix}
	// The watchlist's head is between the events and the board, where there is one.
	for _, before := range []uint64{n + 1, n} {
		if board.Sequence <= before {
			continue
		}
		events, err := r.batch(ctx, int(n), &of, jetstreamext.GetBatchSeq(board.Sequence-before))
		if err != nil || uint64(len(events)) == n {
			return events, err
		}
	}
	from, err := r.after(ctx, &of)
	if err != nil {
		return nil, err
	}
	events, err := r.since(ctx, &of, from)
	if err != nil {
		return nil, err
	}
	if uint64(len(events)) != n {
		// A replica that lags may have answered.
		if events, err = r.confirmed(ctx, &of, from); err != nil {
			return nil, err
		}
	}
	if uint64(len(events)) != n {
		return nil, fmt.Errorf("%d of %d events of %s revision %d: %w", len(events), n, head.Watchlist, head.Revision, ErrNotFound)
	}
	return events, nil
}

// closed says which messages are events of the reading that a board closes.
type closed struct {
	board                      *Message
	watchlist, reading, prefix string
	last                       uint64 // the last sequence that was looked at
}

func (c *closed) has(m *Message) bool {
	s, err := event.ParseSubject(c.prefix, m.Subject)
	return err == nil && m.Sequence < c.board.Sequence && s.Watchlist == c.watchlist && slices.Contains(changes, s.Kind) && m.Reading() == c.reading
}

// Reading is the name of the reading that an event or board belongs to, and empty
// for a status.
func (m *Message) Reading() string { return m.field(`"reading":"`) }

// batch looks at up to n messages and returns those that are of the reading.
func (r *Reader) batch(ctx context.Context, n int, of *closed, opts ...jetstreamext.GetBatchOpt) ([]Message, error) {
	wait, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	what := "reading " + of.reading
	all, err := jetstreamext.GetBatch(wait, r.js, r.name, n, opts...)
	if err != nil {
		return nil, r.explain(ctx, what, err)
	}
	out := make([]Message, 0, n)
	for raw, err := range all {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			of.last = of.board.Sequence
			return out, nil
		}
		if err != nil {
			return nil, r.explain(ctx, what, err)
		}
		m := Message{Subject: raw.Subject, Sequence: raw.Sequence, Stored: raw.Time, Data: raw.Data}
		if of.last = raw.Sequence; of.has(&m) {
			out = append(out, m)
		}
	}
	// The answers end without an error when time is up, too.
	if err := wait.Err(); err != nil {
		return nil, r.explain(ctx, what, err)
	}
	return out, nil
}

// since looks at all events of the watchlist between a sequence, which follows its
// previous board, and this one.
func (r *Reader) since(ctx context.Context, of *closed, from uint64) ([]Message, error) {
	filter := jetstreamext.GetBatchSubject(r.prefix + ".*." + of.watchlist + ".*.*")
	var out []Message
	for from < of.board.Sequence {
		of.last = of.board.Sequence
		events, err := r.batch(ctx, chunk, of, filter, jetstreamext.GetBatchSeq(from))
		if err != nil {
			return nil, err
		}
		out = append(out, events...)
		from = of.last + 1
	}
	return out, nil
}

// after is the sequence after the watchlist's previous board.
func (r *Reader) after(ctx context.Context, of *closed) (uint64, error) {
	if of.board.Sequence <= 1 {
		return 1, nil
	}
	previous, err := r.lastBoard(ctx, of.watchlist, jetstreamext.GetLastMsgsUpToSeq(of.board.Sequence-1))
	switch {
	case errors.Is(err, ErrNotFound):
		return 1, nil
	case err != nil:
		return 0, err
	}
	return previous.Sequence + 1, nil
}

// confirmed is since of what the stream's leader has, message by message: rarely, and
// not much where all is gone.
func (r *Reader) confirmed(ctx context.Context, of *closed, from uint64) ([]Message, error) {
	wait, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	subjects := r.prefix + ".*." + of.watchlist + ".*.*"
	var out []Message
	for from < of.board.Sequence {
		raw, err := leader.Message(wait, r.nc, r.name, map[string]any{"seq": from, "next_by_subj": subjects})
		if err != nil {
			return nil, r.explain(ctx, "reading "+of.reading, err)
		}
		if raw == nil {
			break
		}
		m := Message{Subject: raw.Subject, Sequence: raw.Sequence, Stored: raw.Time, Data: raw.Data}
		if from = raw.Sequence + 1; of.has(&m) {
			out = append(out, m)
		}
	}
	return out, nil
}

// From calls fn with the messages from a sequence on that the stream holds now
// and whose subjects match a filter, in stream order, and passes on fn's error.
// The filters must not overlap. For fn and for a server that goes away it is
// as with Each.
func (r *Reader) From(ctx context.Context, sequence uint64, filters []string, fn func(*Message) error) error {
	p := pass{r: r, conf: jetstream.ConsumerConfig{
		FilterSubjects: filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(sequence, 1),
	}}
	all := r.prefix + "."
	if len(filters) == 1 && filters[0] == all+">" && r.ours() {
		p.conf.FilterSubjects = nil // as with Each
	}
	p.fn = func(m *Message, _ uint64) error {
		if !strings.HasPrefix(m.Subject, all) {
			return nil
		}
		return fn(m)
	}
	return p.run(ctx)
}

// Recent returns the sequences of the last n messages whose subjects match a
// filter, oldest first. It looks back only as far as it has to.
func (r *Reader) Recent(ctx context.Context, n int, filters ...string) ([]uint64, error) {
	info, err := r.State(ctx)
	if err != nil {
		return nil, err
	}
	first, last := info.State.FirstSeq, info.State.LastSeq
	for back := uint64(64 * n); ; back *= 8 {
		from := first
		if last > back {
			from = max(first, last-back)
		}
		var out []uint64
		p := pass{r: r, conf: jetstream.ConsumerConfig{
			FilterSubjects: filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1), HeadersOnly: true,
		}}
		p.fn = func(m *Message, _ uint64) error {
			out = append(out, m.Sequence)
			return nil
		}
		if err := p.run(ctx); err != nil {
			return nil, err
		}
		if len(out) >= n || from == first {
			return out[max(0, len(out)-n):], nil
		}
	}
}
