// Package webtest is what the tests of the web server run on: a real NATS server
// with a stream such as the worker's, a worker that says what it is told to, and
// the document that every answer is held against.
package webtest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// Names of the stream and of its subjects.
const (
	Prefix = "rankwatch"
	Stream = "RANKWATCH"
)

// Patience bounds each wait for something that is sure to come.
const Patience = 30 * time.Second

// A Bus is a NATS server that can be stopped and started again. Its stream is
// there from the beginning.
type Bus struct {
	Conn *nats.Conn
	JS   jetstream.JetStream

	t    testing.TB
	dir  string
	port int
	srv  *server.Server
}

// StartBus starts a bus that ends with the test.
func StartBus(t testing.TB) *Bus {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &Bus{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(b.Stop)
	b.Conn, err = nats.Connect("nats://127.0.0.1:"+strconv.Itoa(b.port), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Conn.Close)
	if b.JS, err = jetstream.New(b.Conn); err != nil {
		t.Fatal(err)
	}
	b.Create()
	return b
}

// Start starts the server, again after a Stop.
func (b *Bus) Start() {
	b.t.Helper()
	srv, err := server.NewServer(&server.Options{
		ServerName: "web", Host: "127.0.0.1", Port: b.port, JetStream: true, StoreDir: b.dir, NoSigs: true, NoLog: true, JetStreamMaxStore: 1 << 40,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(Patience) {
		b.t.Fatal("nats-server is not ready")
	}
	b.srv = srv
	b.await(true)
}

// Stop stops the server and keeps what it stored.
func (b *Bus) Stop() {
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
		b.srv = nil
		b.await(false)
	}
}

// await waits until the connection has noticed that the server is there, or not.
func (b *Bus) await(connected bool) {
	if b.Conn == nil {
		return
	}
	changed := b.Conn.StatusChanged()
	defer b.Conn.RemoveStatusListener(changed)
	for b.Conn.IsConnected() != connected && !b.Conn.IsClosed() {
		<-changed
	}
}

// Create makes the stream.
func (b *Bus) Create() {
	b.t.Helper()
	_, err := b.JS.CreateStream(context.Background(), jetstream.StreamConfig{
		Name: Stream, Subjects: []string{event.IngestRoot + Prefix + ".>", event.InternalRoot + Prefix + ".>"}, AllowDirect: true, AllowRollup: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: event.IngestRoot + Prefix + ".>", Destination: Prefix + ".>"},
		Metadata:         map[string]string{event.RetentionKey: "2160h"},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// Delete removes the stream.
func (b *Bus) Delete() {
	b.t.Helper()
	if err := b.JS.DeleteStream(context.Background(), Stream); err != nil {
		b.t.Fatal(err)
	}
}

// Consumers is how many consumers the stream has.
func (b *Bus) Consumers() int {
	b.t.Helper()
	s, err := b.JS.Stream(context.Background(), Stream)
	if err != nil {
		b.t.Fatal(err)
	}
	return s.CachedInfo().State.Consumers
}

// Reader opens the stream's history.
func (b *Bus) Reader(ctx context.Context) (*history.Reader, error) {
	return history.Open(ctx, b.Conn, Stream, Prefix)
}

// Put publishes a message and returns its sequence.
func (b *Bus) Put(m event.Message) uint64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	ack, err := b.JS.PublishMsg(ctx, &nats.Msg{Subject: event.IngestRoot + m.Subject, Data: m.Data}, jetstream.WithRetryAttempts(100))
	if err != nil {
		b.t.Fatal(err)
	}
	return ack.Sequence
}

// Sweep notes that what lies below a sequence was deleted for its age, and deletes
// it.
func (b *Bus) Sweep(below uint64) {
	b.t.Helper()
	ctx := context.Background()
	m := &nats.Msg{Subject: event.SweptSubject(Prefix), Data: fmt.Appendf(nil, `{"sequence":%d}`, below)}
	_, err := b.JS.PublishMsg(ctx, m)
	var s jetstream.Stream
	if err == nil {
		s, err = b.JS.Stream(ctx, Stream)
	}
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSequence(below), jetstream.WithPurgeSubject(Prefix+".>"))
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// An Event is one that a reading publishes.
type Event struct {
	Kind   event.Kind
	Change event.Change
}

// Epoch is when the readings began: revision 1 is made a minute later, and so on.
var Epoch = time.Date(2026, 4, 14, 17, 0, 0, 0, time.UTC)

// Board publishes a reading as the worker does: its events, the head, the board.
// It returns the board's sequence.
func (b *Bus) Board(s event.Snapshot, events ...Event) uint64 {
	b.t.Helper()
	o := event.Origin{Prefix: Prefix, Region: s.Region, Watchlist: s.Watchlist}
	id, at := event.ReadingID(s.Watchlist, s.Revision, 1), Epoch.Add(time.Duration(s.Revision)*time.Minute)
	s.Reading, s.FetchedAt = fmt.Sprintf("R%s%d", s.Watchlist, s.Revision), event.Time(at)
	if s.Outcome == "" {
		s.Outcome, s.Rules = event.OutcomeChanged, event.Rules{Top: 100, Ties: "shared", Moved: event.Moves{MinPlaces: 1}, Index: event.Steps{MinChange: 1}, Dropped: event.Misses{After: 1}}
	}
	for i, e := range events {
		c := e.Change
		c.Watchlist, c.Region, c.Revision, c.Reading, c.N, c.Of = s.Watchlist, s.Region, s.Revision, s.Reading, i+1, len(events)
		c.History.FirstSeen, c.History.PeakRank = event.Time(Epoch), 1
		c.Creator.URL = "https://www.fastmoss.com/influencer/detail/" + c.Creator.UID
		s.Counts.Add(e.Kind)
		b.Put(b.must(o.Change(e.Kind, id, at, &c)))
	}
	head := &nats.Msg{Subject: event.InternalRoot + Prefix + ".head." + s.Watchlist, Header: nats.Header{"Nats-Rollup": {"sub"}, event.RevisionHeader: {strconv.FormatUint(s.Revision, 10)}}}
	if _, err := b.JS.PublishMsg(context.Background(), head); err != nil {
		b.t.Fatal(err)
	}
	return b.Put(b.must(o.Board(id, at, &s)))
}

// Status publishes a status.
func (b *Bus) Status(watchlist string, at time.Time) uint64 {
	b.t.Helper()
	o := event.Origin{Prefix: Prefix, Region: "US", Watchlist: watchlist}
	return b.Put(b.must(o.Status(at, &event.Condition{Watchlist: watchlist, Region: "US", Status: event.StatusStale, Reason: "torn", Since: event.Time(at)})))
}

func (b *Bus) must(m event.Message, err error) event.Message {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// Rows makes rows in the order of uids; the first top are members.
func Rows(top int, uids ...string) []event.Row {
	rows := make([]event.Row, len(uids))
	for i, u := range uids {
		rows[i] = event.Row{UID: u, UniqueID: "id-" + u, Nickname: "Name " + u, Rank: i + 1, Position: i + 1, PotentialIndex: int64(1000 - i), Member: i < top}
	}
	return rows
}

// UIDs are n of them, in an order that is another one with each turn.
func UIDs(n, turn int) []string {
	uids := make([]string, n)
	for i := range uids {
		uids[i] = strconv.Itoa(6787580688797713413 + (i+turn)%n)
	}
	return uids
}

// Moved is the event of a creator that went from one rank to another.
func Moved(uid string, from, to int) Event {
	places, index := from-to, int64(0)
	return Event{event.Moved, event.Change{
		Creator: event.Creator{UID: uid}, Places: &places, IndexChange: &index,
		Before: &event.Place{Rank: from, Position: from}, After: &event.Place{Rank: to, Position: to},
	}}
}

// Entered is the event of a creator that came, and Dropped of one that left.
func Entered(uid string, rank int) Event {
	return Event{event.Entered, event.Change{Creator: event.Creator{UID: uid}, After: &event.Place{Rank: rank, Position: rank}}}
}

// Dropped is the event of a creator that left.
func Dropped(uid string, rank int) Event {
	return Event{event.Dropped, event.Change{Creator: event.Creator{UID: uid}, Before: &event.Place{Rank: rank, Position: rank}}}
}
