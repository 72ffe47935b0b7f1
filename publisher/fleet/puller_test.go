package fleet_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/fleet"
)

// A request for a turn that is lost while the connection stands, as with a
// consumer's leader on another server than the worker's, is made again. It was
// not, and the worker read no more.
func TestPullerAsksAgain(t *testing.T) {
	t.Parallel()
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
	const requests, elsewhere = "$JS.API.CONSUMER.MSG.NEXT.R_TURNS.turns", "elsewhere"
	q, err := fleet.OpenQueue(t.Context(), fleet.QueueConfig{Conn: nc, Stream: "R", Prefix: "r"}, fleet.Limits{Readings: 4, Rate: 4})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := nc.SubscribeSync(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.GlobalAccount().AddMapping(requests, elsewhere); err != nil {
		t.Fatal(err)
	}
	p := q.Puller()
	came := make(chan string, 1)
	go func() {
		for t.Context().Err() == nil {
			if turn, err := p.Next(t.Context()); err == nil {
				came <- turn.Watchlist
				return
			}
		}
	}()
	if _, err := asked.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	s.GlobalAccount().RemoveMapping(requests)
	now := time.Now()
	if err := q.Arm(t.Context(), fleet.Schedule{Watchlist: "a", At: now, Due: now}, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case name := <-came:
		if name != "a" {
			t.Errorf("the turn is of %s", name)
		}
		t.Logf("it came after %v", time.Since(now))
	case <-time.After(30 * time.Second):
		t.Fatal("no turn came")
	}
}
