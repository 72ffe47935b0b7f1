package worker

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// Source is what was called and how the token is.
func (w *Worker) Source() fastmoss.Stats { return w.client.Stats() }

// Bus is what was published and how the connection is.
func (w *Worker) Bus() publisher.Stats { return w.publisher.Stats() }

// Free is the room on the disk of the data directory in bytes, -1 if unknown.
func (w *Worker) Free() int64 { return w.publisher.Free() }

// Outbox is what waits for the bus.
func (w *Worker) Outbox() state.Depth { return w.db.Backlog() }

// StateSize is the size of the state file in bytes, -1 when it cannot be used.
func (w *Worker) StateSize() int64 { return w.db.Size() }

// proofTime is how long a proof that the state can be written is believed, since
// each one waits for the disk.
const proofTime = 5 * time.Second

// proofWait is how long a probe waits for the disk.
const proofWait = 3 * time.Second

// A proof remembers the last trial, and has one made at a time: on a disk that
// hangs, probes would pile up behind each other.
type proof struct {
	turn chan struct{} // holds one while a trial is under way
	mu   sync.Mutex
	at   time.Time
	said error
}

var (
	errSlow      = errors.New("state: the disk does not answer in time")
	errUnwritten = errors.New("state: its file cannot be written; the log says why")
)

func newProof() *proof { return &proof{turn: make(chan struct{}, 1)} }

// of is what try said within proofTime, or says now. It does not outlast ctx; a
// trial that does goes on, and the next one waits for it.
func (p *proof) of(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, proofWait)
	defer cancel()
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return errSlow
	}
	if said, known := p.last(); known {
		<-p.turn
		return said
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-p.turn }()
		err := try()
		p.mu.Lock()
		p.at, p.said = time.Now(), err
		p.mu.Unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errSlow
	}
}

func (p *proof) last() (said error, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said, !p.at.IsZero() && time.Since(p.at) < proofTime
}

// Ready says what a worker needs and has not: a bus that takes messages, a state
// that can be written. Nil says that it has both. The words are for anybody.
func (w *Worker) Ready(ctx context.Context) error {
	var missing []error
	switch s := w.publisher.Stats(); {
	case !s.Connected:
		missing = append(missing, errors.New("bus: not connected to the NATS server"))
	case s.StorageBlocked:
		missing = append(missing, errors.New("bus: no room on its disk"))
	case !s.Ready:
		missing = append(missing, errors.New("bus: the stream is not set up yet"))
	case stuck(s, w.db.Backlog(), time.Now()):
		missing = append(missing, errors.New("bus: it takes no messages; the log says why"))
	}
	if w.crew != nil && len(missing) == 0 {
		if err := w.crew.Ready(); err != nil {
			missing = append(missing, err)
		}
	}
	if err := w.proof.of(ctx, w.writable); err != nil {
		missing = append(missing, err)
	}
	return errors.Join(missing...)
}

// stuckTime is how long something may wait while publishing fails: a time-out and
// some tries.
const stuckTime = 20 * time.Second

// stuck says that the bus is there and takes nothing.
func stuck(s publisher.Stats, d state.Depth, now time.Time) bool {
	return s.LastError != "" && d.Batches > 0 && now.Sub(d.Oldest) > stuckTime && now.Sub(s.LastPublish) > stuckTime
}

// writable keeps the file's name to the log: anybody may ask.
func (w *Worker) writable() error {
	err := w.db.Writable()
	if err == nil {
		return nil
	}
	w.cfg.Logger.Warn("state cannot be written", "err", err)
	if errors.Is(err, syscall.ENOSPC) {
		return errors.New("state: disk full")
	}
	return errUnwritten
}
