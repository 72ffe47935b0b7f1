package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

func TestMain(m *testing.M) {
	// A restore that is broken off leaves these two of nats-server's own behind;
	// the process ends with it.
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func of(dir string) load {
	return func() (settings.Settings, error) {
		return settings.Settings{DataDir: dir, Stream: "RANKWATCH", Prefix: "rankwatch", NATS: settings.NATS{Listen: "127.0.0.1:0"}}, nil
	}
}

// installed makes the data directory of a worker that published some boards.
func installed(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	db, err := state.Open(state.Config{Dir: dir})
	ok(t, err)
	ctx, published := context.WithCancel(t.Context())
	defer published()
	left := 5
	p, err := publisher.Open(ctx, publisher.Config{
		Server: publisher.ServerConfig{Embedded: true, StoreDir: bus.StreamDir(dir)}, Stream: "RANKWATCH", Prefix: "rankwatch",
		Retention: time.Hour, Writer: "w", Outbox: db,
		AfterCommit: func() {
			if left--; left == 0 {
				published()
			}
		},
	})
	ok(t, err)
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us"}
	for n := uint64(1); n <= 5; n++ {
		m, err := o.Board(event.ReadingID("us", n, 1), time.Now(), &event.Snapshot{Watchlist: "us", Revision: n, Writer: "w"})
		ok(t, err)
		ok(t, db.Commit(state.Commit{
			Watchlist: "us", Version: n - 1, At: time.Now(), Tracked: event.Tracked{Record: []byte("{}"), Board: []byte("b")},
			Batches: []event.Batch{{Chain: event.Chain{Watchlist: "us", Kind: event.Board}, Revision: n, Messages: []event.Message{m}}},
		}))
	}
	ok(t, p.Run(ctx))
	ok(t, db.Close())
	return dir
}

func listed(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ok(t, err)
	var out []string
	for _, e := range all {
		out = append(out, e.Name())
	}
	return out
}

// A countdown is a context that ends at the nth look at it.
type countdown struct {
	context.Context //nolint:containedctx // it is one
	end             context.CancelFunc
	left            atomic.Int64
}

func newCountdown(t *testing.T, n int64) *countdown {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c := &countdown{Context: ctx, end: cancel}
	c.left.Store(n)
	return c
}

func (c *countdown) Err() error {
	if c.left.Add(-1) <= 0 {
		c.end()
	}
	return c.Context.Err()
}

// Wherever it is broken off, nothing is left, and the next one works.
func TestBrokenOffAnywhereLeavesNothing(t *testing.T) {
	t.Parallel()
	data := installed(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "b.tar.zst")
	tries := func(name string, do func(ctx context.Context) error, left []string) {
		for n := int64(1); ; n++ {
			ctx := newCountdown(t, n)
			err := do(ctx)
			if err == nil {
				t.Logf("%s: broken off at %d points", name, n-1)
				if n < 5 {
					t.Errorf("%s: hardly anything was tried", name)
				}
				return
			}
			if !strings.Contains(err.Error(), "interrupted") || ctx.Context.Err() == nil {
				t.Fatalf("%s, point %d: %v", name, n, err)
			}
			if got := listed(t, dir); !slices.Equal(got, left) {
				t.Fatalf("%s, point %d: left %q", name, n, got)
			}
		}
	}
	tries("backup", func(ctx context.Context) error { return backup(ctx, of(data), file, io.Discard) }, nil)
	tries("restore", func(ctx context.Context) error {
		return restore(ctx, of(filepath.Join(dir, "new")), file, io.Discard)
	}, []string{"b.tar.zst"})
	if got := listed(t, filepath.Join(dir, "new")); !slices.Equal(got, []string{"jetstream", "state.db"}) {
		t.Errorf("restored %q", got)
	}
	db, err := state.Open(state.Config{Dir: filepath.Join(dir, "new")})
	ok(t, err)
	defer db.Close()
	ok(t, db.Check())
	if l, err := db.Load("us"); err != nil || !l.Broken || l.Lineage != 2 || l.StreamRevision != 5 {
		t.Errorf("%+v, %v", l, err)
	}
}

// What a crash between the steps of placing leaves is refused by everybody
// until it is cleared away.
func TestAHalfPlacedRestoreIsRefused(t *testing.T) {
	t.Parallel()
	for _, at := range []string{stateName, "jetstream"} {
		dir := t.TempDir()
		p, err := claim(dir)
		ok(t, err)
		if _, err := claim(dir); err == nil {
			t.Error("claimed twice")
		}
		ok(t, os.WriteFile(filepath.Join(p.work, stateName), []byte("x"), 0o600))
		ok(t, os.Mkdir(filepath.Join(p.work, "jetstream"), 0o700))
		ok(t, os.MkdirAll(filepath.Join(dir, at, "in the way"), 0o700)) // the rename fails here
		err = p.place()
		if err == nil || !strings.Contains(err.Error(), "remove everything in "+dir) {
			t.Errorf("%s: %v", at, err)
		}
		if err := bus.CheckDir(dir); err == nil {
			t.Errorf("%s: a worker would start on %q", at, listed(t, dir))
		}
		if _, err := os.Stat(filepath.Join(dir, "jetstream", "in the way")); at == stateName && err == nil {
			t.Errorf("the stream was placed before the state")
		}
	}
}

// A worker that starts while a restore begins is seen.
func TestClaimSeesWhoCameFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, stateName), nil, 0o600))
	if _, err := claim(dir); err == nil || !strings.Contains(err.Error(), "state.db") {
		t.Errorf("claimed a directory with a state: %v", err)
	}
	if got := listed(t, dir); !slices.Equal(got, []string{stateName}) {
		t.Errorf("left %q", got)
	}
}

// A stream that was made anew under the same name goes on with other messages:
// its sequences say nothing about the state.
func TestAStateAndAnotherStreamAreNotPackedTogether(t *testing.T) {
	t.Parallel()
	data := installed(t)
	to := filepath.Join(t.TempDir(), "b.tar.zst")
	ok(t, backup(t.Context(), of(data), to, io.Discard))
	ok(t, os.Remove(to))

	s, err := of(data)()
	ok(t, err)
	b, err := bus.Open(s, "test")
	ok(t, err)
	js, err := jetstream.New(b.Conn)
	ok(t, err)
	old, err := js.Stream(t.Context(), s.Stream)
	ok(t, err)
	ok(t, js.DeleteStream(t.Context(), s.Stream))
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: s.Stream, Subjects: []string{"rankwatch.>"}})
	ok(t, err)
	for range old.CachedInfo().State.LastSeq {
		_, err := js.Publish(t.Context(), "rankwatch.US.us.board", []byte("{}"))
		ok(t, err)
	}
	ok(t, b.Close())

	err = backup(t.Context(), of(data), to, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "they do not belong together; let a worker run there") {
		t.Error(err)
	}
	if got := listed(t, filepath.Dir(to)); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}
