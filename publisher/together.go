package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// A Together says what BreakTogether did.
type Together struct {
	Watchlists int // whose next board is a baseline `restored`
	Waiting    int // readings that waited to be published, and never will be
	Cut        int // messages of readings that the copy of the stream has in part
}

// BreakTogether prepares an outbox and its stream, both restored from one
// backup, for a worker. What followed the backup was published and is not here
// any more, so its ids must not be used again: every watchlist's next board
// becomes a baseline `restored` in a new lineage. Where the stream is ahead of
// the outbox, the outbox takes over what the stream has first.
//
// Of c it reads Stream, Prefix, Outbox, Resume, Logger and Timeout. Nobody may
// use the outbox or the stream meanwhile. After an error it can be called again.
func BreakTogether(ctx context.Context, nc *nats.Conn, c Config) (Together, error) {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(c.Timeout))
	if err != nil {
		return Together{}, fmt.Errorf("publisher: jetstream: %w", err)
	}
	p := &Publisher{cfg: c, log: c.Logger, outbox: c.Outbox, nc: nc, js: js}
	stream, err := js.Stream(ctx, c.Stream)
	if err != nil {
		return Together{}, fmt.Errorf("publisher: stream %s: %w", c.Stream, err)
	}
	var done Together
	if done.Cut, err = p.cutTorn(ctx, stream); err != nil {
		return done, err
	}
	chains, err := p.boardChains(ctx)
	if err != nil {
		return done, err
	}
	waits, err := p.waiting()
	if err != nil {
		return done, err
	}
	for _, chain := range chains {
		lost, err := p.breakChain(ctx, chain, waits)
		if err == nil {
			err = p.cutHead(ctx, stream, chain)
		}
		if err != nil {
			return done, err
		}
		done.Watchlists++
		done.Waiting += lost
	}
	err = c.Outbox.SetStream(p.identity(stream.CachedInfo()))
	if err == nil {
		// From here on the outbox is no older than the stream.
		err = c.Outbox.ClearRestored()
	}
	if err != nil {
		return done, fmt.Errorf("publisher: outbox: %w", err)
	}
	return done, nil
}

// breakChain returns how many batches are dropped that the stream does not have.
func (p *Publisher) breakChain(ctx context.Context, c event.Chain, waits backlog) (lost int, err error) {
	last, err := p.last(ctx, fenceFilter(p.cfg.Prefix, c))
	if err != nil {
		return 0, err
	}
	var holds state.Ack
	if last != nil {
		holds = last.ack(c, last.board().Revision)
		// A record that waits with a status is ahead of the stream in what it says
		// of the watchlist's condition.
		if len(waits[event.Chain{Watchlist: c.Watchlist, Kind: event.Status}]) == 0 {
			err = p.takeHead(ctx, c, last)
		}
	}
	if err != nil {
		return 0, err
	}
	for _, i := range waits[c] {
		// The backup is one worker's: up to the stream's last they are the same.
		if i.Revision > holds.Revision {
			lost++
		}
	}
	if _, err := p.outbox.Break(c, holds); err != nil {
		return 0, fmt.Errorf("publisher: break %s: %w", c.Watchlist, err)
	}
	return lost, nil
}

// cutHead deletes a head whose board the copy does not have.
func (p *Publisher) cutHead(ctx context.Context, s jetstream.Stream, c event.Chain) error {
	h, err := p.last(ctx, HeadSubject(p.cfg.Prefix, c.Watchlist))
	if err != nil || h == nil {
		return err
	}
	last, err := p.last(ctx, fenceFilter(p.cfg.Prefix, c))
	if err != nil || last != nil && h.Header.Get(event.RevisionHeader) == strconv.FormatUint(last.board().Revision, 10) {
		return err
	}
	if err := s.DeleteMsg(ctx, h.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("publisher: delete head of %s: %w", c.Watchlist, err)
	}
	return nil
}

// takeHead takes over what the stream tracks of a watchlist, if it does.
func (p *Publisher) takeHead(ctx context.Context, c event.Chain, last *stored) error {
	t, departed, err := p.holdings(ctx, c.Watchlist, last)
	if err != nil || t == nil {
		return err
	}
	if _, err := p.outbox.Adopt(last.ack(c, last.board().Revision), t, departed); err != nil {
		return fmt.Errorf("publisher: adopt %s: %w", c.Watchlist, err)
	}
	return nil
}

// boardChains returns the board chains that either side knows, in order.
func (p *Publisher) boardChains(ctx context.Context) ([]event.Chain, error) {
	all, err := p.outbox.Chains()
	if err != nil {
		return nil, fmt.Errorf("publisher: outbox: %w", err)
	}
	names := make(map[string]struct{})
	for _, c := range all {
		if c.Kind == event.Board {
			names[c.Watchlist] = struct{}{}
		}
	}
	conf := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true,
		FilterSubject: event.Filter(event.Subject{Prefix: p.cfg.Prefix, Kind: event.Board}),
	}
	err = p.each(ctx, conf, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		if s, err := event.ParseSubject(p.cfg.Prefix, m.Subject()); err == nil {
			names[s.Watchlist] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	chains := make([]event.Chain, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		chains = append(chains, event.Chain{Watchlist: name, Kind: event.Board})
	}
	return chains, nil
}

// cutTorn deletes the events at the stream's end that no board closes: a copy
// of a live stream can end within a batch. Their board was published, but is not
// here, and the next one is another. It returns how many there were.
func (p *Publisher) cutTorn(ctx context.Context, s jetstream.Stream) (int, error) {
	last := s.CachedInfo().State.LastSeq
	if last == 0 {
		return 0, nil
	}
	from := uint64(1)
	if last > maxNews {
		from = last - maxNews
	}
	conf := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		FilterSubject: publicAll(p.cfg.Prefix), HeadersOnly: true,
	}
	open := make(map[string][]uint64)
	err := p.each(ctx, conf, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		s, err := event.ParseSubject(p.cfg.Prefix, m.Subject())
		switch {
		case err != nil || s.Kind == event.Status:
		case s.Kind == event.Board:
			delete(open, s.Watchlist)
		default:
			open[s.Watchlist] = append(open[s.Watchlist], meta.Sequence.Stream)
		}
		return nil //nolint:nilerr // somebody else's message is left alone
	})
	if err != nil {
		return 0, err
	}
	cut := 0
	for _, sequences := range open {
		for _, seq := range sequences {
			if err := s.DeleteMsg(ctx, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
				return cut, fmt.Errorf("publisher: delete message %d of stream %s: %w", seq, p.cfg.Stream, err)
			}
			cut++
		}
	}
	return cut, nil
}
