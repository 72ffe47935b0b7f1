package watcher_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// pipes is a listener on in-memory connections, which can live in a bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// diskStore lends a state.DB to a worker, errors and all.
type diskStore struct{ stateStore }

func (s diskStore) Commit(c watcher.Commit) error {
	err := s.stateStore.Commit(c)
	if errors.Is(err, state.ErrStale) {
		return errors.Join(watcher.ErrStale, err)
	}
	return err
}

const sceneLists = `
defaults: {every: 10m, period: {type: month, value: 2026-03}}
watchlists:
- {name: one, top: 30, filter: {region: US}}
- {name: three, top: 210, filter: {region: GB}}
`

// A scene is a worker with the client, the state and the settings of a real
// one, in a bubble's time; its outbox is what counts as published.
type scene struct {
	t        *testing.T
	sim      *simulator.Simulator
	script   *simulator.Script
	worker   *watcher.Worker
	db       *state.DB
	rankings map[string]*ranking
	ledgers  map[string]*ledger
	attempts chan watcher.Attempt
	tries    map[string]int
	read     uint64 // of the outbox
	log      strings.Builder

	published strings.Builder
}

// inScene runs play in a bubble. The watchlist one has 40 places of US on one
// page, three has 250 of GB.
func inScene(t *testing.T, cfg simulator.Config, token *fastmoss.TokenSource, play func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, script: &simulator.Script{}, tries: map[string]int{}, attempts: make(chan watcher.Attempt, 1<<12)}
		cfg.Source, cfg.IDs = s.script, simulator.IDsMixed
		s.sim = simulator.New(cfg)
		ln := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		served, running := make(chan error, 1), make(chan error, 1)
		serving, stopServing := context.WithCancel(context.Background())
		go func() { served <- s.sim.Serve(serving, ln) }()
		tr := &http.Transport{DialContext: ln.dial}
		ctx, cancel := context.WithCancel(context.Background())
		s.start(token, tr)
		go func() { running <- s.worker.Run(ctx) }()
		defer func() {
			cancel()
			err := <-running
			tr.CloseIdleConnections()
			stopServing()
			if err := errors.Join(err, <-served, s.db.Check(), s.db.Close()); err != nil {
				t.Error(err)
			}
		}()
		play(s)
	})
}

func (s *scene) start(token *fastmoss.TokenSource, tr *http.Transport) {
	s.t.Helper()
	lists, err := watcher.ParseWatchlists("scene", []byte(sceneLists))
	if err != nil {
		s.t.Fatal(err)
	}
	s.rankings = map[string]*ranking{"one": newRanking(1, 40, 0, 9), "three": newRanking(1, 250, 0, 9)}
	s.ledgers = map[string]*ledger{event.TokenWatchlist: {name: event.TokenWatchlist}}
	for _, l := range lists {
		s.ledgers[l.Name] = newLedger(l)
	}
	s.turn()
	if s.db, err = state.Open(state.Config{Dir: s.t.TempDir()}); err != nil {
		s.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client, err := fastmoss.New(fastmoss.Config{
		BaseURL: "http://localhost", Token: token, Rate: 2, HTTP: &http.Client{Transport: tr}, Logger: log,
		OnCondition: func(c fastmoss.TokenCondition) { s.worker.TokenCondition(c) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.worker, err = watcher.New(watcher.Config{
		Watchlists: lists, Source: client, Store: diskStore{stateStore{s.db}}, Prefix: "rankwatch", Writer: "w", Concurrency: 4,
		MaxPayload: func() int { return 1 << 20 }, Committed: func() {}, Logger: log,
		Adopt:   func(context.Context, string) error { return nil },
		Observe: func(a watcher.Attempt) { s.attempts <- a },
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// turn makes the source show the next lists.
func (s *scene) turn() {
	for name, r := range s.rankings {
		s.show(name, r.next())
	}
}

func (s *scene) show(name string, l simulator.List) {
	region := "US"
	if name == "three" {
		region = "GB"
	}
	s.script.Set(simulator.Key{Region: region, Period: march()}, l)
	s.ledgers[name].shown = append(s.ledgers[name].shown, l)
}

func (s *scene) faults(text string) {
	s.t.Helper()
	var fs []simulator.Fault
	for one := range strings.FieldsSeq(text) {
		f, err := simulator.ParseFault(one)
		if err != nil {
			s.t.Fatal(err)
		}
		fs = append(fs, f)
	}
	if err := s.sim.SetFaults(fs...); err != nil {
		s.t.Fatal(err)
	}
}

// until lets time pass until done holds, which is asked after every attempt.
func (s *scene) until(what string, done func() bool) {
	s.t.Helper()
	limit := time.After(72 * time.Hour)
	for s.settle(); !done(); s.settle() {
		select {
		case a := <-s.attempts:
			s.tries[a.Watchlist]++
		case <-limit:
			s.t.Fatalf("never: %s; tries %v, statuses %q %q %q", what, s.tries,
				s.ledgers["one"].statuses, s.ledgers["three"].statuses, s.ledgers[event.TokenWatchlist].statuses)
		}
	}
}

// settle reads what was published by now.
func (s *scene) settle() {
	s.t.Helper()
	synctest.Wait()
	for len(s.attempts) > 0 {
		s.tries[(<-s.attempts).Watchlist]++
	}
	infos, err := s.db.Queue(0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range infos {
		if i.Order <= s.read {
			continue
		}
		s.read = i.Order
		b, err := s.db.Batch(i.Order)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range b.Messages {
			if m.Role == event.Head {
				continue
			}
			s.published.Write(m.Data)
			if err := s.ledgers[b.Chain.Watchlist].take(m.Subject, m.Data); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// caughtUp waits until both watchlists have told the last lists.
func (s *scene) caughtUp() {
	s.t.Helper()
	s.until("caught up", func() bool { return s.ledgers["one"].caughtUp() && s.ledgers["three"].caughtUp() })
}

// attempted waits for n more attempts at each watchlist.
func (s *scene) attempted(n int) {
	s.t.Helper()
	one, three := s.tries["one"]+n, s.tries["three"]+n
	s.until("attempts", func() bool { return s.tries["one"] >= one && s.tries["three"] >= three })
}
