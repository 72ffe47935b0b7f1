package history

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A Cursor is how far a stream was followed: all up to Sequence was seen. Created
// is when that stream was made, zero until it is known.
type Cursor struct {
	Sequence uint64
	Created  time.Time
}

// Follow calls fn with every message after a cursor, in stream order, those that
// the stream holds and then each as it is taken in, until ctx ends, which is its
// error, or fn returns one. It moves the cursor behind each message, so that another
// call goes on from there. A server that goes away is waited for, and nothing is
// missed or repeated. ErrWentBack means that the stream is not the cursor's any
// more: there is nothing to go on from.
func (r *Reader) Follow(ctx context.Context, at *Cursor, fn func(*Message) error) error {
	all := r.prefix + "."
	p := pass{r: r, follow: true, created: at.Created, conf: jetstream.ConsumerConfig{
		FilterSubjects: []string{all + ">"}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: at.Sequence + 1,
	}}
	p.fn = func(m *Message, _ uint64) error {
		if strings.HasPrefix(m.Subject, all) {
			if err := fn(m); err != nil {
				return err
			}
		}
		at.Sequence = m.Sequence
		return nil
	}
	err := p.run(ctx)
	at.Created = p.created
	return err
}
