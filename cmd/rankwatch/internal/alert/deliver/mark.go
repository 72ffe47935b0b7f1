package deliver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/leader"
)

// Bucket is the key-value bucket beside a stream that holds what its routes have
// delivered.
func Bucket(stream string) string { return stream + "_ALERTS" }

// maxMemory is how many bytes one route's cooldowns may take, or three quarters
// of a message if the server takes smaller ones than NATS does by default. The oldest are forgotten first, so that a creator may be
// told of again too early, but never too late.
const maxMemory = 768 << 10

func openMarks(ctx context.Context, js jetstream.JetStream, stream string, replicas int) (jetstream.KeyValue, error) {
	wait, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	bucket := Bucket(stream)
	kv, err := js.KeyValue(wait, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(wait, jetstream.KeyValueConfig{
			Bucket: bucket, Description: "rankwatch alert: what each route has delivered, and its cooldowns", History: 1, Storage: jetstream.FileStorage, Replicas: max(replicas, 1),
		})
		if errors.Is(err, jetstream.ErrBucketExists) {
			kv, err = js.KeyValue(wait, bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("alert: bucket %s: %w", bucket, err)
	}
	return kv, nil
}

// A memory is what is known of a route: everything up to sequence Mark of the
// stream that was created at Stream is settled, by process Writer last.
type memory struct {
	Stream    time.Time       `json:"stream"`
	Mark      uint64          `json:"mark"`
	Message   string          `json:"message"`
	At        time.Time       `json:"at"`
	Writer    string          `json:"writer"`
	Cooldowns digest.Cooldown `json:"cooldowns,omitempty"`

	revision uint64 // of the value in the bucket; 0 if there is none
}

// errTaken means that another process has written the route's memory since it
// was read.
var errTaken = errors.New("another process has taken the route over")

func (r *route) key() string { return r.d.cfg.Name + "." + r.Name }

// recall reads what is known of the route. Marks of a stream that was made anew
// are worth nothing.
func (r *route) recall(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	// Not marks.Get: a replica that lags would have us deliver again what another
	// process has just delivered.
	last, held, err := leader.Key(wait, r.d.cfg.Conn, r.d.marks.Bucket(), r.key())
	if err != nil {
		return fmt.Errorf("route %s: marks: %w", r.Name, err)
	}
	if !held {
		r.known = memory{Stream: r.stream}
		return nil
	}
	var m memory
	if err := json.Unmarshal(last.Data, &m); err != nil {
		return &SetupError{What: fmt.Sprintf("route %s: what is remembered of it cannot be read (%v)", r.Name, err), Do: fmt.Sprintf("remove it with `nats kv del %s %s`", r.d.marks.Bucket(), r.key())}
	}
	m.revision = last.Sequence
	if !m.Stream.Equal(r.stream) {
		m.Stream, m.Mark, m.Message = r.stream, 0, ""
	}
	r.known = m
	return nil
}

// settle writes down that everything up to mark is settled, and what a delivery
// at that time spent of cooldowns. errTaken means that another process was first;
// r.known is what that wrote. It waits for a server that is away until ctx ends.
func (r *route) settle(ctx context.Context, mark uint64, message string, spent []string) error {
	next := r.known
	next.Mark, next.Message, next.At, next.Writer = mark, message, time.Now().UTC(), r.writer
	next.Cooldowns = r.cooled(next.At, spent)
	value, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("route %s: marks: %w", r.Name, err)
	}
	b, told := r.d.retry(), false
	for {
		wait, cancel := context.WithTimeout(ctx, requestLimit)
		if r.known.revision == 0 {
			next.revision, err = r.d.marks.Create(wait, r.key(), value)
		} else {
			next.revision, err = r.d.marks.Update(wait, r.key(), value, r.known.revision)
		}
		cancel()
		if err == nil {
			r.known = next
			return nil
		}
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || errors.Is(err, jetstream.ErrKeyExists) {
			// An earlier attempt of this very write may have arrived.
			if err = r.recall(ctx); err == nil {
				switch {
				case r.known.Writer == next.Writer && r.known.Mark == next.Mark:
					return nil
				case r.known.revision == 0:
					continue // somebody deleted it
				}
				return errTaken
			}
		}
		if !told && r.d.cfg.Conn.IsConnected() {
			told = true
			r.log.Warn("what was delivered cannot be written down, trying again", "bucket", r.d.marks.Bucket(), "err", err)
		}
		r.reopen(ctx)
		if err := pause(ctx, b.NextBackOff()); err != nil {
			return err
		}
	}
}

// cooled are the cooldowns that still count, with those of keys as of now.
func (r *route) cooled(now time.Time, keys []string) digest.Cooldown {
	if r.Cooldown <= 0 {
		return nil
	}
	out := make(digest.Cooldown, len(keys)+len(r.known.Cooldowns))
	for k, at := range r.known.Cooldowns {
		if now.Sub(at) < r.Cooldown {
			out[k] = at
		}
	}
	for _, k := range keys {
		out[k] = now.Truncate(time.Second)
	}
	const perKey = len(`"":"2006-01-02T15:04:05Z",`)
	size := 0
	for k := range out {
		size += len(k) + perKey
	}
	limit := min(maxMemory, int(r.d.cfg.Conn.MaxPayload()/4*3))
	if size <= limit {
		return out
	}
	oldest := slices.SortedFunc(maps.Keys(out), func(a, b string) int { return cmp.Or(out[a].Compare(out[b]), cmp.Compare(a, b)) })
	for _, k := range oldest {
		if size <= limit {
			break
		}
		delete(out, k)
		size -= len(k) + perKey
	}
	return out
}
