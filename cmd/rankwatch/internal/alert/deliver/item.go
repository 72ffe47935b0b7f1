package deliver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// ErrExpired means that a reading's events are past the retention, while its
// board is still there.
var ErrExpired = errors.New("its events are past the retention")

// A BadMessageError is a stored message that cannot be read as what it should be.
type BadMessageError struct {
	Sequence uint64
	Err      error
}

// Error names the sequence and the cause.
func (e *BadMessageError) Error() string { return fmt.Sprintf("sequence %d: %v", e.Sequence, e.Err) }

// Unwrap returns the cause.
func (e *BadMessageError) Unwrap() error { return e.Err }

// A Want says which events of a board are of interest; nil is all.
type Want func(region, watchlist string, kind event.Kind) bool

// Item makes an item of a board, with those of its reading's events that are
// wanted, or of a status. Of a reading that is not whole any more it returns the
// board, and ErrExpired.
func Item(ctx context.Context, r *history.Reader, m *history.Message, want Want) (digest.Item, error) {
	s, err := event.ParseSubject(r.Prefix(), m.Subject)
	if err != nil {
		return digest.Item{}, &BadMessageError{m.Sequence, err}
	}
	if s.Kind == event.Status {
		var e event.Envelope[event.Condition]
		if err := json.Unmarshal(m.Data, &e); err != nil {
			return digest.Item{}, &BadMessageError{m.Sequence, err}
		}
		return digest.Item{Notice: &digest.Notice{ID: e.ID, Sequence: m.Sequence, At: m.Time(), Condition: e.Data}}, nil
	}
	head, err := m.Head()
	if err != nil {
		return digest.Item{}, &BadMessageError{m.Sequence, err}
	}
	reading := &digest.Reading{ID: strings.TrimSuffix(m.ID(), "/"+string(event.Board)), Sequence: m.Sequence, At: m.Time(), Board: *head}
	it := digest.Item{Reading: reading}
	if !of(head, want) {
		return it, nil
	}
	events, err := r.Reading(ctx, m)
	if errors.Is(err, history.ErrNotFound) {
		return it, fmt.Errorf("%s: %w", reading.ID, ErrExpired)
	}
	if err != nil {
		return digest.Item{}, err
	}
	reading.Changes = make([]text.Change, 0, len(events))
	for i := range events {
		e, err := event.ParseSubject(r.Prefix(), events[i].Subject)
		if err != nil {
			return digest.Item{}, &BadMessageError{events[i].Sequence, err}
		}
		if want != nil && !want(e.Region, e.Watchlist, e.Kind) {
			continue
		}
		var decoded event.Envelope[event.Change]
		if err := json.Unmarshal(events[i].Data, &decoded); err != nil {
			return digest.Item{}, &BadMessageError{events[i].Sequence, err}
		}
		reading.Changes = append(reading.Changes, text.Change{Kind: e.Kind, Change: decoded.Data})
	}
	return it, nil
}

// of says that a reading has events that are wanted.
func of(head *event.Snapshot, want Want) bool {
	for kind, n := range map[event.Kind]int{
		event.Entered: head.Counts.Entered, event.Moved: head.Counts.Moved, event.Dropped: head.Counts.Dropped, event.Index: head.Counts.Index,
	} {
		if n > 0 && (want == nil || want(head.Region, head.Watchlist, kind)) {
			return true
		}
	}
	return false
}

// wants is what a match says of region, watchlist and kind alone.
func wants(m *digest.Match) Want {
	coarse := digest.Route{Match: digest.Match{Regions: m.Regions, Watchlists: m.Watchlists, Kinds: m.Kinds}}
	return func(region, watchlist string, kind event.Kind) bool {
		return coarse.Change(&text.Change{Kind: kind, Change: event.Change{Region: region, Watchlist: watchlist}}, nil, zero).Taken
	}
}
