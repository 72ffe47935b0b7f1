package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Query selects messages. Empty fields select everything. Both ends of a
// range belong to it.
type Query struct {
	Watchlists []string
	Kinds      []event.Kind
	UIDs       []string // selects changes only, which alone have one
	// Since and Until are about Message.Time: when a reading was made, not when
	// the bus took it.
	Since, Until time.Time
	// FromRevision and ToRevision, if not 0, leave out statuses, which have no
	// revision.
	FromRevision, ToRevision uint64
}

// maxFilters is how many subject filters a consumer is given. A query that
// needs more is filtered here in part.
const maxFilters = 256

// filters are the subjects of the query. They do not overlap.
func (q *Query) filters(prefix string) []string {
	or := func(n int) int { return max(n, 1) }
	lists, kinds, uids := q.Watchlists, q.kinds(), q.UIDs
	if or(len(lists))*or(len(kinds))*or(len(uids)) > maxFilters {
		uids = nil
	}
	if or(len(lists))*or(len(kinds))*or(len(uids)) > maxFilters {
		lists = nil
	}
	var out []string
	for _, w := range orAll(lists) {
		for _, k := range orAll(kinds) {
			for _, u := range orAll(uids) {
				out = append(out, event.Filter(event.Subject{Prefix: prefix, Watchlist: w, Kind: k, UID: u}))
			}
		}
	}
	return unique(out)
}

// kinds are those that the query can match.
func (q *Query) kinds() []event.Kind {
	if len(q.UIDs) == 0 && q.FromRevision == 0 && q.ToRevision == 0 || len(q.Kinds) == 0 && len(q.UIDs) > 0 {
		return q.Kinds
	}
	all := q.Kinds
	if len(all) == 0 {
		all = []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index, event.Board}
	}
	return slices.DeleteFunc(slices.Clone(all), func(k event.Kind) bool {
		return k == event.Status && len(q.UIDs) == 0 || len(q.UIDs) > 0 && (k == event.Board || k == event.Status)
	})
}

func orAll[T ~string](s []T) []T {
	if len(s) == 0 {
		return []T{""}
	}
	return s
}

func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// matches decides what the server did not.
func (q *Query) matches(prefix string, m *Message) bool {
	if !q.Since.IsZero() || !q.Until.IsZero() {
		t := m.Time()
		if !q.Since.IsZero() && t.Before(q.Since) || !q.Until.IsZero() && t.After(q.Until) {
			return false
		}
	}
	if q.FromRevision != 0 || q.ToRevision != 0 {
		n, ok := m.Revision()
		if !ok || n < q.FromRevision || q.ToRevision != 0 && n > q.ToRevision {
			return false
		}
	}
	if len(q.Watchlists) == 0 && len(q.UIDs) == 0 {
		return true
	}
	s, err := event.ParseSubject(prefix, m.Subject)
	return err == nil && (len(q.Watchlists) == 0 || slices.Contains(q.Watchlists, s.Watchlist)) &&
		(len(q.UIDs) == 0 || slices.Contains(q.UIDs, s.UID))
}

// past says that the message comes after the query's range.
func (q *Query) past(m *Message) bool {
	if !q.Until.IsZero() && m.Time().After(q.Until) {
		return true
	}
	n, ok := m.Revision()
	return q.ToRevision != 0 && ok && n > q.ToRevision
}

// errDone ends a consumer early.
var errDone = errors.New("done")

// A Progress is told where a reading of the stream is: how many messages were
// looked at and how many are left. It is called often and must not block.
type Progress func(read, left uint64)

// Each calls fn with every message of the query that the stream holds now, in
// stream order, and passes on fn's error. The Message is fn's until it returns;
// its Data stays as it is. progress may be nil.
func (r *Reader) Each(ctx context.Context, q Query, progress Progress, fn func(*Message) error) error {
	if q.kinds() != nil && len(q.kinds()) == 0 {
		return nil // a uid of a board, or a revision of a status
	}
	conf := jetstream.OrderedConsumerConfig{FilterSubjects: q.filters(r.prefix)}
	if !q.Since.IsZero() {
		// Nothing is stored before it was made.
		conf.DeliverPolicy, conf.OptStartTime = jetstream.DeliverByStartTimePolicy, &q.Since
	} else if start, err := r.start(ctx, &q); err != nil {
		return err
	} else if start > 1 {
		conf.DeliverPolicy, conf.OptStartSeq = jetstream.DeliverByStartSequencePolicy, start
	}
	if q.Until.IsZero() && q.ToRevision == 0 {
		simple := q.Since.IsZero() && q.FromRevision == 0 && len(q.Watchlists)*max(len(q.Kinds), 1)*len(q.UIDs) <= maxFilters && len(q.Watchlists) <= maxFilters
		return r.consume(ctx, conf, progress, func(m *Message, _ uint64) error {
			if !simple && !q.matches(r.prefix, m) {
				return nil
			}
			return fn(m)
		})
	}
	end, err := r.newEnd(ctx, q)
	if err != nil {
		return err
	}
	return r.consume(ctx, conf, progress, func(m *Message, _ uint64) error {
		if q.matches(r.prefix, m) {
			if err := fn(m); err != nil {
				return err
			}
		}
		return end.after(m)
	})
}

// start is the sequence before which the query finds nothing; 0 if that is not
// known.
func (r *Reader) start(ctx context.Context, q *Query) (uint64, error) {
	if q.FromRevision <= 1 || len(q.Watchlists) == 0 || len(q.Watchlists) > maxFilters {
		return 0, nil
	}
	start := uint64(0)
	for _, w := range q.Watchlists {
		// The events of a revision come after the board before it.
		m, err := r.BoardAtRevision(ctx, w, q.FromRevision-1)
		switch {
		case errors.Is(err, ErrNotFound):
			return 0, nil
		case err != nil:
			return 0, err
		case start == 0 || m.Sequence < start:
			start = m.Sequence + 1
		}
	}
	return start, nil
}

// end knows when the rest of the stream has nothing more of a range: once each
// chain has been seen past it, or to its end. Times rise along a chain, but not
// along the stream, which takes late what the bus could not take in time.
type end struct {
	q      *Query
	prefix string
	open   map[event.Chain]uint64 // chains that may go on, with their last sequence
}

func (r *Reader) newEnd(ctx context.Context, q Query) (*end, error) {
	lists := q.Watchlists
	if len(lists) > maxFilters {
		lists = nil
	}
	chains, err := r.Chains(ctx, lists...)
	if err != nil {
		return nil, err
	}
	e := &end{q: &q, prefix: r.prefix, open: make(map[event.Chain]uint64, len(chains))}
	for _, c := range chains {
		if c.Kind == event.Status && (q.ToRevision != 0 || len(q.UIDs) > 0) {
			continue
		}
		e.open[c.Chain] = c.Sequence
	}
	return e, nil
}

func (e *end) after(m *Message) error {
	s, err := event.ParseSubject(e.prefix, m.Subject)
	if err != nil {
		return nil //nolint:nilerr // not one of ours
	}
	c := event.Chain{Watchlist: s.Watchlist, Kind: event.Board}
	if s.Kind == event.Status {
		c.Kind = event.Status
	}
	if last, ok := e.open[c]; ok && (m.Sequence >= last || e.q.past(m)) {
		delete(e.open, c)
	}
	if len(e.open) == 0 {
		return errDone
	}
	return nil
}

// maxAhead is how many bytes the server sends ahead of what was processed.
const maxAhead = 8 << 20

// consume hands what an ordered consumer finds now to fn, together with the
// number of messages that are left, until fn returns an error; errDone is none.
// What the stream takes in meanwhile does not count.
func (r *Reader) consume(ctx context.Context, conf jetstream.OrderedConsumerConfig, progress Progress, fn func(m *Message, left uint64) error) error {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return r.explain(err)
	}
	last := info.State.LastSeq
	c, err := r.js.OrderedConsumer(ctx, r.name, conf)
	if err != nil {
		return r.explain(err)
	}
	if c.CachedInfo().NumPending == 0 {
		return nil
	}
	it, err := c.Messages(jetstream.PullMaxBytes(maxAhead))
	if err != nil {
		return r.explain(err)
	}
	defer it.Stop()
	var msg Message
	for read := uint64(1); ; read++ {
		m, err := r.next(ctx, it, c)
		if err != nil || m == nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return r.explain(err)
		}
		if meta.Sequence.Stream > last {
			return nil
		}
		msg = Message{Subject: m.Subject(), Sequence: meta.Sequence.Stream, Stored: meta.Timestamp, Data: m.Data()}
		if progress != nil {
			progress(read, meta.NumPending)
		}
		err = fn(&msg, meta.NumPending)
		if errors.Is(err, errDone) || err == nil && meta.NumPending == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *Reader) explain(err error) error {
	return fmt.Errorf("history: read stream %s: %w", r.name, err)
}

// next waits for the next message as long as the server is there. It returns
// nil if there is none any more: what was left may have expired meanwhile.
func (r *Reader) next(ctx context.Context, it jetstream.MessagesContext, c jetstream.Consumer) (jetstream.Msg, error) {
	for {
		wait, cancel := context.WithTimeout(ctx, patience)
		m, err := it.Next(jetstream.NextContext(wait))
		cancel()
		switch {
		case err == nil:
			return m, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, r.explain(err)
		}
		if !r.nc.IsConnected() {
			return nil, r.explain(fmt.Errorf("the server is gone: %w", nats.ErrConnectionClosed))
		}
		info, err := c.Info(ctx)
		if err != nil {
			return nil, r.explain(err)
		}
		if info.NumPending == 0 && info.NumAckPending == 0 {
			return nil, nil
		}
	}
}
