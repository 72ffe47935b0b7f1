package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// errAway means that there is no connection.
var errAway = errors.New("publisher: not connected")

// A delay holds back one chain while the others go on.
type delay struct {
	until time.Time
	tries int
	next  *backoff.ExponentialBackOff
}

// hopeless is after how many tries alone the watchlist's other chain need not
// wait for this one any longer: it may have to say what is wrong.
const hopeless = 4

// Run publishes until ctx ends: then it finishes the batch under way, spends
// up to Config.Drain on what still waits, and closes everything. It returns nil
// then, and a ConfigError if the server was reached only later and cannot be
// used.
func (p *Publisher) Run(ctx context.Context) error {
	defer p.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { p.tidy(inner) })
	for ctx.Err() == nil {
		err := p.cycle(ctx)
		var bad *ConfigError
		if errors.As(err, &bad) {
			return err
		}
		p.pause(ctx, err)
	}
	p.finish(ctx)
	return nil
}

// cycle publishes all that waits and may go.
func (p *Publisher) cycle(ctx context.Context) error {
	if p.restart {
		if err := p.server.Restart(); err != nil {
			return fmt.Errorf("publisher: restart embedded server: %w", err)
		}
		p.restart = false
	}
	if !p.nc.IsConnected() {
		return errAway
	}
	live, cancel := p.tied(ctx)
	defer cancel()
	for ctx.Err() == nil {
		if err := p.agree(live); err != nil {
			return err
		}
		more, err := p.drain(ctx)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// agree brings the outbox in line with the stream where that is in doubt.
func (p *Publisher) agree(ctx context.Context) error {
	for p.lost.Load() {
		p.lost.Store(false)
		err := p.setup(ctx)
		if err == nil {
			err = p.recover(ctx)
		}
		var bad *ConfigError
		if errors.As(err, &bad) && p.started {
			// It worked before: somebody is changing the server. Not a reason
			// to stop watching.
			err = errors.New(bad.Error())
		}
		if err != nil {
			p.lost.Store(true)
			return err
		}
	}
	return p.clear(ctx)
}

// clear settles the chains that were refused. If none of them explains it, each
// is tried alone, and then after a while.
func (p *Publisher) clear(ctx context.Context) error {
	if len(p.suspects) == 0 {
		return nil
	}
	waits, err := p.waiting()
	if err != nil {
		return err
	}
	var same []event.Chain
	explained := false
	for c := range p.suspects {
		if p.blocked[c.Watchlist] && c.Kind == event.Board {
			delete(p.suspects, c)
			continue
		}
		did, err := p.settle(ctx, c, waits[c])
		if err != nil {
			return err
		}
		delete(p.suspects, c)
		if did == stay {
			same = append(same, c)
		} else {
			explained = true
		}
	}
	for _, c := range same {
		if p.solo[c] {
			p.hold(c)
		} else if !explained {
			p.solo[c] = true
		}
	}
	return nil
}

// hold makes a chain wait that was refused alone, for no reason that the
// stream shows.
func (p *Publisher) hold(c event.Chain) {
	d := p.delayed[c]
	if d == nil {
		d = &delay{next: newBackoff()}
		p.delayed[c] = d
	}
	d.tries++
	d.until = time.Now().Add(d.next.NextBackOff())
}

// pause waits for something to do: after an error for a while, or for the
// connection.
func (p *Publisher) pause(ctx context.Context, err error) {
	var wait time.Duration = -1
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errAway) {
			p.log.Warn("publishing failed, trying again", "err", err)
		}
		wait = p.backoff.NextBackOff()
	} else {
		p.backoff.Reset()
		for _, d := range p.delayed {
			if left := max(time.Until(d.until), 0); wait < 0 || left < wait {
				wait = left
			}
		}
	}
	var timer <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer:
			return
		case <-p.notify:
			// While things fail, news from the watcher is no reason to hurry.
			if err == nil || p.lost.Load() && p.nc.IsConnected() {
				return
			}
		}
	}
}

// finish publishes what still waits, for a bounded time.
func (p *Publisher) finish(ctx context.Context) {
	if p.cfg.Drain < 0 || !p.started || !p.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.Drain)
	defer cancel()
	if err := p.cycle(ctx); err != nil && ctx.Err() == nil {
		p.log.Warn("not all could be published before the end", "err", err)
	}
	infos, err := p.outbox.Queue(0)
	if err != nil {
		p.log.Warn("outbox unreadable at the end", "err", err)
	} else if len(infos) > 0 {
		p.log.Info("batches wait for the next start", "batches", len(infos))
	}
}

// cut makes a context for one publish. The end of ctx does not break it off,
// since a publish whose outcome nobody reads costs a recovery; only a deadline
// of ctx does, and the loss of the connection.
func (p *Publisher) cut(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(2 * p.cfg.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	tied, untie := p.tied(ctx)
	return tied, func() {
		untie()
		cancel()
	}
}
