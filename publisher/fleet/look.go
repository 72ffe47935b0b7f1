package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher"
)

// lookTime bounds each request of a View.
const lookTime = 5 * time.Second

// ErrNoFleet means that no workers share the watchlists of this installation, or
// that none of them has been here yet.
var ErrNoFleet = errors.New("no workers share watchlists here")

// A View is a fleet as somebody sees it who takes no part in it: it sets nothing
// up and changes nothing, limits least of all.
type View struct {
	queue *Queue
	files *Files
}

// Look finds the fleet of an installation. It is ErrNoFleet if there is none, and
// a *publisher.ConfigError if the stream's turns are of another prefix.
func Look(ctx context.Context, conn *nats.Conn, stream, prefix string) (*View, error) {
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(lookTime))
	if err != nil {
		return nil, fmt.Errorf("fleet: jetstream: %w", err)
	}
	log := slog.New(slog.DiscardHandler)
	v := &View{
		queue: &Queue{cfg: QueueConfig{Conn: conn, Stream: stream, Prefix: prefix, Timeout: lookTime, Logger: log}, js: js, name: StreamName(stream)},
		files: &Files{cfg: FilesConfig{Conn: conn, Stream: stream, Timeout: lookTime, Logger: log}, js: js},
	}
	s, err := js.Stream(ctx, v.queue.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: there is no stream %s", ErrNoFleet, v.queue.name)
	}
	if err != nil {
		return nil, fmt.Errorf("fleet: look at stream %s: %w", v.queue.name, err)
	}
	if all := s.CachedInfo().Config.Subjects; !slices.Contains(all, v.queue.turnSubject("*")) {
		return nil, &publisher.ConfigError{
			What: fmt.Sprintf("stream %s holds no turns of the prefix %s, but %v", v.queue.name, prefix, all),
			Do:   "set RANKWATCH_SUBJECT_PREFIX to that of the workers, or RANKWATCH_STREAM",
		}
	}
	if _, err := s.Consumer(ctx, turns); errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("%w: stream %s has no consumer yet, so the first worker is just starting", ErrNoFleet, v.queue.name)
	} else if err != nil {
		return nil, fmt.Errorf("fleet: look at stream %s: %w", v.queue.name, err)
	}
	return v, nil
}

// State tells what the queue holds.
func (v *View) State(ctx context.Context) (State, error) { return v.queue.State(ctx) }

// Names returns the watchlists that have a schedule, and those that have a turn
// which is not done.
func (v *View) Names(ctx context.Context) (armed, called map[string]bool, err error) {
	return v.queue.Names(ctx)
}

// File returns the watchlist file that counts; ErrNoFile if there is none.
func (v *View) File(ctx context.Context) (File, error) {
	f, err := v.files.Current(ctx)
	if noBucket(err) {
		return File{}, ErrNoFile
	}
	return f, err
}

// Token returns what the fleet was last told of the API token, and until when the
// source wants no calls. Both are zero if nobody has told anything.
func (v *View) Token(ctx context.Context) (t Token, until time.Time, err error) {
	var h hold
	for key, into := range map[string]any{tokenKey: &t, holdKey: &h} {
		data, _, err := v.files.get(ctx, key)
		if noBucket(err) {
			return Token{}, time.Time{}, nil
		}
		if err == nil && data != nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			return Token{}, time.Time{}, fmt.Errorf("fleet: ask for the %s: %w", key, err)
		}
	}
	return t, h.Until, nil
}

func noBucket(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound
}
