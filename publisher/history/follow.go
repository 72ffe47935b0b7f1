package history

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Follow calls fn with every message after a sequence, in stream order, those that
// the stream holds and then each as it is taken in, until ctx ends, which is its
// error, or fn returns one. A server that goes away is waited for, and nothing is
// missed or repeated. ErrWentBack means that there is nothing to go on from.
func (r *Reader) Follow(ctx context.Context, sequence uint64, fn func(*Message) error) error {
	all := r.prefix + "."
	p := pass{r: r, follow: true, conf: jetstream.ConsumerConfig{
		FilterSubjects: []string{all + ">"}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: sequence + 1,
	}}
	p.fn = func(m *Message, _ uint64) error {
		if !strings.HasPrefix(m.Subject, all) {
			return nil
		}
		return fn(m)
	}
	return p.run(ctx)
}
