package history

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Tip is where a watchlist's newest board is. Revision is 0 if that takes a
// look at the board itself.
type Tip struct {
	Sequence uint64
	Stored   time.Time // by the server
	Revision uint64
}

// Newest tells of the newest board of every watchlist, without reading any.
func (r *Reader) Newest(ctx context.Context) (map[string]Tip, error) {
	boards := event.Filter(event.Subject{Prefix: r.prefix, Kind: event.Board})
	heads := r.heads()
	tips, of := make(map[string]Tip), make(map[uint64]uint64) // revisions by the sequence of the head
	p := pass{r: r, conf: jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true, FilterSubjects: []string{boards, heads + "*"},
	}}
	p.fn = func(m *Message, _ uint64) error {
		if strings.HasPrefix(m.Subject, heads) {
			if n, err := strconv.ParseUint(m.Header.Get(event.RevisionHeader), 10, 64); err == nil {
				of[m.Sequence] = n
			}
			return nil
		}
		s, err := event.ParseSubject(r.prefix, m.Subject)
		if err != nil {
			return nil //nolint:nilerr // not one of ours
		}
		// A later one is one of another region. A head is stored directly before
		// its board.
		tips[s.Watchlist] = Tip{Sequence: m.Sequence, Stored: m.Stored, Revision: of[m.Sequence-1]}
		return nil
	}
	return tips, p.run(ctx)
}

// State is what the stream holds now.
func (r *Reader) State(ctx context.Context) (*jetstream.StreamInfo, error) {
	wait, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	info, err := r.stream.Info(wait)
	if err != nil {
		return nil, r.explain(ctx, "look it up", err)
	}
	return info, nil
}
