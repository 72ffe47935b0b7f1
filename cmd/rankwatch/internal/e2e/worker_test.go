package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen. It is far above
// what a busy machine needs.
const patience = 60 * time.Second

// binaries holds the real binary, built once for all tests. The second knows
// RANKWATCH_FAILPOINT. The third is the NATS server that this module requires.
type binaries struct{ plain, failpoint, nats func() (string, error) }

func builds(dir string) binaries {
	const module, server = "github.com/rankwatch/rankwatch/cmd/rankwatch", "github.com/nats-io/nats-server/v2"
	build := func(name, what string, args ...string) func() (string, error) {
		return sync.OnceValues(func() (string, error) {
			path := filepath.Join(dir, name)
			cmd := exec.Command("go", append(append([]string{"build"}, args...), "-o", path, what)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return "", fmt.Errorf("go build: %w\n%s", err, out)
			}
			return path, nil
		})
	}
	return binaries{
		plain: build("rankwatch", module), failpoint: build("rankwatch-failpoint", module, "-tags", "failpoint"),
		nats: build("nats-server", server),
	}
}

// A setup is what a worker process is started with.
type setup struct {
	dir    string
	binary string
	env    map[string]string
}

// newSetup writes the watchlist file and prepares an embedded worker that reads
// from the source.
func newSetup(t *testing.T, source, watchlists string) *setup {
	t.Helper()
	binary, err := built.plain()
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{dir: t.TempDir(), binary: binary, env: map[string]string{
		"RANKWATCH_WATCHLISTS":     "watchlists.yaml",
		"RANKWATCH_DATA_DIR":       "data",
		"RANKWATCH_NATS_LISTEN":    "127.0.0.1:0",
		"RANKWATCH_HTTP_LISTEN":    "off",
		"RANKWATCH_FASTMOSS_URL":   source,
		"RANKWATCH_FASTMOSS_TOKEN": token,
		"RANKWATCH_FASTMOSS_RATE":  "1000",
		"RANKWATCH_LOG_FORMAT":     "json",
		"HOME":                     os.TempDir(),
	}}
	s.write(t, watchlists)
	return s
}

// write replaces the watchlist file as editors do: by renaming a new one.
func (s *setup) write(t *testing.T, watchlists string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "new"), []byte(watchlists), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.dir, "new"), filepath.Join(s.dir, "watchlists.yaml")); err != nil {
		t.Fatal(err)
	}
}

// A worker is a running `rankwatch run`.
type worker struct {
	cmd    *exec.Cmd
	url    chan string   // of the embedded server, once it listens
	exited chan struct{} // closed when the process is gone
	logged *record
}

// record keeps a process's output and wakes those who wait for a line.
type record struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines []map[string]any
	more  chan struct{}
}

func (s *setup) start(t *testing.T, args ...string) *worker {
	t.Helper()
	if len(args) == 0 {
		args = []string{"run"}
	}
	w := &worker{cmd: exec.Command(s.binary, args...), url: make(chan string, 1), exited: make(chan struct{}), logged: &record{more: make(chan struct{})}}
	w.cmd.Dir = s.dir
	for k, v := range s.env {
		if v != "" {
			w.cmd.Env = append(w.cmd.Env, k+"="+v)
		}
	}
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.cmd.Stderr, w.cmd.Stdout = out, out
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	read := make(chan struct{})
	go func() { defer close(read); w.read(r) }()
	go func() {
		w.cmd.Wait() // its error is in ProcessState
		<-read
		close(w.exited)
	}()
	t.Cleanup(func() {
		w.cmd.Process.Kill()
		<-w.exited
		if t.Failed() {
			t.Logf("output of %v:\n%s", args, w.logged.tail(6000))
		}
		if strings.Contains(w.logged.tail(1<<30), token) {
			t.Error("the token is in the output")
		}
	})
	return w
}

func (w *worker) read(r io.ReadCloser) {
	defer r.Close()
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == "nats listening" {
			if url, ok := fields["url"].(string); ok {
				w.url <- url
			}
		}
		w.logged.add(line, fields)
		if err != nil {
			return
		}
	}
}

func (r *record) add(line string, fields map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.WriteString(line)
	r.lines = append(r.lines, fields)
	close(r.more)
	r.more = make(chan struct{})
}

func (r *record) tail(n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.text.String()
	return s[max(0, len(s)-n):]
}

// say waits until the process has written a text.
func (w *worker) say(text string) error {
	timeout := time.After(patience)
	for {
		w.logged.mu.Lock()
		found, more := strings.Contains(w.logged.text.String(), text), w.logged.more
		w.logged.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-more:
		case <-timeout:
			return fmt.Errorf("the worker never said %q", text)
		}
	}
}

// listening returns the embedded server's URL.
func (w *worker) listening(t *testing.T) string {
	t.Helper()
	select {
	case url := <-w.url:
		return url
	case <-w.exited:
		t.Fatalf("the worker ended before it listened: %v", w.cmd.ProcessState)
	case <-time.After(patience):
		t.Fatal("no log line `nats listening` with url")
	}
	return ""
}

// stop asks the worker to end and checks that it does, drained.
func (w *worker) stop(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if code := w.wait(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

// kill ends the worker at once, as a power cut would.
func (w *worker) kill(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	w.wait(t)
}

// wait returns the exit code.
func (w *worker) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-w.exited:
		return w.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatal("the worker did not end")
	}
	return 0
}

// hup asks for a reload.
func (w *worker) hup(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// free returns a loopback address that was free a moment ago.
func free(t *testing.T) string {
	t.Helper()
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
