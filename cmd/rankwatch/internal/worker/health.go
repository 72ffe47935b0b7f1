package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// Source is what was called and how the token is.
func (w *Worker) Source() fastmoss.Stats { return w.client.Stats() }

// Bus is what was published and how the connection is.
func (w *Worker) Bus() publisher.Stats { return w.publisher.Stats() }

// Outbox is what waits for the bus.
func (w *Worker) Outbox() state.Depth { return w.db.Backlog() }

// StateSize is the size of the state file in bytes, -1 when it cannot be used.
func (w *Worker) StateSize() int64 { return w.db.Size() }

// proofTime is how long a proof that the state can be written is believed, since
// each one waits for the disk.
const proofTime = 5 * time.Second

// proof remembers the last trial.
type proof struct {
	mu   sync.Mutex
	at   time.Time
	said error
}

// Ready says what a worker needs and has not: a bus that takes messages, a state
// that can be written. Nil says that it has both. The words are for anybody.
func (w *Worker) Ready(context.Context) error {
	var missing []error
	switch s := w.publisher.Stats(); {
	case !s.Connected:
		missing = append(missing, errors.New("bus: not connected to the NATS server"))
	case s.StorageBlocked:
		missing = append(missing, errors.New("bus: no room on its disk"))
	case !s.Ready:
		missing = append(missing, errors.New("bus: the stream is not set up yet"))
	}
	w.proof.mu.Lock()
	defer w.proof.mu.Unlock()
	if time.Since(w.proof.at) >= proofTime {
		w.proof.said = w.db.Writable()
		w.proof.at = time.Now()
	}
	if w.proof.said != nil {
		missing = append(missing, fmt.Errorf("state: %w", w.proof.said))
	}
	return errors.Join(missing...)
}
