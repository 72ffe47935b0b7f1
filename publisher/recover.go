package publisher

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// maxNews is how many messages behind the last acknowledged one are looked at
// one by one. A crash leaves one group there at most.
const maxNews = 2 * maxEmbeddedBatch

// recover holds the outbox against the stream, which either of them may have
// lost something of since they last agreed. If nothing was lost, it costs one
// message to see that.
func (p *Publisher) recover(ctx context.Context) error {
	info := p.stream.Load()
	id := p.identity(info)
	rec, known, err := p.outbox.Stream()
	if err != nil {
		return fmt.Errorf("publisher: outbox: %w", err)
	}
	newest, back, err := p.wentBack(ctx)
	if err != nil {
		return err
	}
	p.back = back || known && !rec.Created.Equal(id.Created)
	if !p.started {
		p.startSeq = info.State.LastSeq
	} else if p.back {
		p.startSeq = 0
	}
	if p.back {
		p.backs.Add(1)
	}
	suspect, why := p.outbox.Suspect()
	var chains []event.Chain
	if p.cfg.Shared {
		// Most of what is new is of others. A watchlist is held against the stream
		// before each reading; here only what waits must find its place.
		if p.back || suspect || !p.started {
			p.doubt()
		}
		err = p.settleAll(ctx, nil, true)
		if err != nil {
			return err
		}
		return p.agreed(known, rec, id, suspect)
	}
	if p.back || suspect {
		p.log.Warn("stream and outbox disagree, comparing every chain", "stream", id.Name, "created", id.Created, "was", rec.Created, "suspect", why)
		chains, err = p.outbox.Chains()
	}
	if err == nil {
		var news []event.Chain
		news, err = p.news(ctx, newest, info.State.LastSeq)
		chains = append(chains, news...)
	}
	if err == nil {
		err = p.settleAll(ctx, chains, !p.started)
	}
	if err != nil {
		return err
	}
	return p.agreed(known, rec, id, suspect)
}

// agreed notes that the outbox agrees with the stream id. It comes last, so that
// a crash before it compares all again.
func (p *Publisher) agreed(known bool, rec, id state.Stream, suspect bool) (err error) {
	if !known || !rec.Created.Equal(id.Created) {
		err = p.outbox.SetStream(id)
	}
	if err == nil && suspect {
		err = p.outbox.ClearRestored()
	}
	if err != nil {
		return fmt.Errorf("publisher: outbox: %w", err)
	}
	p.back = false
	if !p.started {
		p.started = true
		p.stats.update(func(s *Stats) { s.Ready = true })
		close(p.ready)
	}
	return nil
}

// wentBack says whether the stream lost what it had acknowledged last, and
// where that is if not.
func (p *Publisher) wentBack(ctx context.Context) (newest uint64, back bool, err error) {
	a, any, err := p.outbox.Newest()
	if err != nil {
		return 0, false, fmt.Errorf("publisher: outbox: %w", err)
	}
	if !any || a.Sequence == 0 {
		return 0, false, nil
	}
	m, err := p.at(ctx, a.Sequence)
	if err != nil {
		return 0, false, err
	}
	if m == nil || m.digest() != a.Digest {
		return 0, true, nil
	}
	return a.Sequence, false, nil
}

// settleAll settles chains. At the start all that have something waiting are
// settled too: they may have been fenced in a former life, and whoever commits
// next must build on what the stream has.
func (p *Publisher) settleAll(ctx context.Context, chains []event.Chain, start bool) error {
	if len(chains) == 0 && !start {
		return nil
	}
	waits, err := p.waiting()
	if err != nil {
		return err
	}
	if start {
		chains = slices.AppendSeq(chains, maps.Keys(waits))
	}
	done := make(map[event.Chain]bool)
	var stepped []string
	for _, c := range chains {
		if done[c] || c.Kind == event.Board && p.blocked[c.Watchlist] {
			continue
		}
		done[c] = true
		did, err := p.settle(ctx, c, waits[c])
		if err != nil {
			return err
		}
		if did == step {
			stepped = append(stepped, c.Watchlist)
		}
	}
	if old, _ := p.outbox.Suspect(); old && start {
		return p.remind(ctx, stepped)
	}
	return nil
}

// remind takes over, into an old copy of the outbox, the watchlists whose last
// status the copy does not know: it would never take that condition back. Where
// the stream has a board that the copy does not know either, it knows by now.
func (p *Publisher) remind(ctx context.Context, watchlists []string) error {
	if len(watchlists) == 0 {
		return nil
	}
	waits, err := p.waiting()
	if err != nil {
		return err
	}
	for _, name := range watchlists {
		c := event.Chain{Watchlist: name, Kind: event.Board}
		if len(waits[c])+len(waits[event.Chain{Watchlist: name, Kind: event.Status}]) > 0 {
			continue
		}
		l, err := p.outbox.Load(name)
		if err != nil {
			return fmt.Errorf("publisher: outbox: %w", err)
		}
		if l.Broken {
			continue // the next board tells of the break, which a head would end
		}
		last, err := p.last(ctx, fenceFilter(p.cfg.Prefix, c))
		if err == nil && last != nil {
			err = p.takeHead(ctx, c, last)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// news returns the chains that have a fence behind a sequence. It also notes
// which watchlists have events there that no board closes: what a server leaves
// that ran out of room and could not complete the batch, or a reading whose
// parts are under way.
func (p *Publisher) news(ctx context.Context, after, lastSeq uint64) ([]event.Chain, error) {
	if lastSeq <= after {
		return nil, nil
	}
	conf := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		FilterSubject: publicAll(p.cfg.Prefix), HeadersOnly: true,
	}
	var chains []event.Chain
	open := make(map[string]bool)
	first := true
	err := p.each(ctx, conf, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if first && meta.NumPending > maxNews {
			return errStop
		}
		first = false
		s, err := event.ParseSubject(p.cfg.Prefix, m.Subject())
		if err != nil {
			return nil //nolint:nilerr // not one of ours
		}
		if s.Kind == event.Board || s.Kind == event.Status {
			chains = append(chains, event.Chain{Watchlist: s.Watchlist, Kind: s.Kind})
		}
		if s.Kind != event.Status {
			open[s.Watchlist] = s.Kind != event.Board
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if first {
		return p.manyNews(ctx, after)
	}
	for w, torn := range open {
		if torn {
			p.torn[event.Chain{Watchlist: w, Kind: event.Board}] = true
		}
	}
	return chains, nil
}

// manyNews is for an outbox that is far behind: an old copy. A fresh one holds
// nothing that could be wrong; its watchlists are taken over one by one, when
// Head is asked for them or their first batch is refused.
func (p *Publisher) manyNews(ctx context.Context, after uint64) ([]event.Chain, error) {
	if after == 0 {
		return nil, nil
	}
	conf := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true,
		FilterSubjects: []string{
			event.Filter(event.Subject{Prefix: p.cfg.Prefix, Kind: event.Board}),
			event.Filter(event.Subject{Prefix: p.cfg.Prefix, Kind: event.Status}),
		},
	}
	var chains []event.Chain
	err := p.each(ctx, conf, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		s, err := event.ParseSubject(p.cfg.Prefix, m.Subject())
		if err == nil && meta.Sequence.Stream > after {
			chains = append(chains, event.Chain{Watchlist: s.Watchlist, Kind: s.Kind})
		}
		return nil
	})
	return chains, err
}
