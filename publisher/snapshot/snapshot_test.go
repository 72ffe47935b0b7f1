package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) (*server.Server, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{ServerName: "s", DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server is not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return srv, nc, js
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, js jetstream.JetStream, from, to, size int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := js.PublishAsync(fmt.Sprintf("s.%d", i%7), bytes.Repeat([]byte{byte(i)}, size)); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			<-js.PublishAsyncComplete()
		}
	}
	<-js.PublishAsyncComplete()
}

// filled has 3000 messages with holes, and a consumer of each kind.
func filled(t *testing.T) (*server.Server, *nats.Conn, jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	srv, nc, js := start(t)
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, MaxAge: time.Hour, AllowMsgTTL: true, AllowAtomicPublish: true})
	ok(t, err)
	publish(t, js, 0, 3000, 700)
	for _, seq := range []uint64{1, 5, 6, 3000} {
		ok(t, s.DeleteMsg(t.Context(), seq))
	}
	c, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "alerts", AckPolicy: jetstream.AckExplicitPolicy})
	ok(t, err)
	b, err := c.Fetch(10)
	ok(t, err)
	for m := range b.Messages() {
		ok(t, m.DoubleAck(t.Context()))
	}
	ordered, err := s.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	ok(t, err)
	it, err := ordered.Messages()
	ok(t, err)
	t.Cleanup(it.Stop)
	_, err = it.Next()
	ok(t, err)
	return srv, nc, js, s
}

// all reads a stream's messages.
func all(t *testing.T, s jetstream.Stream) string {
	t.Helper()
	var out bytes.Buffer
	info, err := s.Info(t.Context())
	ok(t, err)
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		ok(t, err)
		fmt.Fprintln(&out, m.Sequence, m.Subject, m.Time.UnixNano(), len(m.Data), m.Data[0])
	}
	return out.String()
}

func TestACopyHoldsAllOfTheStream(t *testing.T) {
	t.Parallel()
	_, nc, _, s := filled(t)
	want := all(t, s)
	var copied bytes.Buffer
	meta, err := Take(t.Context(), nc, "S", &copied)
	ok(t, err)
	tally, err := Check(bytes.NewReader(copied.Bytes()))
	ok(t, err)
	if tally != (Tally{Messages: 2996, LastSeq: 3000}) {
		t.Errorf("the copy holds %+v", tally)
	}
	_, to, js := start(t)
	got, err := Restore(t.Context(), to, meta, &copied)
	ok(t, err)
	if got != tally {
		t.Errorf("restored %+v of %+v", got, tally)
	}
	r, err := js.Stream(t.Context(), "S")
	ok(t, err)
	if all(t, r) != want {
		t.Error("the restored stream differs")
	}
	if c := r.CachedInfo().Config; c.MaxAge != 0 || !c.AllowMsgTTL || !c.AllowAtomicPublish {
		t.Errorf("restored with %+v", c)
	}
	c, err := r.Consumer(t.Context(), "alerts")
	ok(t, err)
	if at := c.CachedInfo().AckFloor.Stream; at != 13 {
		t.Errorf("the consumer stands at %d, want 13", at)
	}
	publish(t, js, 0, 1, 1)
	if _, err := r.GetMsg(t.Context(), 3001); err != nil {
		t.Errorf("after the last sequence: %v", err)
	}
}

func TestACopyIsTakenWhileMessagesComeIn(t *testing.T) {
	t.Parallel()
	_, nc, js, _ := filled(t)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				if _, err := js.Publish(context.Background(), "s.live", []byte("x")); err != nil {
					t.Error(err)
				}
				n++
			}
		}
	}()
	for range 5 {
		var copied bytes.Buffer
		meta, err := Take(t.Context(), nc, "S", &copied)
		ok(t, err)
		tally, err := Check(bytes.NewReader(copied.Bytes()))
		ok(t, err)
		_, to, _ := start(t)
		got, err := Restore(t.Context(), to, meta, &copied)
		ok(t, err)
		if got != tally || got.LastSeq < 3000 {
			t.Errorf("restored %+v of %+v", got, tally)
		}
	}
	close(stop)
	if <-stopped == 0 {
		t.Error("nothing came in")
	}
}

func TestADamagedCopyIsNoticed(t *testing.T) {
	t.Parallel()
	_, nc, _, _ := filled(t)
	var copied bytes.Buffer
	meta, err := Take(t.Context(), nc, "S", &copied)
	ok(t, err)
	whole := copied.Bytes()
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, data := range map[string][]byte{
		"empty": nil, "cut off": whole[:len(whole)*2/3], "a hole": append(bytes.Clone(whole[:1000]), whole[2000:]...), "a bit": flipped, "text": []byte("hello, this is text"),
	} {
		if _, err := Check(bytes.NewReader(data)); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: checked with %v", name, err)
		}
		_, to, _ := start(t)
		if _, err := Restore(t.Context(), to, meta, bytes.NewReader(data)); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	if _, err := Restore(t.Context(), nc, meta, bytes.NewReader(whole)); err == nil {
		t.Error("restored over a stream that is there")
	}
	if _, err := Restore(t.Context(), nc, Meta{Config: []byte(`{"name":""}`)}, bytes.NewReader(whole)); err == nil {
		t.Error("restored without a name")
	}
}

// breaking fails, or does something, once it is written to.
type breaking struct{ do func() error }

func (b breaking) Write(p []byte) (int, error) { return len(p), b.do() }

func TestTakeEndsWithItsReader(t *testing.T) {
	t.Parallel()
	srv, nc, js, _ := filled(t)
	publish(t, js, 3000, 12000, 4000) // more than the server sends ahead
	if _, err := Take(t.Context(), nc, "NONE", io.Discard); !isCode(err, jetstream.JSErrCodeStreamNotFound) {
		t.Errorf("no stream: %v", err)
	}
	full := errors.New("disk full")
	if _, err := Take(t.Context(), nc, "S", breaking{func() error { return full }}); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Take(ctx, nc, "S", breaking{func() error { cancel(); return nil }}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	gone := breaking{func() error { srv.Shutdown(); nc.Close(); return nil }}
	if _, err := Take(t.Context(), nc, "S", gone); err == nil {
		t.Error("the server went away and nobody noticed")
	}
}

func isCode(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}
