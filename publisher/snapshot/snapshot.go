// Package snapshot copies a stream off a NATS server and brings the copy back,
// through the server's own snapshot API. Publishing goes on meanwhile.
//
// A copy is of messages up to one sequence. What the server deletes while it
// is taken may be missing from it, and it may end in the middle of an atomic
// batch: the server promises no more.
package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Names that a copy's two files have in the directories of natscli, which can
// restore them too.
const (
	DataFile = "stream.arc.s2"
	MetaFile = "backup.json"
)

const (
	chunkSize   = 128 << 10
	requestWait = 15 * time.Second
	// silence is how long a server may send nothing. Its own limit is shorter.
	silence = 20 * time.Second
	// endWait is for what the server still has to do with the last chunk.
	endWait = 10 * time.Minute
)

// ErrBroken means that a copy is not whole.
var ErrBroken = errors.New("the stream's copy is not whole")

// Meta is what belongs to a copy beside its data: the stream's configuration
// and what the server said of its content, both as the server writes them.
type Meta struct {
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// A Tally is what a copy, or a stream, holds.
type Tally struct {
	Messages uint64 `json:"messages"`
	LastSeq  uint64 `json:"last_seq"`
}

// Take writes the stream as it is now, its consumers included, to w. Check what
// was written: the server's answer alone does not tell that nothing is missing.
func Take(ctx context.Context, nc *nats.Conn, stream string, w io.Writer) (Meta, error) {
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return Meta{}, fmt.Errorf("snapshot %s: %w", stream, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection is gone then
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return Meta{}, fmt.Errorf("snapshot %s: %w", stream, err)
	}
	var meta Meta
	req, err := apiRequest("STREAM.SNAPSHOT."+stream, map[string]any{"deliver_subject": sub.Subject, "chunk_size": chunkSize})
	if err == nil {
		err = req.send(ctx, nc, &meta)
	}
	if err != nil {
		return Meta{}, fmt.Errorf("snapshot %s: %w", stream, err)
	}
	for {
		m, err := next(ctx, sub)
		if err != nil {
			return Meta{}, fmt.Errorf("snapshot %s: %w", stream, err)
		}
		if len(m.Data) == 0 {
			if s := m.Header.Get("Status"); s != "" && s != "204" {
				return Meta{}, fmt.Errorf("snapshot %s: the server gave up: %s %s", stream, s, m.Header.Get("Description"))
			}
			return meta, nil
		}
		// Before the write: the server waits a few seconds for this and no longer.
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return Meta{}, fmt.Errorf("snapshot %s: %w", stream, err)
			}
		}
		if _, err := w.Write(m.Data); err != nil {
			return Meta{}, fmt.Errorf("snapshot %s: %w", stream, err)
		}
	}
}

func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	wait, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	m, err := sub.NextMsgWithContext(wait)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		return nil, fmt.Errorf("the server sends nothing for %s: %w", silence, err)
	}
	return m, err
}

// Check reads a copy to its end and returns what is in it. ErrBroken means that
// some of it is missing or damaged.
func Check(r io.Reader) (Tally, error) {
	a := archive.NewReader(s2.NewReader(r))
	var t Tally
	h, err := a.Next()
	if err != nil || h.Name != "state.json" {
		return t, fmt.Errorf("snapshot: %w: it does not begin as one (%w)", ErrBroken, orEOF(err))
	}
	var state Tally
	if err := json.NewDecoder(a).Decode(&state); err != nil {
		return t, fmt.Errorf("snapshot: %w: %w", ErrBroken, err)
	}
	for {
		h, err := a.Next()
		if err != nil {
			return t, fmt.Errorf("snapshot: %w: after %d messages: %w", ErrBroken, t.Messages, err)
		}
		switch {
		case h.Sequence > 0:
			t.Messages++
		case h.Name == "":
			// The mark behind the last message. The last sequence may belong to a
			// message that is deleted.
			t.LastSeq = state.LastSeq
			return t, nil
		}
	}
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Restore brings a copy back under its old name, and returns what the server
// then has. Nothing expires by age until the stream's configuration is set
// again: only then can the figures be compared. The server must not have the
// stream.
func Restore(ctx context.Context, nc *nats.Conn, meta Meta, r io.Reader) (_ Tally, err error) {
	stream, config, err := unlimited(meta.Config)
	if err != nil {
		return Tally{}, fmt.Errorf("restore stream: %w", err)
	}
	var to struct {
		Subject string `json:"deliver_subject"`
	}
	req, err := apiRequest("STREAM.RESTORE."+stream, Meta{config, meta.State})
	if err == nil {
		err = req.send(ctx, nc, &to)
	}
	if err != nil {
		return Tally{}, fmt.Errorf("restore stream %s: %w", stream, err)
	}
	defer func() {
		if err != nil {
			// Else the server waits seconds for more. What it has is not whole.
			_ = nc.PublishRequest(to.Subject, nc.NewInbox(), nil)
		}
	}()
	buf := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(r, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return Tally{}, fmt.Errorf("restore stream %s: %w", stream, err)
		}
		if n == 0 {
			break
		}
		part := request{subject: to.Subject, data: buf[:n], limit: silence}
		if err := part.send(ctx, nc, nil); err != nil {
			return Tally{}, fmt.Errorf("restore stream %s: %w", stream, err)
		}
	}
	var made struct {
		State *struct {
			Messages uint64 `json:"messages"`
			LastSeq  uint64 `json:"last_seq"`
		} `json:"state"`
	}
	end := request{subject: to.Subject, limit: endWait}
	if err := end.send(ctx, nc, &made); err != nil {
		return Tally{}, fmt.Errorf("restore stream %s: %w", stream, err)
	}
	if made.State == nil {
		return Tally{}, fmt.Errorf("restore stream %s: the server does not say what it has", stream)
	}
	return Tally(*made.State), nil
}

// unlimited returns the name in a stream's configuration, and that without its
// limit of age.
func unlimited(config json.RawMessage) (string, json.RawMessage, error) {
	var c map[string]json.RawMessage
	var name string
	if err := json.Unmarshal(config, &c); err != nil {
		return "", nil, fmt.Errorf("its configuration: %w", err)
	}
	if err := json.Unmarshal(c["name"], &name); err != nil || name == "" || strings.ContainsAny(name, ".*> ") {
		return "", nil, fmt.Errorf("its configuration names no stream: %w", orEOF(err))
	}
	delete(c, "max_age")
	out, err := json.Marshal(c)
	return name, out, err
}

// A request is made of the server, which has until limit to answer.
type request struct {
	subject string
	data    []byte
	limit   time.Duration
}

// apiRequest is a request of the JetStream API.
func apiRequest(op string, body any) (request, error) {
	data, err := json.Marshal(body)
	return request{subject: "$JS.API." + op, data: data, limit: requestWait}, err
}

// send makes the request. An error of the server is a *jetstream.APIError. A
// nil resp expects an empty answer, or such an error.
func (q request) send(ctx context.Context, nc *nats.Conn, resp any) error {
	wait, cancel := context.WithTimeout(ctx, q.limit)
	defer cancel()
	m, err := nc.RequestWithContext(wait, q.subject, q.data)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		return fmt.Errorf("the server did not answer within %s: %w", q.limit, err)
	}
	if err != nil {
		return err
	}
	if len(m.Data) == 0 && resp == nil {
		return nil
	}
	var failed struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &failed); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if failed.Error != nil {
		return failed.Error
	}
	if resp == nil {
		return nil
	}
	return json.Unmarshal(m.Data, resp)
}
