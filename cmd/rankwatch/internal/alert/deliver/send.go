package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// loud is the attempt whose failure is told: a target may stumble.
const loud = 3

// A tooLongError says that a message was tried for as long as it may be.
type tooLongError struct{ last error }

func (e *tooLongError) Error() string { return fmt.Sprintf("given up, at last: %v", e.last) }
func (e *tooLongError) Unwrap() error { return e.last }

// errSettled means that another process has settled the message meanwhile.
var errSettled = errors.New("settled by another process")

// deliver sends what the route makes of a window, or parks it, and writes that
// down. It returns false if there was nothing to write.
func (r *route) deliver(ctx context.Context, w *window) (settled bool, err error) {
	first := w.items[0].Sequence()
	if !r.alone {
		if err := r.fresh(ctx, first); err != nil {
			return false, unlessSettled(err)
		}
	}
	m, spent := r.Make(w.items, r.known.Cooldowns, w.at())
	if m == nil && w.upTo == first {
		return false, nil
	}
	if m == nil {
		last, cancel := linger(ctx)
		defer cancel()
		return true, r.settle(last, w.upTo, "", nil)
	}
	rec := Record{Configuration: r.d.cfg.Name, Route: r.Name, Target: r.Target, Message: m.ID, Items: named(m), FirstTry: time.Now().UTC()}
	err = r.send(ctx, m, &rec)
	// What the target took must be written down even when ctx has ended.
	last, cancel := linger(ctx)
	defer cancel()
	var refused *digest.RefusedError
	var late *tooLongError
	switch {
	case errors.As(err, &refused):
		rec.Reason, spent = refused.Reason, nil
		err = r.park(last, &rec, refused)
	case errors.As(err, &late):
		rec.Reason, spent = ReasonTooLong, nil
		err = r.park(last, &rec, late.last)
	}
	if err != nil {
		return false, unlessSettled(err)
	}
	return true, r.settle(last, w.upTo, m.ID, spent)
}

// unlessSettled leaves out that there is nothing left to do.
func unlessSettled(err error) error {
	if errors.Is(err, errSettled) {
		return nil
	}
	return err
}

// fresh reads the route's memory; errSettled means that the message that begins
// at a sequence is settled.
func (r *route) fresh(ctx context.Context, first uint64) error {
	if err := r.patiently(ctx, func() error { return r.recall(ctx) }); err != nil {
		return err
	}
	if first <= r.known.Mark {
		return errSettled
	}
	return nil
}

// send tries until the target took the message, refused it, or ctx ends. An
// error that is no refusal says nothing about the message: the route stands still,
// says so, and goes on when the target does.
func (r *route) send(ctx context.Context, m *digest.Message, rec *Record) error {
	b, since := r.d.retry(), rec.FirstTry
	for attempt := 1; ; attempt++ {
		now := time.Now()
		if err := pause(ctx, r.Quiet.End(now).Sub(now)); err != nil {
			return err
		}
		err := r.attempt(ctx, m)
		rec.Attempts, rec.LastTry = attempt, time.Now().UTC()
		var refused *digest.RefusedError
		var later *digest.LaterError
		switch {
		case err == nil:
			if r.standing {
				r.standing = false
				r.log.Info("the target takes messages again", "target", r.Target, "reading", m.ID, "attempt", attempt)
			}
			return nil
		case errors.As(err, &refused):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		wait, blocked := b.NextBackOff(), false
		if errors.As(err, &later) {
			// Whoever asks for no pause at all gets one that grows all the same.
			wait, blocked = max(later.After, min(wait, time.Second)), later.Blocked
		}
		if blocked {
			since = rec.LastTry
		} else if r.d.cfg.RetryFor > 0 && time.Since(since) >= r.d.cfg.RetryFor {
			return &tooLongError{err}
		} else if r.d.cfg.RetryFor > 0 && later == nil {
			wait = min(wait, max(time.Until(since.Add(r.d.cfg.RetryFor)), 0))
		}
		if (attempt >= loud || blocked) && !r.standing {
			r.standing = true
			r.log.Error("the target takes no message, the route stands still and tries on", "target", r.Target, "reading", m.ID, "attempt", attempt, "err", err)
		} else {
			r.log.Debug("not taken, trying again", "target", r.Target, "reading", m.ID, "attempt", attempt, "err", err)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		if err := r.fresh(ctx, first(m)); err != nil {
			return err
		}
	}
}

// first is the lowest sequence of what a message tells.
func first(m *digest.Message) uint64 {
	at := ^uint64(0)
	for i := range m.Sections {
		at = min(at, m.Sections[i].Reading.Sequence)
	}
	for i := range m.Notices {
		at = min(at, m.Notices[i].Sequence)
	}
	return at
}

// attempt is one try. It may outlast ctx by some seconds.
func (r *route) attempt(ctx context.Context, m *digest.Message) error {
	once, cancel := linger(ctx)
	defer cancel()
	once, done := context.WithTimeout(once, sendLimit)
	defer done()
	return r.sender.Send(once, m)
}

// park stores a record and tells of it, once.
func (r *route) park(ctx context.Context, rec *Record, cause error) error {
	rec.Detail = detail(cause)
	var stored bool
	err := r.patiently(ctx, func() (err error) {
		stored, err = r.d.parked.put(ctx, r.stream, rec)
		return err
	})
	if err != nil {
		return err
	}
	if stored {
		r.log.Error("message parked", "target", r.Target, "reading", rec.Message, "attempt", rec.Attempts, "reason", rec.Reason, "id", rec.ID, "err", cause)
	}
	return nil
}

// unreadable parks a stored message that no item can be made of.
func (r *route) unreadable(ctx context.Context, m *history.Message, bad *BadMessageError) error {
	if err := r.fresh(ctx, m.Sequence); err != nil {
		return unlessSettled(err)
	}
	last, cancel := linger(ctx)
	defer cancel()
	now := time.Now().UTC()
	rec := Record{
		Configuration: r.d.cfg.Name, Route: r.Name, Target: r.Target, Message: m.ID(), Reason: ReasonUnreadable,
		FirstTry: now, LastTry: now, Items: unreadable(m, r.d.cfg.Reader.Prefix()),
	}
	if rec.Message == "" {
		rec.Message = fmt.Sprintf("sequence %d", m.Sequence)
	}
	if err := r.park(last, &rec, bad); err != nil {
		return err
	}
	return r.settle(last, m.Sequence, rec.Message, nil)
}
