package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
)

// busWait bounds the look at a running worker's stream.
const busWait = 3 * time.Second

// known is what a reading is compared with, and a line for the user on where
// that came from.
type known struct {
	loaded   watcher.Loaded
	departed func(uids []string) (map[string]watcher.Departure, error)
	note     string
	close    func() error
}

// lookUp finds what is known of a watchlist: in the state, or, while a worker
// holds that, in its stream.
func lookUp(ctx context.Context, s settings.Settings, name string) (known, error) {
	k, err := fromState(s.DataDir, name)
	switch {
	case err == nil:
		return k, nil
	case errors.Is(err, state.ErrLocked):
		k, err := fromStream(ctx, s, name)
		if err != nil {
			k = first(fmt.Sprintf("the state is in use, and the stream cannot be read (%v)", err))
		}
		return k, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return known{}, err
	case !s.NATS.Embedded():
		k, err := fromStream(ctx, s, name)
		if err != nil {
			k = first(fmt.Sprintf("no state in %s, and the stream cannot be read (%v)", s.DataDir, err))
		}
		return k, nil
	}
	return first("no state of it in " + s.DataDir), nil
}

func first(why string) known {
	return known{
		note:     why + ": treated as the first reading",
		departed: func([]string) (map[string]watcher.Departure, error) { return nil, nil },
		close:    func() error { return nil },
	}
}

// fromState reads the state of a worker that is not running. Without any it
// returns fs.ErrNotExist, for a running one state.ErrLocked.
func fromState(dir, name string) (known, error) {
	db, err := state.OpenReadOnly(dir)
	if err != nil {
		return known{}, err
	}
	s := worker.Store(db)
	l, err := s.Load(name)
	if err == nil && !l.Known {
		err = fmt.Errorf("watchlist %s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return known{}, errors.Join(err, db.Close())
	}
	return known{
		loaded: l, close: db.Close,
		departed: func(uids []string) (map[string]watcher.Departure, error) { return s.Departed(name, uids) },
		note:     fmt.Sprintf("compared with revision %d in %s", l.Revision, dir),
	}, nil
}
