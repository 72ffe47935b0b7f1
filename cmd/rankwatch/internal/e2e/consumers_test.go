package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const consumersDir = "../../../../deploy/consumers"

// A documented consumer is one of deploy/consumers, run as its users would.
type documented struct {
	name    string
	command []string
	dir     string
	env     []string
}

// TestConsumers follows a worker with the documented consumers, through a time
// in which they are away. The JavaScript one needs its packages, the directory
// RANKWATCH_NODE_MODULES, and the Python one nats-py, in RANKWATCH_PYTHON_PATH.
func TestConsumers(t *testing.T) {
	t.Parallel()
	source := newAPI(t)
	r := defaultRules(80)
	f := source.feed("US", 1, r.depth())
	for _, l := range lively(7, 8, 130) {
		f.add(l)
	}
	s := newSetup(t, source.URL, file(entry("followed", "US", 1, r)))
	url := s.start(t).listening(t)
	o := observe(t, url, "RANKWATCH", "rankwatch")
	w := &watch{name: "followed", feed: f, oracle: newOracle(r), checker: newChecker("rankwatch", "followed", "US"), got: o.messages("followed")}
	source.open()
	show := func(from, to int) (revision uint64) {
		for n := from; n < to; n++ {
			if err := w.show(n); err != nil {
				t.Fatal(err)
			}
		}
		return w.oracle.revision
	}
	consumers := []documented{goConsumer(t, url)}
	if modules := os.Getenv("RANKWATCH_NODE_MODULES"); modules != "" {
		consumers = append(consumers, javascriptConsumer(t, url, modules))
	}
	if packages := os.Getenv("RANKWATCH_PYTHON_PATH"); packages != "" {
		path, err := filepath.Abs(consumersDir + "/python/consumer.py")
		if err != nil {
			t.Fatal(err)
		}
		consumers = append(consumers, documented{
			name: "python", command: []string{"python3", "-B", "-u", path, "followed"}, dir: t.TempDir(),
			env: []string{"NATS_URL=" + url, "PYTHONPATH=" + packages},
		})
	}
	first := show(0, 2)
	var runs []*worker
	for _, c := range consumers {
		runs = append(runs, c.start(t))
		tells(t, runs[len(runs)-1], first)
	}
	second := show(2, 5)
	for i, run := range runs {
		tells(t, run, second)
		run.interrupt(t)
		compareText(t, consumers[i].name, run, told(t, o, first, first, second))
	}
	away := show(5, 7)
	for i, c := range consumers {
		runs[i] = c.start(t)
		tells(t, runs[i], away)
	}
	third := show(7, 8)
	for i, run := range runs {
		tells(t, run, third)
		run.interrupt(t)
		compareText(t, consumers[i].name+", again", run, told(t, o, 0, second, third))
	}
	if second < first+2 || third < second+2 {
		t.Errorf("the lists made too few revisions: %d, %d, %d", first, second, third)
	}
	o.agree(t)
}

func goConsumer(t *testing.T, url string) documented {
	t.Helper()
	path := filepath.Join(t.TempDir(), "consumer")
	if out, err := exec.Command("go", "build", "-o", path, consumersDir+"/go").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return documented{name: "go", command: []string{path, "-url", url, "followed"}, dir: t.TempDir()}
}

// javascriptConsumer puts the file beside its packages.
func javascriptConsumer(t *testing.T, url, modules string) documented {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"consumer.js", "package.json"} {
		data, err := os.ReadFile(filepath.Join(consumersDir, "javascript", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return documented{name: "javascript", command: []string{"node", "consumer.js", "followed"}, dir: dir, env: []string{"NATS_URL=" + url}}
}

func (c documented) start(t *testing.T) *worker {
	t.Helper()
	s := &setup{dir: c.dir, binary: c.command[0], env: map[string]string{"PATH": os.Getenv("PATH"), "HOME": os.TempDir()}}
	for _, e := range c.env {
		k, v, _ := strings.Cut(e, "=")
		s.env[k] = v
	}
	return s.start(t, c.command[1:]...)
}

// tells waits until a consumer has told of a revision to the end: its third
// member comes last.
func tells(t *testing.T, run *worker, revision uint64) {
	t.Helper()
	timeout := time.After(patience)
	for {
		run.logged.mu.Lock()
		_, after, found := strings.Cut(run.logged.text.String(), fmt.Sprintf("revision %d (", revision))
		more := run.logged.more
		run.logged.mu.Unlock()
		if found && strings.Count(after, ", index ") >= 3 {
			return
		}
		select {
		case <-more:
		case <-run.exited:
			t.Fatalf("the consumer ended before revision %d", revision)
		case <-timeout:
			t.Fatalf("the consumer never told of revision %d", revision)
		}
	}
}

// interrupt ends a consumer as Ctrl-C does.
func (w *worker) interrupt(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := w.wait(t); code != 0 {
		t.Errorf("exit code %d after SIGINT, want 0", code)
	}
}

func compareText(t *testing.T, name string, run *worker, want string) {
	t.Helper()
	if got := run.logged.tail(1 << 30); got != want {
		t.Errorf("%s told\n%s\nwant\n%s", name, got, want)
	}
}

// told is what a consumer prints of the revisions after one, up to another. It
// begins with a board, unless that is 0.
func told(t *testing.T, o *observer, begin, after, last uint64) string {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	var events []message
	for _, s := range o.stored {
		m, err := decode(s)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Subject != "":
			events = append(events, m)
			continue
		case m.Data.Revision == begin:
			events = nil
			tell(t, &b, s, m, events)
		case m.Data.Revision > after && m.Data.Revision <= last:
			tell(t, &b, s, m, events)
		}
		events = nil
	}
	return b.String()
}

func tell(t *testing.T, b *strings.Builder, s sent, m message, events []message) {
	t.Helper()
	var more struct {
		Data struct {
			Absent []boardRow `json:"absent"`
		} `json:"data"`
	}
	if err := json.Unmarshal(s.data, &more); err != nil {
		t.Fatal(err)
	}
	members := slices.DeleteFunc(slices.Clone(m.Data.Board), func(r boardRow) bool { return !r.Member })
	members = append(members, more.Data.Absent...)
	slices.SortFunc(members, func(a, b boardRow) int { return cmp.Or(a.Rank-b.Rank, strings.Compare(a.UID, b.UID)) })
	fmt.Fprintf(b, "%s revision %d (%s): %d events, %d members\n", m.Data.Watchlist, m.Data.Revision, m.Data.Outcome, len(events), len(members))
	rank := func(p *place) string {
		if p == nil {
			return "–"
		}
		return fmt.Sprint(p.Rank)
	}
	for _, e := range events {
		fmt.Fprintf(b, "  %s %q %s → %s\n", strings.TrimPrefix(e.Type, "rankwatch."), e.Data.Creator.UID, rank(e.Data.Before), rank(e.Data.After))
	}
	for _, r := range members[:3] {
		fmt.Fprintf(b, "  %d. %q, index %d\n", r.Rank, r.UID, r.PotentialIndex)
	}
}
