package publisher

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// fleetMachine has workers take turns in any order, forget to, die with something
// in the outbox and lose answers. Whatever was published in turn must be there
// once; whatever was not, whole or not at all.
type fleetMachine struct {
	t       *testing.T
	e       *external
	workers []*worker
	dirs    []string
	turns   map[string][]string // boards published in turn, as keys
	quiet   bool                // nobody has written out of turn yet
}

func newFleetMachine(t *testing.T) *fleetMachine {
	m := &fleetMachine{t: t, turns: map[string][]string{}, quiet: true}
	m.e = &external{t: t, dir: m.dir(), port: freePort(t)}
	m.e.start()
	for i := range 3 {
		w := &worker{t: t, fenced: make(chan string, 16), changed: make(chan struct{}, 1)}
		w.cfg.Server.URL = m.e.url()
		w.db = must(state.Open(state.Config{Dir: m.dir()}))
		w.cfg = w.config(sharing("w" + strconv.Itoa(i)))
		m.workers = append(m.workers, w.start())
	}
	return m
}

func (m *fleetMachine) dir() string {
	d, err := os.MkdirTemp("", "fleet")
	if err != nil {
		m.t.Fatal(err)
	}
	m.dirs = append(m.dirs, d)
	return d
}

func (m *fleetMachine) close() {
	for _, w := range m.workers {
		w.stop()
		if err := w.db.Check(); err != nil {
			m.t.Error(err)
		}
		if err := w.db.Close(); err != nil {
			m.t.Error(err)
		}
	}
	m.e.stop()
	for _, d := range m.dirs {
		os.RemoveAll(d)
	}
}

// any draws a worker and a watchlist. One that is down comes up.
func (m *fleetMachine) any(r *rapid.T) (*worker, string) {
	w := m.workers[rapid.IntRange(0, len(m.workers)-1).Draw(r, "worker")]
	if w.cancel == nil {
		w.cfg.Outbox = w.db
		w.start()
	}
	return w, rapid.SampledFrom([]string{"a", "b"}).Draw(r, "list")
}

func (m *fleetMachine) turn(r *rapid.T) {
	w, list := m.any(r)
	m.note(w, list, w.turn(list, rapid.SampledFrom([]int{0, 1, 3, 12}).Draw(r, "events")))
}

// note notes a turn's board, unless somebody who had not the turn was first: one
// that committed out of turn, or came up with something.
func (m *fleetMachine) note(w *worker, list string, keys []string) {
	a, _, err := w.db.Acked(event.Chain{Watchlist: list, Kind: event.Board})
	if err != nil {
		m.t.Fatal(err)
	}
	board := keys[len(keys)-1]
	if strings.HasSuffix(board, fmt.Sprintf(" %x", a.Digest)) {
		m.turns[list] = append(m.turns[list], board)
	} else if m.quiet {
		m.t.Fatalf("%s: a turn came to nothing, and nobody else wrote", list)
	}
}

func (m *fleetMachine) outOfTurn(r *rapid.T) {
	w, list := m.any(r)
	m.quiet = false
	w.commit(list, 2)
	if rapid.Bool().Draw(r, "wait") {
		w.flush(list)
	}
}

// die leaves readings and a status in the outbox, which the worker brings when it
// comes up again.
func (m *fleetMachine) die(r *rapid.T) {
	w, list := m.any(r)
	m.quiet = false
	w.insist(list)
	w.stop()
	w.pub = nil
	for range rapid.IntRange(1, 3).Draw(r, "readings") {
		w.commit(list, 2)
	}
}

// lose has the answer to a publish get lost, or the publish itself.
func (m *fleetMachine) lose(r *rapid.T) {
	w, list := m.any(r)
	persisted := rapid.Bool().Draw(r, "persisted")
	w.stop()
	w.open()
	lose(w.pub, nats.ErrTimeout, persisted, 0)
	w.run()
	w.wait(w.pub.Ready(), "ready")
	m.note(w, list, w.turn(list, 2))
}

func (m *fleetMachine) condition(r *rapid.T) {
	w, list := m.any(r)
	w.insist(list)
	w.feels(list, rapid.SampledFrom([]string{"stale", "quota", event.StatusRecovered}).Draw(r, "condition"))
	w.flush(list)
}

func (m *fleetMachine) restartServer(*rapid.T) {
	m.e.stop()
	m.e.start()
	for _, w := range m.workers {
		if w.cancel != nil {
			m.connected(w)
		}
	}
}

func (m *fleetMachine) connected(w *worker) {
	ch := w.pub.nc.StatusChanged(nats.CONNECTED)
	defer w.pub.nc.RemoveStatusListener(ch)
	if w.pub.nc.IsConnected() {
		return
	}
	select {
	case <-ch:
	case <-time.After(patience):
		m.t.Fatal("not connected again")
	}
}

// check brings all up and lets them agree, then reads the stream.
func (m *fleetMachine) check(r tb) {
	for _, w := range m.workers {
		if w.cancel == nil {
			w.start()
		}
		for _, list := range []string{"a", "b"} {
			w.flush(list)
		}
	}
	for _, w := range m.workers {
		for _, list := range []string{"a", "b"} {
			w.insist(list)
		}
	}
	nc, err := nats.Connect(m.e.url())
	if err != nil {
		m.t.Fatal(err)
	}
	defer nc.Close()
	boards, last := m.read(r, nc)
	for list, want := range m.turns {
		at := 0
		for _, k := range want {
			i := slices.Index(boards[list][at:], k)
			if i < 0 {
				r.Fatalf("%s: a board that was published in turn is not there, or not in its place", list)
			}
			at += i + 1
		}
	}
	for _, w := range m.workers {
		for list, is := range last {
			l := w.load(list)
			if l.Revision != is.Revision || l.Broken || l.Fenced || l.Lineage != 1 || is.Revision > 0 && string(l.Board) != "board "+is.ID {
				r.Fatalf("%s of %s is %+v, the stream's is %+v", list, w.cfg.Writer, l, is)
			}
		}
	}
}

type lastBoard struct {
	Revision uint64
	ID       string // of the reading
}

// read returns the keys of the boards, and fails unless they are whole, each there
// once, and without a gap.
func (m *fleetMachine) read(r tb, nc *nats.Conn) (boards map[string][]string, last map[string]lastBoard) {
	boards, last = map[string][]string{}, map[string]lastBoard{}
	open := map[string]int{}
	condition := map[string]string{}
	each(r, nc, "RANKWATCH", "rankwatch", func(msg jetstream.Msg) {
		s := must(event.ParseSubject("rankwatch", msg.Subject()))
		switch s.Kind {
		case event.Status:
			c := must(event.Decode[event.Condition](msg.Data())).Data
			if condition[s.Watchlist] == c.Status {
				r.Fatalf("%s: %s is told twice", s.Watchlist, c.Status)
			}
			condition[s.Watchlist] = c.Status
		case event.Board:
			b := must(event.Decode[event.Snapshot](msg.Data())).Data
			if b.Revision != last[s.Watchlist].Revision+1 || b.Outcome != event.OutcomeChanged || open[s.Watchlist+b.Reading] != b.Counts.Moved {
				r.Fatalf("%s: revision %d (%s) with %d of %d events follows %d", s.Watchlist, b.Revision, b.Outcome, open[s.Watchlist+b.Reading], b.Counts.Moved, last[s.Watchlist].Revision)
			}
			delete(open, s.Watchlist+b.Reading)
			last[s.Watchlist] = lastBoard{b.Revision, fmt.Sprintf("%s/%d", s.Watchlist, b.Revision)}
			boards[s.Watchlist] = append(boards[s.Watchlist], key(msg.Subject(), msg.Data()))
		default:
			open[s.Watchlist+must(event.Decode[event.Change](msg.Data())).Data.Reading]++
		}
	})
	if len(open) > 0 {
		r.Fatalf("events without their board: %v", open)
	}
	return boards, last
}

// TestWorkersThatTakeTurnsLoseNothing is what a fleet relies on. Run it longer with
// -rapid.checks.
func TestWorkersThatTakeTurnsLoseNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		m := newFleetMachine(t)
		defer m.close()
		r.Repeat(map[string]func(*rapid.T){
			"turn": m.turn, "turn again": m.turn, "out of turn": m.outOfTurn, "die": m.die, "lose": m.lose,
			"condition": m.condition, "condition again": m.condition, "restart server": m.restartServer,
		})
		m.check(r)
	})
}
