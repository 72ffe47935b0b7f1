package history

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// About returns the last event about a creator on each watchlist, in stream order.
func (r *Reader) About(ctx context.Context, uid string) ([]Message, error) {
	last := make(map[string]Message) // by watchlist
	p := pass{r: r, conf: jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubjects: []string{event.Filter(event.Subject{Prefix: r.prefix, UID: uid})},
	}}
	p.fn = func(m *Message, _ uint64) error {
		if s, err := event.ParseSubject(r.prefix, m.Subject); err == nil {
			last[s.Watchlist] = *m // a later one is of another kind or region
		}
		return nil
	}
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(last), func(a, b Message) int { return cmp.Compare(a.Sequence, b.Sequence) }), nil
}
