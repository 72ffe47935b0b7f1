package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A Puller takes turns, one at a time. It is not safe for concurrent use.
type Puller struct{ q *Queue }

const (
	// pullFor is how long one request for a turn stands, and pullBeat how often the
	// server says that it does: one that a server lost is made again after two.
	pullFor  = 10 * time.Second
	pullBeat = 2 * time.Second
	// askRest is how far apart two requests are at least.
	askRest = 100 * time.Millisecond
	// look is how often a Puller looks at the clock while it waits.
	look = time.Second
)

// Puller returns one that asks for turns while Next is called.
func (q *Queue) Puller() *Puller { return &Puller{q} }

// Next waits for a turn. After an error it may be called again.
//
// Each request has an inbox of its own: of two under one, which a change of the
// consumer's leader leaves, the second turn would grow old where nobody looks.
func (p *Puller) Next(ctx context.Context) (*Turn, error) {
	m, taken, err := p.wait(ctx)
	if err != nil {
		return nil, fmt.Errorf("fleet: wait for a turn: %w", err)
	}
	t := &Turn{Taken: taken, msg: m, conn: p.q.cfg.Conn}
	t.Watchlist = strings.TrimPrefix(m.Subject(), p.q.turnSubject(""))
	if meta, err := m.Metadata(); err == nil {
		t.Retaken, t.place = meta.NumDelivered > 1, meta.Sequence.Stream
	}
	if err := json.Unmarshal(m.Data(), &t.Schedule); err != nil {
		// Its reading is still due.
		p.q.cfg.Logger.Warn("unreadable turn", "watchlist", t.Watchlist, "err", err)
	}
	return t, nil
}

func (p *Puller) wait(ctx context.Context) (jetstream.Msg, time.Time, error) {
	for {
		began := time.Now()
		m, taken, err := p.ask(ctx)
		if m != nil || err != nil {
			return m, taken, err
		}
		if rest := askRest - time.Since(began); rest > 0 {
			// The server refused without a reason; nothing is gained by asking faster.
			pause(ctx, rest)
			if ctx.Err() != nil {
				return nil, taken, ctx.Err()
			}
		}
	}
}

// ask makes one request, which may bring nothing. With a turn it returns a time at
// which the server had not given it out yet. A process that is stopped for a while
// finds a turn that was lost long ago, and no clock of its own says when it came;
// so it looks at the clock while it waits.
func (p *Puller) ask(ctx context.Context) (jetstream.Msg, time.Time, error) {
	asking, end := context.WithTimeout(context.WithoutCancel(ctx), pullFor)
	defer end()
	before := time.Now()
	began := before
	batch, err := (*p.q.consumer.Load()).Fetch(1, jetstream.FetchHeartbeat(pullBeat), jetstream.FetchContext(asking))
	if err != nil {
		return nil, before, err
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.giveUp(batch)
			return nil, before, ctx.Err()
		case <-tick.C:
			// Of a time that it stood still, a ticker may tell twice in a row.
			if now := time.Now(); now.Sub(began) >= look/2 {
				before, began = began, now
			}
		case m, ok := <-batch.Messages():
			if ok {
				return m, before, nil
			}
			return nil, before, batch.Error()
		}
	}
}

// lastLook is how long a turn that is on its way is waited for.
const lastLook = 20 * time.Millisecond

// giveUp hands back what has come meanwhile. What comes even later is somebody
// else's after AckWait.
func (p *Puller) giveUp(batch jetstream.MessageBatch) {
	wait := time.NewTimer(lastLook)
	defer wait.Stop()
	select {
	case <-wait.C:
	case m, ok := <-batch.Messages():
		if !ok {
			return
		}
		if err := m.Nak(); err != nil {
			p.q.cfg.Logger.Debug("turn comes again", "subject", m.Subject(), "err", err)
		}
	}
}
