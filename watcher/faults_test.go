package watcher_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	s.script.Set(simulator.Key{Region: regionOf[name], Period: march}, l)
	s.ledgers[name].shown = append(s.ledgers[name].shown, l)
}

var regionOf = map[string]string{"one": "US", "three": "GB"}

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

// said compares all statuses so far.
func (s *scene) said(one, three, token string) {
	s.t.Helper()
	for name, want := range map[string]string{"one": one, "three": three, event.TokenWatchlist: token} {
		if got := strings.Join(s.ledgers[name].statuses, ", "); got != want && want != anything {
			s.t.Errorf("status of %s: %q, want %q", name, got, want)
		}
	}
}

// anything stands for statuses that are free to come and go.
const anything = "?"

// spell adds to a status that it is taken back.
func spell(said string) string {
	status, word, more := strings.Cut(said, " ")
	if !more {
		return said
	}
	return status + " " + word + ", recovered " + word
}

// Every fault of the simulator and every code, each on every call until it is
// repaired, while the lists change: what is published is the source's, the
// status is said once and taken back, and in the end all is told.
func TestEachFault(t *testing.T) {
	t.Parallel()
	const denied, quota = "denied token, recovered token", "quota quota, recovered token"
	const unavailable, throttled = "stale unavailable", "stale throttled"
	rows := []struct{ fault, one, three, token string }{
		{"", "", "", ""},
		{"30003", throttled, throttled, ""},
		{"30002", "", "", quota},
		{"30001", "", "", denied},
		{"1002", "", "", denied},
		{"40001-200", unavailable, unavailable, ""},
		{"40001-500", unavailable, unavailable, ""},
		{"10001", "rejected parameter", "rejected parameter", ""},
		{"20001", "stale unpublished", "stale unpublished", ""},
		{"429", throttled, throttled, ""},
		{"429-retry-after", throttled, throttled, ""},
		{"429-retry-date", throttled, throttled, ""},
		{"502", unavailable, unavailable, ""},
		{"504", unavailable, unavailable, ""},
		{"567-html", unavailable, unavailable, ""},
		{"html-200", unavailable, unavailable, ""},
		{"slow", "", "", ""},
		{"slow:1:delay=21s", unavailable, unavailable, ""},
		{"hung", unavailable, unavailable, ""},
		{"hung:1:delay=3s", unavailable, unavailable, ""},
		{"reset", unavailable, unavailable, ""},
		{"truncated", unavailable, unavailable, ""},
		{"cut", unavailable, unavailable, ""},
		{"wrong-content-type", "", "", ""},
		{"data-string", "rejected malformed", "rejected malformed", ""},
		{"data-null", "rejected malformed", "rejected malformed", ""},
		{"total-string", "", "", ""},
		{"duplicate-row:1:for=1", "", "", ""},
		{"duplicate-row", "", "rejected torn", ""},
		{"duplicate-row:1:page=2", "", "", ""},
		{"skipped-row", "rejected short", "rejected short", ""},
		{"board-change", "", "rejected torn", ""},
		{"stale-period", "rejected period", "rejected period", ""},
		{"empty-page", "rejected short", "rejected short", ""},
		{"empty-page:1:page=3", "", "rejected short", ""},
		{"total-change", "", "rejected torn", ""},
		{"wrong-region", "rejected filter", "rejected filter", ""},
		{"30001:1:region=GB,for=1", "", "", denied},
		{"mixed:0.4", "?", "?", ""},
		// Five scans are torn; in the sixth page 2 begins with page 1's last row.
		{"total-change:1:page=2,for=5 duplicate-row:1:page=2,after=5,for=1", "", "?", ""},
	}
	for _, k := range simulator.Kinds() {
		if !slices.ContainsFunc(rows, func(r struct{ fault, one, three, token string }) bool {
			kind, _, _ := strings.Cut(r.fault, ":")
			return kind == string(k)
		}) {
			t.Errorf("no row for %s", k)
		}
	}
	for _, row := range rows {
		t.Run(row.fault, func(t *testing.T) {
			t.Parallel()
			inScene(t, simulator.Config{}, fastmoss.StaticToken(simulator.DefaultToken), func(s *scene) {
				s.caughtUp()
				s.turn()
				s.caughtUp()
				s.faults(row.fault)
				rounds := 2
				if row.one == throttled {
					rounds = 1 // for longer, see TestThrottlingThatLasts
				}
				for range rounds {
					s.turn()
					switch row.fault {
					case "duplicate-row":
						s.lacks("one", 39)
					case "duplicate-row:1:page=2":
						s.lacks("three", 199)
					}
					s.attempted(1)
				}
				switch {
				case row.fault == "mixed:0.4":
					for range 60 {
						s.turn()
						s.attempted(1)
					}
				case row.token == "":
					s.until("what the fault leaves alone", func() bool {
						return (row.one != "" || s.ledgers["one"].caughtUp()) && (row.three != "" || s.ledgers["three"].caughtUp())
					})
				}
				s.faults("")
				s.turn()
				s.caughtUp()
				s.turn()
				s.caughtUp()
				s.said(spell(row.one), spell(row.three), row.token)
				for name, l := range s.ledgers {
					if !l.well() {
						t.Errorf("%s: not well in the end: %q", name, l.statuses)
					}
				}
			})
		})
	}
}

// The source shuffles ties on every call, and one call in three for page 1 lists
// an entry twice. No two scans in a row say so: it is never a fact.
func TestOneLieAmongShuffledTies(t *testing.T) {
	t.Parallel()
	inScene(t, simulator.Config{Ties: simulator.TiesCall}, fastmoss.StaticToken(simulator.DefaultToken), func(s *scene) {
		s.ledgers["one"].shuffled, s.ledgers["three"].shuffled = true, true
		s.faults("duplicate-row:1:region=GB,page=1,every=3")
		for range 60 {
			s.turn()
			s.caughtUp()
		}
		s.said("", anything, "")
		if n := s.sim.Strikes()[simulator.DuplicateRow]; n < 60 {
			t.Errorf("only %d lies", n)
		}
	})
}

// lacks shows a list without one of its entries: a source that lists the entry
// before it twice, every time, says that.
func (s *scene) lacks(name string, i int) {
	l := s.ledgers[name]
	l.shown = append(l.shown, without(l.shown[len(l.shown)-1], i))
}

// Throttling that lasts is a used up token: it is said once for all, a day costs
// a handful of calls, and when it is over all is told.
func TestThrottlingThatLasts(t *testing.T) {
	t.Parallel()
	inScene(t, simulator.Config{}, fastmoss.StaticToken(simulator.DefaultToken), func(s *scene) {
		s.caughtUp()
		s.faults("30003:1:sticky")
		token := s.ledgers[event.TokenWatchlist]
		s.until("quota", func() bool { return len(token.statuses) > 0 })
		from, calls := time.Now(), s.calls()
		s.until("a day", func() bool { return time.Since(from) > 24*time.Hour })
		if n := s.calls() - calls; n < 2 || n > 8 {
			t.Errorf("%d calls in a day without quota", n)
		}
		s.faults("")
		s.turn()
		s.caughtUp()
		s.said("stale throttled, recovered throttled", "stale throttled, recovered throttled", "quota quota, recovered token")
	})
}

func (s *scene) calls() int64 {
	n := s.sim.Refused()
	for _, u := range s.sim.Calls() {
		n += u.Calls
	}
	return n
}

// What one watchlist's answer asks for holds all watchlists of the token: none
// calls before, and all that fell due are read right after.
func TestRetryAfterHoldsAllWatchlists(t *testing.T) {
	t.Parallel()
	const hold = 9 * time.Minute
	for _, kind := range []simulator.Kind{simulator.TooManySeconds, simulator.TooManyDate} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			type call struct {
				region string
				after  time.Duration
			}
			var mu sync.Mutex
			var struck time.Time
			var calls []call
			onCall := func(c simulator.Call) {
				mu.Lock()
				defer mu.Unlock()
				if !struck.IsZero() {
					calls = append(calls, call{c.Query.Filter.Region, time.Since(struck)})
				}
				if c.Fault != "" {
					struck = time.Now()
				}
			}
			inScene(t, simulator.Config{OnCall: onCall}, fastmoss.StaticToken(simulator.DefaultToken), func(s *scene) {
				s.caughtUp()
				s.turn()
				s.caughtUp()
				s.faults(string(kind) + ":1:region=US,for=1,delay=" + hold.String())
				s.turn()
				s.caughtUp()
				s.said("", "", "")
				mu.Lock()
				defer mu.Unlock()
				for _, region := range []string{"US", "GB"} {
					i := slices.IndexFunc(calls, func(c call) bool { return c.region == region })
					if i < 0 || calls[i].after < hold || calls[i].after > hold+10*time.Second {
						t.Errorf("%s is called again after %v", region, calls)
					}
				}
			})
		})
	}
}

// The token is rotated three ways while readings go on: both valid for a while;
// in the middle of a scan; revoked long before the new one comes.
func TestTokenRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		err := os.WriteFile(path+".new", []byte(token+"\n"), 0o600)
		// The bubble's time, or the file would always look new.
		err = errors.Join(err, os.Chtimes(path+".new", time.Now(), time.Now()), os.Rename(path+".new", path))
		if err != nil {
			t.Error(err)
		}
	}
	put("secret-1")
	var inScan atomic.Pointer[func()]
	onCall := func(c simulator.Call) {
		if c.Page == 3 { // the file was looked at just before
			if f := inScan.Swap(nil); f != nil {
				(*f)()
			}
		}
	}
	inScene(t, simulator.Config{OnCall: onCall, Tokens: []string{"secret-1"}}, fastmoss.FileToken(path), func(s *scene) {
		put("secret-1")
		s.caughtUp()
		s.sim.SetTokens("secret-1", "secret-2")
		put("secret-2")
		old := s.sim.Calls()["secret-1"].Calls
		s.turn()
		s.caughtUp()
		if n := s.sim.Calls(); n["secret-1"].Calls != old || n["secret-2"].Calls == 0 {
			t.Errorf("calls %v after the file has changed, of the old one %d before", n, old)
		}
		swap := func() {
			s.sim.SetTokens("secret-3")
			put("secret-3")
		}
		inScan.Store(&swap)
		s.turn()
		s.caughtUp()
		if n := s.sim.Refused(); inScan.Load() != nil || n != 1 {
			t.Errorf("%d calls with a token that was replaced in the middle of a scan", n)
		}
		s.said("", "", "")

		s.sim.SetTokens("secret-4")
		refused := s.sim.Refused()
		s.turn()
		s.attempted(30)
		s.said("", "", "denied token")
		if n := s.sim.Refused() - refused; n < 1 || n > 2 {
			t.Errorf("%d calls with a revoked token in five minutes", n)
		}
		put("secret-4")
		from := time.Now()
		s.caughtUp()
		if d := time.Since(from); d > 30*time.Second {
			t.Errorf("the new token was taken after %v", d)
		}
		s.said("", "", "denied token, recovered token")
		if strings.Contains(s.log.String(), "secret-") || strings.Contains(s.published.String(), "secret-") {
			t.Error("a token is in the log or in what was published")
		}
	})
}
