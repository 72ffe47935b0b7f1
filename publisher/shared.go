package publisher

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// Workers that share watchlists take turns: each holds a watchlist's chains
// against the stream before it reads, publishes, and passes the turn on. The
// fence decides between two that believe to have the turn.

// ErrBehind means that the stream has less of a watchlist than was published.
// A leader that was deposed and does not know it yet answers so; after
// behindFor the loss is believed, and Sync breaks the chain.
var ErrBehind = errors.New("publisher: the stream is behind what was published")

// ErrOvertaken means that another worker published meanwhile. Nothing was
// written.
var ErrOvertaken = errors.New("publisher: another worker was first")

// behindFor is longer than a leader without a quorum stays one.
const behindFor = 20 * time.Second

// forgetAfter is how long it is remembered that the stream was behind: a worker
// that has not had the turn since knows nothing of what was in between.
const forgetAfter = 5 * time.Minute

// shared is what a Publisher remembers of watchlists that it shares.
type shared struct {
	disbelief time.Duration // how long a loss is not believed

	mu    sync.Mutex
	epoch uint64 // counts reasons to believe nothing that was seen before
	seen  map[string]sighting
}

// A sighting is when a watchlist was last held against the stream.
type sighting struct {
	epoch  uint64
	behind time.Time // since when the stream was behind; zero if it is not
	again  time.Time // when that was seen last
	head   uint64    // the sequence of the last head that was read or written beside a board
}

// doubt has the next Sync of every watchlist ask the stream.
func (p *Publisher) doubt() {
	p.shared.mu.Lock()
	defer p.shared.mu.Unlock()
	p.shared.epoch++
}

func (p *Publisher) sighting(watchlist string) (s sighting, epoch uint64) {
	p.shared.mu.Lock()
	defer p.shared.mu.Unlock()
	return p.shared.seen[watchlist], p.shared.epoch
}

func (p *Publisher) saw(watchlist string, change func(*sighting)) {
	p.shared.mu.Lock()
	defer p.shared.mu.Unlock()
	s := p.shared.seen[watchlist]
	change(&s)
	p.shared.seen[watchlist] = s
}

// A bell tells everybody who waits that something has changed.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// next is closed at the next ring.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// Flush waits until nothing of a watchlist waits any more: it is published, or
// another worker was first.
func (p *Publisher) Flush(ctx context.Context, watchlist string) error {
	for {
		next := p.flow.next()
		n, err := p.outbox.Waiting(watchlist)
		if err != nil {
			return fmt.Errorf("publisher: outbox: %w", err)
		}
		if n == 0 {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return fmt.Errorf("publisher: %d batches of %s wait for the stream: %w", n, watchlist, ctx.Err())
		}
	}
}

// Known is what is known of a watchlist on the stream from elsewhere. Revision is
// one that was published, 0 if none is known. Board and Status are the sequences
// of its last messages, if Fresh says that they were asked for a short while ago.
// Head is that of the head that was put in place of the last board's, 0 for none.
type Known struct {
	Revision      uint64
	Board, Status uint64
	Head          uint64
	Fresh         bool
}

// Sync brings the outbox's knowledge of a watchlist in line with the stream,
// which other workers write too; call it before a reading is compared. The
// stream's leader is asked, unless k is fresh and is what the outbox has; then
// asked is false.
func (p *Publisher) Sync(ctx context.Context, watchlist string, k Known) (asked bool, err error) {
	if !p.nc.IsConnected() {
		return false, errAway
	}
	ctx, cancel := p.tied(ctx)
	defer cancel()
	if err := p.Flush(ctx, watchlist); err != nil {
		return false, err
	}
	seen, epoch := p.sighting(watchlist)
	if k.Fresh && seen.epoch == epoch && seen.behind.IsZero() {
		is, err := p.Marks(watchlist)
		if err != nil {
			return false, err
		}
		if is.Board > 0 && is.Board == k.Board && is.Status == k.Status {
			return false, p.takeInPlace(ctx, watchlist, k)
		}
	}
	if seen.epoch != epoch {
		p.saw(watchlist, func(s *sighting) { s.head = 0 })
	}
	if err := p.ask(ctx, watchlist, k.Revision); err != nil {
		return true, err
	}
	p.saw(watchlist, func(s *sighting) { s.epoch, s.behind = epoch, time.Time{} })
	return true, p.takeInPlace(ctx, watchlist, k)
}

// Marks returns where a watchlist's last messages are as the outbox knows them.
func (p *Publisher) Marks(watchlist string) (k Known, err error) {
	for kind, to := range map[event.Kind]*uint64{event.Board: &k.Board, event.Status: &k.Status} {
		a, _, err := p.outbox.Acked(event.Chain{Watchlist: watchlist, Kind: kind})
		if err != nil {
			return k, fmt.Errorf("publisher: outbox: %w", err)
		}
		*to = a.Sequence
	}
	if seen, _ := p.sighting(watchlist); seen.head > k.Board {
		k.Head = seen.head
	}
	return k, nil
}

// ask holds a watchlist against the stream.
func (p *Publisher) ask(ctx context.Context, watchlist string, published uint64) error {
	n, err := p.unknown(ctx, watchlist)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		p.wake(true) // Run sets it up again, and looks at what is lost
	}
	if err != nil {
		return err
	}
	switch published = max(published, n.acked.Revision); {
	case n.revision() < published:
		if err := p.fallenBehind(watchlist, n, published); err != nil {
			return err
		}
	case n.board != nil:
		if err := p.takeBoard(ctx, event.Chain{Watchlist: watchlist, Kind: event.Board}, n.board); err != nil {
			return err
		}
	}
	if n.status != nil {
		return p.takeStatus(watchlist, n.status)
	}
	return nil
}

// news is what the stream has of a watchlist that the outbox does not know.
type news struct {
	acked         state.Ack // of the boards, as the outbox has it
	boards        bool      // there is news of boards: that there are none, if board is nil
	board, status *stored   // the last ones; nil without news
}

// revision is that of the stream's last board.
func (n news) revision() uint64 {
	switch {
	case !n.boards:
		return n.acked.Revision
	case n.board == nil:
		return 0
	}
	return max(n.board.board().Revision, 1)
}

// unknown asks for what is new.
func (p *Publisher) unknown(ctx context.Context, watchlist string) (n news, err error) {
	boards := event.Chain{Watchlist: watchlist, Kind: event.Board}
	statuses := event.Chain{Watchlist: watchlist, Kind: event.Status}
	if n.acked, _, err = p.outbox.Acked(boards); err != nil {
		return n, fmt.Errorf("publisher: outbox: %w", err)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		n.board, n.boards, err = p.newer(gctx, boards)
		return err
	})
	g.Go(func() (err error) {
		n.status, _, err = p.newer(gctx, statuses)
		return err
	})
	return n, g.Wait()
}

// newer asks for the last message of a chain if that is not what the outbox
// knows. Nil with news means that the stream has none.
func (p *Publisher) newer(ctx context.Context, c event.Chain) (last *stored, news bool, err error) {
	a, known, err := p.outbox.Acked(c)
	if err != nil {
		return nil, false, fmt.Errorf("publisher: outbox: %w", err)
	}
	// Whether there is a newer one cannot be asked for less: a server that looks for
	// the next message reads all that are between.
	if last, err = p.last(ctx, fenceFilter(p.cfg.Prefix, c)); err != nil {
		return nil, false, err
	}
	if last == nil {
		return nil, known, nil
	}
	if known && last.Sequence == a.Sequence && last.digest() == a.Digest {
		return nil, false, nil
	}
	return last, true, nil
}

// fallenBehind breaks the chain of a watchlist whose boards the stream lost, once
// that is beyond doubt; until then it is ErrBehind.
func (p *Publisher) fallenBehind(watchlist string, n news, published uint64) error {
	l, err := p.outbox.Load(watchlist)
	if err != nil {
		return fmt.Errorf("publisher: outbox: %w", err)
	}
	if l.Broken && !n.boards && l.Revision >= published {
		return nil // given up already, and nobody has written a board since
	}
	now := time.Now()
	var since time.Time
	p.saw(watchlist, func(s *sighting) {
		if s.behind.IsZero() || now.Sub(s.again) > forgetAfter {
			s.behind = now
		}
		s.again, since = now, s.behind
	})
	if now.Sub(since) < p.shared.disbelief {
		return fmt.Errorf("%w: revision %d of %s", ErrBehind, published, watchlist)
	}
	c := event.Chain{Watchlist: watchlist, Kind: event.Board}
	holds := state.Ack{}
	if n.board != nil {
		holds = n.board.ack(c, n.board.board().Revision)
	}
	if l.Revision < published {
		// Another worker's revisions are used up too.
		used := state.Ack{Chain: c, Revision: published, Lineage: l.Lineage}
		if _, err := p.outbox.Adopt(used, &l.Tracked, nil); err != nil {
			return fmt.Errorf("publisher: break %s: %w", watchlist, err)
		}
	}
	if _, err := p.outbox.Break(c, holds); err != nil {
		return fmt.Errorf("publisher: break %s: %w", watchlist, err)
	}
	p.stats.update(func(s *Stats) { s.Broken++ })
	p.log.Warn("the stream lost boards that were published: the next one is a baseline", "watchlist", watchlist, "published", published, "has", holds.Revision)
	return nil
}

// takeBoard takes over what another worker published last. Departures are looked
// up in the stream when they are needed.
func (p *Publisher) takeBoard(ctx context.Context, c event.Chain, board *stored) error {
	for range 3 {
		h, err := p.last(ctx, HeadSubject(p.cfg.Prefix, c.Watchlist))
		if err != nil {
			return err
		}
		rev := board.board().Revision
		if h != nil && h.Header.Get(event.RevisionHeader) != strconv.FormatUint(rev, 10) {
			// The head is of another board than the one that was read before it.
			now, err := p.last(ctx, fenceFilter(p.cfg.Prefix, c))
			if err != nil {
				return err
			}
			if now != nil && now.Sequence != board.Sequence {
				board = now
				continue
			}
			h = nil
		}
		return p.takeHeld(ctx, board.ack(c, rev), h)
	}
	return fmt.Errorf("publisher: adopt %s: %w", c.Watchlist, errTornRead)
}

// takeInPlace takes over what was put in place of the head of the board that is
// known here, unless k says that it is known too. If it is another board's, that
// one comes with the next Sync.
func (p *Publisher) takeInPlace(ctx context.Context, watchlist string, k Known) error {
	a, _, err := p.outbox.Acked(event.Chain{Watchlist: watchlist, Kind: event.Board})
	if err != nil {
		return fmt.Errorf("publisher: outbox: %w", err)
	}
	seen, _ := p.sighting(watchlist)
	if a.Sequence == 0 || k.Board > 0 && k.Head <= max(a.Sequence, seen.head) {
		return nil
	}
	h, err := p.last(ctx, HeadSubject(p.cfg.Prefix, watchlist))
	if err != nil || h == nil || h.Sequence <= max(a.Sequence, seen.head) || h.Header.Get(event.DigestHeader) != digestOf(a) {
		return err
	}
	l, err := p.outbox.Load(watchlist)
	if err != nil {
		return fmt.Errorf("publisher: outbox: %w", err)
	}
	if l.Broken {
		return nil // the next board tells so
	}
	a.Order = 0
	return p.takeHeld(ctx, a, h)
}

// takeHeld makes a board the last of its chain, and what head h has that which is
// compared with; nothing, so that a baseline follows, if h is nil or of another
// version.
func (p *Publisher) takeHeld(ctx context.Context, a state.Ack, h *stored) error {
	watchlist := a.Chain.Watchlist
	var t *event.Tracked
	var err error
	if h != nil {
		if t, err = p.tracked(ctx, watchlist, h); err != nil {
			return err
		}
	}
	if t == nil {
		t = new(event.Tracked)
		if t.Record, err = p.resume(ctx, watchlist, nil); err != nil {
			return err
		}
	}
	if _, err := p.outbox.Adopt(a, t, nil); err != nil {
		return fmt.Errorf("publisher: adopt %s: %w", watchlist, err)
	}
	if h != nil {
		p.saw(watchlist, func(s *sighting) { s.head = h.Sequence })
	}
	p.stats.update(func(s *Stats) { s.Taken++ })
	return nil
}

// digestOf is what a head has of the board that it belongs to.
func digestOf(a state.Ack) string { return event.DigestPrefix + hex.EncodeToString(a.Digest[:]) }

// takeStatus makes another worker's status the last of its chain, and the
// watchlist's condition the one that it tells.
func (p *Publisher) takeStatus(watchlist string, last *stored) error {
	c := event.Chain{Watchlist: watchlist, Kind: event.Status}
	a, _, err := p.outbox.Acked(c)
	if err != nil {
		return fmt.Errorf("publisher: outbox: %w", err)
	}
	if _, err := p.outbox.Adopt(last.ack(c, a.Revision), nil, nil); err != nil {
		return fmt.Errorf("publisher: adopt %s/%s: %w", watchlist, c.Kind, err)
	}
	if p.cfg.Resume == nil {
		return nil
	}
	e, err := event.Decode[event.Condition](last.Data)
	if err != nil {
		p.log.Warn("status of another version ignored", "watchlist", watchlist, "err", err)
		return nil
	}
	err = p.outbox.Amend(watchlist, func(record []byte) ([]byte, error) { return p.cfg.Resume(record, e.Data) })
	if err != nil {
		return fmt.Errorf("publisher: resume %s: %w", watchlist, err)
	}
	return nil
}

// PutHead replaces a watchlist's head by what is tracked now, without a board:
// what a reading changed that is not worth one must reach whoever reads next.
// ErrOvertaken means that somebody published meanwhile.
func (p *Publisher) PutHead(ctx context.Context, watchlist string, t event.Tracked) error {
	c := event.Chain{Watchlist: watchlist, Kind: event.Board}
	a, known, err := p.outbox.Acked(c)
	if err != nil || !known {
		return err
	}
	m := &nats.Msg{Subject: HeadSubject(p.cfg.Prefix, watchlist), Data: event.PackTracked(t), Header: nats.Header{
		"Content-Type":       {contentTypeHead},
		event.RevisionHeader: {strconv.FormatUint(a.Revision, 10)},
		event.DigestHeader:   {digestOf(a)},
	}}
	m.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
	m.Header[jetstream.MsgTTLHeader] = []string{neverExpires}
	expectation{fenceFilter(p.cfg.Prefix, c), a.Sequence}.put(m)
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	put, err := p.js.PublishMsg(ctx, m)
	if err != nil && classify(err) == reasonFence {
		return fmt.Errorf("%w: head of %s", ErrOvertaken, watchlist)
	}
	if err != nil {
		return fmt.Errorf("publisher: head of %s: %w", watchlist, err)
	}
	p.saw(watchlist, func(s *sighting) { s.head = put.Sequence })
	return nil
}

// Tracked returns what the stream's head of a watchlist has, and the revision that
// it belongs to; nil if there is none that can be read.
func (p *Publisher) Tracked(ctx context.Context, watchlist string) (*event.Tracked, uint64, error) {
	h, err := p.last(ctx, HeadSubject(p.cfg.Prefix, watchlist))
	if err != nil || h == nil {
		return nil, 0, err
	}
	t, revision, err := event.UnpackHead(h.Header, h.Data)
	if err != nil {
		return nil, 0, nil //nolint:nilerr // a head of another version
	}
	return &t, revision, nil
}

// Told returns the watchlists that the stream has boards of, but for those of which
// a status told the end since.
func (p *Publisher) Told(ctx context.Context) ([]string, error) {
	boards := make(map[string]uint64)
	last := func(kind event.Kind, headers bool, each func(watchlist string, sequence uint64, data []byte)) error {
		conf := jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: headers,
			FilterSubject: event.Filter(event.Subject{Prefix: p.cfg.Prefix, Kind: kind}),
		}
		return p.each(ctx, conf, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			if s, err := event.ParseSubject(p.cfg.Prefix, m.Subject()); err == nil {
				each(s.Watchlist, meta.Sequence.Stream, m.Data())
			}
			return nil
		})
	}
	err := last(event.Board, true, func(watchlist string, sequence uint64, _ []byte) {
		boards[watchlist] = max(boards[watchlist], sequence)
	})
	if err != nil {
		return nil, err
	}
	err = last(event.Status, false, func(watchlist string, sequence uint64, data []byte) {
		e, err := event.Decode[event.Condition](data)
		if err == nil && e.Data.Status == event.StatusRetired && sequence > boards[watchlist] {
			delete(boards, watchlist)
		}
	})
	return slices.Sorted(maps.Keys(boards)), err
}
