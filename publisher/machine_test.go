package publisher

import (
	"os"
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// machine drives a worker and its server through losses of every kind and holds
// what the stream has in the end against a model that knows nothing of
// sequences, fences or errors: sequences of readings only.
type machine struct {
	t    *testing.T
	e    *external
	w    *worker
	want map[string][]string // keys of what each watchlist's boards must be in the end

	said     []string // statuses committed
	restored bool     // a copy came back, so that statuses may be lost with it

	oldState, oldStream string // directories
	dirs                []string
}

var machineLists = []string{"a", "b", "c"}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, want: map[string][]string{}}
	m.e = &external{t: t, dir: m.dir(), port: freePort(t), mod: []func(*server.Options){stock}}
	m.e.start()
	m.w = &worker{t: t, fenced: make(chan string, 16), changed: make(chan struct{}, 1)}
	m.w.cfg.Server.URL = m.e.url()
	m.openState(m.dir())
	m.up()
	return m
}

func (m *machine) dir() string {
	d, err := os.MkdirTemp("", "machine")
	if err != nil {
		m.t.Fatal(err)
	}
	m.dirs = append(m.dirs, d)
	return d
}

func (m *machine) openState(dir string) {
	db, err := state.Open(state.Config{Dir: dir})
	if err != nil {
		m.t.Fatal(err)
	}
	m.w.db = db
}

func (m *machine) closeState() {
	if err := m.w.db.Check(); err != nil {
		m.t.Fatal(err)
	}
	if err := m.w.db.Close(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) up() {
	m.w.cfg = m.w.config(func(c *Config) { c.Drain = -1 })
	m.w.start()
}

func (m *machine) close() {
	m.w.stop()
	m.closeState()
	m.e.stop()
	for _, d := range m.dirs {
		os.RemoveAll(d)
	}
}

func (m *machine) with(fn func(*nats.Conn)) {
	nc, err := nats.Connect(m.e.url())
	if err != nil {
		m.t.Fatal(err)
	}
	defer nc.Close()
	fn(nc)
}

// onStream returns the readings of each watchlist that the stream has: one key
// for each, that of its board. It fails unless each is whole and there once.
func (m *machine) onStream(t tb) (boards map[string][]string, statuses []string) {
	boards = map[string][]string{}
	m.with(func(nc *nats.Conn) {
		js := must(jetstream.New(nc))
		if _, err := js.Stream(m.t.Context(), "RANKWATCH"); err != nil {
			return
		}
		open := map[string]map[string]int{}
		last := map[string]uint64{}
		each(t, nc, "RANKWATCH", "rankwatch", func(msg jetstream.Msg) {
			s := must(event.ParseSubject("rankwatch", msg.Subject()))
			switch s.Kind {
			case event.Status:
				statuses = append(statuses, key(msg.Subject(), msg.Data()))
			case event.Board:
				b := must(event.Decode[event.Snapshot](msg.Data())).Data
				n := open[s.Watchlist][b.Reading]
				delete(open[s.Watchlist], b.Reading)
				if want := b.Counts.Moved; n != want {
					t.Fatalf("%s revision %d has %d events, want %d", s.Watchlist, b.Revision, n, want)
				}
				if b.Revision != last[s.Watchlist]+1 && b.Outcome != event.OutcomeBaseline {
					t.Fatalf("%s revision %d follows %d", s.Watchlist, b.Revision, last[s.Watchlist])
				}
				if b.Revision <= last[s.Watchlist] {
					t.Fatalf("%s revision %d comes after %d", s.Watchlist, b.Revision, last[s.Watchlist])
				}
				last[s.Watchlist] = b.Revision
				boards[s.Watchlist] = append(boards[s.Watchlist], key(msg.Subject(), msg.Data()))
			default:
				c := must(event.Decode[event.Change](msg.Data())).Data
				if open[s.Watchlist] == nil {
					open[s.Watchlist] = map[string]int{}
				}
				if open[s.Watchlist][c.Reading]++; open[s.Watchlist][c.Reading] != c.N {
					t.Fatalf("%s revision %d: event %d comes as number %d", s.Watchlist, c.Revision, c.N, open[s.Watchlist][c.Reading])
				}
			}
		})
	})
	return boards, statuses
}

// inOutbox returns the readings of a watchlist in the outbox: those kept, then
// those waiting, and how many of them are kept.
func (m *machine) inOutbox(list string) (all []string, first uint64, kept int) {
	c := event.Chain{Watchlist: list, Kind: event.Board}
	infos := must(m.w.db.Kept(c))
	kept = len(infos)
	for _, i := range must(m.w.db.Queue(0)) {
		if i.Chain == c {
			infos = append(infos, i)
		}
	}
	for n, i := range infos {
		if n == 0 {
			first = i.Revision
		}
		f := must(m.w.db.Batch(i.Order)).Fence()
		all = append(all, key(f.Subject, f.Data))
	}
	return all, first, kept
}

// reckon says what must be in the end when both are at rest: the design's
// table, on whole sequences.
func (m *machine) reckon(t tb) {
	stream, _ := m.onStream(t)
	suspect, _ := m.w.db.Suspect()
	for _, list := range machineLists {
		have := stream[list]
		all, first, kept := m.inOutbox(list)
		ack, known, err := m.w.db.Acked(event.Chain{Watchlist: list, Kind: event.Board})
		if err != nil {
			t.Fatal(err)
		}
		waiting := all[kept:]
		var last string
		if len(have) > 0 {
			last = have[len(have)-1]
		}
		at := slices.Index(all, last)
		switch {
		case last == "" && !known:
			m.want[list] = slices.Clone(waiting)
		case last == "" && first == 1 && !suspect:
			m.want[list] = slices.Clone(all)
		case last == "":
			m.want[list] = nil // broken
		case at >= kept, at >= 0 && at == kept-1, at >= 0 && !suspect:
			m.want[list] = append(slices.Clone(have), all[at+1:]...)
		case at < 0 && known && m.isAcked(list, ack, last):
			m.want[list] = append(slices.Clone(have), waiting...)
		default: // broken, or the stream is ahead
			m.want[list] = slices.Clone(have)
		}
	}
}

func (m *machine) isAcked(list string, a state.Ack, last string) bool {
	var found bool
	m.with(func(nc *nats.Conn) {
		each(m.t, nc, "RANKWATCH", "rankwatch", func(msg jetstream.Msg) {
			found = found || key(msg.Subject(), msg.Data()) == last && (&stored{Data: msg.Data()}).digest() == a.Digest
		})
	})
	return found
}

func (m *machine) commit(r *rapid.T) {
	list := rapid.SampledFrom(machineLists).Draw(r, "list")
	region := rapid.SampledFrom([]string{"US", "GB"}).Draw(r, "region")
	n := rapid.SampledFrom([]int{0, 1, 2, 7, 40, 998, 1100}).Draw(r, "events")
	keys := m.w.commitIn(region, list, n)
	m.want[list] = append(m.want[list], keys[len(keys)-1])
}

func (m *machine) status(r *rapid.T) {
	m.said = append(m.said, m.w.status(rapid.SampledFrom(machineLists).Draw(r, "list"), "stale"))
}

func (m *machine) loseNext(r *rapid.T) {
	persisted := rapid.Bool().Draw(r, "persisted")
	err := rapid.SampledFrom([]error{
		nats.ErrTimeout, nats.ErrNoResponders, &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence},
		&jetstream.APIError{Code: 429, ErrorCode: codeInflight},
	}).Draw(r, "error")
	// The sender is Run's own: it is changed while nothing runs.
	m.w.stop()
	m.w.cfg = m.w.config(func(c *Config) { c.Drain = -1 })
	m.w.open()
	lose(m.w.pub, err, persisted, 0)
	m.w.run()
}

// restart may leave anything waiting.
func (m *machine) restart(*rapid.T) {
	m.w.stop()
	m.up()
}

func (m *machine) restartServer(*rapid.T) {
	m.e.stop()
	m.e.start()
}

func (m *machine) copyState(*rapid.T) {
	m.oldState = m.dir()
	f, err := os.Create(m.oldState + "/" + state.FileName)
	if err == nil {
		err = m.w.db.Copy(f)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) copyStream(*rapid.T) {
	m.w.stop()
	m.e.stop()
	m.oldStream = m.dir()
	copyDir(m.t, m.e.dir, m.oldStream)
	m.e.start()
	m.up()
}

func (m *machine) restoreState(r *rapid.T) {
	if m.oldState == "" {
		r.Skip("no copy")
	}
	m.w.stop()
	m.closeState()
	dir := m.dir()
	copyDir(m.t, m.oldState, dir)
	m.openState(dir)
	m.restored = true
	m.reckon(r)
	m.up()
}

func (m *machine) restoreStream(r *rapid.T) {
	if m.oldStream == "" {
		r.Skip("no copy")
	}
	m.w.stop()
	m.e.stop()
	copyDir(m.t, m.oldStream, m.e.dir)
	m.e.start()
	m.restored = true
	m.reckon(r)
	m.up()
}

func (m *machine) deleteStream(r *rapid.T) {
	m.w.stop()
	m.with(func(nc *nats.Conn) {
		if err := must(jetstream.New(nc)).DeleteStream(m.t.Context(), "RANKWATCH"); err != nil {
			m.t.Fatal(err)
		}
	})
	m.restored = true
	m.reckon(r)
	m.up()
}

// check compares once nothing waits any more.
func (m *machine) check(r tb) {
	m.w.drained()
	boards, statuses := m.onStream(r)
	for _, list := range machineLists {
		same(r, "watchlist "+list, boards[list], m.want[list])
	}
	seen := map[string]bool{}
	for _, s := range statuses {
		if seen[s] {
			r.Fatalf("a status is there twice: %s", s)
		}
		seen[s] = true
	}
	if !m.restored && len(statuses) != len(m.said) {
		r.Fatalf("%d statuses, want %d", len(statuses), len(m.said))
	}
	select {
	case list := <-m.w.fenced:
		r.Fatalf("watchlist %s is fenced, and there is no other writer", list)
	default:
	}
}

// TestNothingIsLostDoubledOrTornWhateverComesBack is the promise of this
// package. Run it longer with -rapid.checks.
func TestNothingIsLostDoubledOrTornWhateverComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		m := newMachine(t)
		defer m.close()
		r.Repeat(map[string]func(*rapid.T){
			"commit": m.commit, "commit2": m.commit, "commit3": m.commit, "status": m.status,
			"lose": m.loseNext, "restart": m.restart, "restart server": m.restartServer,
			"copy state": m.copyState, "copy stream": m.copyStream,
			"restore state": m.restoreState, "restore stream": m.restoreStream, "delete stream": m.deleteStream,
			"check": func(r *rapid.T) { m.check(r) },
		})
		m.check(r)
	})
}
