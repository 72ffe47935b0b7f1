package publisher

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// backup is a copy of the outbox as it is now.
func (w *worker) backup() []byte {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.db.Copy(&b); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

// restore makes another worker of a copy.
func restore(t *testing.T, url string, copied []byte, mod ...func(*Config)) *worker {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, state.FileName), copied, 0o600); err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, db: openDB(t, dir), fenced: make(chan string, 16), changed: make(chan struct{}, 1)}
	if err := w.db.MarkRestored(); err != nil {
		t.Fatal(err)
	}
	w.cfg.Server.URL = url
	w.cfg = w.config(append([]func(*Config){func(c *Config) { c.Writer = "writer-b" }}, mod...)...)
	return w
}

// An old copy, and fifty readings with statuses in between that the stream has
// had since, of watchlists that the copy knows and of one that it does not.
func TestOldCopyOnAWholeStreamTakesItOver(t *testing.T) {
	t.Parallel()
	for name, waiting := range map[string]int{"nothing waited": 0, "readings waited": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startExternal(t)
			w := newWorker(t, e.url()).start()
			want := w.commit("a", 3)
			want = append(want, w.status("a", "stale"))
			want = append(want, w.commit("b", 2)...)
			w.drained()
			w.stop()
			w.pub = nil
			for range waiting {
				want = append(want, w.commit("a", 2)...)
				want = append(want, w.status("a", "recovered"), w.status("b", "stale"))
			}
			old := w.backup()
			w.start()
			for i := range 50 {
				want = append(want, w.commit([]string{"a", "b", "new"}[i%3], 3)...)
				w.drained()
				if i%7 == 0 {
					want = append(want, w.status("a", "stale"))
					w.drained()
				}
			}
			w.stop()
			before := history(t, e.client(), "RANKWATCH", "rankwatch")
			sameSet(t, before, want)

			r := restore(t, e.url(), old).start()
			for _, list := range []string{"a", "b"} {
				if l, is := r.load(list), w.load(list); l.Revision != is.Revision || l.Lineage != 1 || l.Broken || string(l.Board) != string(is.Board) {
					t.Errorf("%s: %+v, the old worker had %+v", list, l, is)
				}
			}
			if s, _ := r.db.Suspect(); s {
				t.Error("still suspect")
			}
			after := append(r.commit("a", 2), r.status("a", "recovered"))
			after = append(after, r.commit("b", 1)...)
			r.drained()
			got := history(t, e.client(), "RANKWATCH", "rankwatch")
			same(t, "old history", got[:len(before)], before)
			sameSet(t, got[len(before):], after)
		})
	}
}

// sameSet compares without regard to order, which only each watchlist has.
func sameSet(t *testing.T, got, want []string) {
	t.Helper()
	n := map[string]int{}
	for _, k := range want {
		n[k]++
	}
	for _, k := range got {
		n[k]--
	}
	for k, left := range n {
		if left != 0 {
			t.Errorf("%d times missing (negative: too many): %s", left, k)
		}
	}
}

// What waited in the copy and never reached the stream goes out.
func TestOldCopyPublishesWhatOnlyItHas(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	want := w.commit("a", 3)
	w.drained()
	w.stop()
	w.pub = nil
	want = append(want, w.commit("a", 2)...)
	want = append(want, w.status("a", "stale"))
	want = append(want, w.commit("a", 1)...)
	r := restore(t, e.url(), w.backup()).start()
	r.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

// The old worker told of a condition after the copy, without another board. The
// copy does not know of it and would never take it back.
func TestOldCopyLearnsTheConditionThatWasTold(t *testing.T) {
	t.Parallel()
	for name, waited := range map[string]bool{"nothing waited": false, "a status waited": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startExternal(t)
			w := newWorker(t, e.url()).start()
			w.commit("a", 3)
			w.drained()
			w.stop()
			w.pub = nil
			if waited {
				w.status("a", "quota")
			}
			old := w.backup()
			w.status("a", "stale")
			w.start()
			w.drained()
			w.stop()
			r := restore(t, e.url(), old, func(c *Config) {
				c.Resume = func(record []byte, last event.Condition) ([]byte, error) {
					return append(record, " then "+last.Status...), nil
				}
			}).start()
			if got := string(r.load("a").Record); got != "record a/1 then stale" {
				t.Errorf("the record is %q", got)
			}
			r.commit("a", 1)
			r.drained()
		})
	}
}

// The stream is lost altogether: a baseline, in another lineage.
func TestOldCopyOnAnotherStreamBreaks(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 2)
	w.status("a", "stale")
	w.drained()
	old := w.backup()
	w.commit("a", 2)
	w.drained()
	w.stop()
	js := must(jetstream.New(e.client()))
	if err := js.DeleteStream(t.Context(), "RANKWATCH"); err != nil {
		t.Fatal(err)
	}
	r := restore(t, e.url(), old).start()
	if l := r.load("a"); !l.Broken || l.Lineage != 2 || l.StreamRevision != 0 {
		t.Fatalf("not broken: %+v", l)
	}
	want := r.commit("a", 2)
	want = append(want, r.status("a", "recovered"))
	r.drained()
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
	for _, id := range ids(t, e) {
		if strings.HasPrefix(id, "a/") && !strings.HasPrefix(id, "a/2~2/") && !strings.HasPrefix(id, "a/status/") {
			t.Errorf("id %s", id)
		}
	}
}

func ids(t *testing.T, e *external) []string {
	t.Helper()
	var out []string
	each(t, e.client(), "RANKWATCH", "rankwatch", func(m jetstream.Msg) {
		x, err := event.Decode[struct{}](m.Data())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x.ID)
	})
	return out
}
