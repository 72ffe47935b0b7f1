package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// limit bounds what is sure to come.
const limit = 2 * time.Minute

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A bus is a nats-server that can be stopped and started again at the same port,
// with a stream.
type bus struct {
	t    testing.TB
	dir  string
	port int
	srv  *server.Server
	nc   *nats.Conn
	js   jetstream.JetStream

	plain  bool     // no transform: the stream takes the public subjects
	stored []stored // what was published, in order
}

// A stored message is what the test itself knows of one.
type stored struct {
	subject   string
	sequence  uint64
	data      []byte
	list      string
	kind      event.Kind
	uid       string
	time      time.Time
	revision  uint64 // 0 for statuses
	region    string
	published time.Time
}

const (
	streamName = "RANKWATCH"
	prefix     = "rankwatch"
)

func startBus(t testing.TB, mod ...func(*jetstream.StreamConfig)) *bus {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	b := &bus{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	b.start()
	t.Cleanup(b.stop)
	b.nc = must(nats.Connect("nats://127.0.0.1:"+strconv.Itoa(b.port), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond)))
	t.Cleanup(b.nc.Close)
	b.js = must(jetstream.New(b.nc))
	c := jetstream.StreamConfig{
		Name: streamName, Subjects: []string{"_in." + prefix + ".>", "_rw." + prefix + ".>"}, AllowDirect: true, AllowRollup: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "_in." + prefix + ".>", Destination: prefix + ".>"},
		RePublish:        &jetstream.RePublish{Source: prefix + ".>", Destination: prefix + ".>"},
	}
	for _, m := range mod {
		m(&c)
	}
	b.plain = c.SubjectTransform == nil
	must(b.js.CreateStream(t.Context(), c))
	return b
}

// byHand is a stream as one makes it without knowing of rankwatch.
func byHand(c *jetstream.StreamConfig) {
	*c = jetstream.StreamConfig{Name: streamName, Subjects: []string{prefix + ".>"}}
}

func noDirect(c *jetstream.StreamConfig) { c.AllowDirect = false }

func (b *bus) start() {
	b.t.Helper()
	srv := must(server.NewServer(&server.Options{
		ServerName: "history", Host: "127.0.0.1", Port: b.port, JetStream: true, StoreDir: b.dir, NoSigs: true, NoLog: true, JetStreamMaxStore: 1 << 40,
	}))
	srv.Start()
	if !srv.ReadyForConnections(limit) {
		b.t.Fatal("nats-server is not ready")
	}
	b.srv = srv
}

func (b *bus) stop() {
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
		b.srv = nil
	}
}

// reader opens one that is quick to give up and asks for little ahead, so that
// small streams behave as large ones do.
func (b *bus) reader() *Reader {
	b.t.Helper()
	r, err := Open(b.t.Context(), b.nc, streamName, prefix)
	if err != nil {
		b.t.Fatal(err)
	}
	r.ahead, r.skew = 16<<10, 0
	return r
}

func (b *bus) put(m event.Message, s stored) {
	b.t.Helper()
	s.subject, s.data, s.published = m.Subject, m.Data, time.Now()
	at := m.Subject
	if !b.plain {
		at = "_in." + at
	}
	ack, err := b.js.PublishMsg(b.t.Context(), &nats.Msg{Subject: at, Data: m.Data, Header: nats.Header{"Content-Type": {event.ContentType}}})
	if err != nil {
		b.t.Fatal(err)
	}
	s.sequence = ack.Sequence
	b.stored = append(b.stored, s)
}

// A reading is one of a list to be published.
type reading struct {
	list, region string
	revision     uint64
	lineage      int
	at           time.Time
	uids         []string
	rows         int
}

func (b *bus) reading(g reading) {
	b.t.Helper()
	if g.region == "" {
		g.region = "US"
	}
	id := event.ReadingID(g.list, g.revision, max(g.lineage, 1))
	o := event.Origin{Prefix: prefix, Region: g.region, Watchlist: g.list}
	s := stored{list: g.list, time: g.at.Truncate(time.Millisecond), revision: g.revision, region: g.region}
	for i, u := range g.uids {
		s.kind, s.uid = changes[i%len(changes)], u
		b.put(must(o.Change(s.kind, id, g.at, &event.Change{Watchlist: g.list, Region: g.region, Revision: g.revision, Creator: event.Creator{UID: u}})), s)
	}
	s.kind, s.uid = event.Board, ""
	b.put(must(o.Board(id, g.at, &event.Snapshot{Watchlist: g.list, Region: g.region, Revision: g.revision, Board: make([]event.Row, g.rows)})), s)
}

func (b *bus) status(list string, at time.Time) {
	b.t.Helper()
	o := event.Origin{Prefix: prefix, Region: "US", Watchlist: list}
	m := must(o.Status(at, &event.Condition{Watchlist: list, Status: event.StatusStale, Since: event.Time(at)}))
	b.put(m, stored{list: list, kind: event.Status, time: at.Truncate(time.Millisecond), region: "US"})
}

// head is what the worker stores beside its messages: it rolls up.
func (b *bus) head(list string) {
	b.t.Helper()
	if b.plain {
		return
	}
	m := &nats.Msg{Subject: "_rw." + prefix + ".head." + list, Data: make([]byte, 100), Header: nats.Header{"Nats-Rollup": {"sub"}}}
	if _, err := b.js.PublishMsg(b.t.Context(), m); err != nil {
		b.t.Fatal(err)
	}
}

// oddUID needs escaping in subjects, ids and JSON.
const oddUID = `a.b *>%"\` + "\u2028"

// world publishes several watchlists whose readings interleave; each list is
// behind or ahead of the others by hours, as after an outage, and the last
// readings are made as they are stored.
func (b *bus) world(rng *rand.Rand, lists, readings int) {
	b.t.Helper()
	at := make([]time.Time, lists)
	revision := make([]uint64, lists)
	for i := range at {
		at[i] = time.Now().Add(-time.Duration(100+rng.IntN(100)) * time.Hour)
	}
	for n := range readings {
		i := rng.IntN(lists)
		list := "w" + strconv.Itoa(i)
		at[i] = at[i].Add(time.Duration(rng.IntN(60)) * time.Minute)
		if n > readings*3/4 {
			at[i] = time.Now()
		}
		if rng.IntN(4) == 0 {
			b.status(list, at[i])
			continue
		}
		revision[i]++
		g := reading{list: list, revision: revision[i], at: at[i], lineage: 1 + int(revision[i]/8), rows: rng.IntN(20)}
		if revision[i]%9 > 5 {
			g.region = "GB"
		}
		for range rng.IntN(4) {
			g.uids = append(g.uids, "u"+strconv.Itoa(rng.IntN(5)))
		}
		if rng.IntN(3) == 0 {
			g.uids = append(g.uids, oddUID)
		}
		b.head(list)
		b.reading(g)
	}
}

// naive filters what was published, from a sequence on.
func (b *bus) naive(q Query, from uint64) []stored {
	has := func(all []string, v string) bool {
		for _, a := range all {
			if a == v {
				return true
			}
		}
		return len(all) == 0
	}
	var kinds []string
	for _, k := range q.Kinds {
		kinds = append(kinds, string(k))
	}
	var out []stored
	for _, s := range b.stored {
		switch {
		case s.sequence < from, !has(q.Watchlists, s.list), !has(kinds, string(s.kind)), !has(q.UIDs, s.uid):
		case !q.Since.IsZero() && s.time.Before(q.Since), !q.Until.IsZero() && s.time.After(q.Until):
		case q.FromRevision != 0 && (s.revision == 0 || s.revision < q.FromRevision):
		case q.ToRevision != 0 && (s.revision == 0 || s.revision > q.ToRevision):
		default:
			out = append(out, s)
		}
	}
	return out
}

// collect reads a query to its end.
func collect(ctx context.Context, r *Reader, q Query) ([]Message, error) {
	var out []Message
	err := r.Each(ctx, q, nil, func(m *Message) error {
		out = append(out, *m)
		return nil
	})
	return out, err
}

// differ says where two readings differ, and is empty if they don't.
func differ(got []Message, want []stored) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d messages, want %d: missing %s at %d", len(got), len(want), want[i].subject, want[i].sequence)
		case i >= len(want):
			return fmt.Sprintf("%d messages, want %d: not asked for %s at %d", len(got), len(want), got[i].Subject, got[i].Sequence)
		case got[i].Sequence != want[i].sequence || got[i].Subject != want[i].subject || string(got[i].Data) != string(want[i].data):
			return fmt.Sprintf("message %d is %s at %d, want %s at %d", i, got[i].Subject, got[i].Sequence, want[i].subject, want[i].sequence)
		}
	}
	return ""
}

var errTest = errors.New("the test's own")
