// Package feed sends what the stream takes in to whoever listens over HTTP, as
// server-sent events.
//
// A client that comes back with the id of the last event it got misses none and
// gets none twice, whatever was cut: the ids are the stream's own, and what is
// not at hand any more is read from the stream again.
//
// All clients share one consumer, which exists only while there are clients.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/rankwatch/rankwatch/publisher/history"
)

// A Config holds what a feed reads from, and its limits; those that are zero have
// a default.
type Config struct {
	Reader func(ctx context.Context) (*history.Reader, error)
	Logger *slog.Logger

	Clients   int           // at once; default 1000
	Ring      int           // bytes of the newest messages that are kept at hand; default 8 MiB
	Heartbeat time.Duration // default 15 s
	Write     time.Duration // how long a client may take for one write; default 10 s
}

// A Feed is an http.Handler.
type Feed struct {
	cfg Config
	// reads are those clients that are reading from the stream what they missed,
	// and slots those that hold what they read.
	reads, slots chan struct{}

	mu      sync.Mutex
	clients int
	source  *source // while there are clients
}

const (
	maxReads = 4
	maxSlots = 64
	// slotBytes is about what a client reads from the stream at once.
	slotBytes = 128 << 10
)

// New returns a feed that does nothing until somebody listens.
func New(cfg Config) *Feed {
	if cfg.Clients == 0 {
		cfg.Clients = 1000
	}
	if cfg.Ring == 0 {
		cfg.Ring = 8 << 20
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.Write == 0 {
		cfg.Write = 10 * time.Second
	}
	return &Feed{cfg: cfg, reads: make(chan struct{}, maxReads), slots: make(chan struct{}, maxSlots)}
}

// A source fills a ring from the stream until it is stopped.
type source struct {
	ring *ring
	stop context.CancelFunc
	done chan struct{}
}

// join counts a client in, and starts the source for the first one: it begins
// after the sequence at which the stream stands. It returns nil if there are too
// many clients.
func (f *Feed) join(last uint64) *ring {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clients >= f.cfg.Clients {
		return nil
	}
	f.clients++
	if f.source == nil {
		ctx, cancel := context.WithCancel(context.Background())
		s := &source{ring: newRing(last+1, f.cfg.Ring), stop: cancel, done: make(chan struct{})}
		go func() {
			defer close(s.done)
			f.fill(ctx, s.ring, history.Cursor{Sequence: last})
		}()
		f.source = s
	}
	return f.source.ring
}

// leave counts a client out; the last one ends the source and waits for it.
func (f *Feed) leave() {
	f.mu.Lock()
	f.clients--
	var s *source
	if f.clients == 0 {
		s, f.source = f.source, nil
	}
	f.mu.Unlock()
	if s != nil {
		s.stop()
		<-s.done
	}
}

// retryWait is the pause before the stream is asked for again.
const retryWait = time.Second

// fill follows the stream until ctx ends. That it went back is told to the clients
// before anything of the new one, however long it takes to find where that stands.
func (f *Feed) fill(ctx context.Context, r *ring, at history.Cursor) {
	back := false
	for ctx.Err() == nil {
		var err error
		if back {
			err = f.restart(ctx, r, &at)
		} else {
			err = f.follow(ctx, r, &at)
		}
		back = errors.Is(err, history.ErrWentBack) || back && err != nil
		if err == nil || errors.Is(err, history.ErrWentBack) || ctx.Err() != nil {
			continue
		}
		f.cfg.Logger.Warn("the stream cannot be followed for now", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryWait):
		}
	}
}

func (f *Feed) follow(ctx context.Context, r *ring, at *history.Cursor) error {
	h, err := f.cfg.Reader(ctx)
	if err != nil {
		return err
	}
	return h.Follow(ctx, at, func(m *history.Message) error {
		if it := f.item(h.Prefix(), m); it != nil {
			r.add(it)
		}
		return nil
	})
}

// item is nil for a message that is not sent: nobody can mend one that cannot be
// read, so whoever waited for it would wait for ever.
func (f *Feed) item(prefix string, m *history.Message) *item {
	it, err := frame(prefix, m)
	if err != nil {
		f.cfg.Logger.Error("a stored message cannot be sent", "err", err)
	}
	return it
}

// restart tells all clients that the stream is not the one that it was.
func (f *Feed) restart(ctx context.Context, r *ring, at *history.Cursor) error {
	h, err := f.cfg.Reader(ctx)
	if err != nil {
		return err
	}
	info, err := h.State(ctx)
	if err != nil {
		return err
	}
	*at = history.Cursor{Sequence: info.State.LastSeq, Created: info.Created}
	r.reset(at.Sequence)
	return nil
}
