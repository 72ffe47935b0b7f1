package watcher_test

import (
	"time"

	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
)

// stateStore lends a state.DB to a worker.
type stateStore struct{ *state.DB }

func (s stateStore) Load(name string) (watcher.Loaded, error) {
	l, err := s.DB.Load(name)
	return watcher.Loaded(l), err
}

func (s stateStore) Commit(c watcher.Commit) error {
	var gone []state.Departure
	for _, d := range c.Departed {
		gone = append(gone, state.Departure(d))
	}
	return s.DB.Commit(state.Commit{
		Watchlist: c.Watchlist, Version: c.Version, Tracked: c.Tracked, Batches: c.Batches, Departed: gone, At: c.At,
	})
}

func (s stateStore) Departed(name string, uids []string) (map[string]watcher.Departure, error) {
	found, err := s.DB.Departed(name, uids, time.Time{})
	out := map[string]watcher.Departure{}
	for uid, d := range found {
		out[uid] = watcher.Departure(d)
	}
	return out, err
}

func (s stateStore) Full() bool { return s.Backlog().Full }
