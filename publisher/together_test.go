package publisher

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/snapshot"
)

// resume stands for the watcher's: it notes the status on the record.
func resume(record []byte, last event.Condition) ([]byte, error) {
	return append(record, " then "+last.Status...), nil
}

// together copies an outbox and then the stream, with between in the meantime,
// and brings both back on another server.
func together(t *testing.T, e *external, w *worker, between func()) (*external, *worker, Together) {
	t.Helper()
	old := w.backup()
	between()
	var data bytes.Buffer
	meta, err := snapshot.Take(t.Context(), e.client(), "RANKWATCH", &data)
	if err != nil {
		t.Fatal(err)
	}
	there := startExternal(t)
	nc := there.client()
	if _, err := snapshot.Restore(t.Context(), nc, meta, &data); err != nil {
		t.Fatal(err)
	}
	r := restore(t, there.url(), old, func(c *Config) { c.Resume = resume })
	done, err := BreakTogether(t.Context(), nc, r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s, why := r.db.Suspect(); s {
		t.Errorf("suspect after it was held against the stream: %s", why)
	}
	return there, r, done
}

// Both went back: whatever followed the backup used these ids, so every chain
// breaks, whether the outbox or the stream is ahead, or only one of them knows
// the watchlist.
func TestGoingBackTogetherBreaksEveryChain(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("even", 2)
	w.commit("behind", 2)
	w.commit("quiet", 2)
	w.status("quiet", "stale")
	w.drained()
	w.stop()
	w.pub = nil
	w.commit("behind", 1) // waits in the copy, and is published meanwhile
	there, r, done := together(t, e, w, func() {
		w.start()
		w.commit("behind", 2)
		w.commit("new", 2)
		w.status("quiet", "recovered")
		w.drained()
		w.stop()
	})
	if done != (Together{Watchlists: 4}) {
		t.Errorf("done: %+v", done)
	}
	before := history(t, there.client(), "RANKWATCH", "rankwatch")
	same(t, "the stream that went back", before, history(t, e.client(), "RANKWATCH", "rankwatch"))
	used := make(map[string]bool)
	for _, list := range []string{"even", "behind", "quiet", "new"} {
		w.start().commit(list, 2) // what the backup knows nothing of
		w.drained()
		w.stop()
	}
	for _, id := range ids(t, e) {
		used[id] = true
	}

	r.start()
	for list, at := range map[string]uint64{"even": 1, "behind": 3, "quiet": 1, "new": 1} {
		if l := r.load(list); !l.Broken || l.Lineage != 2 || l.Revision != at || l.StreamRevision != at || !l.Known {
			t.Errorf("%s: %+v", list, l)
		}
		r.commit(list, 2)
	}
	if got := string(r.load("quiet").Record); got != "record quiet/2~2" {
		t.Errorf("record %q", got)
	}
	r.status("quiet", "stale")
	r.drained()
	for i, id := range ids(t, there) {
		if i >= len(before) && (used[id] || !strings.Contains(id, "~2/") && !strings.Contains(id, "/status/")) {
			t.Errorf("id %s after the break, used before: %t", id, used[id])
		}
	}
	if n := len(history(t, there.client(), "RANKWATCH", "rankwatch")); n != len(before)+4*3+1 {
		t.Errorf("%d messages after %d", n, len(before))
	}
}

// What waited and never went out is dropped, and that is counted; its revisions
// are not used again. A status that waited goes out.
func TestGoingBackTogetherDropsWhatWaited(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 2)
	w.drained()
	w.stop()
	w.pub = nil
	w.commit("a", 2)
	w.commit("a", 2)
	said := w.status("a", "stale")
	w.commit("b", 2)
	there, r, done := together(t, e, w, func() {})
	if done != (Together{Watchlists: 2, Waiting: 3}) {
		t.Errorf("done: %+v", done)
	}
	if l := r.load("a"); l.Revision != 3 || l.StreamRevision != 1 || string(l.Record) != "record a/3" {
		t.Errorf("a: %+v", l)
	}
	if l := r.load("b"); l.Revision != 1 || l.StreamRevision != 0 || !l.Broken {
		t.Errorf("b: %+v", l)
	}
	before := history(t, there.client(), "RANKWATCH", "rankwatch")
	r.start().drained()
	same(t, "behind the backup", history(t, there.client(), "RANKWATCH", "rankwatch")[len(before):], []string{said})
}

// The copy of a live stream ends in the middle of a reading: that part is taken
// out, since no board will ever name it. Again after that changes nothing.
func TestGoingBackTogetherTakesOutHalfAReading(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 2)
	w.commit("b", 2)
	w.drained()
	w.stop()
	whole := history(t, e.client(), "RANKWATCH", "rankwatch")
	js := must(jetstream.New(e.client()))
	for _, uid := range []string{"1", "2", "3"} {
		m := nats.NewMsg("_in.rankwatch.US.a.moved." + uid)
		m.Data = []byte(`{"id":"a/2/moved/` + uid + `"}`)
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	there, r, done := together(t, e, w, func() {})
	if done != (Together{Watchlists: 2, Cut: 3}) {
		t.Errorf("done: %+v", done)
	}
	same(t, "stream", history(t, there.client(), "RANKWATCH", "rankwatch"), whole)
	done, err := BreakTogether(t.Context(), there.client(), r.cfg)
	if err != nil || done != (Together{Watchlists: 2}) {
		t.Errorf("again: %+v, %v", done, err)
	}
	want := append(whole, r.start().commit("a", 2)...)
	r.drained()
	same(t, "stream", history(t, there.client(), "RANKWATCH", "rankwatch"), want)
}
