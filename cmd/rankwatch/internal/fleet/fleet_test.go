package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/turns"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
	"github.com/rankwatch/rankwatch/publisher/fleet"
)

const listed = `watchlists:
  - {name: br, every: 1h, top: 20, filter: {region: BR}}
  - {name: gb, every: 1h, top: 20, filter: {region: GB}}
  - {name: us, every: 1h, top: 20, filter: {region: US}}
  - {name: vn, every: 1h, top: 20, filter: {region: VN}}
`

// A world is a server with the queue and the files of a fleet.
type world struct {
	bus   *webtest.Bus
	queue *fleet.Queue
	files *fleet.Files
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{bus: webtest.StartBus(t)}
	t.Setenv("RANKWATCH_NATS_URL", w.bus.Conn.ConnectedUrl())
	return w
}

func (w *world) found(t *testing.T) {
	t.Helper()
	var err error
	w.queue, err = fleet.OpenQueue(t.Context(), fleet.QueueConfig{Conn: w.bus.Conn, Stream: webtest.Stream, Prefix: webtest.Prefix, AckWait: time.Hour}, fleet.Limits{Readings: 2, Rate: 2.5})
	if err == nil {
		w.files, err = fleet.OpenFiles(t.Context(), fleet.FilesConfig{Conn: w.bus.Conn, Stream: webtest.Stream, Writer: "ALPHAALPHAALPHA"})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// arm arms schedules; those of the past are called at once.
func (w *world) arm(t *testing.T, at time.Time, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := w.queue.Arm(t.Context(), fleet.Schedule{Watchlist: n, At: at, Due: at}, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// called waits until so many turns are there.
func (w *world) called(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(webtest.Patience); ; {
		_, called, err := w.queue.Names(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(called) == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d turns were called, want %d", len(called), n)
		}
	}
}

// take takes a turn, which stays taken until the test ends.
func (w *world) take(t *testing.T) *fleet.Turn {
	t.Helper()
	turn, err := w.queue.Puller().Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

// answers has a worker answer.
func (w *world) answers(t *testing.T, m turns.Member) {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.bus.Conn.Subscribe(turns.WhoSubject(webtest.Prefix), func(q *nats.Msg) { q.Respond(data) }); err != nil {
		t.Fatal(err)
	}
	if err := w.bus.Conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// stored is what the server keeps, without what changes by itself.
func (w *world) stored(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for s := range w.bus.JS.ListStreams(t.Context()).Info() {
		all[s.Config.Name] = asJSON(t, s.Config, s.State.LastSeq, s.State.Consumers)
		stream, err := w.bus.JS.Stream(t.Context(), s.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		for c := range stream.ListConsumers(t.Context()).Info() {
			all[s.Config.Name+" "+c.Name] = asJSON(t, c.Config, c.Delivered)
		}
	}
	return all
}

func asJSON(t *testing.T, all ...any) string {
	t.Helper()
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (w *world) shown(t *testing.T, output string) string {
	t.Helper()
	before := w.stored(t)
	var out bytes.Buffer
	if err := run(t.Context(), options{output: output, wait: 200 * time.Millisecond}, &out); err != nil {
		t.Fatal(err)
	}
	if after := w.stored(t); !maps.Equal(before, after) {
		t.Errorf("what the server keeps was changed:\n%v\n%v", before, after)
	}
	return out.String()
}

func contains(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %q", want)
		}
	}
	if t.Failed() {
		t.Log("\n" + text)
	}
}

func TestEverythingOfAFleetIsShown(t *testing.T) {
	w := newWorld(t)
	w.found(t)
	file, _, err := w.files.Offer(t.Context(), []byte(listed))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	w.arm(t, now.Add(time.Hour), "br")
	w.arm(t, now.Add(-90*time.Second), "gb", "us", "old")
	w.called(t, 3)
	first, second := w.take(t), w.take(t)
	since := now.Add(-12 * time.Second)
	w.answers(t, turns.Member{
		Writer: "ALPHAALPHAALPHA", Host: "host-a", Version: "v1.2.3", Started: now.Add(-time.Hour), Order: file.Order, File: file.Hash,
		Limits: fleet.Limits{Readings: 2, Rate: 2.5}, Reading: map[string]time.Time{first.Watchlist: since}, Waiting: 3,
		Stats: turns.Stats{Turns: 11, Back: 2, Lost: 1, Retaken: 4, LastLate: 1500 * time.Millisecond, LastTaken: now},
	})
	w.answers(t, turns.Member{
		Writer: "BETABETABETA", Host: "host-b\x1b[31m", Version: "v1.2.2", Started: now, Order: 0, Differs: true, Limits: fleet.Limits{Readings: 1, Rate: 1},
	})
	if err := w.files.PutToken(t.Context(), fleet.Token{Status: "denied", Reason: "token", Detail: "code 1002", Since: now, NextTry: now.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if err := w.files.PutHold(t.Context(), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	text := w.shown(t, "table")
	contains(t, text,
		"fleet of stream RANKWATCH, subjects rankwatch.>\n", "file        1 ("+file.Hash[:8]+") | since ", " | from worker ALPHAALP\n",
		"limits      2 readings at once | 2.5 calls/s\n", "turns       1 waiting | 2 held\n", "late        the oldest that waits has been due for 1m3",
		" | last readings began up to 1.5s after they were due\n",
		"watchlists  4 in the file | 1 schedule | 3 called | with neither: vn | not in the file: old\n",
		"token       denied (token) | since ", " | code 1002 | says worker ALPHAALP\n", "source      wants no calls until ",
		"missing     1 turn is held by a worker that did not answer within 0.2s, see --wait\n", "workers     2 answered within 0.2s\n",
		"ALPHAALP  host-a ", " 11     2     1      4       3  1.5s  "+first.Watchlist+" 12",
		"* BETABETA on host-b[31m has no watchlist file of the fleet yet\n", "BETABETA on host-b[31m has another watchlist file on its disk",
		"BETABETA on host-b[31m goes by 1 reading at once and 1 calls/s",
	)
	var r report
	if err := json.Unmarshal([]byte(w.shown(t, "json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Turns.Unanswered != 1 || len(r.Workers) != 2 || r.Workers[0].Done != 11 || r.Token == nil || r.HoldUntil == nil || *r.Turns.LateWaiting < 90 {
		t.Errorf("%+v", r)
	}
	// A second one that answers accounts for its turn; a token that works is not told.
	w.answers(t, turns.Member{Writer: "GAMMA", Host: "host-c", Reading: map[string]time.Time{second.Watchlist: since}})
	if err := w.files.PutToken(t.Context(), fleet.Token{Status: "ok"}); err != nil {
		t.Fatal(err)
	}
	if text := w.shown(t, "table"); strings.Contains(text, "missing ") || strings.Contains(text, "token ") {
		t.Error(text)
	}
}

func TestAFleetWithoutWorkersIsShown(t *testing.T) {
	w := newWorld(t)
	w.found(t)
	contains(t, w.shown(t, "table"), "file        none yet", "late        nothing waits\n", "watchlists  0 in the file | 0 schedules | 0 called\n", "workers     none answered within 0.2s\n")
	if _, _, err := w.files.Offer(t.Context(), []byte("watchlists: [{name: us, from: tomorrow}]")); err != nil {
		t.Fatal(err)
	}
	contains(t, w.shown(t, "table"), "watchlists  this version of rankwatch cannot read the file | 0 schedules")
}

// What is there in place of a fleet is told, and nothing is created meanwhile.
func TestWithoutAFleet(t *testing.T) {
	w := newWorld(t)
	before := w.stored(t)
	for _, row := range []struct {
		stream string
		want   string
	}{
		{webtest.Stream, "no workers share watchlists here: there is no stream RANKWATCH_TURNS at nats://127.0.0.1:"},
		{webtest.Stream, "stream RANKWATCH is there and is that of a single worker"},
		{"OTHER", "and no stream OTHER either"},
	} {
		t.Setenv("RANKWATCH_STREAM", row.stream)
		err := run(t.Context(), options{output: "table", wait: time.Second}, &bytes.Buffer{})
		if err == nil || exit.Code(err) != exit.Failed || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.stream, err, row.want)
		}
	}
	if after := w.stored(t); !maps.Equal(before, after) {
		t.Errorf("%v\n%v", before, after)
	}
	w.found(t)
	t.Setenv("RANKWATCH_STREAM", webtest.Stream)
	t.Setenv("RANKWATCH_SUBJECT_PREFIX", "rankwach")
	err := run(t.Context(), options{output: "table", wait: time.Second}, &bytes.Buffer{})
	if exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), "RANKWATCH_SUBJECT_PREFIX") {
		t.Error(err)
	}
}

func TestOfManyReadingsTheLongestAreNamed(t *testing.T) {
	m := turns.Member{Writer: "W", Reading: map[string]time.Time{}}
	now := time.Now()
	for i := range 7 {
		m.Reading[fmt.Sprintf("list-%d", i)] = now.Add(-time.Duration(i) * time.Minute)
	}
	var r report
	r.addWorkers([]turns.Member{m}, now)
	if got, want := (printer{}).reads(r.Workers[0].Reading), "list-6 6m0s, list-5 5m0s, list-4 4m0s, list-3 3m0s, list-2 2m0s and 2 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
