package publisher

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// patience bounds every wait of these tests. It is never waited out unless
// something is broken, however slow the machine's disk is.
const patience = 2 * time.Minute

// tb is what rapid's and testing's T share.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Fatal(args ...any)
	Logf(format string, args ...any)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// external is a nats-server of its own that can be stopped and started again at
// the same port.
type external struct {
	t    testing.TB
	dir  string
	port int
	srv  *server.Server
	mod  []func(*server.Options)
}

func startExternal(t testing.TB, mod ...func(*server.Options)) *external {
	t.Helper()
	e := &external{t: t, dir: t.TempDir(), port: freePort(t), mod: mod}
	e.start()
	t.Cleanup(e.stop)
	return e
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (e *external) start() {
	e.t.Helper()
	o := &server.Options{
		ServerName: "external", Host: "127.0.0.1", Port: e.port, JetStream: true, StoreDir: e.dir, NoSigs: true, NoLog: true,
		JetStreamMaxStore: 1 << 40, JetStreamLimits: server.JSLimitOpts{MaxBatchSize: maxEmbeddedBatch},
	}
	for _, m := range e.mod {
		m(o)
	}
	srv, err := server.NewServer(o)
	if err != nil {
		e.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		e.t.Fatal("nats-server is not ready")
	}
	e.srv = srv
}

func (e *external) stop() {
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
		e.srv = nil
	}
}

func (e *external) url() string { return "nats://127.0.0.1:" + strconv.Itoa(e.port) }

func (e *external) client() *nats.Conn {
	e.t.Helper()
	nc, err := nats.Connect(e.url(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(nc.Close)
	return nc
}

// openDB opens a real state file and checks it at the end.
func openDB(t testing.TB, dir string) *state.DB {
	t.Helper()
	return openConfig(t, state.Config{Dir: dir})
}

func openConfig(t testing.TB, c state.Config) *state.DB {
	t.Helper()
	db, err := state.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Check(); err != nil {
			t.Errorf("state: %v", err)
		}
		db.Close()
	})
	return db
}

// A worker is a publisher over a real outbox.
type worker struct {
	t       testing.TB
	db      *state.DB
	cfg     Config
	pub     *Publisher
	cancel  context.CancelFunc
	done    chan error
	fenced  chan string
	changed chan struct{}
}

func (w *worker) config(mod ...func(*Config)) Config {
	c := Config{
		Server: w.cfg.Server, Stream: "RANKWATCH", Prefix: "rankwatch", Retention: time.Hour, Writer: "writer-a", Outbox: w.db,
		Timeout: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(testLog{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnFenced: func(watchlist, _ string) { w.fenced <- watchlist },
	}
	for _, m := range mod {
		m(&c)
	}
	return c
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if testing.Verbose() {
		l.t.Logf("%s", b)
	}
	return len(b), nil
}

func newWorker(t testing.TB, url string, mod ...func(*Config)) *worker {
	t.Helper()
	w := &worker{t: t, db: openDB(t, t.TempDir()), fenced: make(chan string, 16), changed: make(chan struct{}, 1)}
	w.cfg.Server.URL = url
	w.cfg = w.config(mod...)
	return w
}

// open sets the publisher up without running it, so that a test may reach in.
func (w *worker) open() *worker {
	w.t.Helper()
	w.cfg.Outbox = acked{w.db, w.changed}
	p, err := Open(w.t.Context(), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.pub = p
	return w
}

func (w *worker) run() *worker {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.done = cancel, make(chan error, 1)
	go func(p *Publisher) { w.done <- p.Run(ctx) }(w.pub)
	w.t.Cleanup(func() { w.stop() })
	return w
}

func (w *worker) start() *worker {
	w.t.Helper()
	w.open().run()
	w.wait(w.pub.Ready(), "ready")
	return w
}

func (w *worker) stop() {
	if w.cancel == nil {
		return
	}
	w.cancel()
	w.cancel = nil
	if err := <-w.done; err != nil {
		w.t.Errorf("run: %v", err)
	}
}

func (w *worker) wait(ch <-chan struct{}, what string) {
	w.t.Helper()
	select {
	case <-ch:
	case err := <-w.done:
		w.t.Fatalf("run ended before %s: %v", what, err)
	case <-time.After(patience):
		w.t.Fatalf("no %s; stats %+v", what, w.pub.Stats())
	}
}

// commit puts a reading of a watchlist into the outbox and returns what a
// subscriber must see of it. The head holds the board.
func (w *worker) commit(watchlist string, events int) []string {
	return w.commitIn("US", watchlist, events)
}

func (w *worker) commitIn(region, watchlist string, events int) []string {
	w.t.Helper()
	b, seen, t := w.reading(region, watchlist, events)
	err := w.db.Commit(state.Commit{Watchlist: watchlist, Version: w.load(watchlist).Version, Tracked: t, Batches: []event.Batch{b}, At: time.Now()})
	if err != nil {
		w.t.Fatalf("commit: %v", err)
	}
	if w.pub != nil {
		w.pub.Notify()
	}
	return seen
}

func (w *worker) load(watchlist string) state.Loaded {
	w.t.Helper()
	l, err := w.db.Load(watchlist)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *worker) reading(region, watchlist string, events int) (event.Batch, []string, event.Tracked) {
	l := w.load(watchlist)
	rev := l.Revision + 1
	id := event.ReadingID(watchlist, rev, max(l.Lineage, 1))
	o := event.Origin{Prefix: w.cfg.Prefix, Region: region, Watchlist: watchlist}
	at := time.Now()
	reading := fmt.Sprintf("%s by %s at %d", id, w.cfg.Writer, at.UnixNano())
	b := event.Batch{Chain: event.Chain{Watchlist: watchlist, Kind: event.Board}, Revision: rev}
	for i := range events {
		kind := event.Moved
		if i%5 == 4 {
			kind = event.Dropped
		}
		b.Messages = append(b.Messages, must(o.Change(kind, id, at, &event.Change{
			Watchlist: watchlist, Region: region, Revision: rev, Reading: reading, N: i + 1, Of: events,
			Creator: event.Creator{UID: "u" + strconv.Itoa(i)},
			History: event.History{FirstSeen: event.Time(at.Add(-time.Hour)), PeakRank: i + 1},
		})))
	}
	t := event.Tracked{Record: []byte("record " + id), Board: []byte("board " + id)}
	if _, is, ill := strings.Cut(string(l.Record), " is "); ill {
		t.Record = append(t.Record, " is "+is...)
	}
	b.Messages = append(b.Messages, event.Message{Role: event.Head, Data: event.PackTracked(t)})
	outcome := event.OutcomeChanged
	if l.Broken {
		outcome = event.OutcomeBaseline
	}
	b.Messages = append(b.Messages, must(o.Board(id, at, &event.Snapshot{
		Watchlist: watchlist, Region: region, Revision: rev, Reading: reading, Writer: w.cfg.Writer, Outcome: outcome, Counts: event.Counts{Moved: events},
	})))
	var seen []string
	for _, m := range b.Messages {
		if m.Role != event.Head {
			seen = append(seen, key(m.Subject, m.Data))
		}
	}
	return b, seen, t
}

// status puts a status into the outbox.
func (w *worker) status(watchlist, word string) string {
	w.t.Helper()
	l := w.load(watchlist)
	o := event.Origin{Prefix: w.cfg.Prefix, Region: "US", Watchlist: watchlist}
	m := must(o.Status(time.Now(), &event.Condition{Watchlist: watchlist, Status: word, Since: strconv.FormatInt(time.Now().UnixNano(), 10), Detail: w.cfg.Writer}))
	b := event.Batch{Chain: event.Chain{Watchlist: watchlist, Kind: event.Status}, Revision: l.Statuses + 1, Messages: []event.Message{m}}
	if err := w.db.Commit(state.Commit{Watchlist: watchlist, Version: l.Version, Batches: []event.Batch{b}, At: time.Now()}); err != nil {
		w.t.Fatalf("commit: %v", err)
	}
	if w.pub != nil {
		w.pub.Notify()
	}
	return key(m.Subject, m.Data)
}

// key stands for a message: same subject and payload, same key.
func key(subject string, data []byte) string {
	return fmt.Sprintf("%s %x", subject, sha256.Sum256(data))
}

// An observer records what a plain subscriber sees.
type observer struct {
	t    testing.TB
	mu   sync.Mutex
	got  []string
	more chan struct{}
}

func observe(t testing.TB, nc *nats.Conn, prefix string) *observer {
	t.Helper()
	o := &observer{t: t, more: make(chan struct{}, 1)}
	_, err := nc.Subscribe(prefix+".>", func(m *nats.Msg) {
		o.mu.Lock()
		o.got = append(o.got, key(m.Subject, m.Data))
		o.mu.Unlock()
		select {
		case o.more <- struct{}{}:
		default:
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *observer) seen() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.got...)
}

// expect waits until as many messages were seen as are wanted, then compares.
func (o *observer) expect(want []string) {
	o.t.Helper()
	limit := time.After(patience)
	for {
		got := o.seen()
		if len(got) >= len(want) {
			same(o.t, "core subscriber", got, want)
			return
		}
		select {
		case <-o.more:
		case <-limit:
			o.t.Fatalf("core subscriber: %d messages, want %d", len(got), len(want))
		}
	}
}

func same(t tb, who string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			g, x := "nothing", "nothing"
			if i < len(got) {
				g = got[i]
			}
			if i < len(want) {
				x = want[i]
			}
			t.Fatalf("%s: message %d of %d is\n%s\nwant (%d)\n%s", who, i, len(got), g, len(want), x)
		}
	}
}

// history reads the public messages of the stream, as a JetStream consumer
// gets them.
func history(t tb, nc *nats.Conn, stream, prefix string) []string {
	t.Helper()
	var out []string
	each(t, nc, stream, prefix, func(m jetstream.Msg) { out = append(out, key(m.Subject(), m.Data())) })
	return out
}

func each(t tb, nc *nats.Conn, stream, prefix string, fn func(jetstream.Msg)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	js := must(jetstream.New(nc))
	c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{prefix + ".>"}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.NumPending == 0 {
		return
	}
	it, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		fn(m)
		if must(m.Metadata()).NumPending == 0 {
			return
		}
	}
}

func embedded(dir string) func(*Config) {
	return func(c *Config) {
		c.Server = ServerConfig{Embedded: true, StoreDir: filepath.Join(dir, "jetstream"), Listen: "127.0.0.1:0"}
	}
}

// acked wraps an outbox and tells when it changes.
type acked struct {
	*state.DB
	changed chan struct{}
}

func (a acked) told(err error) error {
	select {
	case a.changed <- struct{}{}:
	default:
	}
	return err
}

func (a acked) Acknowledge(acks ...state.Ack) error { return a.told(a.DB.Acknowledge(acks...)) }

func (a acked) Adopt(k state.Ack, t *event.Tracked, d []state.Departure) (int, error) {
	n, err := a.DB.Adopt(k, t, d)
	return n, a.told(err)
}

func (a acked) Break(c event.Chain, k state.Ack) (int, error) {
	n, err := a.DB.Break(c, k)
	return n, a.told(err)
}

// drained waits until nothing waits in the outbox.
func (w *worker) drained() {
	w.t.Helper()
	limit := time.After(patience)
	for w.db.Backlog().Batches > 0 {
		select {
		case <-w.changed:
		case err := <-w.done:
			w.t.Fatalf("run ended: %v", err)
		case <-limit:
			w.t.Fatalf("%d batches still wait; stats %+v", w.db.Backlog().Batches, w.pub.Stats())
		}
	}
}

// count waits until n messages were seen.
func (o *observer) count(n int) {
	o.t.Helper()
	limit := time.After(patience)
	for len(o.seen()) < n {
		select {
		case <-o.more:
		case <-limit:
			o.t.Fatalf("core subscriber: %d messages, want %d", len(o.seen()), n)
		}
	}
}
