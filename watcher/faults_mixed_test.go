package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// faultRounds is how often the long form runs all, each time with other seeds;
// 0 is the short form.
const faultRounds = "RANKWATCH_FAULTS"

// firstSeed is of a short form that has failures and statuses and is not among
// the slowest.
const firstSeed = 7

// A faultyList is a watchlist of a faulty source: places that it has, what it
// claims if that is more, and how many lists it shows. The offset, that of its
// ties if the source shuffles them per call, makes them cross the seams of
// pages; not where a whole scan is rare, or who is hidden would stay so.
type faultyList struct {
	name, region        string
	top, places, total  int
	generations, offset int
}

func faultyLists() []faultyList {
	return []faultyList{
		{"one", "US", 30, 40, 0, 30, 9},
		{"full", "MX", 100, 100, 0, 25, 9},
		{"three", "GB", 210, 250, 0, 14, 9},
		{"thousand", "DE", 1000, 1000, 0, 2, 0},
		{"cut", "FR", 1000, 1100, 1500, 2, 0},
	}
}

// All faults that pass by themselves, at once, on 40 % of all calls: nothing
// false is published, and every list is told in the end.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	rounds := 0
	if s := os.Getenv(faultRounds); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s: %v", faultRounds, err)
		}
	}
	for round := range max(rounds, 1) {
		t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) {
			// They wait most of the time: all at once, however few processors.
			var all sync.WaitGroup
			var worlds []*faulty
			for i, ties := range []simulator.Ties{simulator.TiesStable, simulator.TiesReading, simulator.TiesCall} {
				f := newFaulty(t, ties, uint64(3*round+i+firstSeed))
				worlds = append(worlds, f)
				all.Go(f.run)
			}
			all.Wait()
			for _, k := range simulator.Transient() {
				struck := slices.ContainsFunc(worlds, func(f *faulty) bool { return f.sim.Strikes()[k] > 0 })
				if !struck && !t.Failed() {
					t.Errorf("%s never struck", k)
				}
			}
		})
	}
}

// faulty is a worker with everything real behind it and a source that fails.
type faulty struct {
	t       *testing.T
	ties    simulator.Ties
	sim     *simulator.Simulator
	script  *simulator.Script
	worker  *watcher.Worker
	watches map[string]*watched

	mu      sync.Mutex
	doubled map[string]int // duplicates on page 1 in the present reading, by region
}

type watched struct {
	*ledger
	ranking  *ranking
	key      simulator.Key
	attempts chan watcher.Attempt
	messages chan *nats.Msg
	failed   int
	tried    int
}

func newFaulty(t *testing.T, ties simulator.Ties, seed uint64) *faulty {
	t.Helper()
	f := &faulty{t: t, ties: ties, script: &simulator.Script{}, watches: map[string]*watched{}, doubled: map[string]int{}}
	text := "defaults: {every: 24h, period: {type: month, value: 2026-03}}\nwatchlists:\n"
	for _, l := range faultyLists() {
		text += fmt.Sprintf("- {name: %s, top: %d, filter: {region: %s}}\n", l.name, l.top, l.region)
	}
	lists, err := watcher.ParseWatchlists("faulty", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var faults []simulator.Fault
	for i, l := range faultyLists() {
		offset := l.offset
		if ties != simulator.TiesCall {
			offset = 9
		}
		w := &watched{
			ledger: newLedger(lists[i]), ranking: newRanking(seed, l.places, l.total, offset), key: simulator.Key{Region: l.region, Period: march()},
			attempts: make(chan watcher.Attempt, 1), messages: make(chan *nats.Msg, 1<<16),
		}
		w.shuffled = ties == simulator.TiesCall
		w.twice = func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.doubled[l.region] > 1
		}
		f.watches[l.name] = w
		// Each list has faults of its own, so that a seed gives the same run
		// whatever the others do; slow answers come in time in every other one.
		delay := callTimeout / 4
		if i%2 == 1 {
			delay = 2 * callTimeout
		}
		faults = append(faults, simulator.Fault{Kind: simulator.Mixed, Rate: 0.4, Region: l.region, Delay: delay})
	}
	f.sim = simulator.New(simulator.Config{
		Seed: seed, Source: f.script, Ties: ties, IDs: simulator.IDsMixed, Faults: faults, OnCall: f.onCall,
	})
	f.start(lists)
	return f
}

func (f *faulty) onCall(c simulator.Call) {
	if c.Fault == simulator.DuplicateRow && c.Page == 1 {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.doubled[c.Query.Filter.Region]++
	}
}

// callTimeout is far above what a call takes on a busy machine, and short enough
// to wait for often.
const callTimeout = 300 * time.Millisecond

func (f *faulty) start(lists []watcher.Watchlist) {
	t := f.t
	t.Helper()
	source := httptest.NewServer(f.sim)
	t.Cleanup(source.Close)
	dir := t.TempDir()
	db, err := state.Open(state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	pub, err := publisher.Open(t.Context(), publisher.Config{
		Server: publisher.ServerConfig{Embedded: true, StoreDir: dir + "/jetstream", Listen: "127.0.0.1:0"},
		Stream: "RANKWATCH", Prefix: "rankwatch", Retention: time.Hour, Writer: "w", Outbox: db,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() { running <- pub.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-running, db.Check(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	client, err := fastmoss.New(fastmoss.Config{
		BaseURL: source.URL, Token: fastmoss.StaticToken(simulator.DefaultToken), Rate: 1e6, Timeout: callTimeout,
		Backoff: time.Millisecond, MaxBackoff: 8 * time.Millisecond, MaxRetryAfter: 5 * time.Millisecond,
		OnCondition: func(c fastmoss.TokenCondition) { t.Errorf("the token is %s: %s", c.Status, c.Detail) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	f.worker, err = watcher.New(watcher.Config{
		Watchlists: lists, Source: client, Store: diskStore{stateStore{db}}, Prefix: "rankwatch", Writer: "w", Concurrency: 4,
		MaxPayload: pub.MaxPayload, Committed: pub.Notify, Adopt: func(context.Context, string) error { return nil },
		Observe: func(a watcher.Attempt) { f.watches[a.Watchlist].attempts <- a },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.subscribe(pub.URL())
}

func (f *faulty) subscribe(url string) {
	t := f.t
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for name, w := range f.watches {
		if _, err := nc.ChanSubscribe("rankwatch.*."+name+".>", w.messages); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (f *faulty) run() {
	t := f.t
	// The first reading takes the records over, for all lists.
	if err := f.show(faultyLists()[0].name); err != nil {
		t.Errorf("ties %s: %v", f.ties, err)
		return
	}
	var all sync.WaitGroup
	for _, l := range faultyLists() {
		all.Go(func() {
			for range l.generations {
				if err := f.show(l.name); err != nil {
					t.Errorf("ties %s, %s: %v", f.ties, l.name, err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := f.sim.SetFaults(); err != nil || t.Failed() {
		return
	}
	for name, w := range f.watches {
		if err := f.finish(name); err != nil {
			t.Errorf("ties %s, %s in the end: %v", f.ties, name, err)
		}
		t.Logf("ties %s, %s: %d lists in %d attempts, %d of them failed; %d revisions, %d statuses, %d facts that were two equal lies, %d unseen three times",
			f.ties, name, len(w.shown), w.tried, w.failed, w.revision, len(w.statuses), w.lies, w.blind)
	}
}

// show has the source show the next list until it is told.
func (f *faulty) show(name string) error {
	w := f.watches[name]
	l := w.ranking.next()
	w.shown = append(w.shown, l)
	f.script.Set(w.key, l)
	for range 100 {
		if err := f.attempt(name); err != nil {
			return err
		}
		if w.caughtUp() {
			return nil
		}
	}
	return fmt.Errorf("list %d is not told after 100 attempts; statuses %q", len(w.shown), w.statuses)
}

// attempt makes one reading and takes what it publishes.
func (f *faulty) attempt(name string) error {
	w := f.watches[name]
	f.mu.Lock()
	f.doubled[w.key.Region] = 0
	f.mu.Unlock()
	f.worker.ReadNow(f.t.Context(), name)
	a := <-w.attempts
	w.tried++
	if a.Err != nil {
		w.failed++
		if a.Outcome != watcher.OutcomeStale && a.Outcome != watcher.OutcomeRejected {
			return a.Err
		}
	}
	return w.receive(func() bool { return w.revision >= a.Revision })
}

// receive takes messages until done holds.
func (w *watched) receive(done func() bool) error {
	limit := time.After(30 * time.Second)
	for !done() {
		select {
		case m := <-w.messages:
			if err := w.take(m.Subject, m.Data); err != nil {
				return err
			}
		case <-limit:
			return errors.New("no message")
		}
	}
	return nil
}

// finish reads the last list without faults until the events give it to the
// last member, and the last status says that all is well.
func (f *faulty) finish(name string) error {
	w := f.watches[name]
	for range 20 {
		if err := f.attempt(name); err != nil {
			return err
		}
		if err := w.receive(w.well); err != nil {
			return fmt.Errorf("statuses %q: %w", w.statuses, err)
		}
		if w.whole() {
			return nil
		}
	}
	return errors.New("the last list is not told to the last member")
}

// whole says that the events give the members of the last list, apart from its
// cut-off tie.
func (l *ledger) whole() bool {
	list := l.shown[len(l.shown)-1]
	rank := map[int64]int{}
	var left []simulator.Row
	for i, r := range list.Rows {
		if rank[r.Index] == 0 {
			rank[r.Index] = i + 1
		}
		cutOff := length(list) > l.depth && r.Index == list.Rows[l.depth-1].Index
		if rank[r.Index] <= l.top && !cutOff && i < l.depth {
			left = append(left, r)
		}
	}
	return l.caughtUp() && !slices.ContainsFunc(left, func(r simulator.Row) bool {
		return l.held[r.UID] != standing{rank[r.Index], r.Index}
	})
}
