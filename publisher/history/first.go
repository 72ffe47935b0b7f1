package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// First returns the oldest message that the stream holds, or ErrNotFound.
func (r *Reader) First(ctx context.Context) (*Message, error) {
	m, err := r.stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(event.Filter(event.Subject{Prefix: r.prefix})))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("first message: %w", ErrNotFound)
	}
	if err != nil {
		return nil, r.explain(ctx, "first message", err)
	}
	return &Message{Subject: m.Subject, Sequence: m.Sequence, Stored: m.Time, Data: m.Data}, nil
}

// A Head says up to which revision a watchlist was published, and seals that
// board: the worker stores it together with the board. Digest is empty in those
// of earlier versions.
type Head struct {
	Watchlist string
	Revision  uint64
	Digest    string
}

// heads is what the subjects of heads begin with; a watchlist's name follows.
func (r *Reader) heads() string { return event.InternalRoot + r.prefix + ".head." }

// Heads lists the heads that the stream has now. One may be missing of a
// watchlist whose head was too large, and of streams that were put together by
// hand.
func (r *Reader) Heads(ctx context.Context) ([]Head, error) {
	root := r.heads()
	var out []Head
	p := pass{r: r, conf: jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true, FilterSubjects: []string{root + "*"}}}
	p.fn = func(m *Message, _ uint64) error {
		n, err := strconv.ParseUint(m.Header.Get(event.RevisionHeader), 10, 64)
		if err != nil {
			return nil //nolint:nilerr // of another version
		}
		out = append(out, Head{Watchlist: strings.TrimPrefix(m.Subject, root), Revision: n, Digest: m.Header.Get(event.DigestHeader)})
		return nil
	}
	return out, p.run(ctx)
}

// Tracked is what the worker remembered at a watchlist's newest board, and that
// board's revision, or ErrNotFound: see Heads.
func (r *Reader) Tracked(ctx context.Context, watchlist string) (event.Tracked, uint64, error) {
	m, err := r.last(ctx, watchlist, r.heads()+watchlist)
	if err != nil {
		return event.Tracked{}, 0, err
	}
	t, n, err := event.UnpackHead(m.Header, m.Data)
	if err != nil {
		return t, 0, fmt.Errorf("head of %s, %w: %w", watchlist, ErrNotFound, err) // of another version
	}
	return t, n, nil
}

// Swept is the sequence below which the worker has deleted events and old boards
// for their age, 0 if it has not yet. Known is false for a stream that no worker
// of this version looks after, of which nothing can be said.
func (r *Reader) Swept(ctx context.Context) (sequence uint64, known bool, err error) {
	if r.Stream().Config.Metadata[event.RetentionKey] == "" {
		return 0, false, nil
	}
	wait, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	m, err := r.stream.GetLastMsgForSubject(wait, event.SweptSubject(r.prefix))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, r.explain(ctx, "what was deleted", err)
	}
	var s event.Swept
	if err := json.Unmarshal(m.Data, &s); err != nil {
		return 0, false, fmt.Errorf("history: %s: %w", m.Subject, err)
	}
	return s.Sequence, true, nil
}
