package web

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/history"
)

// streams opens the stream's history when it is first asked for: the bus may be
// away when the server begins.
type streams struct {
	conn           *nats.Conn
	stream, prefix string

	mu   sync.Mutex
	open *history.Reader
}

// reader fails at once while the bus is away.
func (s *streams) reader(ctx context.Context) (*history.Reader, error) {
	if !s.conn.IsConnected() {
		return nil, history.ErrGone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		return s.open, nil
	}
	r, err := history.Open(ctx, s.conn, s.stream, s.prefix)
	if err == nil {
		s.open = r
	}
	return r, err
}
