package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
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

// A Want says which events are of interest, before they are decoded; without data,
// whether such events can be at all. A nil Want is all.
type Want func(region, watchlist string, kind event.Kind, data []byte) bool

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
	it, err := itemOf(m)
	if err != nil || count(&it.Reading.Board, want) == 0 {
		return it, err
	}
	reading := it.Reading
	events, err := r.Reading(ctx, m)
	if errors.Is(err, history.ErrNotFound) {
		return it, fmt.Errorf("%s: %w", reading.ID, ErrExpired)
	}
	if err != nil {
		return digest.Item{}, err
	}
	reading.Changes = make([]text.Change, 0, len(events))
	for i := range events {
		if reading.Changes, err = appendChange(reading.Changes, r.Prefix(), &events[i], want); err != nil {
			return digest.Item{}, err
		}
	}
	return it, nil
}

// itemOf makes an item of a board, without events.
func itemOf(m *history.Message) (digest.Item, error) {
	head, err := m.Head()
	if err != nil {
		return digest.Item{}, &BadMessageError{m.Sequence, err}
	}
	return digest.Item{Reading: &digest.Reading{ID: strings.TrimSuffix(m.ID(), "/"+string(event.Board)), Sequence: m.Sequence, At: m.Time(), Board: *head}}, nil
}

// appendChange adds an event, if it is wanted.
func appendChange(to []text.Change, prefix string, m *history.Message, want Want) ([]text.Change, error) {
	s, err := event.ParseSubject(prefix, m.Subject)
	if err != nil {
		return to, &BadMessageError{m.Sequence, err}
	}
	if want != nil && !want(s.Region, s.Watchlist, s.Kind, m.Data) {
		return to, nil
	}
	var e event.Envelope[event.Change]
	if err := json.Unmarshal(m.Data, &e); err != nil {
		return to, &BadMessageError{m.Sequence, err}
	}
	return append(to, text.Change{Kind: s.Kind, Change: e.Data}), nil
}

// count says how many events a reading has of kinds that are wanted.
func count(head *event.Snapshot, want Want) int {
	sum := 0
	for _, kind := range []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index} {
		if want == nil || want(head.Region, head.Watchlist, kind, nil) {
			sum += head.Counts.Of(kind)
		}
	}
	return sum
}

// wants is what a match says of region, watchlist and kind alone, and of how far
// somebody moved: most events need not be decoded.
func wants(m *digest.Match) Want {
	coarse := digest.Route{Match: digest.Match{Regions: m.Regions, Watchlists: m.Watchlists, Kinds: m.Kinds}}
	return func(region, watchlist string, kind event.Kind, data []byte) bool {
		if kind == event.Moved && data != nil && m.MinPlaces > 1 {
			if n, ok := number(data, `"places":`); ok && max(n, -n) < m.MinPlaces {
				return false
			}
		}
		return coarse.Change(&text.Change{Kind: kind, Change: event.Change{Region: region, Watchlist: watchlist}}, nil, zero).Taken
	}
}

// number finds a small whole number by its key without decoding the message. No
// text can hold such a key, since quotes in texts are escaped.
func number(data []byte, key string) (n int, ok bool) {
	at := bytes.Index(data, []byte(key))
	if at < 0 {
		return 0, false
	}
	rest := data[at+len(key):]
	end := 0
	for end < len(rest) && end < 8 && (rest[end] == '-' || rest[end] >= '0' && rest[end] <= '9') {
		end++
	}
	n, err := strconv.Atoi(string(rest[:end]))
	return n, err == nil
}
