package publisher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/leader"
	"github.com/rankwatch/rankwatch/state"
)

// stored is a message as the stream's leader holds it.
type stored jetstream.RawStreamMsg

func (s *stored) digest() [32]byte { return sha256.Sum256(s.Data) }

// board is what the publisher must know of a board message.
type board struct {
	Revision uint64
	Writer   string
	Lineage  int
}

// board reads s as a board message. One that cannot be read is nobody's:
// revision 0.
func (s *stored) board() board {
	var e struct {
		ID   string `json:"id"`
		Data struct {
			Revision uint64 `json:"revision"`
			Writer   string `json:"writer"`
		} `json:"data"`
	}
	if json.Unmarshal(s.Data, &e) != nil {
		return board{}
	}
	b := board{Revision: e.Data.Revision, Writer: e.Data.Writer, Lineage: 1}
	if _, lineage, ok := event.ParseReadingID(e.ID); ok {
		b.Lineage = lineage
	}
	return b
}

// ack describes s as the last message of chain c. Even what cannot be read
// stands in the chain's way and counts as a revision.
func (s *stored) ack(c event.Chain, revision uint64) state.Ack {
	a := state.Ack{Chain: c, Revision: max(revision, 1), Sequence: s.Sequence, Digest: s.digest()}
	if c.Kind == event.Board {
		a.Lineage = s.board().Lineage
	}
	return a
}

// last returns the newest message that filter matches, nil if there is none.
// The stream's leader answers, never a replica that may lag.
func (p *Publisher) last(ctx context.Context, filter string) (*stored, error) {
	return p.get(ctx, map[string]any{"last_by_subj": filter})
}

// at returns the message at a sequence, nil if it is not there.
func (p *Publisher) at(ctx context.Context, sequence uint64) (*stored, error) {
	return p.get(ctx, map[string]any{"seq": sequence})
}

func (p *Publisher) get(ctx context.Context, query map[string]any) (*stored, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	m, err := leader.Message(ctx, p.nc, p.cfg.Stream, query)
	return (*stored)(m), err
}

// LastMessages calls each for the last message of every subject that has one, and
// returns the stream's last sequence, both as the replica has them that answers; 0
// if it has none of the messages. Subjects are at most 1024. Unlike the library's,
// it does not take an answer that breaks off for a whole one. Messages have no time.
func LastMessages(ctx context.Context, nc *nats.Conn, stream string, subjects []string, each func(*jetstream.RawStreamMsg)) (upTo uint64, err error) {
	req, err := json.Marshal(map[string]any{"multi_last": subjects})
	if err != nil {
		return 0, fmt.Errorf("publisher: read stream: %w", err)
	}
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return 0, fmt.Errorf("publisher: read stream: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection is gone then
	if err := nc.PublishRequest("$JS.API.DIRECT.GET."+stream, sub.Subject, req); err != nil {
		return 0, fmt.Errorf("publisher: read stream: %w", err)
	}
	got := false
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return 0, fmt.Errorf("publisher: read stream %s: %w", stream, err)
		}
		switch m.Header.Get("Status") {
		case "":
			seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("publisher: read stream %s: %w", stream, err)
			}
			got = true
			each(&jetstream.RawStreamMsg{Subject: m.Header.Get("Nats-Subject"), Sequence: seq, Header: m.Header, Data: m.Data})
		case "204":
			if left := m.Header.Get("Nats-Num-Pending"); left != "" && left != "0" {
				return 0, fmt.Errorf("publisher: read stream %s: %w: the server's max_pending cuts answers, %s messages are missing", stream, errNoMessage, left)
			}
			upTo, _ := strconv.ParseUint(m.Header.Get("Nats-UpTo-Sequence"), 10, 64)
			return upTo, nil
		case "404":
			if got {
				return 0, fmt.Errorf("publisher: read stream %s: %w: a message could not be read", stream, errNoMessage)
			}
			return 0, nil
		default:
			return 0, fmt.Errorf("publisher: read stream %s: %w: %s %s", stream, errNoMessage, m.Header.Get("Status"), m.Header.Get("Description"))
		}
	}
}

var errNoMessage = errors.New("an answer without a message")

// errStop ends each early.
var errStop = errors.New("stop")

// eachTries is how often a consumer is asked for that a busy cluster lost before it
// gave anything.
const eachTries = 3

// each calls fn for every message that a consumer with conf finds now, in
// order, until fn fails or returns errStop.
func (p *Publisher) each(ctx context.Context, conf jetstream.ConsumerConfig, fn func(jetstream.Msg, *jetstream.MsgMetadata) error) (err error) {
	began := false
	for range eachTries {
		err = p.eachOnce(ctx, conf, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			began = true
			return fn(m, meta)
		})
		if began || !errors.Is(err, jetstream.ErrConsumerNotFound) {
			break
		}
	}
	return err
}

func (p *Publisher) eachOnce(ctx context.Context, conf jetstream.ConsumerConfig, fn func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	conf.AckPolicy = jetstream.AckNonePolicy
	conf.InactiveThreshold = time.Minute
	conf.MemoryStorage = true
	conf.Replicas = 1
	c, err := p.js.CreateConsumer(ctx, p.cfg.Stream, conf)
	if err != nil {
		return fmt.Errorf("publisher: read stream %s: %w", p.cfg.Stream, err)
	}
	info := c.CachedInfo()
	if info.NumPending == 0 {
		return p.drop(ctx, info.Name)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(256))
	if err != nil {
		return fmt.Errorf("publisher: read stream %s: %w", p.cfg.Stream, err)
	}
	defer it.Stop()
	for {
		m, err := p.following(ctx, it, c)
		if err != nil {
			return fmt.Errorf("publisher: read stream %s: %w", p.cfg.Stream, err)
		}
		if m == nil {
			break
		}
		meta, err := m.Metadata()
		if err == nil {
			err = fn(m, meta)
		}
		if errors.Is(err, errStop) || err == nil && meta.NumPending == 0 {
			break
		}
		if err != nil {
			return err
		}
	}
	it.Stop()
	return p.drop(ctx, info.Name)
}

// following returns the next message, nil if there is none any more: what was
// pending may have been deleted meanwhile.
func (p *Publisher) following(ctx context.Context, it jetstream.MessagesContext, c jetstream.Consumer) (jetstream.Msg, error) {
	for {
		wait, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
		m, err := it.Next(jetstream.NextContext(wait))
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return m, err
		}
		info, err := c.Info(ctx)
		if err != nil || info.NumPending == 0 {
			return nil, err
		}
	}
}

func (p *Publisher) drop(ctx context.Context, consumer string) error {
	err := p.js.DeleteConsumer(ctx, p.cfg.Stream, consumer)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("publisher: read stream %s: %w", p.cfg.Stream, err)
	}
	return nil
}

// errTornRead means that a board landed between two reads.
var errTornRead = errors.New("the stream changed while it was read")

// Head returns what the stream knows of a watchlist: what its last board was
// tracked by, that board's place, and who dropped out. False means that the
// stream has no board of it. A zero Tracked means that the board is there but
// cannot be compared with: the next one must be a baseline. The caller hands
// all of it to the outbox's Adopt.
func (p *Publisher) Head(ctx context.Context, watchlist string) (event.Tracked, state.Ack, []state.Departure, bool, error) {
	c := event.Chain{Watchlist: watchlist, Kind: event.Board}
	for range 3 {
		l, err := p.last(ctx, fenceFilter(p.cfg.Prefix, c))
		if err != nil || l == nil {
			return event.Tracked{}, state.Ack{}, nil, false, err
		}
		t, departed, err := p.holdings(ctx, watchlist, l)
		if errors.Is(err, errTornRead) {
			continue
		}
		if err != nil {
			return event.Tracked{}, state.Ack{}, nil, false, err
		}
		if t == nil {
			t = &event.Tracked{}
		}
		return *t, l.ack(c, l.board().Revision), departed, true, nil
	}
	return event.Tracked{}, state.Ack{}, nil, false, fmt.Errorf("publisher: head %s: %w", watchlist, errTornRead)
}

// holdings reads what belongs to board l: its head, nil if the stream has none
// that fits, and the departures.
func (p *Publisher) holdings(ctx context.Context, watchlist string, l *stored) (*event.Tracked, []state.Departure, error) {
	departed, err := p.departures(ctx, watchlist)
	if err != nil {
		return nil, nil, err
	}
	h, err := p.last(ctx, HeadSubject(p.cfg.Prefix, watchlist))
	if err != nil {
		return nil, nil, err
	}
	now, err := p.last(ctx, fenceFilter(p.cfg.Prefix, event.Chain{Watchlist: watchlist, Kind: event.Board}))
	if err != nil {
		return nil, nil, err
	}
	if now == nil || now.Sequence != l.Sequence {
		return nil, nil, errTornRead
	}
	if h == nil || h.Header.Get(event.RevisionHeader) != strconv.FormatUint(l.board().Revision, 10) {
		return nil, departed, nil
	}
	t, err := p.tracked(ctx, watchlist, h)
	if err != nil {
		return nil, nil, err
	}
	return t, departed, nil
}

// tracked reads head h, with the condition that the watchlist's last status
// tells. It is nil for a head of another version.
func (p *Publisher) tracked(ctx context.Context, watchlist string, h *stored) (*event.Tracked, error) {
	t, err := event.UnpackTracked(h.Data)
	if err != nil {
		p.log.Warn("head of another version ignored", "watchlist", watchlist, "err", err)
		return nil, nil
	}
	t.Record, t.Board = bytes.Clone(t.Record), bytes.Clone(t.Board)
	if t.Record, err = p.resume(ctx, watchlist, t.Record); err != nil {
		return nil, err
	}
	return &t, nil
}

// resume brings a head's record up to date with the last status.
func (p *Publisher) resume(ctx context.Context, watchlist string, record []byte) ([]byte, error) {
	if p.cfg.Resume == nil {
		return record, nil
	}
	s, err := p.last(ctx, fenceFilter(p.cfg.Prefix, event.Chain{Watchlist: watchlist, Kind: event.Status}))
	if err != nil || s == nil {
		return record, err
	}
	e, err := event.Decode[event.Condition](s.Data)
	if err != nil {
		p.log.Warn("status of another version ignored", "watchlist", watchlist, "err", err)
		return record, nil
	}
	if record, err = p.cfg.Resume(record, e.Data); err != nil {
		return nil, fmt.Errorf("publisher: resume %s: %w", watchlist, err)
	}
	return record, nil
}

// departures collects the last dropped event of each creator.
func (p *Publisher) departures(ctx context.Context, watchlist string) ([]state.Departure, error) {
	byUID := make(map[string]int)
	var out []state.Departure
	conf := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject: event.Filter(event.Subject{Prefix: p.cfg.Prefix, Watchlist: watchlist, Kind: event.Dropped}),
	}
	err := p.each(ctx, conf, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		d, ok := departure(m.Data())
		if !ok {
			return nil // somebody else's message tells of no departure
		}
		if i, ok := byUID[d.UID]; !ok {
			byUID[d.UID] = len(out)
			out = append(out, d)
		} else if d.At.After(out[i].At) {
			out[i] = d
		}
		return nil
	})
	return out, err
}
