package history

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Tip is where a watchlist's newest board is. Revision is 0 if too many boards had
// to be looked at for it.
type Tip struct {
	Sequence uint64
	Stored   time.Time // by the server
	Revision uint64
}

// mostLooks is how many boards Newest reads at most.
const mostLooks = 64

// Newest tells of the newest board of every watchlist, by their heads. Boards are
// read only where a head was replaced meanwhile.
func (r *Reader) Newest(ctx context.Context) (map[string]Tip, error) {
	boards := event.Filter(event.Subject{Prefix: r.prefix, Kind: event.Board})
	heads := r.heads()
	tips, of := make(map[string]Tip), make(map[uint64]uint64) // revisions by the sequence of the board
	p := pass{r: r, conf: jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true, FilterSubjects: []string{boards, heads + "*"},
	}}
	p.fn = func(m *Message, _ uint64) error {
		if strings.HasPrefix(m.Subject, heads) {
			n, err := strconv.ParseUint(m.Header.Get(event.RevisionHeader), 10, 64)
			if err != nil {
				return nil //nolint:nilerr // of another version
			}
			// A head is stored directly before its board, or was put in place of that
			// one, fenced on the board.
			of[m.Sequence+1] = n
			if board, err := strconv.ParseUint(m.Header.Get(jetstream.ExpectedLastSubjSeqHeader), 10, 64); err == nil {
				of[board] = n
			}
			return nil
		}
		s, err := event.ParseSubject(r.prefix, m.Subject)
		if err != nil {
			return nil //nolint:nilerr // not one of ours
		}
		// A later one is one of another region.
		tips[s.Watchlist] = Tip{Sequence: m.Sequence, Stored: m.Stored}
		return nil
	}
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	looks := 0
	for name, tip := range tips {
		tip.Revision = of[tip.Sequence]
		if tip.Revision == 0 && looks < mostLooks {
			looks++
			b, err := r.LastBoard(ctx, name)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			tip = Tip{Sequence: b.Sequence, Stored: b.Stored}
			tip.Revision, _ = b.Revision()
		}
		tips[name] = tip
	}
	return tips, nil
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
