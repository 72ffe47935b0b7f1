package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
)

// A store lends the worker's state to the watcher, which knows nothing of
// where boards rest.
type store struct{ db *state.DB }

// Store lends db to the watcher. Errors of a commit are the watcher's own.
func Store(db *state.DB) watcher.Store { return store{db} }

func (s store) Load(watchlist string) (watcher.Loaded, error) {
	l, err := s.db.Load(watchlist)
	if err != nil {
		return watcher.Loaded{}, err
	}
	return watcher.Loaded(l), nil
}

func (s store) Commit(c watcher.Commit) error {
	err := s.db.Commit(state.Commit{
		Watchlist: c.Watchlist, Version: c.Version, Tracked: c.Tracked,
		Batches: c.Batches, Departed: departed(c.Departed), At: c.At,
	})
	for _, m := range []struct{ theirs, ours error }{
		{state.ErrStale, watcher.ErrStale}, {state.ErrFull, watcher.ErrFull}, {state.ErrFenced, watcher.ErrFenced},
	} {
		if errors.Is(err, m.theirs) {
			return fmt.Errorf("%w: %w", m.ours, err)
		}
	}
	return err
}

func (s store) Departed(watchlist string, uids []string) (map[string]watcher.Departure, error) {
	found, err := s.db.Departed(watchlist, uids, time.Now())
	if err != nil {
		return nil, err
	}
	return departures(found), nil
}

func (s store) Records(each func(watchlist string, record []byte) error) error {
	return s.db.Records(each)
}

func (s store) Full() bool { return s.db.Backlog().Full }

func departures(found map[string]state.Departure) map[string]watcher.Departure {
	out := make(map[string]watcher.Departure, len(found))
	for uid, d := range found {
		out[uid] = watcher.Departure(d)
	}
	return out
}

func departed(in []watcher.Departure) []state.Departure {
	out := make([]state.Departure, len(in))
	for i, d := range in {
		out[i] = state.Departure(d)
	}
	return out
}

// departedWait bounds how long the bus is asked for departures.
const departedWait = 10 * time.Second

// A sharedStore asks the stream who has dropped out before: any worker may have
// published that.
type sharedStore struct {
	store
	bus *publisher.Publisher
}

func (s sharedStore) Departed(watchlist string, uids []string) (map[string]watcher.Departure, error) {
	ctx, cancel := context.WithTimeout(context.Background(), departedWait)
	defer cancel()
	found, err := s.bus.Departed(ctx, watchlist, uids)
	if err != nil {
		return nil, err
	}
	return departures(found), nil
}
