package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// near is how many messages too many a reading may begin with: the server leaves
// them out faster than another look-up takes.
const near = 64

// SequenceSince is where a consumer begins that wants what was stored at t or
// later: directly behind the last message from before t, or at the stream's first
// sequence if there is none.
//
// A consumer with several filters must not be given the time itself. The server
// moves its start on to the first message that a filter has in the stream, if
// that comes later, and leaves out of account the filters whose first message
// comes before it: what these have between both is never delivered. A watchlist
// that is added hides the others' messages until then.
//
// A clock that was set back leaves times in the stream that do not rise. Then the
// message is one from before t, and not always the last.
func (r *Reader) SequenceSince(ctx context.Context, t time.Time) (uint64, error) {
	return r.search(ctx, t, 1)
}

// search is SequenceSince, or up to within-1 before it. What comes with an error
// lies before it too, but by any number; 0 is not known at all.
func (r *Reader) search(ctx context.Context, t time.Time, within uint64) (uint64, error) {
	info, err := r.State(ctx)
	if err != nil {
		return 0, err
	}
	s := &info.State
	first := max(s.FirstSeq, 1)
	if s.Msgs == 0 || !s.FirstTime.Before(t) {
		return first, nil
	}
	low, bound := dated{first - 1, s.FirstTime}, dated{s.LastSeq + 1, s.LastTime}
	return firstSince(t, low, bound, within, func(sequence uint64) (dated, error) {
		wait, cancel := context.WithTimeout(ctx, r.patience)
		defer cancel()
		m, err := r.stream.GetMsg(wait, sequence, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return dated{}, fmt.Errorf("sequence %d: %w", sequence, ErrNotFound)
		}
		if err != nil {
			return dated{}, r.explain(ctx, "the message after a time", err)
		}
		return dated{m.Sequence, m.Time}, nil
	})
}

// A dated sequence: where a message is, and when the server stored it.
type dated struct {
	sequence uint64
	stored   time.Time
}

// firstSince searches between low and bound, whose times are only guessed with.
// from finds the first message at a sequence or after it, or ErrNotFound.
//
// What comes out needs no order of the times: low only ever moves to a message
// that was stored before t. Nothing follows from bound but where to look.
func firstSince(t time.Time, low, bound dated, within uint64, from func(uint64) (dated, error)) (uint64, error) {
	for turn := 0; bound.sequence-low.sequence > within; turn++ {
		at := aim(t, low, bound, turn)
		m, err := from(at)
		switch {
		case err != nil && !errors.Is(err, ErrNotFound):
			return low.sequence + 1, err
		case err != nil || m.sequence >= bound.sequence:
			bound.sequence = at
		case m.stored.Before(t):
			low = m
		default:
			bound = dated{at, m.stored}
		}
	}
	return low.sequence + 1, nil
}

// aim is the sequence to look at next. Messages come more or less evenly: one
// look on either side of the guess mostly leaves little between, and halving
// bounds the rest.
func aim(t time.Time, low, bound dated, turn int) uint64 {
	width := bound.sequence - low.sequence // at least 2
	at := low.sequence + width/2
	whole := bound.stored.Sub(low.stored)
	if turn %= 3; turn == 2 || width <= near || whole <= 0 {
		return at
	}
	share := min(max(float64(t.Sub(low.stored))/float64(whole), 0), 1)
	guess := share*float64(width) + float64(turn*near) - near/2
	return low.sequence + uint64(min(max(guess, 1), float64(width-1)))
}
