package state

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

const (
	workerDir = "STATE_TEST_WORKER_DIR"
	workerRun = "^TestWorkerProcess$"
)

// TestWorkerProcess is the worker of other tests, in a process of its own: it
// says `open`, then commits a board, acknowledges the one before it and says
// its revision, for each line on stdin.
func TestWorkerProcess(t *testing.T) {
	dir := os.Getenv(workerDir)
	if dir == "" {
		t.Skip("runs for other tests only")
	}
	db, err := Open(Config{Dir: dir, Keep: 20_000})
	ok(t, err)
	fmt.Println("open")
	revision := load(t, db, "us").Revision
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		revision++
		ok(t, db.Commit(Commit{
			Watchlist: "us", Version: load(t, db, "us").Version, At: noon,
			Tracked: event.Tracked{Record: strconv.AppendUint(nil, revision, 10), Board: strconv.AppendUint(nil, revision, 10)},
			Batches: []event.Batch{batch(boards, revision, 5000)},
		}))
		if revision > 1 {
			ack(t, db, 1)
		}
		fmt.Println(revision)
	}
	ok(t, db.Close())
}

// startWorker runs TestWorkerProcess on dir and waits until it has it open.
func startWorker(t *testing.T, dir string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", workerRun)
	cmd.Env = append(os.Environ(), workerDir+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("worker says %q", lines.Text())
	}
	return cmd, in, lines
}

func TestOneProcessPerDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, in, lines := startWorker(t, dir)
	_, err := Open(Config{Dir: dir})
	wantErr(t, err, ErrLocked, dir, "another rankwatch process", "stop that one, or use another data directory")
	_, err = OpenReadOnly(dir)
	wantErr(t, err, ErrLocked)
	ok(t, in.Close())
	for lines.Scan() { // until it has ended
	}
	ok(t, cmd.Wait())
	db := openDB(t, Config{Dir: dir})
	_, err = Open(Config{Dir: dir})
	wantErr(t, err, ErrLocked)
	ok(t, db.Close())
	a, err := OpenReadOnly(dir)
	ok(t, err)
	b, err := OpenReadOnly(dir)
	ok(t, err)
	_, err = Open(Config{Dir: dir})
	wantErr(t, err, ErrLocked)
	ok(t, errors.Join(a.Close(), b.Close()))
}

func TestKilledWorkerLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	said, waiting := uint64(0), 1
	for round := range rounds {
		cmd, in, lines := startWorker(t, dir)
		// It dies while it works on what it was told and has not answered.
		for range 5 + round*3 {
			_, err := io.WriteString(in, "\n")
			ok(t, err)
		}
		for range 3 + round {
			if !lines.Scan() {
				t.Fatal("worker ended by itself")
			}
		}
		ok(t, cmd.Process.Kill())
		for more := true; more; more = lines.Scan() {
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				said = n
			}
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatal("worker was not killed:", err)
		}

		db, err := Open(Config{Dir: dir, Keep: 20_000})
		ok(t, err)
		ok(t, db.Check())
		l := load(t, db, "us")
		if l.Revision != said && l.Revision != said+1 {
			t.Fatalf("worker committed %d, found %d", said, l.Revision)
		}
		now := strconv.FormatUint(l.Revision, 10)
		want(t, "board and record", []string{string(l.Board), string(l.Record)}, []string{now, now})
		q, err := db.Queue(0)
		ok(t, err)
		// A worker that is killed between commit and acknowledgement leaves one more.
		if n := len(q); n < 1 || n > waiting+1 {
			t.Fatalf("committed %d, waiting %v, %d before", l.Revision, q, waiting)
		}
		waiting = len(q)
		for i := range q {
			if q[i].Revision != l.Revision-uint64(waiting-1-i) {
				t.Fatalf("committed %d, waiting %v", l.Revision, q)
			}
		}
		suspect, why := db.Suspect()
		want(t, "suspect "+why, suspect, false)
		ok(t, db.Close())
	}
	if said < uint64(rounds) {
		t.Fatal("the worker did nothing")
	}
}

func TestReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, err := OpenReadOnly(dir)
	wantErr(t, err, fs.ErrNotExist)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("reading created the directory")
	}
	ok(t, os.Mkdir(dir, 0o700))
	ok(t, os.WriteFile(filepath.Join(dir, FileName), nil, 0o600))
	_, err = OpenReadOnly(dir)
	wantErr(t, err, fs.ErrNotExist)

	db := openDB(t, Config{Dir: dir})
	commit(t, db, boards, 1)
	ok(t, db.Close())
	db, err = OpenReadOnly(dir)
	ok(t, err)
	defer db.Close()
	want(t, "queue", waiting(t, db, 0), "b/us:1")
	ok(t, db.Check())
	for name, err := range map[string]error{
		"commit": tryCommit(db, batch(boards, 2, 1)),
		"stream": db.SetStream(Stream{}),
		"rewind": db.Rewind(boards, Ack{}),
		"mark":   db.MarkRestored(),
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, err, ErrReadOnly) })
	}
}

// A first start that was killed leaves any part of an empty bbolt file.
func TestHalfCreatedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	b, err := bbolt.Open(path, 0o600, nil)
	ok(t, err)
	ok(t, b.Close())
	whole, err := os.ReadFile(path)
	ok(t, err)
	for n := 0; n <= len(whole); n += 4096 {
		dir := t.TempDir()
		ok(t, os.WriteFile(filepath.Join(dir, FileName), whole[:n], 0o600))
		commit(t, openDB(t, Config{Dir: dir}), boards, 1)
	}
}

func TestClosed(t *testing.T) {
	db := openDB(t, Config{})
	commit(t, db, boards, 1)
	ok(t, db.Close())
	ok(t, db.Close())
	errs := map[string]error{
		"commit": db.Commit(Commit{Watchlist: "us"}), "check": db.Check(), "copy": db.Copy(io.Discard),
		"sweep": db.Sweep(noon), "acknowledge": db.Acknowledge(Ack{Chain: boards}),
	}
	_, errs["load"] = db.Load("us")
	_, errs["queue"] = db.Queue(0)
	_, errs["kept"] = db.Kept(boards)
	_, errs["batch"] = db.Batch(1)
	_, _, errs["acked"] = db.Acked(boards)
	_, _, errs["newest"] = db.Newest()
	_, _, errs["stream"] = db.Stream()
	_, errs["chains"] = db.Chains()
	_, errs["departed"] = db.Departed("us", []string{"a"}, noon)
	for name, err := range errs {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	want(t, "size", db.Size(), int64(-1))
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{}, {Dir: "x", Backlog: -1}, {Dir: "x", Keep: -1}, {Dir: "x", Retention: -1}} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("took %+v", cfg)
		}
	}
}

func TestNotWritableIsSaid(t *testing.T) {
	for _, e := range []error{
		&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES},
		&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.EPERM},
		&fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS},
	} {
		wantErr(t, openError("/data/state.db", e), ErrReadOnly, "/data/state.db", "let this user write there")
		wantErr(t, openError("/data/state.db", e), e)
	}
	if os.Geteuid() == 0 {
		t.Skip("the superuser may write everywhere")
	}
	dir := t.TempDir()
	ok(t, os.Chmod(dir, 0o500))
	_, err := Open(Config{Dir: dir})
	wantErr(t, err, ErrReadOnly)
	_, err = Open(Config{Dir: filepath.Join(dir, "data")})
	wantErr(t, err, ErrReadOnly)
}

func TestDirectoryThatIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	ok(t, os.WriteFile(path, nil, 0o600))
	_, err := Open(Config{Dir: path})
	wantErr(t, err, syscall.ENOTDIR, path)
}

func TestMigrations(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, Config{Dir: dir})
	commit(t, db, boards, 1)
	ok(t, db.Close())

	fault := errors.New("fault")
	steps := []migration{func(tx *bbolt.Tx) error {
		return errors.Join(tx.Bucket([]byte(bucketMeta)).Put([]byte("half"), nil), fault)
	}}
	_, err := open(Config{Dir: dir}, false, steps)
	wantErr(t, err, fault, "format 1")
	_, err = open(Config{Dir: dir}, true, steps)
	wantErr(t, err, ErrReadOnly, "start the worker once")

	runs := 0
	steps = []migration{func(tx *bbolt.Tx) error {
		runs++
		if tx.Bucket([]byte(bucketMeta)).Get([]byte("half")) != nil {
			return errors.New("half a migration was stored")
		}
		return nil
	}}
	for range 2 {
		db, err = open(Config{Dir: dir}, false, steps)
		ok(t, err)
		want(t, "queue", waiting(t, db, 0), "b/us:1")
		ok(t, db.Close())
	}
	want(t, "runs", runs, 1)
	_, err = Open(Config{Dir: dir})
	wantErr(t, err, ErrNewer, dir, "format is 2", "up to 1")
	_, err = OpenReadOnly(dir)
	wantErr(t, err, ErrNewer)

	// A new file starts at the newest format, by the same steps.
	db, err = open(Config{Dir: t.TempDir()}, false, steps)
	ok(t, err)
	ok(t, db.Close())
	want(t, "runs", runs, 2)
}

func TestStream(t *testing.T) {
	db := openDB(t, Config{})
	_, found, err := db.Stream()
	ok(t, err)
	want(t, "found", found, false)
	s := Stream{Name: "RANKWATCH", Prefix: "rankwatch", Created: noon.Add(time.Nanosecond)}
	ok(t, db.SetStream(Stream{Name: "OTHER"}))
	ok(t, db.SetStream(s))
	db = reopen(t, db)
	got, found, err := db.Stream()
	ok(t, err)
	want(t, "stream", []any{got, found}, []any{s, true})
}

func TestChains(t *testing.T) {
	db := openDB(t, Config{})
	commit(t, db, statuses, 1)
	commit(t, db, boards, 1)
	commit(t, db, event.Chain{Watchlist: "de", Kind: event.Board}, 1)
	all, err := db.Chains()
	ok(t, err)
	want(t, "chains", all, []event.Chain{{Watchlist: "de", Kind: event.Board}, boards, statuses})
}

func TestSuspect(t *testing.T) {
	check := func(db *DB, wanted bool, words string) {
		t.Helper()
		got, why := db.Suspect()
		if got != wanted || !strings.Contains(why, words) {
			t.Fatalf("suspect: %t, %q", got, why)
		}
	}
	touch := func(db *DB, later time.Duration) *DB {
		t.Helper()
		ok(t, db.Close())
		at := time.Now().Add(later)
		ok(t, os.Chtimes(db.path, at, at))
		return openDB(t, db.cfg)
	}
	db := openDB(t, Config{})
	check(db, false, "")
	commit(t, db, boards, 1)
	db = reopen(t, db)
	check(db, false, "")
	db = touch(db, 3*time.Second)
	check(db, false, "")
	db = touch(db, -time.Hour)
	check(db, false, "")
	db = touch(db, time.Minute)
	check(db, true, "after its last transaction")
	commit(t, db, boards, 2) // which does not make it any better
	db = reopen(t, db)
	check(db, true, "after its last transaction")
	ok(t, db.ClearRestored())
	check(db, false, "")
	db = reopen(t, db)
	check(db, false, "")

	db = touch(db, time.Minute)
	check(db, true, "after its last transaction")
	ok(t, db.ClearRestored()) // with the very first transaction
	db = reopen(t, db)
	check(db, false, "")

	ok(t, db.MarkRestored())
	check(db, true, "backup")
	db = reopen(t, db)
	check(db, true, "backup")
}

func TestCopyOfALiveState(t *testing.T) {
	db := openDB(t, Config{})
	for r := uint64(1); r <= 20; r++ {
		commit(t, db, boards, r)
	}
	ack(t, db, 10)
	ok(t, db.Commit(Commit{Watchlist: "us", Version: 20, Tracked: event.Tracked{Record: []byte("r"), Board: []byte("b")}}))
	wanted := load(t, db, "us")

	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, FileName))
	ok(t, err)
	// The first write happens inside the copy's transaction: what is committed
	// from then on is not in it.
	ok(t, db.Copy(writerFunc(func(p []byte) (int, error) {
		if l := load(t, db, "us"); l.Revision == 20 {
			commit(t, db, boards, 21)
		}
		return f.Write(p)
	})))
	ok(t, f.Close())
	want(t, "revision", load(t, db, "us").Revision, uint64(21))

	c := openDB(t, Config{Dir: dir})
	want(t, "loaded", load(t, c, "us"), wanted)
	want(t, "kept", len(strings.Fields(kept(t, c, boards))), 10)
	commit(t, c, boards, 21)

	err = db.Copy(writerFunc(func([]byte) (int, error) { return 0, errors.New("no room for it") }))
	if err == nil || !strings.Contains(err.Error(), "no room for it") {
		t.Fatal(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
