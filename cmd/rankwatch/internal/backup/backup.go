// Package backup holds the verbs that copy a worker's state, and the embedded
// server's stream, into one file, and bring them back.
//
// The state is copied before the stream, so that the stream in a file is never
// older than the state: what the state takes for published is there.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/version"
	"github.com/rankwatch/rankwatch/state"
)

const long = `Writes a consistent copy of a worker's state to FILE, and of its stream where the
NATS server is the embedded one. It may be taken while the worker runs, which it
disturbs no more than a reader does; the worker's server has to listen then. With
RANKWATCH_NATS_URL the stream is that server's own to back up.

FILE is a tar compressed with zstd and must not exist yet. It holds what was
published, but no token and no password.`

const examples = `  rankwatch backup rankwatch-2026-11-01.tar.zst
  RANKWATCH_DATA_DIR=/var/lib/rankwatch rankwatch backup /mnt/backup/monday.tar.zst
  tar --zstd -tf monday.tar.zst`

// Command returns the verb that makes a backup.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:     "backup FILE",
		Short:   "Copy a worker's state and its stream into a file, while it runs too",
		Long:    long,
		Example: examples,
		Args:    exit.OneArg("file to write"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return backup(cmd.Context(), settings.Load, args[0], cmd.ErrOrStderr())
		},
	}
}

// load reads the settings.
type load func() (settings.Settings, error)

func backup(ctx context.Context, from load, file string, errs io.Writer) (err error) {
	s, serr := from()
	if err := errors.Join(serr, checkTarget(file)); err != nil {
		return exit.AsUsage(err)
	}
	// Beside the file, so that it can be renamed, and one directory, so that
	// nothing stays.
	dir, err := os.MkdirTemp(filepath.Dir(file), ".rankwatch-backup-")
	if err != nil {
		return exit.AsUsage(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m := manifest{Format: formatNow, Created: time.Now().UTC().Truncate(time.Second), Version: version.String(), Stream: s.Stream, Prefix: s.Prefix}
	g := gathering{settings: s, dir: dir}
	if m.Content, err = g.gather(ctx); err != nil {
		return interrupted(ctx, err, "nothing was written")
	}
	if err := write(ctx, file, dir, m); err != nil {
		return interrupted(ctx, err, "nothing was written")
	}
	_, err = fmt.Fprintln(errs, summary(file, dir, m))
	return err
}

func checkTarget(file string) error {
	_, err := os.Lstat(file)
	if err == nil {
		return fmt.Errorf("%s exists already; choose another name, or remove it first", file)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if fi, err := os.Stat(filepath.Dir(file)); err != nil || !fi.IsDir() {
		return fmt.Errorf("%s cannot be written: there is no directory %s", file, filepath.Dir(file))
	}
	return nil
}

// interrupted words what an end by signal means.
func interrupted(ctx context.Context, err error, what string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; %s", what)
	}
	return err
}

// write packs what lies in dir, durably, under a temporary name first.
func write(ctx context.Context, file, dir string, m manifest) error {
	packed := filepath.Join(dir, "packed")
	f, err := os.OpenFile(packed, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = pack(ctx, f, dir, m)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := checkTarget(file); err != nil {
		return err // somebody else made it meanwhile
	}
	if err := os.Rename(packed, file); err != nil {
		return err
	}
	return state.SyncDir(filepath.Dir(file))
}

func summary(file, dir string, m manifest) string {
	text := fmt.Sprintf("%s: %s, state %s", file, size(file), size(filepath.Join(dir, stateName)))
	if c := m.Content; c != nil {
		text += fmt.Sprintf(", stream %s with %s messages up to sequence %d",
			size(filepath.Join(dir, filepath.FromSlash(dataName))), humanize.Comma(int64(c.Messages)), c.LastSeq)
	} else {
		text += "\nthe stream is not in it: that is the NATS server's own to back up, for example with `nats backup stream " + m.Stream + " DIR`"
	}
	return text
}

func size(file string) string {
	fi, err := os.Stat(file)
	if err != nil {
		return "of unknown size"
	}
	return humanize.Bytes(uint64(fi.Size()))
}
