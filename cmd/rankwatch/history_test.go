package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// worked runs the real worker in the script's directory, against a simulator
// whose boards move, until the watchlists have come to a revision: `worked 4 us
// gb`. It leaves the data dir at rest, and in $LEADER the uid of rank 1 of the
// first. Boards stand still for a first revision; until revision 0 the simulator
// answers nothing and the stream stays empty.
func worked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: worked revision watchlist...")
	}
	until, err := strconv.ParseUint(args[0], 10, 64)
	ts.Check(err)
	env := []string{"RANKWATCH_FASTMOSS_TOKEN=" + simulator.DefaultToken}
	for _, name := range []string{"PATH", "HOME", "RANKWATCH_FASTMOSS_RATE", "RANKWATCH_DATA_DIR"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	leader, err := work(ts.MkAbs("."), env, until, args[1:]...)
	ts.Check(err)
	ts.Setenv("LEADER", leader)
}

// work runs a worker until each watchlist has the revision, and returns the uid
// of rank 1 of the first.
func work(dir string, env []string, until uint64, watchlists ...string) (leader string, err error) {
	c := simulator.Config{World: simulator.WorldConfig{Step: 100 * time.Millisecond}}
	switch until {
	case 1:
		c.World.Step = -1 // long readings are not to be torn
	case 0:
		c.Faults = []simulator.Fault{{Kind: simulator.Hung, Rate: 1}}
	}
	api := httptest.NewServer(simulator.New(c))
	defer api.Close()
	cmd := exec.Command("rankwatch", "run")
	cmd.Dir = dir
	cmd.Env = append(env, "RANKWATCH_FASTMOSS_URL="+api.URL, "RANKWATCH_NATS_LISTEN=127.0.0.1:0", "RANKWATCH_HTTP_LISTEN=off", "RANKWATCH_LOG_FORMAT=json")
	log, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	lines := bufio.NewReader(log)
	leader, err = await(lines, until, watchlists)
	serr := cmd.Process.Signal(syscall.SIGTERM)
	_, rerr := io.Copy(io.Discard, lines)
	return leader, errors.Join(err, serr, rerr, cmd.Wait())
}

// await listens at the server that the log names for the boards.
func await(log *bufio.Reader, until uint64, watchlists []string) (leader string, err error) {
	url := ""
	for line := (struct{ Msg, URL string }{}); line.Msg != "started"; {
		text, err := log.ReadBytes('\n')
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(text, &line); err != nil {
			return "", err
		}
		url = cmp.Or(line.URL, url)
	}
	if until == 0 {
		return "", nil
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	stream, err := nc.JetStream()
	if err != nil {
		return "", err
	}
	for i, w := range watchlists {
		sub, err := stream.SubscribeSync("rankwatch.*."+w+".board", nats.BindStream("RANKWATCH"), nats.OrderedConsumer())
		if err != nil {
			return "", err
		}
		for revision := uint64(0); revision < until; {
			m, err := sub.NextMsg(patience)
			if err != nil {
				return "", err
			}
			e, err := event.Decode[event.Snapshot](m.Data)
			if err != nil {
				return "", err
			}
			revision = e.Data.Revision
			if i == 0 {
				leader = e.Data.Board[0].UID
			}
		}
	}
	return leader, nil
}

// deaf runs a program whose output nobody reads: it must end well and silently.
func deaf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: deaf program [args...]")
	}
	r, w, err := os.Pipe()
	ts.Check(err)
	defer w.Close()
	ts.Check(r.Close())
	var errs bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), w, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		ts.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
}

// Three first readings that announce everybody are some megabytes: far more
// than fits into buffers and a pipe, so that the signal comes half-way.
const announced = `defaults: {every: 1h, top: 1000, baseline: announce, period: none}
watchlists: [{name: a}, {name: b}, {name: c}]
`

func TestAnInterruptedReplayEndsOnAWholeLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "watchlists.yaml"), []byte(announced), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "RANKWATCH_FASTMOSS_TOKEN="+simulator.DefaultToken, "RANKWATCH_FASTMOSS_RATE=1000")
	if _, err := work(dir, env, 1, "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := exec.Command("rankwatch", "replay", "-o", "json")
		var errs bytes.Buffer
		cmd.Dir, cmd.Stderr = dir, &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It has begun to write, and waits for the pipe to be read.
		first := make([]byte, 1)
		if _, err := io.ReadFull(out, first); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(out)
		if err := errors.Join(err, cmd.Wait()); err != nil {
			t.Fatalf("%s: %v\n%s", sig, err, errs.String())
		}
		lines := strings.SplitAfter(string(append(first, rest...)), "\n")
		if last := lines[len(lines)-1]; last != "" {
			t.Errorf("%s: half a line: %q", sig, last)
		}
		n := len(lines) - 1
		if want := "interrupted after " + strconv.Itoa(n) + " messages"; !strings.Contains(errs.String(), want) || n >= 3003 {
			t.Errorf("%s: %d lines, and it says %q", sig, n, errs.String())
		}
	}
}
