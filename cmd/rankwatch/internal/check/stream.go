package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher"
)

// A lookup reads a worker's stream, and only reads.
type lookup struct {
	stream jetstream.Stream
	prefix string
	name   string // of the watchlist
}

// fromStream reads what the stream says of a watchlist: its head, which holds
// all that the next comparison needs, and the number of its last board.
func fromStream(ctx context.Context, s settings.Settings, name string) (known, error) {
	ctx, cancel := context.WithTimeout(ctx, busWait)
	defer cancel()
	nc, err := dial(s)
	if err != nil {
		return known{}, err
	}
	k, err := load(ctx, nc, s, name)
	if err != nil {
		nc.Close()
		return known{}, err
	}
	k.close = func() error { nc.Close(); return nil }
	return k, nil
}

func load(ctx context.Context, nc *nats.Conn, s settings.Settings, name string) (known, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return known{}, err
	}
	stream, err := js.Stream(ctx, s.Stream)
	if err != nil {
		return known{}, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	l := lookup{stream: stream, prefix: s.Prefix, name: name}
	loaded, err := l.head(ctx)
	if err != nil {
		return known{}, err
	}
	if !loaded.Known {
		return first("stream " + s.Stream + " has no board of it"), nil
	}
	return known{
		loaded: loaded, departed: l.departed,
		note: fmt.Sprintf("compared with revision %d of stream %s", loaded.Revision, s.Stream),
	}, nil
}

// head returns what the next comparison needs; Known is false if the stream
// has no board of the watchlist.
func (l lookup) head(ctx context.Context) (watcher.Loaded, error) {
	head, err := l.last(ctx, publisher.HeadSubject(l.prefix, l.name))
	if err != nil || head == nil {
		return watcher.Loaded{}, err
	}
	board, err := l.last(ctx, event.Filter(event.Subject{Prefix: l.prefix, Watchlist: l.name, Kind: event.Board}))
	if err != nil || board == nil {
		return watcher.Loaded{}, err
	}
	e, err := event.Decode[event.Snapshot](board.Data)
	if err != nil {
		return watcher.Loaded{}, err
	}
	tracked, err := event.UnpackTracked(head.Data)
	if err != nil {
		return watcher.Loaded{}, err
	}
	_, lineage, ok := event.ParseReadingID(e.ID)
	if !ok {
		lineage = 1
	}
	return watcher.Loaded{Tracked: tracked, Known: true, Version: 1, Revision: e.Data.Revision, Lineage: lineage}, nil
}

// departed finds who of uids dropped out within the stream's memory.
func (l lookup) departed(uids []string) (map[string]watcher.Departure, error) {
	ctx, cancel := context.WithTimeout(context.Background(), busWait)
	defer cancel()
	found := map[string]watcher.Departure{}
	for _, uid := range uids {
		m, err := l.last(ctx, event.Filter(event.Subject{Prefix: l.prefix, Watchlist: l.name, Kind: event.Dropped, UID: uid}))
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		e, err := event.Decode[event.Change](m.Data)
		if err != nil {
			return nil, err
		}
		d := watcher.Departure{UID: uid, At: m.Time, PeakRank: e.Data.History.PeakRank}
		if d.FirstSeen, err = time.Parse(time.RFC3339, e.Data.History.FirstSeen); err != nil {
			return nil, fmt.Errorf("history of %s: %w", uid, err)
		}
		found[uid] = d
	}
	return found, nil
}

// last returns the newest message that matches, nil if there is none.
func (l lookup) last(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	m, err := l.stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("last message on %s: %w", subject, err)
	}
	return m, nil
}

// dial connects to the bus that the settings name: an external one, or the
// listener of a running worker.
func dial(s settings.Settings) (*nats.Conn, error) {
	c := bus.ServerConfig(s)
	if s.NATS.Embedded() {
		at, err := bus.URL(s)
		if err != nil {
			return nil, err
		}
		c = publisher.ServerConfig{URL: at}
	}
	return publisher.Dial(c, "rankwatch check")
}
