package publisher

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// lookahead is how many waiting batches are considered for one group.
const lookahead = 1024

// drain publishes one group. More says that another may be due.
func (p *Publisher) drain(ctx context.Context) (more bool, err error) {
	group, err := p.next()
	if err != nil || len(group) == 0 {
		return false, err
	}
	if err := p.room(ctx); err != nil {
		return false, err
	}
	if p.long(group[0]) {
		err = p.publishLong(ctx, group[0])
	} else {
		err = p.publishGroup(ctx, group)
	}
	var r *refusal
	if errors.As(err, &r) {
		return true, p.refused(ctx, r, group)
	}
	if err != nil {
		return false, err
	}
	p.timeouts = 0
	p.unblock()
	for _, i := range group {
		delete(p.solo, i.Chain)
		delete(p.delayed, i.Chain)
		delete(p.torn, i.Chain)
	}
	return true, nil
}

// next picks what goes out together: the first batch of each chain, as much as
// the server takes at once.
func (p *Publisher) next() ([]state.Info, error) {
	for limit := lookahead; ; limit *= 8 {
		infos, err := p.outbox.Queue(limit)
		if err != nil {
			return nil, fmt.Errorf("publisher: outbox: %w", err)
		}
		if g := p.pick(infos); len(g) > 0 || len(infos) < limit {
			return g, nil
		}
	}
}

// pick keeps a watchlist's boards and statuses in their order, so whatever
// follows what cannot go yet waits too; only a chain that was held back several
// times lets the other one pass.
func (p *Publisher) pick(infos []state.Info) []state.Info {
	now := time.Now()
	var group []state.Info
	var messages, size int
	taken := make(map[event.Chain]bool)
	closed := make(map[string]bool) // watchlists with something that stays behind
	for _, i := range infos {
		if closed[i.Chain.Watchlist] {
			continue
		}
		if d := p.delayed[i.Chain]; d != nil && now.Before(d.until) {
			closed[i.Chain.Watchlist] = d.tries < hopeless
			continue
		}
		if taken[i.Chain] {
			closed[i.Chain.Watchlist] = true
			continue
		}
		if p.solo[i.Chain] || p.long(i) {
			if len(group) == 0 {
				return []state.Info{i}
			}
			closed[i.Chain.Watchlist] = true
			continue
		}
		if len(group) > 0 && (messages+i.Messages > p.limit || size+i.Bytes > maxGroup) {
			break
		}
		taken[i.Chain] = true
		group = append(group, i)
		messages += i.Messages
		size += i.Bytes
	}
	return group
}

// long says whether a batch goes out by parts.
func (p *Publisher) long(i state.Info) bool {
	return i.Messages > min(p.limit, defaultBatch) || p.torn[i.Chain]
}

// A refusal is a publish that did not succeed, as far as the server said.
type refusal struct {
	why reason
	err error
}

func (r *refusal) Error() string { return fmt.Sprintf("publisher: %s: %v", r.why, r.err) }
func (r *refusal) Unwrap() error { return r.err }

type reason string

const (
	reasonFence    reason = "fence"
	reasonBusy     reason = "busy"
	reasonTooLarge reason = "too_large"
	reasonStorage  reason = "storage"
	reasonTimeout  reason = "timeout"
	reasonAway     reason = "away"
	reasonOther    reason = "other"
)

// RefusalReasons are the keys that Stats.Refusals can have.
func RefusalReasons() []string {
	var all []string
	for _, r := range []reason{reasonFence, reasonBusy, reasonTooLarge, reasonStorage, reasonTimeout, reasonAway, reasonOther} {
		all = append(all, string(r))
	}
	return all
}

// Codes of the server that nats.go does not name.
const (
	codeInsufficient   jetstream.ErrorCode = 10023
	codeStorageLimit   jetstream.ErrorCode = 10047
	codeStoreFailed    jetstream.ErrorCode = 10077
	codeNoCluster      jetstream.ErrorCode = 10008
	codeTooLarge       jetstream.ErrorCode = 10199
	codeInflight       jetstream.ErrorCode = 10210
	codeIncomplete     jetstream.ErrorCode = 10176
	codeTooManyRequest                     = 429
)

// classify sorts errors by what may be tried next. It never says whether the
// batch is stored.
func classify(err error) reason {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence:
			return reasonFence
		case jetstream.JSErrCodeStreamWrongLastSequenceConstant, codeInflight, codeNoCluster, codeIncomplete:
			return reasonBusy
		case codeTooLarge:
			return reasonTooLarge
		case codeInsufficient, codeStorageLimit, codeStoreFailed:
			return reasonStorage
		}
		if api.Code == codeTooManyRequest {
			return reasonBusy
		}
		return reasonOther
	}
	switch {
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return reasonTimeout
	case errors.Is(err, nats.ErrMaxPayload):
		return reasonOther
	}
	return reasonAway
}

// transmit sends one atomic batch and counts it.
func (p *Publisher) transmit(ctx context.Context, msgs []*nats.Msg) (*jetstreamext.BatchAck, error) {
	ctx, cancel := p.cut(ctx)
	defer cancel()
	start := time.Now()
	a, err := p.send(ctx, msgs)
	if err != nil {
		r := &refusal{classify(err), err}
		p.stats.refused(string(r.why), err)
		return nil, r
	}
	p.cfg.AfterCommit()
	p.stats.update(func(s *Stats) {
		s.Groups++
		s.LastPublish, s.LastError = time.Now(), ""
		s.Latency.add(s.LastPublish.Sub(start))
		for _, m := range msgs {
			s.Bytes += uint64(len(m.Data))
		}
		s.Messages += uint64(len(msgs))
	})
	return a, nil
}

func (p *Publisher) publishGroup(ctx context.Context, group []state.Info) error {
	msgs, parts, err := p.assemble(group)
	if err != nil {
		return err
	}
	p.spans(ctx, parts)
	a, err := p.transmit(ctx, msgs)
	if err != nil {
		endSpans(parts, 0, err)
		return err
	}
	endSpans(parts, firstOf(a), nil)
	return p.acknowledge(acks(parts, a)...)
}

// acknowledge records what the stream holds. Should that fail, the batches go
// out again, the fence refuses them, and they are found delivered.
func (p *Publisher) acknowledge(acks ...state.Ack) error {
	if err := p.outbox.Acknowledge(acks...); err != nil {
		for _, a := range acks {
			p.suspects[a.Chain] = true
		}
		if errors.Is(err, syscall.ENOSPC) {
			p.block("disk full: what was published cannot be recorded; publishing goes on when there is room", "err", err)
		}
		return fmt.Errorf("publisher: acknowledge: %w", err)
	}
	p.stats.update(func(s *Stats) { s.Batches += uint64(len(acks)) })
	p.flow.ring()
	return nil
}

// refused prepares the next attempt. All chains of the group are suspects: a
// neighbour's conflict looks like one's own.
func (p *Publisher) refused(ctx context.Context, r *refusal, group []state.Info) error {
	for _, i := range group {
		p.suspects[i.Chain] = true
	}
	switch r.why {
	case reasonTooLarge:
		p.shrink(group)
		return nil
	case reasonFence, reasonOther:
		return nil
	case reasonStorage:
		return p.storage(ctx, r)
	case reasonTimeout:
		p.lost.Store(true)
		if p.timeouts++; p.stuck() {
			return p.storage(ctx, r)
		}
		return r
	case reasonAway:
		p.lost.Store(true)
		return r
	}
	return r
}

// shrink follows the limit of a server where nobody raised it.
func (p *Publisher) shrink(group []state.Info) {
	for _, i := range group {
		delete(p.suspects, i.Chain) // this error is definite
	}
	if p.limit > defaultBatch {
		p.limit = defaultBatch
	} else {
		p.limit = max(p.limit/2, 8)
	}
	p.log.Info("the server takes smaller batches; long readings go out in parts", "messages", p.limit)
}
