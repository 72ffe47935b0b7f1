package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/snapshot"
	"github.com/rankwatch/rankwatch/publisher/statecopy"
	"github.com/rankwatch/rankwatch/state"
)

// A gathering collects what goes into a backup, as files in dir.
type gathering struct {
	settings settings.Settings
	dir      string
	bus      *bus.Bus // nil until it is needed
}

// open connects to the server, once.
func (g *gathering) open() (err error) {
	if g.bus == nil {
		g.bus, err = bus.Open(g.settings, "backup")
	}
	return err
}

func (g *gathering) close() error {
	if g.bus == nil {
		return nil
	}
	return g.bus.Close()
}

// gather returns what the copy of the stream holds, nil if it is not our
// business.
func (g *gathering) gather(ctx context.Context) (_ *snapshot.Tally, err error) {
	defer func() { err = errors.Join(err, g.close()) }()
	if g.settings.NATS.Embedded() {
		if err := bus.CheckDir(g.settings.DataDir); err != nil {
			return nil, exit.AsUsage(err)
		}
	}
	if err := g.state(ctx); err != nil {
		return nil, err
	}
	its, err := g.checkState()
	if err != nil {
		return nil, err
	}
	if !g.settings.NATS.Embedded() {
		return nil, nil
	}
	t, err := g.stream(ctx)
	if err != nil {
		return nil, err
	}
	if its.newest > t.LastSeq {
		return nil, fmt.Errorf("the stream ends at sequence %d and the state says that %d was published: they do not belong together", t.LastSeq, its.newest)
	}
	return &t, g.sameStream(ctx, its)
}

// claims are what a state says of its stream.
type claims struct {
	newest  uint64    // the highest sequence that it takes for published
	created time.Time // when the stream was made; zero if it has seen none yet
}

// sameStream refuses a stream that was made anew under the name of the state's.
// It comes after the copy, so that one which was made meanwhile is noticed too.
func (g *gathering) sameStream(ctx context.Context, its claims) error {
	if its.created.IsZero() {
		return nil
	}
	js, err := jetstream.New(g.bus.Conn)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, g.settings.Stream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", g.settings.Stream, err)
	}
	if made := s.CachedInfo().Created; !made.Equal(its.created) {
		return fmt.Errorf("stream %s in %s was made at %s and the state is of one that was made at %s: they do not belong together; let a worker run there, which holds one against the other, and back up again",
			g.settings.Stream, g.bus.Where, event.Time(made), event.Time(its.created))
	}
	return nil
}

// state copies the state: from the file while no worker runs, else from the
// worker, which holds its lock.
func (g *gathering) state(ctx context.Context) error {
	dir := g.settings.DataDir
	db, err := state.OpenReadOnly(dir)
	switch {
	case err == nil:
		err = g.fill(stateName, db.Copy)
		return errors.Join(err, db.Close())
	case errors.Is(err, state.ErrLocked):
		return g.askWorker(ctx)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; the directory is what RANKWATCH_DATA_DIR says", err)
	case g.settings.NATS.Embedded():
		return exit.AsUsage(fmt.Errorf("no worker's state in %s; set RANKWATCH_DATA_DIR to a worker's data directory", dir))
	}
	// The worker may run elsewhere.
	err = g.askWorker(ctx)
	if errors.Is(err, statecopy.ErrNobody) {
		return exit.AsUsage(fmt.Errorf("no worker's state in %s, and no worker of stream %s answers; set RANKWATCH_DATA_DIR to the worker's data directory, or start the worker. Workers that share watchlists (RANKWATCH_CLUSTER=true) have no state to back up: all is in the stream, see `nats backup stream %s`", dir, g.settings.Stream, g.settings.Stream))
	}
	return err
}

func (g *gathering) askWorker(ctx context.Context) error {
	if err := g.open(); err != nil {
		return err
	}
	err := g.fill(stateName, func(w io.Writer) error {
		_, err := statecopy.Fetch(ctx, g.bus.Conn, g.settings.Stream, w)
		return err
	})
	if errors.Is(err, statecopy.ErrNobody) {
		return fmt.Errorf("a worker has %s, but none of stream %s answers at %s: it may be of an older version, starting or ending; try again, or stop it first: %w", g.settings.DataDir, g.settings.Stream, g.bus.Where, err)
	}
	return err
}

// fill makes a file in the directory of what write writes.
func (g *gathering) fill(name string, write func(io.Writer) error) error {
	at := filepath.Join(g.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// checkState reads the copy as a whole.
func (g *gathering) checkState() (its claims, err error) {
	db, err := state.OpenReadOnly(g.dir)
	if err != nil {
		return its, fmt.Errorf("the copy of the state: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(); err != nil {
		return its, fmt.Errorf("the copy of the state: %w", err)
	}
	rec, known, err := db.Stream()
	if err != nil {
		return its, err
	}
	if known && (rec.Name != g.settings.Stream || rec.Prefix != g.settings.Prefix) {
		return its, exit.AsUsage(fmt.Errorf("%s belongs to stream %s with prefix %s; set RANKWATCH_STREAM=%s and RANKWATCH_SUBJECT_PREFIX=%s", g.settings.DataDir, rec.Name, rec.Prefix, rec.Name, rec.Prefix))
	}
	a, _, err := db.Newest()
	return claims{newest: a.Sequence, created: rec.Created}, err
}

// stream copies the embedded server's stream and reads the copy again: one that
// cannot be restored is none.
func (g *gathering) stream(ctx context.Context) (t snapshot.Tally, err error) {
	if err := g.open(); err != nil {
		return t, err
	}
	var meta snapshot.Meta
	err = g.fill(dataName, func(w io.Writer) (err error) {
		meta, err = snapshot.Take(ctx, g.bus.Conn, g.settings.Stream, w)
		return err
	})
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound {
		return t, fmt.Errorf("there is no stream %s in %s yet: %w", g.settings.Stream, g.bus.Where, err)
	}
	if err != nil {
		return t, err
	}
	err = g.fill(metaName, func(w io.Writer) error { return json.NewEncoder(w).Encode(meta) })
	if err != nil {
		return t, err
	}
	f, err := os.Open(filepath.Join(g.dir, filepath.FromSlash(dataName)))
	if err != nil {
		return t, err
	}
	defer f.Close() //nolint:errcheck // only read
	return snapshot.Check(&patient{ctx, f})
}
