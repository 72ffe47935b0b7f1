package deliver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// Bounds of one message, so that a long window takes a bounded memory. What is
// beyond them becomes the next message.
const (
	maxItems   = 1000
	maxChanges = 20_000
)

const (
	// pullFor is how long a request for a message stands, and pullBeat how often the
	// server says that it does: one that was lost is made again after two.
	pullFor  = 10 * time.Second
	pullBeat = 2 * time.Second
	// lastLook is how long a message that is on its way to a route that ends is
	// waited for.
	lastLook = 20 * time.Millisecond
)

// A route is one route at work. All of it belongs to one goroutine.
type route struct {
	*digest.Route
	d        *Deliveries
	sender   digest.Sender
	filters  []string
	want     Want
	log      *slog.Logger
	writer   string
	consumer jetstream.Consumer
	stream   time.Time // when it was created
	known    memory
	// delivery counts the consumer's deliveries, to whomever, up to the message at
	// hand. alone says that all since known was read or written came to this process,
	// so that nobody else can have written.
	delivery uint64
	alone    bool
	standing bool // it was said that the target takes nothing
	ahead    *ahead
}

func newRoute(d *Deliveries, r *digest.Route) *route {
	return &route{
		Route: r, d: d, sender: d.cfg.Targets[r.Target], filters: Filters(d.cfg.Reader.Prefix(), &r.Match), want: wants(&r.Match),
		log: d.cfg.Logger.With("route", r.Name), writer: rand.Text(), stream: d.cfg.Reader.Stream().Created,
	}
}

// run delivers until ctx ends.
func (r *route) run(ctx context.Context) error {
	b, told := busBackoff(), false
	for {
		err := r.consume(ctx, func() { b.Reset(); told = false })
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to end
		}
		var bad *SetupError
		if errors.As(err, &bad) {
			return err
		}
		if r.d.cfg.Conn.IsClosed() {
			return fmt.Errorf("route %s: the connection is closed: %w", r.Name, err)
		}
		// A lost connection is told once for all routes.
		if !told && r.d.cfg.Conn.IsConnected() && !errors.Is(err, jetstream.ErrNoHeartbeat) {
			told = true
			r.log.Warn("nothing comes from the stream, trying again", "err", err)
		}
		if pause(ctx, b.NextBackOff()) != nil {
			return nil //nolint:nilerr // told to end
		}
		// Somebody may have removed the consumer, or made the stream anew.
		if err := r.again(ctx); errors.As(err, &bad) {
			return err
		}
	}
}

// again makes sure that stream and consumer are there.
func (r *route) again(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	s, err := r.d.js.Stream(wait, r.d.cfg.stream())
	if err != nil {
		return err
	}
	r.stream, r.delivery = s.CachedInfo().Created, 0
	if err := r.recall(ctx); err != nil {
		return err
	}
	return r.ensure(ctx)
}

// consume takes messages until something is in the way of it.
func (r *route) consume(ctx context.Context, came func()) error {
	defer r.stopAhead()
	for {
		m, err := r.next(ctx)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		came()
		if err := r.take(ctx, m); err != nil {
			return err
		}
	}
}

// next asks for one message, which may not come. While it is not called no request
// stands: a message that a server sends to a process that just ended is lost until
// Takeover. The library's iterators leave one standing, and asked for one message at a
// time (nats.go 1.55) can forget to ask again, when it comes before the goroutine that
// asked has noted that it did.
func (r *route) next(ctx context.Context) (jetstream.Msg, error) {
	standing, end := context.WithTimeout(context.WithoutCancel(ctx), pullFor)
	defer end()
	batch, err := r.consumer.Fetch(1, jetstream.FetchHeartbeat(pullBeat), jetstream.FetchContext(standing))
	if err != nil {
		return nil, err
	}
	select {
	case m, ok := <-batch.Messages():
		if ok {
			return m, nil
		}
		if err := batch.Error(); !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		return nil, nil
	case <-ctx.Done():
	}
	select {
	case m, ok := <-batch.Messages():
		if ok {
			r.giveBack(m)
		}
	case <-time.After(lastLook):
	}
	return nil, ctx.Err()
}

// giveBack hands a message to whoever asks next.
func (r *route) giveBack(m jetstream.Msg) {
	if err := m.Nak(); err != nil {
		r.log.Debug("not given back", "err", err)
	}
}

// take settles one message of the consumer and acknowledges it, or gives it
// back when ctx ends.
func (r *route) take(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	r.alone = r.delivery > 0 && meta.Sequence.Consumer == r.delivery+1 && meta.NumDelivered == 1
	r.delivery = 0
	if meta.Sequence.Stream <= r.known.Mark {
		return msg.Ack()
	}
	if meta.NumPending >= behind {
		r.readAhead(ctx, meta.Sequence.Stream+1)
	}
	release := hold(msg, r.d.cfg.beat())
	defer release()
	sent, err := r.one(ctx, &history.Message{Subject: msg.Subject(), Sequence: meta.Sequence.Stream, Stored: meta.Timestamp, Data: msg.Data()})
	release()
	switch {
	case errors.Is(err, errTaken):
		r.log.Info("another process delivered the message", "reading", r.known.Message)
		if meta.Sequence.Stream > r.known.Mark {
			r.giveBack(msg)
			return nil
		}
	case err != nil && ctx.Err() != nil:
		r.giveBack(msg)
		return ctx.Err()
	case err != nil:
		return err
	}
	if err == nil && (sent || r.alone) {
		r.delivery = meta.Sequence.Consumer
	}
	if !sent {
		return msg.Ack()
	}
	last, cancel := linger(ctx)
	defer cancel()
	last, done := context.WithTimeout(last, requestLimit)
	defer done()
	if err := msg.DoubleAck(last); err != nil {
		// It comes again, and the mark tells that it is settled. Meanwhile another
		// process may have written.
		r.delivery = 0
		r.log.Debug("not acknowledged", "err", err)
	}
	return nil
}

// hold says that a message is in progress until release.
func hold(msg jetstream.Msg, every time.Duration) (release func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				// Without a connection the message goes to another process. The
				// mark decides then.
				_ = msg.InProgress()
			}
		}
	}()
	return sync.OnceFunc(func() { close(done); <-gone })
}

// one settles a message; false means that the route takes nothing of it, and
// that nothing was written.
func (r *route) one(ctx context.Context, m *history.Message) (settled bool, err error) {
	item, err := r.item(ctx, m)
	var bad *BadMessageError
	if errors.As(err, &bad) {
		return true, r.unreadable(ctx, m, bad)
	}
	if err != nil || !r.takes(item) {
		return false, err
	}
	w := window{items: []digest.Item{item}, upTo: m.Sequence}
	if due := r.due(m.Stored, time.Now()); due.After(m.Stored) {
		if err := pause(ctx, time.Until(due)); err != nil {
			return false, err
		}
		if err := r.gather(ctx, &w, due); err != nil {
			return false, err
		}
	}
	return r.deliver(ctx, &w)
}

// due says when what was stored at a time is sent: after the digest window, and
// not in quiet hours.
func (r *route) due(stored, now time.Time) time.Time {
	due := r.Quiet.End(stored.Add(r.Digest))
	if end := r.Quiet.End(now); end.After(now) && end.After(due) {
		return end
	}
	return due
}

// A window is what becomes one message. Everything of the route up to sequence
// upTo is settled with it.
type window struct {
	items []digest.Item
	upTo  uint64
}

// at is when its newest item came about. Cooldowns are judged by it and not by
// the clock, so that what is tried again, also by another process, is the same.
func (w *window) at() time.Time {
	at := w.items[0].At()
	for _, it := range w.items {
		if it.At().After(at) {
			at = it.At()
		}
	}
	return at
}

// errEnough ends a window.
var errEnough = errors.New("enough")

// gather adds what was stored up to a time to a window. Two processes, or one
// after a crash, gather the same.
func (r *route) gather(ctx context.Context, w *window, until time.Time) error {
	changes := 0
	err := r.patiently(ctx, func() error {
		err := r.d.cfg.Reader.From(ctx, w.upTo+1, r.filters, func(m *history.Message) error {
			if m.Stored.After(until) || len(w.items) >= maxItems || changes >= maxChanges {
				return errEnough
			}
			item, err := r.item(ctx, m)
			var bad *BadMessageError
			switch {
			case errors.As(err, &bad):
				return errEnough // it is dealt with when it comes
			case err != nil:
				return err
			}
			w.upTo = m.Sequence
			if r.takes(item) {
				if w.items = append(w.items, item); item.Reading != nil {
					changes += len(item.Reading.Changes)
				}
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
	return err
}

// item makes an item of a board or status. A reading whose events are past the
// retention has none; that is told.
func (r *route) item(ctx context.Context, m *history.Message) (it digest.Item, err error) {
	if it, ok := r.ahead.item(m.Sequence); ok {
		return it, nil
	}
	err = r.patiently(ctx, func() error {
		it, err = Item(ctx, r.d.cfg.Reader, m, r.want)
		if errors.Is(err, ErrExpired) {
			r.log.Error("a reading was not told of, its events are past the retention", "reading", it.ID())
			return nil
		}
		return err
	})
	return it, err
}

// takes says that the route takes something of an item, cooldowns aside.
func (r *route) takes(it digest.Item) bool {
	if it.Notice != nil {
		return r.Notice(it.Notice).Taken
	}
	for i := range it.Reading.Changes {
		if r.Change(&it.Reading.Changes[i], nil, zero).Taken {
			return true
		}
	}
	return false
}

// patiently repeats what a server that is away is in the way of, until ctx ends.
func (r *route) patiently(ctx context.Context, do func() error) error {
	b, told := busBackoff(), false
	for {
		err := do()
		var bad *BadMessageError
		var setup *SetupError
		if err == nil || ctx.Err() != nil || errors.As(err, &bad) || errors.As(err, &setup) || r.d.cfg.Conn.IsClosed() {
			return err
		}
		if !told && r.d.cfg.Conn.IsConnected() {
			told = true
			r.log.Warn("the stream cannot be read, trying again", "err", err)
		}
		r.reopen(ctx)
		if err := pause(ctx, b.NextBackOff()); err != nil {
			return err
		}
	}
}

// reopen makes the bucket of the marks anew if somebody deleted it.
func (r *route) reopen(ctx context.Context) {
	if _, err := openMarks(ctx, r.d.js, r.d.cfg.stream(), r.d.cfg.Replicas); err != nil {
		r.log.Debug("no bucket", "err", err)
	}
}

func busBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
}
