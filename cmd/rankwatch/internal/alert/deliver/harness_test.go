package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit bounds what is sure to come.
const limit = time.Minute

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A bus is a nats-server with a stream as the worker makes it.
type bus struct {
	testing.TB
	dir  string
	port int
	srv  *server.Server
	nc   *nats.Conn
	js   jetstream.JetStream

	ids []string // of what was published, in order
}

func startBus(t testing.TB) *bus {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	b := &bus{TB: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	b.start()
	t.Cleanup(b.stop)
	b.nc = b.connect()
	b.js = must(jetstream.New(b.nc))
	must(b.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "RANKWATCH", Subjects: []string{"_in.rankwatch.>", "_rw.rankwatch.>"}, AllowDirect: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "_in.rankwatch.>", Destination: "rankwatch.>"},
	}))
	return b
}

func (b *bus) start() {
	b.Helper()
	b.srv = must(server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: b.port, JetStream: true, StoreDir: b.dir, NoSigs: true, NoLog: true, JetStreamMaxStore: 1 << 40,
	}))
	b.srv.Start()
	if !b.srv.ReadyForConnections(limit) {
		b.Fatal("nats-server is not ready")
	}
}

func (b *bus) stop() {
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
}

func (b *bus) connect() *nats.Conn {
	nc := must(nats.Connect("nats://127.0.0.1:"+strconv.Itoa(b.port), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond)))
	b.Cleanup(nc.Close)
	return nc
}

// reading publishes one: words like "moved:u1:7", a kind, a uid and places.
func (b *bus) reading(list string, revision uint64, words ...string) {
	b.Helper()
	o, id := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: list}, event.ReadingID(list, revision, 1)
	s := event.Snapshot{Watchlist: list, Region: "US", Revision: revision, Reading: "R-" + id}
	for i, w := range words {
		parts := strings.Split(w, ":")
		c := event.Change{Watchlist: list, Region: "US", Revision: revision, Reading: s.Reading, N: i + 1, Of: len(words), Creator: event.Creator{UID: parts[1]}}
		if len(parts) > 2 {
			places := must(strconv.Atoi(parts[2]))
			c.Places, c.Before, c.After = &places, &event.Place{Rank: 50}, &event.Place{Rank: 50 - places}
			c.Cause = &event.Cause{Passed: 1}
		}
		kind := event.Kind(parts[0])
		switch kind {
		case event.Entered:
			s.Counts.Entered++
		case event.Dropped:
			s.Counts.Dropped++
		case event.Moved:
			s.Counts.Moved++
		default:
			s.Counts.Index++
		}
		b.put(must(o.Change(kind, id, time.Now(), &c)))
	}
	b.put(must(o.Board(id, time.Now(), &s)))
	b.ids = append(b.ids, id)
}

func (b *bus) status(list string, since time.Time) {
	b.Helper()
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: list}
	c := event.Condition{Watchlist: list, Region: "US", Status: event.StatusStale, Since: event.Time(since)}
	b.put(must(o.Status(since, &c)))
	b.ids = append(b.ids, list+"/status/stale/"+c.Since)
}

func (b *bus) put(m event.Message) {
	b.Helper()
	if _, err := b.js.PublishMsg(b.Context(), &nats.Msg{Subject: "_in." + m.Subject, Data: m.Data}); err != nil {
		b.Fatal(err)
	}
}

// A target records what it took. fail, called before and after with the number of
// the attempt, decides what is reported.
type target struct {
	before, after func(n int, m *digest.Message) error

	mu       sync.Mutex
	attempts int
	took     []string
	messages []*digest.Message
	more     chan struct{}
}

func newTarget() *target { return &target{more: make(chan struct{})} }

func (t *target) Send(ctx context.Context, m *digest.Message) error {
	t.mu.Lock()
	t.attempts++
	n := t.attempts
	t.mu.Unlock()
	if t.before != nil {
		if err := t.before(n, m); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	t.took, t.messages = append(t.took, m.ID), append(t.messages, m)
	close(t.more)
	t.more = make(chan struct{})
	t.mu.Unlock()
	if t.after != nil {
		return t.after(n, m)
	}
	return nil
}

// wait returns what was taken once there are n.
func (t *target) wait(tb testing.TB, n int) []string {
	tb.Helper()
	timeout := time.After(limit)
	for {
		t.mu.Lock()
		took, more := slices.Clone(t.took), t.more
		t.mu.Unlock()
		if len(took) >= n {
			return took
		}
		select {
		case <-more:
		case <-timeout:
			tb.Fatalf("took %q, want %d messages", took, n)
		}
	}
}

// A process is a running set of deliveries.
type process struct {
	*Deliveries
	nc   *nats.Conn
	end  context.CancelFunc
	done chan error
	log  *lines
}

// lines keeps log lines and wakes those who wait for one.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) wait(tb testing.TB, text string) {
	tb.Helper()
	timeout := time.After(limit)
	for {
		l.mu.Lock()
		found, more := strings.Contains(l.text.String(), text), l.more
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-timeout:
			tb.Fatalf("the log never said %q:\n%s", text, l)
		}
	}
}

func (b *bus) config(nc *nats.Conn, to digest.Sender, routes ...digest.Route) Config {
	b.Helper()
	for i := range routes {
		routes[i].Target = "t"
	}
	return Config{
		Name: "test", Routes: routes, Targets: map[string]digest.Sender{"t": to}, Conn: nc,
		Reader: must(history.Open(b.Context(), b.connect(), "RANKWATCH", "rankwatch")), From: Start{All: true}, Takeover: minTakeover,
	}
}

func (b *bus) run(c Config) *process {
	b.Helper()
	p := &process{nc: c.Conn, done: make(chan error, 1), log: &lines{more: make(chan struct{})}}
	c.Logger = slog.New(slog.NewTextHandler(p.log, nil))
	d, err := Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	d.retry = func() *backoff.ExponentialBackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(5*time.Millisecond), backoff.WithMaxInterval(50*time.Millisecond), backoff.WithMaxElapsedTime(0))
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.Deliveries, p.end = d, cancel
	go func() { p.done <- d.Run(ctx) }()
	b.Cleanup(func() { p.stop(b) })
	return p
}

func (p *process) stop(tb testing.TB) {
	tb.Helper()
	p.end()
	select {
	case err := <-p.done:
		if err != nil {
			tb.Errorf("Run: %v", err)
		}
		p.done <- nil
	case <-time.After(limit):
		tb.Error("Run does not end")
	}
}

// settled waits until the route's consumer has nothing left.
func (b *bus) settled(routes ...string) {
	b.Helper()
	deadline := time.Now().Add(limit)
	for _, r := range routes {
		for {
			c, err := b.js.Consumer(b.Context(), "RANKWATCH", "alert-test-"+r)
			if err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0 {
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("route %s is not through: %+v, %v", r, c, err)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}

func equal(tb testing.TB, what string, got, want []string) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("%s: got %q, want %q", what, got, want)
	}
}

var errDown = errors.New("the target is down")

func refuse(reason string) error {
	return &digest.RefusedError{Reason: reason, Err: fmt.Errorf("not that")}
}
