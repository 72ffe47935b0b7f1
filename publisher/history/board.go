package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/rankwatch/rankwatch/publisher/event"
)

func (r *Reader) boards(watchlist string) string {
	return event.Filter(event.Subject{Prefix: r.prefix, Watchlist: watchlist, Kind: event.Board})
}

// LastBoard returns a watchlist's newest board, or ErrNotFound.
func (r *Reader) LastBoard(ctx context.Context, watchlist string) (*Message, error) {
	return r.lastBoard(ctx, watchlist)
}

// FirstBoard returns the oldest board that the stream holds of a watchlist, or
// ErrNotFound.
func (r *Reader) FirstBoard(ctx context.Context, watchlist string) (*Message, error) {
	return r.boardFrom(ctx, watchlist, 1)
}

// BoardAt returns the board of the last reading made at t or before, or
// ErrNotFound. It costs two look-ups or three, however long the history is, and
// about as many as the number of boards has binary digits where those around t
// were stored long after they were made, or by a clock that runs behind.
func (r *Reader) BoardAt(ctx context.Context, watchlist string, t time.Time) (*Message, error) {
	late := func(m *Message) bool { return m.Time().After(t) }
	low, err := r.lastBoard(ctx, watchlist, jetstreamext.GetLastMsgsUpToTime(t))
	var from uint64 = 1
	switch {
	case err == nil && late(low):
		high := low
		if low, err = r.FirstBoard(ctx, watchlist); err != nil {
			return nil, err
		}
		if late(low) {
			return nil, missing(watchlist)
		}
		return r.bisect(ctx, watchlist, span{low: low, high: high, late: late, share: byTime(t)})
	case err == nil:
		from = low.Sequence + 1
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	// Those that follow were stored later, but may have been made before: one
	// that was made just then, or more if the bus was away.
	for range 2 {
		next, err := r.boardFrom(ctx, watchlist, from)
		switch {
		case errors.Is(err, ErrNotFound) || err == nil && late(next):
			if low == nil {
				return nil, missing(watchlist)
			}
			return low, nil
		case err != nil:
			return nil, err
		}
		low, from = next, next.Sequence+1
	}
	high, err := r.LastBoard(ctx, watchlist)
	if err != nil {
		return nil, err
	}
	if !late(high) {
		return high, nil
	}
	return r.bisect(ctx, watchlist, span{low: low, high: high, late: late, share: byTime(t)})
}

// BoardAtRevision returns the board of a revision, or ErrNotFound. It costs
// about as many look-ups as the number of boards has binary digits, and few
// where they come at regular intervals.
func (r *Reader) BoardAtRevision(ctx context.Context, watchlist string, revision uint64) (*Message, error) {
	m, err := r.BoardUpToRevision(ctx, watchlist, revision)
	if err != nil {
		return nil, err
	}
	if n, ok := m.Revision(); !ok || n != revision {
		return nil, fmt.Errorf("revision %d of %s: %w", revision, watchlist, ErrNotFound)
	}
	return m, nil
}

// BoardUpToRevision returns the last board of the revision or an earlier one, or
// ErrNotFound.
func (r *Reader) BoardUpToRevision(ctx context.Context, watchlist string, revision uint64) (*Message, error) {
	of := func(m *Message) uint64 { n, _ := m.Revision(); return n }
	low, err := r.FirstBoard(ctx, watchlist)
	if err != nil {
		return nil, err
	}
	if of(low) > revision {
		return nil, fmt.Errorf("revision %d of %s: %w", revision, watchlist, ErrNotFound)
	}
	high, err := r.LastBoard(ctx, watchlist)
	if err != nil || of(high) <= revision {
		return high, err
	}
	return r.bisect(ctx, watchlist, span{
		low: low, high: high,
		late: func(m *Message) bool { return of(m) > revision },
		// The search finds the first board from a sequence on, so it aims before
		// the one that is wanted.
		share: func(low, high *Message) float64 {
			return (float64(revision-of(low)) - 0.5) / float64(of(high)-of(low))
		},
	})
}

// A span is where the last board that is not late lies: low is not late and
// high is, and so are all boards from high on. share guesses which part of the
// way the board is from low to high.
type span struct {
	low, high *Message
	late      func(*Message) bool
	share     func(low, high *Message) float64
}

func byTime(t time.Time) func(low, high *Message) float64 {
	return func(low, high *Message) float64 {
		whole := high.Time().Sub(low.Time())
		if whole <= 0 {
			return 0.5
		}
		return float64(t.Sub(low.Time())) / float64(whole)
	}
}

// bisect returns the last board of the span that is not late. What it does not
// find may have expired meanwhile.
func (r *Reader) bisect(ctx context.Context, watchlist string, s span) (*Message, error) {
	bound := s.high.Sequence // from here on there are late boards only
	for halve := false; s.low.Sequence+1 < bound && !neighbours(s.low, s.high); halve = !halve {
		// Readings are spread over the stream more or less evenly: a guess is
		// mostly good, and halving bounds the rest.
		share := 0.5
		if !halve {
			share = min(max(s.share(s.low, s.high), 0), 1)
		}
		at := s.low.Sequence + 1 + uint64(share*float64(bound-s.low.Sequence-1))
		at = min(at, bound-1)
		m, err := r.boardFrom(ctx, watchlist, at)
		switch {
		case err != nil && !errors.Is(err, ErrNotFound):
			return nil, err
		case err != nil || m.Sequence >= bound:
			bound = at
		case s.late(m):
			s.high, bound = m, at
		default:
			s.low = m
		}
	}
	return s.low, nil
}

// neighbours says that no board can lie between two.
func neighbours(low, high *Message) bool {
	a, ok1 := low.Revision()
	b, ok2 := high.Revision()
	return ok1 && ok2 && a+1 == b
}

func missing(watchlist string) error { return fmt.Errorf("%s: %w", watchlist, ErrNotFound) }

// lastBoard returns the newest board within opts.
func (r *Reader) lastBoard(ctx context.Context, watchlist string, opts ...jetstreamext.GetLastForOpt) (*Message, error) {
	return r.last(ctx, watchlist, r.boards(watchlist), opts...)
}

// LastAbout returns the last event about a creator up to a sequence, or
// ErrNotFound: what was known of somebody whom a board names by uid alone.
func (r *Reader) LastAbout(ctx context.Context, watchlist, uid string, upTo uint64) (*Message, error) {
	filter := event.Filter(event.Subject{Prefix: r.prefix, Watchlist: watchlist, UID: uid})
	return r.last(ctx, watchlist, filter, jetstreamext.GetLastMsgsUpToSeq(upTo))
}

// last returns the newest message that filter matches within opts.
func (r *Reader) last(ctx context.Context, watchlist, filter string, opts ...jetstreamext.GetLastForOpt) (*Message, error) {
	if !r.direct() {
		return nil, fmt.Errorf("history: stream %s has no direct reads: allow them with `nats stream edit %s --allow-direct`", r.name, r.name)
	}
	wait, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	all, err := jetstreamext.GetLastMsgsFor(wait, r.js, r.name, []string{filter}, opts...)
	if err != nil {
		return nil, r.explain(ctx, "last message of "+watchlist, err)
	}
	var last *jetstream.RawStreamMsg
	for m, err := range all { // one for each region that it ever had
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, missing(watchlist)
		}
		if err != nil {
			return nil, r.explain(ctx, "last message of "+watchlist, err)
		}
		if last == nil || m.Sequence > last.Sequence {
			last = m
		}
	}
	// The answers end without an error when time is up, too.
	if err := wait.Err(); err != nil {
		return nil, r.explain(ctx, "last message of "+watchlist, err)
	}
	if last == nil {
		return nil, missing(watchlist)
	}
	return &Message{Subject: last.Subject, Sequence: last.Sequence, Stored: last.Time, Header: last.Header, Data: last.Data}, nil
}

// boardFrom returns the first board at a sequence or after it.
func (r *Reader) boardFrom(ctx context.Context, watchlist string, sequence uint64) (*Message, error) {
	wait, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	m, err := r.stream.GetMsg(wait, sequence, jetstream.WithGetMsgSubject(r.boards(watchlist)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, missing(watchlist)
	}
	if err != nil {
		return nil, r.explain(ctx, "board of "+watchlist, err)
	}
	return &Message{Subject: m.Subject, Sequence: m.Sequence, Stored: m.Time, Data: m.Data}, nil
}

// Snapshot decodes a board message.
func (m *Message) Snapshot() (*event.Snapshot, error) {
	e, err := event.Decode[event.Snapshot](m.Data)
	if err != nil {
		return nil, fmt.Errorf("sequence %d: %w", m.Sequence, err)
	}
	return &e.Data, nil
}
