package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// patience bounds each wait for something that is sure to come.
const patience = 30 * time.Second

const twoLists = `watchlists:
  - {name: us, every: 1s, top: 20, filter: {region: US}}
  - {name: gb, every: 1h, top: 20, filter: {region: GB}}
`

// A process is a running rankwatch whose log can be waited on.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan map[string]any
	seen  bytes.Buffer // the whole log, for failures; read after lines is closed
}

// start runs the real binary with a simulator whose boards change with each
// step, in a directory that holds twoLists.
func start(t *testing.T, env ...string) *process {
	t.Helper()
	api := httptest.NewServer(simulator.New(simulator.Config{World: simulator.WorldConfig{Step: 500 * time.Millisecond}}))
	t.Cleanup(api.Close)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "watchlists.yaml"), []byte(twoLists), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command("rankwatch", "run"), lines: make(chan map[string]any, 1024)}
	p.cmd.Dir = dir
	p.cmd.Env = append(append(os.Environ(),
		"RANKWATCH_FASTMOSS_URL="+api.URL, "RANKWATCH_FASTMOSS_TOKEN="+simulator.DefaultToken, "RANKWATCH_FASTMOSS_RATE=1000",
		"RANKWATCH_NATS_LISTEN=127.0.0.1:0", "RANKWATCH_HTTP_LISTEN=off", "RANKWATCH_LOG_FORMAT=json"), env...)
	log, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(log); s.Scan(); {
			p.seen.Write(append(s.Bytes(), '\n'))
			line := map[string]any{}
			if json.Unmarshal(s.Bytes(), &line) == nil {
				p.lines <- line
			}
		}
	}()
	t.Cleanup(func() {
		// A test that failed half-way leaves it running.
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// wait returns the next log line with that message.
func (p *process) wait(msg string) map[string]any {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the process ended without logging %q:\n%s", msg, p.seen.String())
			}
			if line["msg"] == msg {
				return line
			}
		case <-late:
			p.t.Fatalf("no log line %q", msg)
		}
	}
}

// end waits for the process and returns its exit code.
func (p *process) end() int {
	p.t.Helper()
	for range p.lines { // until the pipe is closed, as Wait wants it
	}
	err := p.cmd.Wait()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) rewrite(text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.cmd.Dir, "watchlists.yaml"), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// subscribe listens on subject until the test ends.
func subscribe(t *testing.T, url, subject string) *nats.Subscription {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync(subject)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func next(t *testing.T, sub *nats.Subscription) *nats.Msg {
	t.Helper()
	m, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatalf("%s: %v", sub.Subject, err)
	}
	return m
}

func TestRunPublishesReloadsAndDrains(t *testing.T) {
	t.Parallel()
	p := start(t)
	bus, ok := p.wait("nats listening")["url"].(string)
	if !ok {
		t.Fatal("`nats listening` has no url")
	}
	p.wait("started")
	boards := subscribe(t, bus, "rankwatch.*.us.board")
	m := next(t, boards)
	if got := m.Header.Get("Content-Type"); got != event.ContentType {
		t.Errorf("content type %q", got)
	}

	// The signal reloads; a bad file is refused and changes nothing.
	p.rewrite("watchlists: [{nome: us}]")
	p.signal(syscall.SIGHUP)
	line := p.wait("reload refused, old watchlists stay")
	if text := fmt.Sprint(line["err"]); !strings.Contains(text, "watchlists.yaml:1:") {
		t.Errorf("the refusal does not say where: %s", text)
	}
	next(t, boards)

	// A changed file reloads by itself: gb is gone, and that is said.
	retired := subscribe(t, bus, "rankwatch.*.gb.status")
	p.rewrite("watchlists: [{name: us, every: 1s, top: 20, filter: {region: US}}]")
	p.wait("reloaded")
	e, err := event.Decode[event.Condition](next(t, retired).Data)
	if err != nil || e.Data.Status != event.StatusRetired {
		t.Errorf("got %+v, %v", e.Data, err)
	}

	p.signal(syscall.SIGTERM)
	p.wait("stopped")
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestCheckOnceComparesWithTheRunningWorker(t *testing.T) {
	t.Parallel()
	p := start(t)
	bus := fmt.Sprint(p.wait("nats listening")["url"])
	next(t, subscribe(t, bus, "rankwatch.*.us.board"))
	u, err := url.Parse(bus)
	if err != nil {
		t.Fatal(err)
	}
	check := func(p *process, env string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "rankwatch", "check", "--once", "us")
		cmd.Dir, cmd.Env = p.cmd.Dir, append(p.cmd.Env[:len(p.cmd.Env):len(p.cmd.Env)], env)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, errs.String())
		}
		return errs.String()
	}
	for _, listen := range []string{u.Host, "127.0.0.1:0"} {
		if got := check(p, "RANKWATCH_NATS_LISTEN="+listen); !strings.Contains(got, "of stream RANKWATCH") {
			t.Errorf("beside a running worker, with listen %s: %s", listen, got)
		}
	}
	silent := start(t, "RANKWATCH_NATS_LISTEN=off")
	silent.wait("started")
	if got := check(silent, "RANKWATCH_NATS_LISTEN=off"); !strings.Contains(got, "treated as the first reading") {
		t.Errorf("where the worker cannot be reached: %s", got)
	}
	p.signal(syscall.SIGINT)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := check(p, "RANKWATCH_NATS_LISTEN=off"); !strings.Contains(got, "in data") || strings.Contains(got, "first reading") {
		t.Errorf("after the worker ended: %s", got)
	}
}

func TestASecondWorkerOnTheDataDirIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.wait("started")
	second := exec.Command("rankwatch", "run")
	second.Dir, second.Env = p.cmd.Dir, p.cmd.Env
	out, err := second.CombinedOutput()
	if second.ProcessState == nil {
		t.Fatal(err)
	}
	if code := second.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), "in use by another rankwatch process") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	p.signal(syscall.SIGTERM)
	if code := p.end(); code != 0 {
		t.Errorf("the first one's exit code is %d", code)
	}
}

func TestABusyPortIsAMistakeInTheConfiguration(t *testing.T) {
	t.Parallel()
	taken := httptest.NewServer(nil)
	defer taken.Close()
	p := start(t, "RANKWATCH_NATS_LISTEN="+strings.TrimPrefix(taken.URL, "http://"))
	if code := p.end(); code != 2 || !strings.Contains(p.seen.String(), "RANKWATCH_NATS_LISTEN") {
		t.Errorf("exit code %d:\n%s", code, p.seen.String())
	}
}
