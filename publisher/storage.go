package publisher

import (
	"context"
	"fmt"
	"time"
)

// maxTimeouts is how many in a row the embedded server may have before it is
// taken for dead.
const maxTimeouts = 2

// roomCheck is how often a full disk is looked at.
const roomCheck = time.Second

// room returns when there is room on the embedded server's disk, which it waits
// for. A server that runs out of room in the middle of a batch shows half of it
// until it is restarted; the reserve is there so that this stays the exception.
func (p *Publisher) room(ctx context.Context) error {
	if p.server == nil {
		return nil
	}
	free, err := p.free(p.cfg.Server.StoreDir)
	if err != nil || free >= p.cfg.Reserve {
		return nil //nolint:nilerr // without a figure, the server's errors tell
	}
	return p.awaitRoom(ctx, free)
}

// stuck says whether time-outs look like the embedded server's disk: with
// little room at once, otherwise when they repeat, since a server whose write
// failed answers no more, also when there is room again.
func (p *Publisher) stuck() bool {
	if p.server == nil {
		return false
	}
	free, err := p.free(p.cfg.Server.StoreDir)
	return p.timeouts > maxTimeouts || err == nil && free < p.cfg.Reserve
}

// storage answers a storage error. An external server's disk is its operator's;
// the embedded one needs a restart to complete what it had begun.
func (p *Publisher) storage(ctx context.Context, r *refusal) error {
	p.lost.Store(true)
	if p.server == nil {
		p.block("the NATS server is out of storage; publishing goes on when it has room", "err", r.err)
		return r
	}
	free, err := p.free(p.cfg.Server.StoreDir)
	if err == nil && free < p.cfg.Reserve {
		if err := p.awaitRoom(ctx, free); err != nil {
			return err
		}
	}
	p.log.Warn("restarting the embedded nats server after a storage error", "err", r.err)
	if err := p.server.Restart(); err != nil {
		p.restart = true
		return fmt.Errorf("publisher: restart embedded server: %w", err)
	}
	p.timeouts = 0
	return r
}

// block says once that nothing can be published.
func (p *Publisher) block(msg string, attrs ...any) {
	var again bool
	p.stats.update(func(s *Stats) { again, s.StorageBlocked = s.StorageBlocked, true })
	if !again {
		p.log.Error(msg, attrs...)
	}
}

func (p *Publisher) unblock() {
	var was bool
	p.stats.update(func(s *Stats) { was, s.StorageBlocked = s.StorageBlocked, false })
	if was {
		p.log.Info("there is room again, publishing goes on")
	}
}

func (p *Publisher) awaitRoom(ctx context.Context, free int64) error {
	dir := p.cfg.Server.StoreDir
	p.block("disk full: publishing stops until there is room; readings wait in the outbox", "dir", dir, "free", free, "need", p.cfg.Reserve)
	tick := time.NewTicker(roomCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("publisher: waiting for room: %w", ctx.Err())
		case <-tick.C:
		}
		if free, err := p.free(dir); err == nil && free >= p.cfg.Reserve {
			return nil
		}
	}
}
