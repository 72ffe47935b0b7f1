package statecopy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A source writes its bytes, in pieces, once it may.
type source struct {
	data  []byte
	may   chan struct{} // nil: at once
	fails error         // after half of it
}

func (s *source) Size() int64 { return int64(len(s.data)) }

func (s *source) Copy(w io.Writer) error {
	if s.may != nil {
		<-s.may
	}
	for i := 0; i < len(s.data); i += 1000 {
		if s.fails != nil && i > len(s.data)/2 {
			return s.fails
		}
		if _, err := w.Write(s.data[i:min(i+1000, len(s.data))]); err != nil {
			return err
		}
	}
	return nil
}

func made(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func newDesk(t *testing.T, s Source, change ...func(*Config)) *Desk {
	t.Helper()
	c := Config{
		Source: s, Dir: t.TempDir(), Reserve: 1000, Free: func(string) (int64, error) { return 1 << 40, nil },
		Limit: func() int { return 100_000 }, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&c)
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return d
}

// serve puts a desk on a server and returns a client's connection.
func serve(t *testing.T, d *Desk) *nats.Conn {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	conn := func() *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(srv))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	worker := conn()
	svc, err := micro.AddService(worker, micro.Config{Name: "rankwatch", Version: "1.0.0"})
	if err == nil {
		err = svc.AddEndpoint("state", d, micro.WithEndpointSubject(Subject("S")))
	}
	if err == nil {
		err = worker.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn()
}

func code(err error) string {
	var r *Refusal
	if !errors.As(err, &r) {
		return ""
	}
	return r.Code
}

func TestFetch(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"empty": 0, "small": 10, "one part": 100_000, "many parts": 1_234_567} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &source{data: made(size)}
			nc := serve(t, newDesk(t, s))
			for range 2 { // the first is closed by then
				var got bytes.Buffer
				n, err := Fetch(t.Context(), nc, "S", &got)
				if err != nil || n != int64(size) || !bytes.Equal(got.Bytes(), s.data) {
					t.Fatalf("%d of %d bytes, %v", n, size, err)
				}
			}
		})
	}
}

func TestFetchTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	big := &source{data: made(500_000)}
	for name, c := range map[string]struct {
		source *source
		change func(*Config)
		stream string
		want   string // code
	}{
		"no worker of the stream": {source: big, stream: "T"},
		"no room":                 {source: big, change: func(c *Config) { c.Free = func(string) (int64, error) { return 500_999, nil } }, want: CodeNoRoom},
		"no directory":            {source: big, change: func(c *Config) { c.Dir = filepath.Join(c.Dir, "gone") }, want: CodeFailed},
		"the state is damaged":    {source: &source{data: made(10_000), fails: errors.New("damaged")}, want: CodeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, c.source)
			if c.change != nil {
				c.change(&d.cfg)
			}
			stream := "S"
			if c.stream != "" {
				stream = c.stream
			}
			_, err := Fetch(t.Context(), serve(t, d), stream, io.Discard)
			if err == nil || code(err) != c.want || c.want == "" && !errors.Is(err, ErrNobody) {
				t.Errorf("got %v (code %q), want code %q", err, code(err), c.want)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A client that breaks off gives the desk back at once.
func TestFetchThatBreaksOffLeavesTheDeskFree(t *testing.T) {
	t.Parallel()
	s := &source{data: made(500_000), may: make(chan struct{})}
	nc := serve(t, newDesk(t, s))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := Fetch(ctx, nc, "S", io.Discard); done <- err }()
	s.may <- struct{}{} // it is being copied
	if _, err := Fetch(t.Context(), nc, "S", io.Discard); code(err) != CodeBusy {
		t.Errorf("a second one beside it: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("cancelled: %v", err)
	}
	close(s.may)
	full := errors.New("disk full")
	if _, err := Fetch(t.Context(), nc, "S", failing{full}); !errors.Is(err, full) {
		t.Errorf("a disk that fails: %v", err)
	}
	if n, err := Fetch(t.Context(), nc, "S", io.Discard); err != nil || n != 500_000 {
		t.Errorf("afterwards: %d bytes, %v", n, err)
	}
}

func (d *Desk) asked(t *testing.T, q ask) (offer, error) {
	t.Helper()
	data, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	var o offer
	answer, err := d.answer(data)
	if err == nil && q.Op != "read" && q.Op != "close" {
		if err := json.Unmarshal(answer, &o); err != nil {
			t.Fatal(err)
		}
	}
	return o, err
}

func TestACopyIsForgottenWhenNobodyAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, &source{data: made(5000)})
		o, err := d.asked(t, ask{Op: "open"})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(50 * time.Second)
			if o, err = d.asked(t, ask{Op: "stat", Session: o.Session}); err != nil || !o.Ready || o.Size != 5000 {
				t.Fatalf("%+v, %v", o, err)
			}
		}
		if _, err := d.asked(t, ask{Op: "open"}); code(err) != CodeBusy {
			t.Errorf("a second one: %v", err)
		}
		time.Sleep(61 * time.Second)
		if _, err := d.asked(t, ask{Op: "read", Session: o.Session}); code(err) != CodeGone {
			t.Errorf("after a minute: %v", err)
		}
		if o, err = d.asked(t, ask{Op: "open"}); err != nil {
			t.Errorf("a new one: %v", err)
		}
		d.Close()
		if _, err := d.asked(t, ask{Op: "stat", Session: o.Session}); code(err) != CodeEnding {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Close breaks off the copy that is being made and waits for it.
func TestCloseEndsACopyUnderWay(t *testing.T) {
	t.Parallel()
	s := &source{data: made(500_000), may: make(chan struct{})}
	d := newDesk(t, s)
	if _, err := d.asked(t, ask{Op: "open"}); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { d.Close(); close(closed) }()
	s.may <- struct{}{}
	<-closed
}

// heir is a Desk in a directory where somebody else has been, and what is left
// there.
func heir(t *testing.T, dir string) []string {
	t.Helper()
	if _, err := New(Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range all {
		left = append(left, e.Name())
	}
	return left
}

func put(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The copy is named as one that CreateTemp makes: where a file without a name
// is impossible, a dead worker leaves just that.
func TestWhatADeadWorkerLeftIsRemoved(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"data", "[a-c]", "a["} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			f, err := os.CreateTemp(dir, prefix+"*"+suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			put(t, dir, "state.db")
			if left := heir(t, dir); !slices.Equal(left, []string{"state.db"}) {
				t.Errorf("left: %q", left)
			}
		})
	}
}

func TestWhatIsSomebodyElsesStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := []string{".rankwatch-state-1", ".rankwatch-state-dir.tmp", "backup-2026.tmp", "backup-1.tmp", "x.rankwatch-state-1.tmp", "state.db"}
	if err := os.Mkdir(filepath.Join(dir, ".rankwatch-state-dir.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range want {
		if name != ".rankwatch-state-dir.tmp" {
			put(t, dir, name)
		}
	}
	slices.Sort(want)
	if left := heir(t, dir); !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	d := newDesk(t, &source{data: made(10)})
	if _, err := d.answer([]byte("{")); code(err) != CodeBad {
		t.Errorf("no JSON: %v", err)
	}
	o, err := d.asked(t, ask{Op: "open"})
	if err != nil {
		t.Fatal(err)
	}
	d.copying.Wait()
	for _, q := range []ask{{Op: "read", Offset: -1}, {Op: "read", Offset: 11}, {Op: "dance"}} {
		q.Session = o.Session
		if _, err := d.asked(t, q); code(err) != CodeBad {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if _, err := d.asked(t, ask{Op: "stat", Session: "x"}); code(err) != CodeGone {
		t.Errorf("another session: %v", err)
	}
}
