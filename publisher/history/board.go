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
// ErrNotFound. It costs a few look-ups, however long the history is.
func (r *Reader) BoardAt(ctx context.Context, watchlist string, t time.Time) (*Message, error) {
	// A board is stored after it was made, so the one found here is old enough.
	m, err := r.lastBoard(ctx, watchlist, jetstreamext.GetLastMsgsUpToTime(t))
	from := uint64(1)
	if err == nil {
		from = m.Sequence + 1
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	// Those that follow were stored later, but may have been made before: most
	// often one, more if the bus was away.
	for {
		next, nerr := r.boardFrom(ctx, watchlist, from)
		if errors.Is(nerr, ErrNotFound) || nerr == nil && next.Time().After(t) {
			return m, err
		}
		if nerr != nil {
			return nil, nerr
		}
		m, err, from = next, nil, next.Sequence+1
	}
}

// BoardAtRevision returns the board of a revision, or ErrNotFound. It costs
// about as many look-ups as the number of boards has binary digits.
func (r *Reader) BoardAtRevision(ctx context.Context, watchlist string, revision uint64) (*Message, error) {
	low, err := r.FirstBoard(ctx, watchlist)
	if err != nil {
		return nil, err
	}
	high, err := r.LastBoard(ctx, watchlist)
	if err != nil {
		return nil, err
	}
	for halve := false; ; halve = !halve {
		first, _ := low.Revision()
		last, _ := high.Revision()
		switch {
		case revision == first:
			return low, nil
		case revision == last:
			return high, nil
		case revision < first || revision > last || low.Sequence+1 >= high.Sequence:
			return nil, fmt.Errorf("revision %d of %s: %w", revision, watchlist, ErrNotFound)
		}
		// Revisions are spread over the stream more or less evenly: a guess is
		// mostly good, and halving bounds the rest.
		share := 0.5
		if !halve {
			share = float64(revision-first) / float64(last-first)
		}
		at := low.Sequence + uint64(share*float64(high.Sequence-low.Sequence))
		at = min(max(at, low.Sequence+1), high.Sequence-1)
		m, err := r.lastBoard(ctx, watchlist, jetstreamext.GetLastMsgsUpToSeq(at))
		if err != nil {
			return nil, err
		}
		if n, _ := m.Revision(); n >= revision {
			high = m
			continue
		}
		if low, err = r.boardFrom(ctx, watchlist, at+1); err != nil {
			return nil, err
		}
		if n, _ := low.Revision(); n > revision {
			return nil, fmt.Errorf("revision %d of %s: %w", revision, watchlist, ErrNotFound)
		}
	}
}

// lastBoard returns the newest board within opts.
func (r *Reader) lastBoard(ctx context.Context, watchlist string, opts ...jetstreamext.GetLastForOpt) (*Message, error) {
	if !r.Stream().Config.AllowDirect {
		return nil, fmt.Errorf("history: stream %s has no direct reads: allow them with `nats stream edit %s --allow-direct`", r.name, r.name)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	all, err := jetstreamext.GetLastMsgsFor(ctx, r.js, r.name, []string{r.boards(watchlist)}, opts...)
	if err != nil {
		return nil, fmt.Errorf("history: board of %s: %w", watchlist, err)
	}
	var last *jetstream.RawStreamMsg
	for m, err := range all { // one for each region that it ever had
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("history: board of %s: %w", watchlist, err)
		}
		if last == nil || m.Sequence > last.Sequence {
			last = m
		}
	}
	if last == nil {
		return nil, fmt.Errorf("%s: %w", watchlist, ErrNotFound)
	}
	return &Message{Subject: last.Subject, Sequence: last.Sequence, Stored: last.Time, Data: last.Data}, nil
}

// boardFrom returns the first board at a sequence or after it.
func (r *Reader) boardFrom(ctx context.Context, watchlist string, sequence uint64) (*Message, error) {
	m, err := r.stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(r.boards(watchlist)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%s: %w", watchlist, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("history: board of %s: %w", watchlist, err)
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
