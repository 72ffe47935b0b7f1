package history

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// First returns the oldest message that the stream holds, or ErrNotFound.
func (r *Reader) First(ctx context.Context) (*Message, error) {
	m, err := r.stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(event.Filter(event.Subject{Prefix: r.prefix})))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("first message: %w", ErrNotFound)
	}
	if err != nil {
		return nil, r.explain(ctx, "first message", err)
	}
	return &Message{Subject: m.Subject, Sequence: m.Sequence, Stored: m.Time, Data: m.Data}, nil
}

// Whole says that nothing of what was published before m, the oldest message,
// has gone. A watchlist's head is stored before its first board, and replaced
// by the next one.
func Whole(m *Message) bool { return m.Sequence <= 2 }
