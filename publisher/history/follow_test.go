package history

import (
	"context"
	"errors"
	"testing"
	"time"
)

var errSeen = errors.New("seen")

// A stream that was deleted and made anew may have overtaken the cursor before
// anybody looks again: its sequences mean other messages.
func TestACursorIsOfOneStream(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	at := time.Date(2026, 4, 14, 17, 0, 0, 0, time.UTC)
	fill := func(n int) {
		for i := range n {
			b.status("us", at.Add(time.Duration(i)*time.Second))
		}
	}
	fill(3)
	r := b.reader()
	var c Cursor
	until := func(sequence uint64) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return r.Follow(ctx, &c, func(m *Message) error {
			if m.Sequence == sequence {
				return errSeen
			}
			return nil
		})
	}
	if err := until(3); !errors.Is(err, errSeen) || c.Sequence != 2 || c.Created.IsZero() {
		t.Fatalf("%v, at %+v; want before the message that was refused", err, c)
	}
	if err := until(3); !errors.Is(err, errSeen) {
		t.Fatalf("going on: %v", err)
	}
	s := must(b.js.Stream(t.Context(), streamName))
	config := s.CachedInfo().Config
	if err := b.js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	must(b.js.CreateStream(t.Context(), config))
	fill(10)
	if err := until(5); !errors.Is(err, ErrWentBack) {
		t.Errorf("another stream, further than the cursor: %v", err)
	}
}
