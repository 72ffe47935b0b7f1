package statecopy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// ErrNobody means that no worker of the stream answers on that server.
var ErrNobody = errors.New("no worker answers")

// ErrDamaged means that what came is not what the worker sent.
var ErrDamaged = errors.New("the copy arrived damaged")

const (
	answerWait = 15 * time.Second // for one answer, none of which waits for a disk
	pollEvery  = 50 * time.Millisecond
	partWait   = 2 * time.Second // for the farewell
)

// Fetch writes the state of the worker of stream to w, as of one moment, and
// returns how many bytes that were. A *Refusal is the worker's own error.
func Fetch(ctx context.Context, nc *nats.Conn, stream string, w io.Writer) (n int64, err error) {
	c := client{nc: nc, subject: Subject(stream)}
	if err := c.open(ctx); err != nil {
		return 0, fmt.Errorf("statecopy: %w", err)
	}
	defer c.close(ctx)
	if err := c.ready(ctx); err != nil {
		return 0, fmt.Errorf("statecopy: %w", err)
	}
	sum := sha256.New()
	for n < c.held.Size {
		m, err := c.call(ctx, ask{Op: "read", Session: c.held.Session, Offset: n})
		if err != nil {
			return n, fmt.Errorf("statecopy: %w", err)
		}
		if len(m) == 0 {
			return n, fmt.Errorf("statecopy: %w: it ends at byte %d of %d", ErrDamaged, n, c.held.Size)
		}
		if _, err := io.MultiWriter(w, sum).Write(m); err != nil {
			return n, fmt.Errorf("statecopy: %w", err)
		}
		n += int64(len(m))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != c.held.SHA256 {
		return n, fmt.Errorf("statecopy: %w: its SHA-256 is %s, the worker's is %s", ErrDamaged, got, c.held.SHA256)
	}
	return n, nil
}

type client struct {
	nc      *nats.Conn
	subject string
	held    offer
}

func (c *client) open(ctx context.Context) error { return c.update(ctx, ask{Op: "open"}) }

// ready waits until the worker has made the copy.
func (c *client) ready(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !c.held.Ready {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := c.update(ctx, ask{Op: "stat", Session: c.held.Session}); err != nil {
			return err
		}
	}
	return nil
}

// close tells the worker that its copy is no longer wanted; what does not
// reach it, time does.
func (c *client) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partWait)
	defer cancel()
	_, _ = c.call(ctx, ask{Op: "close", Session: c.held.Session})
}

func (c *client) update(ctx context.Context, q ask) error {
	data, err := c.call(ctx, q)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &c.held); err != nil {
		return fmt.Errorf("the worker's answer: %w", err)
	}
	return nil
}

func (c *client) call(ctx context.Context, q ask) ([]byte, error) {
	data, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	m, err := c.nc.RequestWithContext(wait, c.subject, data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrNobody
	case err != nil && ctx.Err() == nil && wait.Err() != nil:
		return nil, fmt.Errorf("the worker did not answer within %s: %w", answerWait, err)
	case err != nil:
		return nil, err
	}
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return nil, &Refusal{Code: m.Header.Get(micro.ErrorCodeHeader), Text: text}
	}
	return m.Data, nil
}
