package deliver

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
)

func withLog(c Config) Config {
	c.Logger = slog.New(slog.DiscardHandler)
	return c
}

// Killed between the target and the mark: one message comes again, from another
// process, and none is lost.
func TestAProcessThatDiesRepeatsOneMessage(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	var first atomic.Pointer[process]
	ready := make(chan struct{})
	to.after = func(n int, _ *digest.Message) error {
		if n == 3 {
			<-ready
			first.Load().nc.Close() // it can tell nobody any more
		}
		return nil
	}
	first.Store(b.run(b.config(b.connect(), to, digest.Route{Name: "all"})))
	close(ready)
	b.world(20)
	to.wait(t, 3)
	b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	b.settled("all")
	want := slices.Insert(slices.Clone(b.ids), 2, b.ids[2])
	equal(t, "took", to.wait(t, len(want)), want)
	first.Load().stop(t)
}

// Processes that share a route deliver in order, and each message once.
func TestSeveralProcessesShareARoute(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	for range 3 {
		b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	}
	b.world(100)
	b.settled("all")
	equal(t, "took", to.wait(t, len(b.ids)), b.ids)
}

// Direct reads are answered by any replica, also by one that lags. A mirror answers
// them too, and this one knows of no mark.
func TestSeveralProcessesShareARouteWhereAReplicaLags(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	c := b.config(b.connect(), to, digest.Route{Name: "all"})
	c.Takeover = time.Hour
	b.run(c)
	_, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LAGS", AllowDirect: true, MirrorDirect: true,
		Mirror: &jetstream.StreamSource{Name: "KV_" + Bucket("RANKWATCH"), FilterSubject: "$KV." + Bucket("RANKWATCH") + ".another"}})
	if err != nil {
		t.Fatal(err)
	}
	b.reading("us", 1, "entered:u1")
	to.wait(t, 1)
	marks := must(b.js.KeyValue(t.Context(), Bucket("RANKWATCH")))
	must(marks.PutString(t.Context(), "another", ""))
	for lags := false; !lags; {
		_, err := marks.Get(t.Context(), "test.all")
		lags = errors.Is(err, jetstream.ErrKeyNotFound)
		<-time.After(time.Millisecond)
	}
	for range 2 {
		c := b.config(b.connect(), to, digest.Route{Name: "all"})
		c.Takeover = time.Hour
		b.run(c)
	}
	b.world(100)
	b.settled("all")
	equal(t, "took", to.wait(t, len(b.ids)), b.ids)
}

// A process that was as good as dead must not write over what another one has
// written since.
func TestALostMarkLeavesItToRedelivery(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	var p *process
	ready := make(chan struct{})
	to.before = func(n int, _ *digest.Message) error {
		<-ready
		if n == 2 {
			other := memory{Stream: p.routes[0].stream, Mark: p.routes[0].known.Mark, Writer: "another"}
			if _, err := p.marks.Put(b.Context(), "test.all", must(json.Marshal(other))); err != nil {
				return err
			}
		}
		return nil
	}
	p = b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	close(ready)
	for i := range uint64(3) {
		b.reading("us", i+1, "entered:u1")
	}
	b.settled("all")
	equal(t, "took", to.wait(t, 4), []string{"us/1", "us/2", "us/2", "us/3"})
	p.log.wait(t, "another process")
}

// What another process has settled meanwhile is not sent again.
func TestWhatWasSettledMeanwhileIsNotSent(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	var p *process
	ready := make(chan struct{})
	to.before = func(n int, m *digest.Message) error {
		<-ready
		if n > 1 {
			return nil
		}
		other := memory{Stream: p.routes[0].stream, Mark: first(m), Writer: "another"}
		if _, err := p.marks.Put(b.Context(), "test.all", must(json.Marshal(other))); err != nil {
			return err
		}
		return errDown
	}
	p = b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	close(ready)
	b.reading("us", 1, "entered:u1")
	b.reading("us", 2, "entered:u1")
	b.settled("all")
	equal(t, "took", to.wait(t, 1), []string{"us/2"})
}

func TestAServerThatComesBackIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to, went := newTarget(), make(chan struct{})
	to.after = func(n int, _ *digest.Message) error {
		if n == 5 {
			b.stop() // before the mark is written
			close(went)
		}
		return nil
	}
	b.world(20)
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	<-went
	b.start()
	b.settled("all")
	equal(t, "took", to.wait(t, len(b.ids)), b.ids)
	p.stop(t)
}

// At the end, what is being sent is finished, and what waits goes back at once.
func TestAtTheEndNothingIsHeldBack(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	sending, goOn := make(chan struct{}), make(chan struct{})
	to := newTarget()
	to.before = func(n int, _ *digest.Message) error {
		if n == 1 {
			close(sending)
			<-goOn
		}
		return nil
	}
	c := b.config(b.connect(), to, digest.Route{Name: "all"}, digest.Route{Name: "held"})
	held := newTarget()
	failed := make(chan struct{}, 100)
	held.before = func(int, *digest.Message) error { failed <- struct{}{}; return errDown }
	c.Targets["held"], c.Routes[1].Target, c.Takeover = held, "held", time.Hour
	p := b.run(c)
	b.reading("us", 1, "entered:u1")
	<-sending
	<-failed
	p.end()
	close(goOn)
	p.stop(t)
	equal(t, "took", to.wait(t, 1), []string{"us/1"})
	held.before = nil
	c = b.config(b.connect(), to, digest.Route{Name: "all"}, digest.Route{Name: "held"})
	c.Targets["held"], c.Routes[1].Target, c.Takeover = held, "held", time.Hour
	b.run(c)
	b.settled("all", "held")
	equal(t, "took by the next one", held.wait(t, 1), []string{"us/1"})
	equal(t, "not again", to.wait(t, 1), []string{"us/1"})
}

// Nothing that was on its way to a process that ends waits for Takeover.
func TestWhoEndsInTheMiddleOfABacklogGivesTheRestBack(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.world(100)
	to := newTarget()
	for n := 1; n < len(b.ids); n += 10 {
		c := b.config(b.connect(), to, digest.Route{Name: "all"})
		c.Takeover = time.Hour
		p := b.run(c)
		to.wait(t, n)
		p.stop(t)
	}
	c := b.config(b.connect(), to, digest.Route{Name: "all"})
	c.Takeover = time.Hour
	b.run(c)
	b.settled("all")
	equal(t, "took", to.wait(t, len(b.ids)), b.ids)
}

// A stream that was made anew counts from 1: marks of the old one are void.
func TestAStreamMadeAnewIsDeliveredFromItsBeginning(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	b.world(10)
	b.settled("all")
	config := must(b.js.Stream(t.Context(), "RANKWATCH")).CachedInfo().Config
	if err := b.js.DeleteStream(t.Context(), "RANKWATCH"); err != nil {
		t.Fatal(err)
	}
	must(b.js.CreateStream(t.Context(), config))
	had := len(b.ids)
	b.reading("new", 1, "entered:u1")
	equal(t, "took", to.wait(t, had+1)[had:], []string{"new/1"})
	p.stop(t)
}

// A bucket that somebody deletes is made anew: the route goes on. What was under
// way may be repeated.
func TestADeletedBucketIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	b.reading("us", 1, "entered:u1")
	to.wait(t, 1)
	b.settled("all")
	if err := b.js.DeleteKeyValue(t.Context(), Bucket("RANKWATCH")); err != nil {
		t.Fatal(err)
	}
	b.reading("us", 2, "entered:u2")
	b.reading("us", 3, "entered:u3")
	b.settled("all")
	equal(t, "took", slices.Compact(to.wait(t, 3)), []string{"us/1", "us/2", "us/3"})
	p.log.wait(t, "cannot be written down")
	p.stop(t)
}
