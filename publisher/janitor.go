package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// janitor deletes what is past retention: boards and statuses, but for the last
// of each chain, which stays for good, since the fence stands on it; and the
// events up to the last fence that is old, so that of a reading all events stay
// as long as its board is young.
//
// Each fence is looked at once: what is left of a chain is remembered until
// the chain goes on.
type janitor struct {
	created time.Time // of the stream that the rest is about
	backs   uint64    // how often that had gone back
	from    uint64    // the first sequence not looked at
	events  uint64    // the first sequence whose events are still there
	left    map[event.Chain]uint64
}

// tidy sweeps at the start and about hourly, until ctx ends.
func (p *Publisher) tidy(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-p.ready:
	}
	tick := time.NewTicker(min(max(p.cfg.Retention/24, time.Second), time.Hour))
	defer tick.Stop()
	var j janitor
	for {
		if n, err := p.sweep(ctx, &j, time.Now().Add(-p.cfg.Retention)); err != nil && ctx.Err() == nil {
			p.log.Warn("old boards not deleted, trying again later", "err", err)
		} else if n > 0 {
			p.log.Debug("old boards deleted", "chains", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep deletes the fences that are older than cutoff and not the last of
// their chain, then the events before them, and returns how many chains had such
// fences.
func (p *Publisher) sweep(ctx context.Context, j *janitor, cutoff time.Time) (int, error) {
	s, err := p.js.Stream(ctx, p.cfg.Stream)
	if err != nil {
		return 0, fmt.Errorf("publisher: sweep: %w", err)
	}
	rec, known, err := p.outbox.Stream()
	if err != nil {
		return 0, fmt.Errorf("publisher: outbox: %w", err)
	}
	created := s.CachedInfo().Created
	if !known || !rec.Created.Equal(created) {
		return 0, nil // what is acknowledged may not be on this stream: recovery first
	}
	if backs := p.backs.Load(); !j.created.Equal(created) || j.backs != backs {
		// Sequences of a lost past say nothing of what has come again.
		*j = janitor{created: created, backs: backs, left: make(map[event.Chain]uint64)}
	}
	old, err := p.oldFences(ctx, j, cutoff)
	if err == nil && j.from > j.events && j.from > 1 {
		err = p.noteSwept(ctx, j.from)
	}
	if err != nil {
		return 0, err
	}
	swept := 0
	for c, last := range j.left {
		a, known, err := p.outbox.Acked(c)
		if err != nil {
			return swept, fmt.Errorf("publisher: outbox: %w", err)
		}
		below := last
		if known && a.Sequence > last {
			below = last + 1
		} else if !old[c] {
			continue
		}
		err = s.Purge(ctx, jetstream.WithPurgeSubject(fenceFilter(p.cfg.Prefix, c)), jetstream.WithPurgeSequence(below))
		if err != nil {
			return swept, fmt.Errorf("publisher: sweep %s/%s: %w", c.Watchlist, c.Kind, err)
		}
		swept++
		if below > last {
			delete(j.left, c)
		}
	}
	return swept, p.sweepEvents(ctx, s, j)
}

// noteSwept says on the stream what is about to go, so that a reader can tell
// what is missing for its age from what is missing.
func (p *Publisher) noteSwept(ctx context.Context, sequence uint64) error {
	data, err := json.Marshal(event.Swept{Sequence: sequence})
	if err != nil {
		return fmt.Errorf("publisher: sweep: %w", err)
	}
	// Several workers may sweep; the note never goes back.
	subject := event.SweptSubject(p.cfg.Prefix)
	was, err := p.last(ctx, subject)
	if err != nil {
		return err
	}
	var before event.Swept
	at := uint64(0)
	if was != nil {
		at = was.Sequence
		if json.Unmarshal(was.Data, &before) == nil && before.Sequence >= sequence {
			return nil
		}
	}
	m := &nats.Msg{
		Subject: subject, Data: data,
		Header: nats.Header{"Content-Type": {"application/json"}, jetstream.MsgTTLHeader: {neverExpires}, jetstream.MsgRollup: {jetstream.MsgRollupSubject}},
	}
	expectation{subject, at}.put(m)
	if _, err := p.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("publisher: sweep: note: %w", err)
	}
	return nil
}

// sweepEvents deletes the events of readings whose board is old. Boards go
// first: whoever reads meanwhile sees events without their board, which mean
// nothing, rather than a board that lacks events.
func (p *Publisher) sweepEvents(ctx context.Context, s jetstream.Stream, j *janitor) error {
	if j.from <= j.events {
		return nil
	}
	for _, k := range []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index} {
		filter := event.Filter(event.Subject{Prefix: p.cfg.Prefix, Kind: k})
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(filter), jetstream.WithPurgeSequence(j.from)); err != nil {
			return fmt.Errorf("publisher: sweep %s: %w", filter, err)
		}
	}
	j.events = j.from
	return nil
}

// oldFences reads on to the first fence inside retention. It returns the chains
// that have something to delete below the one in j.left.
func (p *Publisher) oldFences(ctx context.Context, j *janitor, cutoff time.Time) (map[event.Chain]bool, error) {
	conf := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(j.from, 1), HeadersOnly: true,
		FilterSubjects: []string{
			event.Filter(event.Subject{Prefix: p.cfg.Prefix, Kind: event.Board}),
			event.Filter(event.Subject{Prefix: p.cfg.Prefix, Kind: event.Status}),
		},
	}
	old := make(map[event.Chain]bool)
	err := p.each(ctx, conf, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if !meta.Timestamp.Before(cutoff) {
			return errStop
		}
		j.from = meta.Sequence.Stream + 1
		s, err := event.ParseSubject(p.cfg.Prefix, m.Subject())
		if err != nil {
			return nil //nolint:nilerr // not one of ours
		}
		c := event.Chain{Watchlist: s.Watchlist, Kind: s.Kind}
		if j.left[c] != 0 {
			old[c] = true
		}
		j.left[c] = meta.Sequence.Stream
		return nil
	})
	return old, err
}
