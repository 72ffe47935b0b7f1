//go:build linux

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// does runs a verb that must end with a code, and returns what it wrote.
func (s *setup) does(t *testing.T, code int, args ...string) string {
	t.Helper()
	r := s.verb(t, nil, args...)
	if r.code != code {
		t.Fatalf("%v: exit code %d, want %d:\n%s%s", args, r.code, code, r.out, r.errs)
	}
	return r.out + r.errs
}

// in returns the same setup with another data directory.
func (s *setup) in(data string) *setup {
	c := *s
	c.env = map[string]string{}
	for k, v := range s.env {
		c.env[k] = v
	}
	c.env["RANKWATCH_DATA_DIR"] = data
	return &c
}

// holds checks that the directory has these files and nothing else.
func (s *setup) holds(t *testing.T, want ...string) {
	t.Helper()
	all, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("in the directory are %q, want %q", got, want)
	}
}

// A worker with its embedded server is backed up while it publishes, several
// times; state and stream go back together. What it published after the backup
// is gone there and its ids were used: the break is declared, and no id comes
// twice.
func TestLiveBackupGoesBackTogether(t *testing.T) {
	t.Parallel()
	withoutDetector(t)
	v := newVictim(t, 61)
	w := v.setup.start(t)
	o := newObserver(connect(t, w.listening(t)), "rankwatch")
	o.subscribe(t)
	o.hears(t)
	o.consume(t, "RANKWATCH")
	v.goOn(2)
	for _, name := range []string{"first", "second", "third"} { // each at some moment
		t.Log(strings.TrimSpace(v.setup.does(t, 0, "backup", name)))
	}
	v.goOn(2)
	v.settle(o)
	used := o.ids(t)
	// The first ones may have been published before there was a subscription.
	for _, m := range history(t, o.nc, "RANKWATCH", "rankwatch") {
		d, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		used[d.ID] = true
	}
	w.stop(t)
	v.setup.holds(t, "data", "first", "second", "third", "watchlists.yaml")

	again := v.setup.in("again")
	t.Log(strings.TrimSpace(again.does(t, 0, "restore", "third")))
	v.grow()
	w = again.start(t)
	p := observe(t, w.listening(t), "RANKWATCH", "rankwatch")
	v.goOn(3)
	v.settle(p)
	stored := history(t, p.nc, "RANKWATCH", "rankwatch")
	w.stop(t)
	v.judgeBreak(stored, used)
}

// An old backup of the state, the stream of an external server survived, and
// more than fifty readings were published since: the worker goes on from what
// the stream has.
func TestOldBackupOnAStreamThatSurvived(t *testing.T) {
	t.Parallel()
	withoutDetector(t)
	b := newBus(t, nil)
	v := newVictim(t, 62)
	v.setup.external(b.url(), "RANKWATCH", "rankwatch")
	w := v.setup.start(t)
	o := observe(t, b.url(), "RANKWATCH", "rankwatch")
	v.goOn(2)
	said := v.setup.does(t, 0, "backup", "old")
	if !strings.Contains(said, "the NATS server's own to back up") {
		t.Errorf("backup does not say that the stream is left out: %s", said)
	}
	v.goOn(9)
	w.kill(t)
	again := v.setup.in("again")
	t.Log(strings.TrimSpace(again.does(t, 0, "restore", "old")))
	w = again.start(t)
	v.goOn(2)
	v.settle(o)
	w.stop(t)
	stored := history(t, o.nc, "RANKWATCH", "rankwatch")
	for _, m := range stored {
		if strings.Contains(string(m.data), "~2/") {
			t.Fatalf("a lineage although the stream survived: %s", m.subject)
		}
	}
	v.judge(stored)
	o.agree(t)
}

// ids are those of all that a core subscriber saw.
func (o *observer) ids(t *testing.T) map[string]bool {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]bool{}
	for _, m := range o.core {
		d, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		out[d.ID] = true
	}
	return out
}

// grow lets the lists change again that settle froze.
func (v *victim) grow() {
	for i, f := range v.feeds {
		f.mu.Lock()
		f.grow = v.growing[i]
		f.mu.Unlock()
	}
}

// judgeBreak judges what lies before the break as ever. Behind it come a
// baseline that says so, and ids of another lineage that nobody has seen.
func (v *victim) judgeBreak(stored []sent, used map[string]bool) {
	var before []sent
	after := map[string][]sent{}
	for _, m := range stored {
		d, err := decode(m)
		if err != nil {
			v.t.Fatal(err)
		}
		list := d.Data.Watchlist
		restored := d.Data.Reason != nil && *d.Data.Reason == "restored"
		if d.Type == "rankwatch.status" {
			continue
		}
		if len(after[list]) == 0 && !restored {
			before = append(before, m)
			if !used[d.ID] {
				v.t.Errorf("%s was restored and never published", d.ID)
			}
			continue
		}
		after[list] = append(after[list], m)
		if used[d.ID] || !strings.HasPrefix(d.ID, fmt.Sprintf("%s/%d~2/", list, d.Data.Revision)) {
			v.t.Errorf("id %s after the break, used before: %t", d.ID, used[d.ID])
		}
	}
	v.lists(before, func(i int, w *watch, last int) {
		if w.oracle.revision == 0 || len(after[w.name]) == 0 {
			v.t.Errorf("%s: %d revisions before the break, %d messages after it", w.name, w.oracle.revision, len(after[w.name]))
			return
		}
		w.checker.lineage = 2
		w.oracle.baseline = "restored"
		if err := v.follow(w, i, after[w.name], last); err != nil {
			v.t.Errorf("%s after the break: %v", w.name, err)
		}
		v.t.Logf("%s: %d messages compared after the break", w.name, len(after[w.name]))
	})
}
