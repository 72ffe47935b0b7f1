package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize/english"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/snapshot"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
)

const longRestore = `Brings a backup back into RANKWATCH_DATA_DIR, which must be empty or missing. The
whole file is verified before anything is put in place; after an error, and after
Ctrl-C, the directory is as empty as it was.

With RANKWATCH_NATS_URL only the state goes back. The worker then holds it against
the stream, which decides: nothing is published twice and nothing is lost.

With the embedded server state and stream go back together. What the worker
published after the backup is not here any more and its ids were used, so each
watchlist's next board is a baseline with the reason "restored", and later ids
carry a lineage (us-beauty/43~2/board). Readings that waited to be published when
the backup was made are not published any more: that baseline has what they led
to, without the single events.`

const examplesRestore = `  RANKWATCH_DATA_DIR=data-new rankwatch restore rankwatch-2026-11-01.tar.zst
  RANKWATCH_DATA_DIR=data-new rankwatch run`

// RestoreCommand returns the verb that brings a backup back.
func RestoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "restore FILE",
		Short:   "Bring a backup back into an empty data directory",
		Long:    longRestore,
		Example: examplesRestore,
		Args:    exit.OneArg("backup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return restore(cmd.Context(), settings.Load, args[0], cmd.ErrOrStderr())
		},
	}
}

func restore(ctx context.Context, from load, file string, errs io.Writer) error {
	s, serr := from()
	f, ferr := open(file)
	if err := errors.Join(serr, ferr); err != nil {
		return exit.AsUsage(err)
	}
	defer f.Close() //nolint:errcheck // only read
	p, err := claim(s.DataDir)
	if err != nil {
		return exit.AsUsage(err)
	}
	r := restoration{settings: s, dir: p.work}
	err = r.prepare(ctx, f)
	if err == nil {
		// From here on Ctrl-C comes too late: a few renames are left.
		err = p.place()
	} else {
		err = errors.Join(interrupted(ctx, err, s.DataDir+" is as empty as it was"), p.abandon())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	_, err = fmt.Fprintln(errs, r.summary())
	return err
}

func open(file string) (*os.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no file", file), f.Close())
	}
	return f, nil
}

// A restoration makes a data directory of a backup, in a directory apart.
type restoration struct {
	settings settings.Settings
	dir      string

	manifest manifest
	together bool // the stream goes back too
	broken   publisher.Together
}

// prepare leaves in the directory what is to be put in place, durably, and
// nothing else.
func (r *restoration) prepare(ctx context.Context, f *os.File) (err error) {
	embedded := r.settings.NATS.Embedded()
	if r.manifest, err = unpack(ctx, f, r.dir, embedded); err != nil {
		if errors.Is(err, errNewer) || errors.Is(err, errNoBackup) {
			return exit.AsUsage(err)
		}
		return err
	}
	m, s := r.manifest, r.settings
	if m.Stream != s.Stream || m.Prefix != s.Prefix {
		return exit.AsUsage(fmt.Errorf("the backup is of stream %s with prefix %s and the settings say stream %s with prefix %s; set RANKWATCH_STREAM=%s and RANKWATCH_SUBJECT_PREFIX=%s", m.Stream, m.Prefix, s.Stream, s.Prefix, m.Stream, m.Prefix))
	}
	r.together = embedded && m.Content != nil
	if err := r.state(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(r.dir, streamFolder)); err != nil {
		return err
	}
	return syncTree(r.dir)
}

func (r *restoration) state(ctx context.Context) (err error) {
	// All of the backlog is kept, whatever the settings allow.
	db, err := state.Open(state.Config{Dir: r.dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(); err != nil {
		return err
	}
	if err := db.MarkRestored(); err != nil {
		return err
	}
	if !r.together {
		return nil
	}
	return r.stream(ctx, db)
}

// stream brings the stream back on a server of this process and declares the
// break in db.
func (r *restoration) stream(ctx context.Context, db *state.DB) error {
	srv, err := publisher.StartServer(publisher.ServerConfig{StoreDir: bus.StreamDir(r.dir), Listen: "off", NoSync: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer srv.Shutdown()
	nc, err := publisher.DialServer(srv, "rankwatch restore")
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := r.messages(ctx, nc); err != nil {
		return err
	}
	r.broken, err = publisher.BreakTogether(ctx, nc, publisher.Config{
		Stream: r.settings.Stream, Prefix: r.settings.Prefix, Outbox: db, Resume: watcher.Resume,
	})
	return err
}

func (r *restoration) messages(ctx context.Context, nc *nats.Conn) error {
	at := func(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }
	data, err := os.ReadFile(at(metaName))
	if err != nil {
		return err
	}
	var meta snapshot.Meta
	if err := json.Unmarshal(data, &meta); err != nil {
		return fmt.Errorf("%s: %w", metaName, err)
	}
	f, err := os.Open(at(dataName))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	got, err := snapshot.Restore(ctx, nc, meta, &patient{ctx, f})
	if err != nil {
		return err
	}
	if want := *r.manifest.Content; got != want {
		return fmt.Errorf("the restored stream has %d messages up to sequence %d, the backup %d up to %d", got.Messages, got.LastSeq, want.Messages, want.LastSeq)
	}
	return nil
}

func (r *restoration) summary() string {
	m := r.manifest
	said := fmt.Sprintf("restored into %s: the state of %s", r.settings.DataDir, text.Stamp(m.Created))
	switch {
	case r.together:
		said += fmt.Sprintf(" and its stream, %d messages up to sequence %d\nthe next board of %s will be a baseline \"restored\"; later ids carry a lineage",
			m.Content.Messages, m.Content.LastSeq, english.Plural(r.broken.Watchlists, "watchlist", ""))
		if n := r.broken.Waiting; n > 0 {
			said += fmt.Sprintf("\n%s that waited to be published will not be: the baselines have what they led to", english.Plural(n, "reading", ""))
		}
		if n := r.broken.Cut; n > 0 {
			said += fmt.Sprintf("\n%s of readings that were being published are left out", english.Plural(n, "event", ""))
		}
	case m.Content != nil:
		said += "\nthe stream in the backup is left out: RANKWATCH_NATS_URL is set, and the stream of that server decides"
	case r.settings.NATS.Embedded():
		said += "\nthe backup holds no stream and RANKWATCH_NATS_URL is not set: the worker will begin a new stream, with a baseline \"restored\" of each watchlist"
	}
	return said
}
