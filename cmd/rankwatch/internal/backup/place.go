package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/state"
)

// A place is a data directory that a backup goes into. Until it is done, all of
// it lies in work, whose presence keeps a worker from starting: so no crash
// leaves a directory that a worker takes for an installation.
type place struct {
	dir, work string
	made      bool // dir did not exist
}

// claim takes an empty or missing directory.
func claim(dir string) (*place, error) {
	p := &place{dir: dir, work: bus.RestoringDir(dir)}
	_, err := os.Stat(dir)
	p.made = errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	in, err := content(dir)
	if err != nil {
		return nil, err
	}
	if slices.Contains(in, filepath.Base(p.work)) {
		return nil, bus.CheckDir(dir)
	}
	if len(in) > 0 {
		return nil, occupied(dir, in)
	}
	// Of two restores that start at once, one fails here.
	if err := os.Mkdir(p.work, 0o750); err != nil {
		return nil, err
	}
	// A worker that started meanwhile has a state there by now, or sees work.
	if in, err = content(dir); err == nil && len(in) > 1 {
		err = occupied(dir, in)
	}
	if err == nil {
		err = state.SyncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(err, p.abandon())
	}
	return p, nil
}

func occupied(dir string, in []string) error {
	return fmt.Errorf("%s is not empty (%s); set RANKWATCH_DATA_DIR to a new directory, or stop the worker and move away what is there", dir, strings.Join(in[:min(len(in), 4)], ", "))
}

// content lists a directory, without what a file system has at its root.
func content(dir string) ([]string, error) {
	all, err := os.ReadDir(dir)
	var names []string
	for _, e := range all {
		if e.Name() != "lost+found" {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// abandon leaves the directory as it was.
func (p *place) abandon() error {
	err := os.RemoveAll(p.work)
	if p.made && err == nil {
		err = os.Remove(p.dir)
	}
	return err
}

// place puts what is in work where a worker looks for it. The state comes
// first: should anybody remove work by hand after a crash, then a state without
// its stream begins with a baseline, whereas a stream without its state would
// go on with ids that were used.
func (p *place) place() error {
	for _, name := range []string{stateName, filepath.Base(bus.StreamDir(p.dir))} {
		err := os.Rename(filepath.Join(p.work, name), filepath.Join(p.dir, name))
		if err != nil && (name == stateName || !errors.Is(err, fs.ErrNotExist)) {
			return p.unfinished(err)
		}
		if err := state.SyncDir(p.dir); err != nil {
			return p.unfinished(err)
		}
	}
	if err := errors.Join(os.RemoveAll(p.work), state.SyncDir(p.dir)); err != nil {
		return p.unfinished(err)
	}
	return nil
}

func (p *place) unfinished(err error) error {
	return fmt.Errorf("the restore did not end; remove everything in %s and restore again: %w", p.dir, err)
}

// syncTree makes all that lies in dir durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return state.SyncDir(path)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
