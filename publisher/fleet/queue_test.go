package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// patience bounds every wait of these tests. It is never waited out unless
// something is broken.
const patience = 2 * time.Minute

// aBus is a nats-server of its own.
func aBus(t *testing.T) *server.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "bus", Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, JetStreamMaxStore: 1 << 40,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("nats-server is not ready")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv
}

func client(t *testing.T, srv *server.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(srv.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// aQueue opens a queue whose turns belong for ackWait to who says nothing.
func aQueue(t *testing.T, srv *server.Server, ackWait time.Duration, l Limits) *Queue {
	t.Helper()
	q, err := OpenQueue(within(t), QueueConfig{Conn: client(t, srv), Stream: "S", Prefix: "p.q", AckWait: ackWait, Timeout: 20 * time.Second}, l)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func mustArm(t *testing.T, q *Queue, watchlist string, in time.Duration, order, expect uint64) {
	t.Helper()
	at := time.Now().Add(in)
	if err := q.Arm(within(t), Schedule{Watchlist: watchlist, At: at, Due: at, Order: order, Plan: "plan"}, expect); err != nil {
		t.Fatalf("arm %s: %v", watchlist, err)
	}
}

// mustRearm arms in place of what is armed.
func mustRearm(t *testing.T, q *Queue, watchlist string, in time.Duration, order uint64) {
	t.Helper()
	all, err := q.Armed(within(t), []string{watchlist})
	if err != nil {
		t.Fatal(err)
	}
	mustArm(t, q, watchlist, in, order, all[watchlist].Sequence)
}

func aPuller(t *testing.T, q *Queue) *Puller {
	t.Helper()
	return q.Puller()
}

func mustNext(t *testing.T, p *Puller) *Turn {
	t.Helper()
	turn, err := p.Next(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

func mustDone(t *testing.T, turn *Turn) {
	t.Helper()
	if err := turn.Done(within(t)); err != nil {
		t.Fatal(err)
	}
}

// wantNames compares "at: a b; due: c".
func wantNames(t *testing.T, q *Queue, want string) {
	t.Helper()
	armed, called, err := q.Names(within(t))
	if err != nil {
		t.Fatal(err)
	}
	list := func(m map[string]bool) string {
		var names []string
		for n := range m {
			names = append(names, n)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	if got := fmt.Sprintf("at: %s; due: %s", list(armed), list(called)); got != want {
		t.Errorf("the queue has %q, want %q", got, want)
	}
}

// wantNoTurn asserts that nobody is called before a turn of another watchlist that
// is armed only now.
func wantNoTurn(t *testing.T, q *Queue, p *Puller) {
	t.Helper()
	mustArm(t, q, "sentinel", 1200*time.Millisecond, 0, 0)
	turn := mustNext(t, p)
	if turn.Watchlist != "sentinel" {
		t.Errorf("a turn of %s, order %d", turn.Watchlist, turn.Order)
	}
	mustDone(t, turn)
}

const longWait = time.Minute

var oneReading = Limits{Readings: 1, Rate: 1}

func TestAScheduleIsArmedByWhoKnowsTheLastOne(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, oneReading)
	arm := func(order, expect uint64) error {
		return q.Arm(within(t), Schedule{Watchlist: "a", At: time.Now().Add(time.Hour), Order: order, Carry: json.RawMessage(`{"x":1}`)}, expect)
	}
	armed := func() Schedule {
		all, err := q.Armed(within(t), []string{"a", "b"})
		if err != nil || len(all) > 1 {
			t.Fatalf("armed %v: %v", all, err)
		}
		return all["a"]
	}
	if err := arm(1, 0); err != nil {
		t.Fatal(err)
	}
	first := armed()
	if first.Order != 1 || first.Sequence == 0 || string(first.Carry) != `{"x":1}` || first.Watchlist != "a" {
		t.Errorf("armed %+v", first)
	}
	for _, expect := range []uint64{0, first.Sequence + 1} {
		if err := arm(2, expect); !errors.Is(err, ErrArmed) {
			t.Errorf("armed over another one: %v", err)
		}
	}
	if err := arm(3, first.Sequence); err != nil {
		t.Fatal(err)
	}
	if err := arm(4, first.Sequence); !errors.Is(err, ErrArmed) {
		t.Errorf("armed over a newer one: %v", err)
	}
	if err := arm(5, armed().Sequence); err != nil {
		t.Fatal(err)
	}
	if s := armed(); s.Order != 5 {
		t.Errorf("armed %+v", s)
	}
	wantNames(t, q, "at: a; due: ")
	if err := q.Disarm(within(t), "a"); err != nil {
		t.Fatal(err)
	}
	if err := q.Disarm(within(t), "a"); err != nil {
		t.Errorf("none is fine: %v", err)
	}
	wantNames(t, q, "at: ; due: ")
	if err := arm(6, first.Sequence); !errors.Is(err, ErrArmed) {
		t.Errorf("armed in place of one that is gone: %v", err)
	}
	if err := arm(7, 0); err != nil {
		t.Fatal(err)
	}
}

// Every worker sets up what all share when it starts.
func TestAnotherWorkerChangesNoStream(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	nc := client(t, srv)
	changed, err := nc.SubscribeSync("$JS.EVENT.ADVISORY.STREAM.*.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	wantChange := func(what, stream string) {
		t.Helper()
		m, err := changed.NextMsgWithContext(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != "$JS.EVENT.ADVISORY.STREAM."+what+"."+stream {
			t.Errorf("%s, want %s of %s", m.Subject, what, stream)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	q := aQueue(t, srv, longWait, oneReading)
	someFiles(t, srv, "1")
	wantChange("CREATED", q.name)
	wantChange("CREATED", "KV_S_FLEET")
	aQueue(t, srv, longWait, Limits{Readings: 2, Rate: 2})
	someFiles(t, srv, "2")
	for _, stream := range []string{q.name, "KV_S_FLEET"} {
		s, err := js.Stream(within(t), stream)
		if err != nil {
			t.Fatal(err)
		}
		conf := s.CachedInfo().Config
		conf.MaxAge, conf.Duplicates, conf.MaxMsgsPerSubject = time.Hour, time.Minute, -1
		conf.MaxMsgSize = 1 << 10
		if _, err := js.UpdateStream(within(t), conf); err != nil {
			t.Fatal(err)
		}
		wantChange("UPDATED", stream) // the next one, so that no worker caused any
	}
	mustSetup(t, q)
	someFiles(t, srv, "3")
	wantChange("UPDATED", q.name)
	wantChange("UPDATED", "KV_S_FLEET")
	for _, stream := range []string{q.name, "KV_S_FLEET"} {
		s, err := js.Stream(within(t), stream)
		if err != nil {
			t.Fatal(err)
		}
		if c := s.CachedInfo().Config; c.MaxAge != 0 || c.MaxMsgSize != -1 || (c.MaxMsgsPerSubject == 1) != (stream != q.name) {
			t.Errorf("%s was not put right: %+v", stream, c)
		}
	}
}

// Several workers find watchlists missing at the same time, and what one of them
// arms may be a turn already when the next one comes to it.
func TestWhoBeginsTogetherBeginsOneSeries(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	const names, workers = 40, 3
	var begun atomic.Int32
	var g errgroup.Group
	limits := Limits{Readings: names, Rate: names}
	for range workers {
		q := aQueue(t, srv, longWait, limits)
		for i := range names {
			g.Go(func() error {
				err := q.Begin(within(t), Schedule{Watchlist: fmt.Sprint("w", i), At: time.Now()})
				if errors.Is(err, ErrArmed) {
					return nil
				}
				begun.Add(1)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := begun.Load(); n != names {
		t.Errorf("%d were armed, of %d", n, names)
	}
	q := aQueue(t, srv, longWait, limits)
	p, seen := aPuller(t, q), map[string]bool{}
	for range names {
		turn := mustNext(t, p)
		if seen[turn.Watchlist] {
			t.Errorf("%s has a second turn", turn.Watchlist)
		}
		seen[turn.Watchlist] = true
		if err := q.Begin(within(t), Schedule{Watchlist: turn.Watchlist, At: time.Now()}); !errors.Is(err, ErrArmed) {
			t.Errorf("begun beside a turn: %v", err)
		}
		mustDone(t, turn)
	}
	wantNoTurn(t, q, p)
	if err := q.Begin(within(t), Schedule{Watchlist: "w0", At: time.Now()}); err != nil {
		t.Errorf("not begun when the turn is over: %v", err)
	}
}

// A consumer that was lost had given out turns, which their readers still have.
func TestAnotherConsumerGivesOutNothingWhileTurnsAreHeld(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	paused := func(q *Queue) bool {
		t.Helper()
		c, err := q.js.Consumer(within(t), q.name, turns)
		if err != nil {
			t.Fatal(err)
		}
		return c.CachedInfo().Paused
	}
	q := aQueue(t, srv, longWait, oneReading)
	if paused(q) {
		t.Error("a new queue gives out nothing")
	}
	mustArm(t, q, "a", 0, 1, 0)
	for name, again := range map[string]func(){
		"set up again":     func() { mustSetup(t, q) },
		"found by another": func() { aQueue(t, srv, longWait, oneReading) },
	} {
		if err := q.js.DeleteConsumer(within(t), q.name, turns); err != nil {
			t.Fatal(err)
		}
		again()
		again() // does not end it
		if !paused(q) {
			t.Errorf("%s: turns that are held are given out", name)
		}
	}
	if err := q.js.DeleteStream(within(t), q.name); err != nil {
		t.Fatal(err)
	}
	mustSetup(t, q)
	if !paused(q) {
		t.Error("a new stream gives out what is held")
	}
}

func mustSetup(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Setup(within(t), oneReading); err != nil {
		t.Fatal(err)
	}
}

func TestATurnIsCalledOnceAndTellsWhatWasLeft(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, oneReading)
	p := aPuller(t, q)
	for _, in := range []time.Duration{-24 * time.Hour, -time.Second, 300 * time.Millisecond} {
		at := time.Now().Add(in)
		due := at.Add(-time.Second)
		if err := q.Arm(within(t), Schedule{Watchlist: "a-b", At: at, Due: due, Order: 7, Plan: "p1", Carry: json.RawMessage(`{"revision":3}`)}, 0); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		turn := mustNext(t, p)
		if turn.Watchlist != "a-b" || turn.Order != 7 || turn.Plan != "p1" || string(turn.Carry) != `{"revision":3}` || turn.Retaken || !turn.Due.Equal(due) {
			t.Errorf("turn %+v", turn)
		}
		if now := time.Now(); now.Before(at.Truncate(time.Millisecond)) {
			t.Errorf("called at %v, before %v", now, at)
		}
		if turn.Taken.Before(before.Add(-time.Second)) || turn.Taken.After(time.Now()) {
			t.Errorf("taken %v after the wait began", turn.Taken.Sub(before))
		}
		// The schedule became the turn, and the next one can be armed meanwhile.
		wantNames(t, q, "at: ; due: a-b")
		mustDone(t, turn)
		wantNames(t, q, "at: ; due: ")
	}
	wantNoTurn(t, q, p)
}

func TestOfReplacedSchedulesTheLastFires(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, oneReading)
	p := aPuller(t, q)
	for n := range uint64(5) {
		mustRearm(t, q, "a", 500*time.Millisecond, n+1)
	}
	mustArm(t, q, "gone", 500*time.Millisecond, 1, 0)
	if err := q.Disarm(within(t), "gone"); err != nil {
		t.Fatal(err)
	}
	// From soon to later.
	mustRearm(t, q, "later", 300*time.Millisecond, 1)
	mustRearm(t, q, "later", time.Hour, 2)
	turn := mustNext(t, p)
	if turn.Watchlist != "a" || turn.Order != 5 {
		t.Errorf("turn %+v", turn.Schedule)
	}
	mustDone(t, turn)
	wantNoTurn(t, q, p)
	wantNames(t, q, "at: later; due: ")
}

func TestTheNextScheduleWaitsForTheTurnOfTheLast(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, Limits{Readings: 2, Rate: 2})
	p := aPuller(t, q)
	mustArm(t, q, "a", 0, 1, 0)
	first := mustNext(t, p)
	mustArm(t, q, "a", 0, 2, 0)
	// Both are there for a while; neither is lost.
	second := mustNext(t, p)
	if first.Order != 1 || second.Order != 2 {
		t.Errorf("turns of order %d and %d", first.Order, second.Order)
	}
	mustDone(t, first)
	mustDone(t, second)
	wantNames(t, q, "at: ; due: ")
}

func TestATurnOfWhoSaysNothingComesAgain(t *testing.T) {
	t.Parallel()
	const ackWait = 500 * time.Millisecond
	srv := aBus(t)
	q := aQueue(t, srv, ackWait, oneReading)
	other := aQueue(t, srv, ackWait, oneReading)
	mustArm(t, q, "a", 0, 1, 0)
	p, r := aPuller(t, q), aPuller(t, other)
	lost := mustNext(t, p)
	again := mustNext(t, r)
	if again.Watchlist != "a" || !again.Retaken || again.Taken.Before(lost.Taken) {
		t.Errorf("came again as %+v", again)
	}
	// Whoever keeps saying something keeps it, for however long.
	for end := time.Now().Add(3 * ackWait); time.Now().Before(end); {
		if err := again.Progress(within(t)); err != nil {
			t.Fatal(err)
		}
		s, err := q.State(within(t))
		if err != nil || s.Working != 1 || s.Queued != 0 {
			t.Fatalf("state %+v: %v", s, err)
		}
	}
	mustDone(t, again)
	wantNoTurn(t, other, r)
}

func TestProgressThatNobodyHearsIsNone(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, oneReading)
	mustArm(t, q, "a", 0, 1, 0)
	turn := mustNext(t, aPuller(t, q))
	if err := turn.Progress(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := q.js.DeleteStream(within(t), q.name); err != nil {
		t.Fatal(err)
	}
	if err := turn.Progress(within(t)); err == nil {
		t.Error("kept a turn that is not there any more")
	}
}

func TestATurnThatIsHandedBackComesAgain(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, oneReading)
	p := aPuller(t, q)
	mustArm(t, q, "a", 0, 1, 0)
	if err := mustNext(t, p).Back(0); err != nil {
		t.Fatal(err)
	}
	turn := mustNext(t, p)
	if !turn.Retaken {
		t.Errorf("turn %+v", turn)
	}
	begin := time.Now()
	if err := turn.Back(700 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	turn = mustNext(t, p)
	if d := time.Since(begin); d < 600*time.Millisecond {
		t.Errorf("came again after %v", d)
	}
	mustDone(t, turn)
	wantNoTurn(t, q, p)
}

func TestWhoGivesUpWaitingLeavesTheTurnToOthers(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, oneReading)
	gone := aPuller(t, q)
	// Its request is at the server when it gives up.
	ctx, cancel := context.WithTimeout(within(t), 100*time.Millisecond)
	defer cancel()
	if turn, err := gone.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("turn %v, %v", turn, err)
	}
	mustArm(t, q, "a", 0, 1, 0)
	mustDone(t, mustNext(t, aPuller(t, q)))
	mustArm(t, q, "a", 0, 1, 0)
	mustDone(t, mustNext(t, gone)) // it may be used again
}

// Of many who ask, no more have a turn than the fleet may read at once.
func TestManyWhoAskTakeNoMoreThanTheFleetMayRead(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	const most, all = 3, 24
	q := aQueue(t, srv, longWait, Limits{Readings: most, Rate: 6})
	for n := range all {
		mustArm(t, q, fmt.Sprintf("l%02d", n), 0, 1, 0)
	}
	var mu sync.Mutex
	now, peak := 0, 0
	seen := map[string]int{}
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var g errgroup.Group
	for range 3 {
		nc := client(t, srv)
		mine, err := OpenQueue(ctx, QueueConfig{Conn: nc, Stream: "S", Prefix: "p.q", AckWait: longWait}, Limits{Readings: most, Rate: 6})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			p := mine.Puller()
			g.Go(func() error {
				for {
					turn, err := p.Next(ctx)
					if errors.Is(err, context.Canceled) {
						return nil
					}
					if err != nil {
						return err
					}
					mu.Lock()
					now++
					peak = max(peak, now)
					seen[turn.Watchlist]++
					last := len(seen) == all
					mu.Unlock()
					if _, err := mine.State(ctx); err != nil && ctx.Err() == nil { // some work
						return err
					}
					mu.Lock()
					now-- // before the server knows
					mu.Unlock()
					if err := turn.Done(ctx); err != nil && ctx.Err() == nil {
						return err
					}
					if last {
						cancel()
					}
				}
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if peak > most {
		t.Errorf("%d turns at once", peak)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s was read %d times", name, n)
		}
	}
}

func TestAtMostSoManyTurnsAreGivenOut(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, Limits{Readings: 2, Rate: 6})
	var turns []*Turn
	for n := range 4 {
		mustArm(t, q, fmt.Sprint("l", n), 0, 1, 0)
	}
	for range 2 {
		turns = append(turns, mustNext(t, aPuller(t, q)))
	}
	p := aPuller(t, q)
	ctx, cancel := context.WithTimeout(within(t), 400*time.Millisecond)
	defer cancel()
	if turn, err := p.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a third turn of two: %v %v", turn, err)
	}
	s, err := q.State(within(t))
	if err != nil || s.Working != 2 || s.Queued != 2 || s.Readings != 2 || s.Rate != 6 || s.Oldest.IsZero() || s.Waits.IsZero() {
		t.Errorf("state %+v: %v", s, err)
	}
	mustDone(t, turns[0])
	mustNext(t, p)
}

// However long a turn was waited for, it is said to be taken before the server gave
// it out, and not long before.
func TestATurnWasTakenBeforeItWasGiven(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, oneReading)
	for _, in := range []time.Duration{0, look + look/2, 3 * look} {
		mustArm(t, q, "a", in, 1, 0)
		came := make(chan *Turn, 1)
		go func() {
			turn, err := aPuller(t, q).Next(within(t))
			if err != nil {
				t.Error(err)
			}
			came <- turn
		}()
		var idle, given time.Time
		for given.IsZero() {
			before := time.Now()
			s, err := q.State(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if s.Working == 0 {
				idle = before
			} else {
				given = time.Now()
			}
		}
		turn := <-came
		if turn == nil {
			return
		}
		if turn.Taken.After(given) {
			t.Errorf("armed in %v: given out %v before it is said to be taken", in, turn.Taken.Sub(given))
		}
		if in > 0 && idle.Sub(turn.Taken) > 3*look {
			t.Errorf("armed in %v: said to be taken %v before it was there", in, idle.Sub(turn.Taken))
		}
		mustDone(t, turn)
	}
}

func TestTheLimitsOfWhoCameLastHoldForAll(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	q := aQueue(t, srv, longWait, Limits{Readings: 2, Rate: 2.5})
	if s, err := q.State(within(t)); err != nil || s != (State{Limits: Limits{Readings: 2, Rate: 2.5}}) {
		t.Fatalf("state %+v: %v", s, err)
	}
	mustArm(t, q, "a", time.Hour, 1, 0)
	aQueue(t, srv, longWait, Limits{Readings: 5, Rate: 10})
	s, err := q.State(within(t))
	if err != nil || s.Limits != (Limits{Readings: 5, Rate: 10}) {
		t.Errorf("state %+v: %v", s, err)
	}
	wantNames(t, q, "at: a; due: ")
	if p := s.Pace(); p != 2 {
		t.Errorf("pace %v", p)
	}
}

func TestASecondInstallationHasAQueueOfItsOwn(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	q := aQueue(t, srv, longWait, oneReading)
	other, err := OpenQueue(within(t), QueueConfig{Conn: client(t, srv), Stream: "T", Prefix: "p"}, oneReading)
	if err != nil {
		t.Fatal(err)
	}
	mustArm(t, q, "a", time.Hour, 1, 0)
	wantNames(t, other, "at: ; due: ")
}

func TestASchedulesLookUpHasNoLimit(t *testing.T) {
	t.Parallel()
	q := aQueue(t, aBus(t), longWait, oneReading)
	var names []string
	for n := range 1100 {
		names = append(names, fmt.Sprint("none", n))
	}
	for n := range 30 {
		mustArm(t, q, fmt.Sprint("l", n), time.Hour, 1, 0)
		names = slices.Insert(names, n*30, fmt.Sprint("l", n))
	}
	all, err := q.Armed(within(t), names)
	if err != nil || len(all) != 30 {
		t.Errorf("%d of 30: %v", len(all), err)
	}
	if none, err := q.Armed(within(t), nil); err != nil || len(none) > 0 {
		t.Errorf("none asked: %v %v", none, err)
	}
}
