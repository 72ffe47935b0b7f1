package history

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// inactive is when the server drops a consumer whose reader is gone, or
	// held up by what it writes to: it reads on with another one.
	inactive = 5 * time.Minute
	// retryWait is the pause before another consumer is asked for.
	retryWait = 100 * time.Millisecond
)

// errDone ends a reading early.
var errDone = errors.New("done")

// A lostError says that a consumer is of no use any more. Another one can go on
// after the last message.
type lostError struct{ cause error }

func (e *lostError) Error() string { return "the consumer is lost: " + e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

var (
	errGap     = errors.New("messages were lost on the way")
	errSilence = errors.New("nothing comes any more")
)

// A pass is one reading of the stream, by as many consumers as it takes. It is
// jetstream's ordered consumer with bounded patience, which obeys its context
// and ends at what the stream held when it began.
type pass struct {
	r    *Reader
	conf jetstream.ConsumerConfig
	// fn is told how many messages are left. Its errors end the pass.
	fn func(m *Message, left uint64) error

	// follow has the pass go on with what the stream takes in later, and wait for a
	// server for as long as it is away.
	follow  bool
	created time.Time // of the stream that is followed

	last uint64 // the stream's last sequence when the pass began
	msg  Message
	read bool // whether msg is one of the stream's
}

// run reads until there is nothing left, or fn returns an error; errDone is
// none. What the stream takes in meanwhile does not count.
func (p *pass) run(ctx context.Context) error {
	since := time.Now() // when something was last read
	for {
		at := p.msg.Sequence
		err := p.attempt(ctx)
		var lost *lostError
		switch {
		case errors.Is(err, errDone):
			return nil
		case !errors.As(err, &lost):
			return err
		}
		if p.msg.Sequence > at {
			since = time.Now()
		}
		if ctx.Err() != nil || !p.follow && time.Since(since) > p.r.patience || p.r.nc.IsClosed() {
			return p.r.explain(ctx, "read", lost.cause)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryWait):
		}
	}
}

// open creates a consumer that begins after what was read. errDone means that
// it would find nothing.
func (p *pass) open(ctx context.Context) (jetstream.Consumer, error) {
	conf := p.conf
	conf.AckPolicy, conf.MemoryStorage, conf.Replicas, conf.InactiveThreshold = jetstream.AckNonePolicy, true, 1, inactive
	if len(conf.FilterSubjects) == 1 {
		conf.FilterSubject, conf.FilterSubjects = conf.FilterSubjects[0], nil
	}
	if p.read {
		conf.DeliverPolicy, conf.OptStartSeq, conf.OptStartTime = jetstream.DeliverByStartSequencePolicy, p.msg.Sequence+1, nil
	}
	wait, cancel := context.WithTimeout(ctx, p.r.patience)
	defer cancel()
	c, err := p.r.js.CreateConsumer(wait, p.r.name, conf)
	if err != nil {
		return nil, p.refused(ctx, err)
	}
	if p.follow {
		return c, p.same(ctx)
	}
	if p.last == 0 {
		// After the consumer is there, so that what it begins with counts.
		info, err := p.r.stream.Info(wait)
		if err != nil {
			return c, p.refused(ctx, err)
		}
		p.last = info.State.LastSeq
	}
	if c.CachedInfo().NumPending == 0 {
		return c, errDone
	}
	return c, nil
}

// same makes sure that the stream is the one that was followed until now.
func (p *pass) same(ctx context.Context) error {
	info, err := p.r.State(ctx)
	if err != nil {
		return &lostError{err}
	}
	if p.created.IsZero() {
		p.created = info.Created
	}
	if !info.Created.Equal(p.created) || info.State.LastSeq < max(p.msg.Sequence, p.conf.OptStartSeq-1) {
		return ErrWentBack
	}
	return nil
}

// refused tells what the server will not do from what it cannot do now.
func (p *pass) refused(ctx context.Context, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code != 503 && api.Code != 500 {
		return p.r.explain(ctx, "read", err)
	}
	return &lostError{err}
}

// attempt reads with one consumer. Any other error than a lostError is final.
func (p *pass) attempt(ctx context.Context) error {
	c, err := p.open(ctx)
	if c != nil {
		defer p.remove(ctx, c)
	}
	if err != nil {
		return err
	}
	h := hand{p: p, end: make(chan error, 1)}
	trouble := make(chan error, 1)
	cc, err := c.Consume(h.take, jetstream.PullMaxBytes(p.r.ahead), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		select {
		case trouble <- err:
		default: // the first one is enough
		}
	}))
	if err != nil {
		return &lostError{err}
	}
	closed := cc.Closed()
	defer func() {
		h.over.Store(true)
		cc.Stop()
		<-closed // fn is not called any more
	}()
	tick := time.NewTicker(p.r.patience / 10)
	defer tick.Stop()
	moved, turn := time.Now(), uint64(0)
	for {
		select {
		case err := <-h.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case err := <-trouble:
			return &lostError{err}
		case now := <-tick.C:
			// An odd turn is fn at work, or waiting for what it writes to.
			if t := h.turn.Load(); t != turn || t%2 != 0 {
				moved, turn = now, t
				continue
			}
			if err := p.stalled(ctx, c, h.got.Load(), now.Sub(moved)); err != nil {
				return err
			}
		}
	}
}

// stalled decides what it means that nothing came for a while.
func (p *pass) stalled(ctx context.Context, c jetstream.Consumer, got uint64, since time.Duration) error {
	if !p.r.nc.IsConnected() {
		if !p.follow && since > p.r.patience {
			return p.r.explain(ctx, "read", nats.ErrDisconnected)
		}
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, p.r.patience)
	defer cancel()
	info, err := c.Info(wait)
	switch {
	case err != nil:
		return &lostError{err}
	case info.NumPending == 0 && info.Delivered.Consumer <= got && p.follow:
		return p.same(ctx)
	case info.NumPending == 0 && info.Delivered.Consumer <= got:
		return errDone // what was left has expired or was purged
	case since > p.r.patience/2:
		return &lostError{errSilence}
	}
	return nil
}

// remove spares the server a consumer that nobody uses. Where that fails, it
// goes by itself.
func (p *pass) remove(ctx context.Context, c jetstream.Consumer) {
	if !p.r.nc.IsConnected() {
		return
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.r.patience/10)
	defer cancel()
	_ = p.r.js.DeleteConsumer(wait, p.r.name, c.CachedInfo().Name)
}

// A hand takes the messages of one consumer, in the goroutine of its
// subscription.
type hand struct {
	p    *pass
	end  chan error
	over atomic.Bool
	got  atomic.Uint64 // how many messages this consumer has brought
	turn atomic.Uint64 // rises before and after each message
}

func (h *hand) take(m jetstream.Msg) {
	if h.over.Load() {
		return
	}
	h.turn.Add(1)
	err := h.one(m)
	h.turn.Add(1)
	if err != nil {
		h.over.Store(true)
		h.end <- err
	}
}

func (h *hand) one(m jetstream.Msg) error {
	p := h.p
	meta, err := m.Metadata()
	if err != nil {
		return p.r.explain(context.Background(), "read", err)
	}
	if meta.Sequence.Consumer != h.got.Load()+1 {
		return &lostError{errGap}
	}
	h.got.Store(meta.Sequence.Consumer)
	if !p.follow && meta.Sequence.Stream > p.last {
		return errDone
	}
	p.msg, p.read = Message{Subject: m.Subject(), Sequence: meta.Sequence.Stream, Stored: meta.Timestamp, Header: m.Headers(), Data: m.Data()}, true
	if err := p.fn(&p.msg, meta.NumPending); err != nil {
		return err
	}
	if !p.follow && meta.NumPending == 0 {
		return errDone
	}
	return nil
}

// explain wraps what a request came to. A server that did not answer in time is
// ErrGone, unless ctx ended first.
func (r *Reader) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, gone := range []error{context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionClosed, jetstream.ErrNoHeartbeat, errSilence} {
		if errors.Is(err, gone) {
			return fmt.Errorf("history: stream %s: %s: %w", r.name, what, ErrGone)
		}
	}
	return fmt.Errorf("history: stream %s: %s: %w", r.name, what, err)
}
