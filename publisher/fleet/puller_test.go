package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/fleet"
)

// open starts a server with a queue on it.
func open(t *testing.T) (*server.Server, *nats.Conn, *fleet.Queue) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	q, err := fleet.OpenQueue(t.Context(), fleet.QueueConfig{Conn: nc, Stream: "R", Prefix: "r"}, fleet.Limits{Readings: 4, Rate: 4})
	if err != nil {
		t.Fatal(err)
	}
	return s, nc, q
}

// lose has somebody else than the server's JetStream take what is published under a
// subject: a consumer's leader that is on another server may be gone or cut off
// while the connection to this one stands. The function that it returns ends that.
func lose(t *testing.T, s *server.Server, nc *nats.Conn, subject string) (*nats.Subscription, func()) {
	t.Helper()
	sub, err := nc.SubscribeSync("elsewhere.>")
	if err == nil {
		err = s.GlobalAccount().AddMapping(subject, "elsewhere.>")
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub, func() { s.GlobalAccount().RemoveMapping(subject) }
}

func arm(t *testing.T, q *fleet.Queue, name string) {
	t.Helper()
	now := time.Now()
	if err := q.Arm(t.Context(), fleet.Schedule{Watchlist: name, At: now, Due: now}, 0); err != nil {
		t.Fatal(err)
	}
}

// A request for a turn that is lost while the connection stands is made again. It
// was not, and the worker read no more.
func TestPullerAsksAgain(t *testing.T) {
	t.Parallel()
	s, nc, q := open(t)
	asked, found := lose(t, s, nc, "$JS.API.CONSUMER.MSG.NEXT.R_TURNS.>")
	came := make(chan string, 1)
	go func() {
		for p := q.Puller(); t.Context().Err() == nil; {
			if turn, err := p.Next(t.Context()); err == nil {
				came <- turn.Watchlist
				return
			}
		}
	}()
	if _, err := asked.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	found()
	arm(t, q, "a")
	select {
	case name := <-came:
		if name != "a" {
			t.Errorf("the turn is of %s", name)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no turn came")
	}
}

// A turn is kept by who hears that it is: a server that is cut off takes what it is
// told, and the turn goes to somebody else.
func TestProgressNeedsAnAnswer(t *testing.T) {
	t.Parallel()
	s, nc, q := open(t)
	arm(t, q, "a")
	turn, err := q.Puller().Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := turn.Progress(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked, found := lose(t, s, nc, "$JS.ACK.R_TURNS.turns.>")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := turn.Progress(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answered, and the turn is kept: %v", err)
	}
	if m, err := asked.NextMsg(10 * time.Second); err != nil || string(m.Data) != "+WPI" {
		t.Errorf("%v, %v", m, err)
	}
	found()
	if err := turn.Progress(t.Context()); err != nil {
		t.Error(err)
	}
}

// A turn that was read to the end, and whose end was lost, is known as such: while
// the next schedule waits, and when that has become a turn.
func TestTurnIsOver(t *testing.T) {
	t.Parallel()
	_, _, q := open(t)
	over := func(turn *fleet.Turn, want bool) {
		t.Helper()
		if got, err := q.Over(t.Context(), turn); got != want || err != nil {
			t.Errorf("over: %v, %v, want %v", got, err, want)
		}
	}
	next := func() *fleet.Turn {
		t.Helper()
		turn, err := q.Puller().Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return turn
	}
	arm(t, q, "a")
	first := next()
	over(first, false)
	if err := first.Back(0); err != nil {
		t.Fatal(err)
	}
	first = next()
	if !first.Retaken {
		t.Error("the turn came back as a new one")
	}
	over(first, false)
	later := time.Now().Add(time.Hour)
	if err := q.Arm(t.Context(), fleet.Schedule{Watchlist: "a", At: later, Due: later}, 0); err != nil {
		t.Fatal(err)
	}
	over(first, true)
	if err := q.Disarm(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	over(first, false)
	arm(t, q, "a")
	second := next()
	over(first, true)
	over(second, false)
}
