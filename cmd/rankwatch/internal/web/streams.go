package web

import (
	"context"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/history"
)

// streams opens the stream's history when it is first asked for: the bus may be
// away when the server begins.
type streams struct {
	conn           *nats.Conn
	stream, prefix string

	turn chan struct{} // to open it
	open atomic.Pointer[history.Reader]
}

func newStreams(conn *nats.Conn, stream, prefix string) *streams {
	return &streams{conn: conn, stream: stream, prefix: prefix, turn: make(chan struct{}, 1)}
}

// reader fails at once while the bus is away. Nobody waits beyond ctx for others
// that try to open the stream.
func (s *streams) reader(ctx context.Context) (*history.Reader, error) {
	if !s.conn.IsConnected() {
		return nil, history.ErrGone
	}
	if r := s.open.Load(); r != nil {
		return r, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r := s.open.Load(); r != nil {
		return r, nil
	}
	r, err := history.Open(ctx, s.conn, s.stream, s.prefix)
	if err == nil {
		s.open.Store(r)
	}
	return r, err
}
