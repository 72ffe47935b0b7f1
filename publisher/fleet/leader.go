package fleet

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/leader"
)

// leaderGet asks the stream's leader for a message, nil if there is none.
func leaderGet(ctx context.Context, nc *nats.Conn, timeout time.Duration, stream string, query map[string]any) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return leader.Message(ctx, nc, stream, query)
}

// defaults fills in what a configuration may leave out.
func defaults(timeout *time.Duration, log **slog.Logger) {
	if *timeout == 0 {
		*timeout = 5 * time.Second
	}
	if *log == nil {
		*log = slog.New(slog.DiscardHandler)
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
