package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// departedChunk is how many subjects are asked for at once; a server refuses more
// than 1024.
const departedChunk = 500

// Departed looks up who of uids has a dropped event in the stream, whoever
// published it.
func (p *Publisher) Departed(ctx context.Context, watchlist string, uids []string) (map[string]state.Departure, error) {
	c := event.Chain{Watchlist: watchlist, Kind: event.Board}
	a, known, err := p.outbox.Acked(c)
	if err != nil || !known {
		return nil, err
	}
	out := make(map[string]state.Departure)
	for len(uids) > 0 {
		n := min(len(uids), departedChunk)
		if err := p.someDeparted(ctx, a, uids[:n], out); err != nil {
			return nil, fmt.Errorf("publisher: departures of %s: %w", watchlist, err)
		}
		uids = uids[n:]
	}
	return out, nil
}

// lagTries is how often another replica is asked, and lagWait for how long in
// between.
const (
	lagTries = 40
	lagWait  = 50 * time.Millisecond
)

var errLag = errors.New("the replicas lag behind")

// someDeparted adds to out. Any replica answers: one that does not hold the
// watchlist's last board yet is not believed.
func (p *Publisher) someDeparted(ctx context.Context, last state.Ack, uids []string, out map[string]state.Departure) error {
	subjects := make([]string, len(uids))
	for i, uid := range uids {
		subjects[i] = event.Filter(event.Subject{Prefix: p.cfg.Prefix, Watchlist: last.Chain.Watchlist, Kind: event.Dropped, UID: uid})
	}
	for range lagTries {
		upTo, err := p.multiLast(ctx, subjects, func(data []byte) {
			if d, ok := departure(data); ok {
				if was, twice := out[d.UID]; !twice || d.At.After(was.At) {
					out[d.UID] = d
				}
			}
		})
		if err != nil || upTo >= last.Sequence {
			return err
		}
		select {
		case <-time.After(lagWait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errLag
}

// multiLast calls each for the last message of every subject that has one, and
// returns the stream's last sequence as the replica that answered has it.
func (p *Publisher) multiLast(ctx context.Context, subjects []string, each func(data []byte)) (upTo uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	return LastMessages(ctx, p.nc, p.cfg.Stream, append(subjects, markerSubject(p.cfg.Prefix)), func(m *jetstream.RawStreamMsg) { each(m.Data) })
}

// mark puts a small message into the stream that is always there, so that a
// question about many subjects has an end that tells how far the replica is, also
// when it has none of them.
func (p *Publisher) mark(ctx context.Context) error {
	subject := markerSubject(p.cfg.Prefix)
	m, err := p.last(ctx, subject)
	if err != nil || m != nil {
		return err
	}
	out := &nats.Msg{Subject: subject, Data: []byte("{}"), Header: nats.Header{
		"Content-Type": {"application/json"}, jetstream.MsgTTLHeader: {neverExpires},
	}}
	expectation{subject, 0}.put(out)
	if _, err = p.js.PublishMsg(ctx, out); err != nil && classify(err) != reasonFence {
		return fmt.Errorf("publisher: mark stream %s: %w", p.cfg.Stream, err)
	}
	return nil
}

// departure reads a dropped event.
func departure(data []byte) (state.Departure, bool) {
	e, err := event.Decode[event.Change](data)
	if err != nil {
		return state.Departure{}, false
	}
	at, err1 := time.Parse(time.RFC3339Nano, e.Time)
	first, err2 := time.Parse(time.RFC3339Nano, e.Data.History.FirstSeen)
	if err1 != nil || err2 != nil || e.Data.Creator.UID == "" {
		return state.Departure{}, false
	}
	return state.Departure{UID: e.Data.Creator.UID, At: at, FirstSeen: first, PeakRank: e.Data.History.PeakRank}, true
}
