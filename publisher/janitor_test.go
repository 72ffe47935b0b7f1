package publisher

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// fences counts the boards and statuses on the stream by watchlist and kind.
func fences(t testing.TB, nc *nats.Conn) map[string]int {
	t.Helper()
	out := map[string]int{}
	each(t, nc, "RANKWATCH", "rankwatch", func(m jetstream.Msg) {
		if p := strings.Split(m.Subject(), "."); len(p) == 4 {
			out[p[2]+"/"+p[3]]++
		}
	})
	return out
}

func TestJanitorKeepsTheLastOfEachChain(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	nc := e.client()
	want := func(what string, counts map[string]int) {
		t.Helper()
		got := fences(t, nc)
		for k, n := range counts {
			if got[k] != n {
				t.Fatalf("%s: %d of %s, want %d (all: %v)", what, got[k], k, n, got)
			}
		}
	}
	var j janitor
	sweep := func(cutoff time.Time) int {
		t.Helper()
		n, err := w.pub.sweep(t.Context(), &j, cutoff)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 3 {
		w.commitIn("US", "a", 1)
	}
	w.commitIn("GB", "a", 1)
	w.commitIn("US", "b", 1)
	w.status("a", "stale")
	w.status("a", "recovered")
	w.drained()
	want("before", map[string]int{"a/board": 4, "b/board": 1, "a/status": 2})

	if n := sweep(time.Now().Add(-time.Hour)); n != 0 {
		t.Fatalf("nothing is old, and %d chains were swept", n)
	}
	if n := sweep(time.Now()); n != 2 {
		t.Fatalf("%d chains were swept, want 2", n)
	}
	want("all old", map[string]int{"a/board": 1, "b/board": 1, "a/status": 1})
	if n := sweep(time.Now()); n != 0 {
		t.Fatalf("%d chains were swept again", n)
	}
	cutoff := time.Now()
	w.commitIn("US", "b", 1)
	w.commitIn("US", "a", 1) // the one left is in another region
	w.drained()
	if n := sweep(cutoff); n != 2 {
		t.Fatalf("%d chains were swept, want 2", n)
	}
	want("gone on", map[string]int{"a/board": 1, "b/board": 1, "a/status": 1})
	// A janitor that starts anew does the same, and the fence holds.
	w.commitIn("US", "a", 1)
	w.drained()
	j = janitor{}
	sweep(time.Now())
	want("anew", map[string]int{"a/board": 1, "b/board": 1, "a/status": 1})
	w.commitIn("US", "a", 1)
	w.status("a", "stale")
	w.drained()
	want("the fence holds", map[string]int{"a/board": 2, "b/board": 1, "a/status": 2})
}

// Events go with their boards, and of a reading whose board is young all stay.
func TestJanitorDeletesWholeReadings(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 5)
	w.commit("b", 3)
	w.commit("a", 2)
	w.drained()
	cutoff := time.Now()
	kept := w.commit("a", 4)
	kept = append(kept, w.commit("b", 2)...)
	w.drained()
	for range 2 {
		var j janitor
		if _, err := w.pub.sweep(t.Context(), &j, cutoff); err != nil {
			t.Fatal(err)
		}
		same(t, "after the sweep", history(t, e.client(), "RANKWATCH", "rankwatch"), kept)
	}
}

// A server that starts deletes by MaxAge whatever is older, boards that never
// expire included. Of a watchlist that was quiet for longer than the retention
// the last board has to be there.
func TestTheLastBoardSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	const retention = 100 * time.Millisecond
	w := newWorker(t, e.url(), func(c *Config) { c.Retention = retention }).start()
	w.commit("a", 2)
	w.status("a", "stale")
	w.drained()
	w.stop()
	e.stop()
	<-time.After(2 * retention)
	e.start()
	got := fences(t, e.client())
	if got["a/board"] != 1 || got["a/status"] != 1 {
		t.Errorf("left are %v", got)
	}
	js := must(jetstream.New(e.client()))
	s := must(js.Stream(t.Context(), "RANKWATCH"))
	if _, err := s.GetLastMsgForSubject(t.Context(), HeadSubject("rankwatch", "a")); err != nil {
		t.Errorf("the head: %v", err)
	}
	if c := s.CachedInfo().Config; c.Metadata[event.RetentionKey] != retention.String() {
		t.Errorf("metadata %v", c.Metadata)
	}
}

func TestJanitorWaitsForRecoveryOfAnotherStream(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 1)
	w.commit("a", 1)
	w.drained()
	rec, _, err := w.db.Stream()
	if err != nil {
		t.Fatal(err)
	}
	rec.Created = rec.Created.Add(-time.Hour)
	if err := w.db.SetStream(rec); err != nil {
		t.Fatal(err)
	}
	var j janitor
	if n, err := w.pub.sweep(t.Context(), &j, time.Now()); n != 0 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
}

func TestFencesAndHeadsNeverExpire(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	w.commit("a", 2)
	w.status("a", "stale")
	w.drained()
	for _, subject := range []string{"rankwatch.*.a.board", "rankwatch.*.a.status", "_rw.rankwatch.head.a"} {
		m, err := w.pub.last(t.Context(), subject)
		if err != nil || m == nil || m.Header.Get("Nats-TTL") != "never" {
			t.Fatalf("%s: %+v %v", subject, m, err)
		}
	}
	m, err := w.pub.last(t.Context(), "rankwatch.US.a.moved.u0")
	if err != nil || m.Header.Get("Nats-TTL") != "" || m.Header.Get("Nats-Msg-Id") != "" || m.Header.Get("Content-Type") != "application/cloudevents+json" {
		t.Fatalf("event: %+v %v", m, err)
	}
}

func TestOneHeadStaysPerWatchlist(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := newWorker(t, e.url()).start()
	for range 4 {
		w.commit("a", 1)
	}
	w.drained()
	js := must(jetstream.New(e.client()))
	info := must(must(js.Stream(t.Context(), "RANKWATCH")).Info(t.Context(), jetstream.WithSubjectFilter("_rw.>")))
	if n := info.State.Subjects["_rw.rankwatch.head.a"]; n != 1 {
		t.Fatalf("%d heads", n)
	}
}
