package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

// A sent message is one as a stock NATS client gets it.
type sent struct {
	subject  string
	data     []byte
	sequence uint64
	kind     string // content type
	trace    string // header traceparent, however it is written
}

// An observer watches an installation both ways: as a JetStream consumer and as
// a plain core subscriber.
type observer struct {
	nc     *nats.Conn
	prefix string

	mu     sync.Mutex
	stored []sent
	core   []sent
	more   chan struct{}        // closed when one of the two grew
	lists  map[string]chan sent // stored messages by watchlist
	status map[string]chan sent // stored status messages by watchlist
}

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.RetryOnFailedConnect(true), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func newObserver(nc *nats.Conn, prefix string) *observer {
	return &observer{nc: nc, prefix: prefix, more: make(chan struct{}), lists: map[string]chan sent{}, status: map[string]chan sent{}}
}

// observe subscribes both ways. It waits for the worker to create the stream.
func observe(t *testing.T, url, stream, prefix string) *observer {
	t.Helper()
	o := newObserver(connect(t, url), prefix)
	o.subscribe(t)
	o.consume(t, stream)
	return o
}

// consume starts the JetStream consumer, from the stream's beginning.
func (o *observer) consume(t *testing.T, stream string) {
	t.Helper()
	js := awaitStream(t, o.nc, stream)
	c, err := js.OrderedConsumer(t.Context(), stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{o.prefix + ".>"}})
	if err != nil {
		t.Fatal(err)
	}
	consuming, err := c.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			return // not from JetStream: the comparison with the core subscriber shows it
		}
		o.keep(sent{subject: m.Subject(), data: m.Data(), sequence: meta.Sequence.Stream, kind: m.Headers().Get("Content-Type"), trace: traceOf(m.Headers())})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consuming.Stop)
}

// subscribe starts the core subscription.
func (o *observer) subscribe(t *testing.T) {
	t.Helper()
	sub, err := o.nc.Subscribe(o.prefix+".>", func(m *nats.Msg) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.core = append(o.core, sent{subject: m.Subject, data: m.Data, kind: m.Header.Get("Content-Type"), trace: traceOf(m.Header)})
		o.wake()
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil && o.nc.IsConnected() {
		err = o.nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func awaitStream(t *testing.T, nc *nats.Conn, stream string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	created, err := nc.SubscribeSync("$JS.EVENT.ADVISORY.STREAM.CREATED." + stream)
	if err != nil {
		t.Fatal(err)
	}
	defer created.Unsubscribe()
	_, err = js.Stream(t.Context(), stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = created.NextMsg(patience)
	}
	// The server says so a moment before the stream can be found.
	for tries := 0; err == nil && tries < 200; tries++ {
		if _, err = js.Stream(t.Context(), stream); !errors.Is(err, jetstream.ErrStreamNotFound) {
			break
		}
		<-time.After(10 * time.Millisecond)
		if tries < 199 {
			err = nil
		}
	}
	if err != nil {
		t.Fatalf("wait for stream %s: %v", stream, err)
	}
	return js
}

func (o *observer) keep(m sent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stored = append(o.stored, m)
	o.wake()
	tokens := strings.Split(strings.TrimPrefix(m.subject, o.prefix+"."), ".")
	if len(tokens) < 3 {
		return
	}
	if tokens[2] == "status" {
		o.channel(o.status, tokens[1]) <- m
		return
	}
	o.channel(o.lists, tokens[1]) <- m
}

func (o *observer) wake() {
	close(o.more)
	o.more = make(chan struct{})
}

func (o *observer) channel(of map[string]chan sent, watchlist string) chan sent {
	if of[watchlist] == nil {
		of[watchlist] = make(chan sent, 1<<16)
	}
	return of[watchlist]
}

// messages are a watchlist's events and boards, in order.
func (o *observer) messages(watchlist string) chan sent {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.channel(o.lists, watchlist)
}

func (o *observer) statuses(watchlist string) chan sent {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.channel(o.status, watchlist)
}

func next(c chan sent) (sent, error) {
	select {
	case m := <-c:
		return m, nil
	case <-time.After(patience):
		return sent{}, errors.New("no message came")
	}
}

// agree checks that the core subscriber saw exactly what is stored, in the same
// order and to the byte, and that all of it is valid by the published schemas.
func (o *observer) agree(t *testing.T) {
	t.Helper()
	timeout := time.After(patience)
	for waiting := true; waiting; {
		o.mu.Lock()
		more := o.more
		waiting = len(o.core) < len(o.stored)
		o.mu.Unlock()
		if waiting {
			select {
			case <-more:
			case <-timeout:
				waiting = false
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := same(o.core, o.stored); err != nil {
		t.Errorf("core subscriber against stream: %v", err)
	}
	conform(t, o.stored)
}

func same(core, stored []sent) error {
	for i := range min(len(core), len(stored)) {
		if core[i].subject != stored[i].subject || !bytes.Equal(core[i].data, stored[i].data) || core[i].kind != stored[i].kind || core[i].trace != stored[i].trace {
			return fmt.Errorf("message %d: %s, stored is %s (sequence %d)", i, core[i].subject, stored[i].subject, stored[i].sequence)
		}
	}
	if len(core) != len(stored) {
		return fmt.Errorf("%d messages, %d are stored", len(core), len(stored))
	}
	return nil
}

// history reads all that a stream holds now under the prefix.
func history(t *testing.T, nc *nats.Conn, stream, prefix string) []sent {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{prefix + ".>"}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan sent, info.NumPending)
	consuming, err := c.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err == nil && len(all) < cap(all) {
			all <- sent{subject: m.Subject(), data: m.Data(), sequence: meta.Sequence.Stream, kind: m.Headers().Get("Content-Type"), trace: traceOf(m.Headers())}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer consuming.Stop()
	var out []sent
	for range info.NumPending {
		m, err := next(all)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// A bus is an external NATS server that a test can take away and bring back.
type bus struct {
	options *server.Options
	server  *server.Server
}

func newBus(t *testing.T, change func(*server.Options)) *bus {
	t.Helper()
	o := &server.Options{ServerName: "external", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir()}
	o.JetStreamLimits.MaxBatchSize = 4096
	if change != nil {
		change(o)
	}
	b := &bus{options: o}
	b.start(t)
	t.Cleanup(b.stop)
	return b
}

func (b *bus) start(t *testing.T) {
	t.Helper()
	s, err := server.NewServer(b.options.Clone())
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the bus did not start")
	}
	b.server = s
	b.options.Port = s.Addr().(*net.TCPAddr).Port
}

func (b *bus) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *bus) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.options.Port) }
