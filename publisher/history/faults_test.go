package history

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// large is a stream of which no more than a part is on the way at any time.
func large(t *testing.T, mod ...func(*jetstream.StreamConfig)) *bus {
	b := startBus(t, mod...)
	for i := range 200 {
		b.reading(reading{list: "w" + strconv.Itoa(i%3), revision: uint64(i/3 + 1), at: time.Now(), uids: []string{"u1"}, rows: 30})
	}
	return b
}

// at calls do when message n is there.
func at(n int, got *[]Message, do func()) func(*Message) error {
	return func(m *Message) error {
		*got = append(*got, *m)
		if len(*got) == n {
			do()
		}
		return nil
	}
}

func TestEachGoesOnAfterAFault(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*bus){
		"the server is restarted":    func(b *bus) { b.stop(); b.start() },
		"the connection is cut":      func(b *bus) { b.t.Log(b.nc.ForceReconnect()) },
		"the consumer is gone":       func(b *bus) { b.removeConsumers() },
		"restarted, and cut at once": func(b *bus) { b.stop(); b.start(); b.t.Log(b.nc.ForceReconnect()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := large(t)
			for _, n := range []int{1, 100, len(b.stored) - 1} {
				var got []Message
				r := b.reader()
				// A server that was started again may need a while on a busy machine.
				r.patience = limit
				if err := r.Each(t.Context(), Query{}, nil, at(n, &got, func() { fault(b) })); err != nil {
					t.Fatalf("at %d: %v", n, err)
				}
				if d := differ(got, b.naive(Query{}, 0)); d != "" {
					t.Fatalf("at %d: %s", n, d)
				}
			}
		})
	}
}

func (b *bus) removeConsumers() {
	b.t.Helper()
	names := must(b.js.Stream(b.t.Context(), streamName)).ConsumerNames(b.t.Context())
	n := 0
	for name := range names.Name() {
		if err := b.js.DeleteConsumer(b.t.Context(), streamName, name); err != nil {
			b.t.Error(err)
		}
		n++
	}
	if n == 0 {
		b.t.Error("there was no consumer")
	}
}

func TestEachSaysThatTheServerIsGone(t *testing.T) {
	t.Parallel()
	b := large(t)
	var got []Message
	r := b.reader()
	r.patience = 500 * time.Millisecond
	start := time.Now()
	err := r.Each(t.Context(), Query{}, nil, at(10, &got, b.stop))
	if !errors.Is(err, ErrGone) {
		t.Fatalf("after %d messages: %v", len(got), err)
	}
	if spent := time.Since(start); spent > limit/4 {
		t.Errorf("it took %s", spent)
	}
	if d := differ(got, b.stored[:len(got)]); d != "" {
		t.Error(d)
	}
	for name, look := range map[string]func() error{
		"last":   func() error { _, err := r.LastBoard(t.Context(), "w1"); return err },
		"first":  func() error { _, err := r.FirstBoard(t.Context(), "w1"); return err },
		"at":     func() error { _, err := r.BoardAt(t.Context(), "w1", time.Now()); return err },
		"chains": func() error { _, err := r.Chains(t.Context()); return err },
	} {
		if err := look(); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.LastBoard(ctx, "w1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	b.nc.Close()
	if err := r.Each(t.Context(), Query{}, nil, at(-1, &got, nil)); !errors.Is(err, ErrGone) {
		t.Errorf("over a closed connection: %v", err)
	}
}

// What expires or is purged before it was read does not keep the reading from
// ending.
func TestEachEndsWhereMessagesGoMeanwhile(t *testing.T) {
	t.Parallel()
	b := large(t)
	s := must(b.js.Stream(t.Context(), streamName))
	var got []Message
	r := b.reader()
	r.patience = 2 * time.Second // for ticks to be short
	last := b.stored[len(b.stored)-1].sequence
	err := r.Each(t.Context(), Query{}, nil, at(10, &got, func() {
		if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(last-20)); err != nil {
			t.Error(err)
		}
	}))
	if err != nil || got[len(got)-1].Sequence != last {
		t.Fatalf("the first ones gone: ends at %d of %d, %v", got[len(got)-1].Sequence, last, err)
	}
	got = nil
	r.ahead = 8 << 10
	err = r.Each(t.Context(), Query{}, nil, at(1, &got, func() {
		if err := s.Purge(t.Context()); err != nil {
			t.Error(err)
		}
	}))
	if err != nil || len(got) == 21 {
		t.Fatalf("all gone: %d messages, %v", len(got), err)
	}
	if err := b.js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	if err := r.Each(t.Context(), Query{}, nil, at(-1, &got, nil)); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without its stream: %v", err)
	}
}

// Whoever reads slowly, like a person in a pager, is not cut off.
func TestEachWaitsForItsReader(t *testing.T) {
	t.Parallel()
	b := large(t)
	r := b.reader()
	r.patience = 50 * time.Millisecond
	var got []Message
	err := r.Each(t.Context(), Query{}, nil, at(10, &got, func() {
		<-time.After(4 * r.patience)
		b.removeConsumers()
	}))
	if d := differ(got, b.naive(Query{}, 0)); err != nil || d != "" {
		t.Fatalf("%v %s", err, d)
	}
}

// Chains that are read while boards come in miss none.
func TestChainsMissNoneWhileBoardsComeIn(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.world(rand.New(rand.NewPCG(9, 9)), 4, 60)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := uint64(1000); ; n++ {
			select {
			case <-stop:
				return
			default:
				b.reading(reading{list: "w" + strconv.Itoa(int(n%4)), revision: n, at: time.Now()})
			}
		}
	}()
	for range 50 {
		chains, err := b.reader().Chains(t.Context())
		if err != nil || len(chains) != 8 {
			t.Errorf("%d chains of 8: %v", len(chains), err)
			break
		}
	}
	close(stop)
	<-done
}

// A numbered message is one as a consumer delivers it.
type numbered struct {
	jetstream.Msg
	stream, consumer uint64
}

func (n numbered) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: n.stream, Consumer: n.consumer}, NumPending: 9}, nil
}
func (n numbered) Subject() string      { return prefix + ".US.w.board" }
func (n numbered) Data() []byte         { return nil }
func (n numbered) Headers() nats.Header { return nil }

// What a dying connection swallowed is asked for again: nothing behind the gap
// is handed out.
func TestAGapOnTheWayLosesTheConsumer(t *testing.T) {
	t.Parallel()
	var got []uint64
	p := &pass{last: 100, fn: func(m *Message, _ uint64) error {
		got = append(got, m.Sequence)
		return nil
	}}
	h := hand{p: p, end: make(chan error, 1)}
	for _, n := range []uint64{1, 2, 4, 5} {
		h.take(numbered{stream: 10 * n, consumer: n})
	}
	var lost *lostError
	if err := <-h.end; !errors.As(err, &lost) || len(got) != 2 || p.msg.Sequence != 20 {
		t.Errorf("%v after %v", err, got)
	}
}
