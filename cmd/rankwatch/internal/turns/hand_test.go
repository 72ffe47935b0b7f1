package turns

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

const someLists = `
defaults: {every: 1h, top: 10, period: {type: month, value: 2026-03}}
watchlists:
  - {name: one, filter: {region: US}}
  - {name: two, filter: {region: US}}
  - {name: far, filter: {region: US}, every: 6h}
  - {name: gb, filter: {region: GB}}
`

func parsed(t *testing.T, text string) []watcher.Watchlist {
	t.Helper()
	lists, err := watcher.ParseWatchlists("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return lists
}

// noStore is never asked.
type noStore struct{ watcher.Store }

type noSource struct{}

func (noSource) Page(context.Context, fastmoss.Query, int, int) (fastmoss.Page, error) {
	return fastmoss.Page{}, errDeaf
}

// aCrew is one that has taken a file over and does not run.
func aCrew(t *testing.T) *Crew {
	t.Helper()
	w, err := watcher.New(watcher.Config{
		Source: noSource{}, Store: noStore{}, Prefix: "p", Writer: "w", Concurrency: 1, MaxPayload: func() int { return 1 << 20 },
		Adopt: func(context.Context, string) error { return nil }, Committed: func() {}, Shared: &watcher.Shared{
			Sync:    func(context.Context, string, watcher.Known) (bool, error) { return true, nil },
			Marks:   func(string) (watcher.Known, error) { return watcher.Known{}, nil },
			Flush:   func(context.Context, string) error { return nil },
			PutHead: func(context.Context, string, event.Tracked) error { return nil },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Reload(parsed(t, someLists))
	c := New(Config{Prefix: "p", Stream: "S", Writer: "w", Watcher: w, Logger: slog.New(slog.DiscardHandler), Limits: LimitsOf(1, 1)})
	c.order.Store(3)
	return c
}

// aQueuedCrew is one with a queue on a server of its own.
func aQueuedCrew(t *testing.T) *Crew {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(2 * time.Minute) {
		t.Fatal("nats-server is not ready")
	}
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c := aCrew(t)
	if c.queue, err = fleet.OpenQueue(t.Context(), fleet.QueueConfig{Conn: nc, Stream: "S", Prefix: "p", Timeout: 20 * time.Second}, LimitsOf(1, 1)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhoFollowsWaitsForWhoReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := aCrew(t)
		plan, _ := c.cfg.Watcher.Plan("one")
		for in, grace := range map[time.Duration]time.Duration{
			time.Hour: 30 * time.Second, 40 * time.Second: 20 * time.Second, 4 * time.Second: 5 * time.Second, -time.Minute: 5 * time.Second,
		} {
			next := time.Now().Add(in)
			s := watcher.Served{Watchlist: "one", Next: next, Carry: []byte(`{"revision":1}`)}
			if got := c.schedule(s, plan); !got.At.Equal(next) || !got.Due.Equal(next) || got.Order != 3 || got.Plan != plan || string(got.Carry) != `{"revision":1}` {
				t.Errorf("in %v: %+v", in, got)
			}
			s.Follows = true
			if got := c.schedule(s, plan); got.At.Sub(next) != grace || !got.Due.Equal(next) {
				t.Errorf("in %v a follower is called after %v: %+v", in, got.At.Sub(next), got)
			}
			// What was changed while it was read is read again, whoever follows.
			if got := c.schedule(s, "another"); !got.At.Equal(time.Now()) || !got.Due.Equal(got.At) || got.Plan != plan {
				t.Errorf("in %v after a change: %+v", in, got)
			}
		}
	})
}

func TestOnlyWhatIsDueComesAlong(t *testing.T) {
	t.Parallel()
	c := aQueuedCrew(t)
	now := time.Now()
	arm := func(name string, due time.Duration) {
		t.Helper()
		is, err := c.queue.Armed(t.Context(), []string{name})
		if err == nil {
			err = c.queue.Arm(t.Context(), fleet.Schedule{Watchlist: name, At: now.Add(time.Hour), Due: now.Add(due)}, is[name].Sequence)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	along := func(due time.Duration) string {
		t.Helper()
		armed, err := c.along(t.Context(), &fleet.Turn{Schedule: fleet.Schedule{Watchlist: "one", Due: now.Add(due)}})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for name, s := range armed {
			names = append(names, fmt.Sprint(name, " ", s.Sequence > 0))
		}
		slices.Sort(names)
		return strings.Join(names, ", ")
	}
	arm("gb", -time.Second)
	arm("two", time.Minute)
	for _, step := range []struct {
		two, far, turn time.Duration
		want           string
	}{
		{time.Minute, time.Hour, 0, ""},
		{-time.Second, time.Hour, 0, "two true"},
		{-time.Hour, -time.Millisecond, -time.Hour, "far true, two true"},
		// The bus called this turn, so by its clock all that is due by then is due.
		{10 * time.Minute, 11 * time.Minute, 10 * time.Minute, "two true"},
	} {
		arm("two", step.two)
		arm("far", step.far)
		if got := along(step.turn); got != step.want {
			t.Errorf("two due in %v, far in %v: along come %q, want %q", step.two, step.far, got, step.want)
		}
	}
	if err := c.queue.Disarm(t.Context(), "two"); err != nil { // its turn has come
		t.Fatal(err)
	}
	if got := along(0); got != "" {
		t.Errorf("along come %q", got)
	}
	// Turns that nobody has taken yet come along too, until what follows is armed.
	if err := c.queue.Begin(t.Context(), fleet.Schedule{Watchlist: "two", At: now, Due: now}); err != nil {
		t.Fatal(err)
	}
	turn, err := c.queue.Puller().Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	over := func() bool {
		t.Helper()
		is, err := c.queue.Over(t.Context(), turn)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if got := along(time.Second); got != "two false" || over() {
		t.Errorf("along come %q; the turn is over: %v", got, over())
	}
	if err := c.arm(t.Context(), fleet.Schedule{Watchlist: "two", At: now.Add(time.Hour), Due: now.Add(time.Hour)}, 0); err != nil {
		t.Fatal(err)
	}
	if got := along(time.Second); got != "" || !over() {
		t.Errorf("along come %q; the turn is over: %v", got, over())
	}
}
