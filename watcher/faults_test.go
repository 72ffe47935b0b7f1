package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

var march = simulator.Period{Type: "month", Value: "2026-03"}

// A ranking is a source's list that changes by turns: who stands where, and the
// index of the first ten. Ties are ten places wide; with an offset of nine each
// seam between pages cuts one place off a tie.
type ranking struct {
	random      *rand.Rand
	offset      int
	total       int // what the source claims, if more
	turns, born int
	uids        []string
}

func newRanking(seed uint64, places, total, offset int) *ranking {
	r := &ranking{random: rand.New(rand.NewPCG(seed, uint64(places))), offset: offset, total: total}
	for range places {
		r.uids = append(r.uids, r.birth())
	}
	return r
}

func (r *ranking) birth() string {
	r.born++
	return fmt.Sprintf("67875806887977%05d", r.born)
}

func (r *ranking) next() simulator.List {
	r.turns++
	n := len(r.uids)
	r.uids[r.random.IntN(min(n, 20))] = r.birth()
	for range 1 + n/50 {
		i, j := r.random.IntN(n), r.random.IntN(n)
		r.uids[i], r.uids[j] = r.uids[j], r.uids[i]
		r.uids[r.random.IntN(n)] = r.birth()
	}
	l := simulator.List{Total: r.total}
	for i, uid := range r.uids {
		index := int64(10 * (n - (i+r.offset)/10))
		if (i+r.offset)/10 == r.offset/10 {
			index += int64(r.turns % 5)
		}
		l.Rows = append(l.Rows, simulator.Entry(uid, index))
	}
	return l
}

type standing struct {
	rank  int
	index int64
}

// A ledger folds what one watchlist publishes and holds it against the lists
// that its source really had, counting the slow obvious way.
type ledger struct {
	name       string
	top, depth int
	shown      []simulator.List
	at         int // which of shown the last board is, -1 before the first
	revision   uint64
	held       map[string]standing
	touched    map[string]event.Kind // since the last board
	statuses   []string

	// With ties that the source shuffles on every call, a creator that no page
	// shows three times running counts as gone.
	shuffled bool
	blind    int
	// twice says that this reading was told of the same duplicate twice, which
	// makes it a fact.
	twice func() bool
	lies  int
}

func newLedger(l watcher.Watchlist) *ledger {
	return &ledger{name: l.Name, top: l.Top, depth: l.Depth(), at: -1, held: map[string]standing{}, touched: map[string]event.Kind{}}
}

func (l *ledger) caughtUp() bool { return l.at == len(l.shown)-1 }

// well says that no status is open.
func (l *ledger) well() bool {
	return len(l.statuses) == 0 || strings.HasPrefix(l.statuses[len(l.statuses)-1], event.StatusRecovered)
}

func (l *ledger) take(subject string, data []byte) error {
	s, err := event.ParseSubject("rankwatch", subject)
	if err != nil {
		return err
	}
	switch s.Kind {
	case event.Status:
		e, err := event.Decode[event.Condition](data)
		if err != nil {
			return err
		}
		return l.say(e.Data)
	case event.Board:
		e, err := event.Decode[event.Snapshot](data)
		if err != nil {
			return err
		}
		if err := l.close(e.Data); err != nil {
			return fmt.Errorf("%s (duplicates %d, holes %d): %w", e.ID, e.Data.Duplicates, len(e.Data.Holes), err)
		}
		return nil
	}
	e, err := event.Decode[event.Change](data)
	if err == nil {
		err = l.fold(s, e.Data)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.ID, err)
	}
	return nil
}

func (l *ledger) say(c event.Condition) error {
	last := ""
	if n := len(l.statuses); n > 0 {
		last, _, _ = strings.Cut(l.statuses[n-1], " ")
	}
	l.statuses = append(l.statuses, c.Status+" "+c.Reason)
	if last == c.Status || last == "" && c.Status == event.StatusRecovered {
		return fmt.Errorf("%s: status said without a change: %q", l.name, l.statuses)
	}
	return nil
}

func (l *ledger) fold(s event.Subject, d event.Change) error {
	was, member := l.held[s.UID]
	if l.touched[s.UID] != "" || d.Revision != l.revision+1 {
		return fmt.Errorf("after %q of the same reading, in revision %d after %d", l.touched[s.UID], d.Revision, l.revision)
	}
	l.touched[s.UID] = s.Kind
	if s.Kind == event.Entered {
		if member || d.Before != nil {
			return errors.New("is a member already")
		}
	} else if !member || d.Before == nil || was != (standing{d.Before.Rank, d.Before.PotentialIndex}) {
		return fmt.Errorf("before is %+v, held is %+v", d.Before, was)
	}
	if s.Kind == event.Dropped {
		delete(l.held, s.UID)
		return nil
	}
	is := standing{d.After.Rank, d.After.PotentialIndex}
	if s.Kind == event.Moved && is.rank == was.rank || s.Kind == event.Index && (is.rank != was.rank || is.index == was.index) {
		return fmt.Errorf("from %+v to %+v", was, is)
	}
	l.held[s.UID] = is
	return nil
}

// close takes a reading's board: it must be one that the source had, not an
// older one than before, and explain who is held.
func (l *ledger) close(b event.Snapshot) error {
	if b.Revision != l.revision+1 {
		return fmt.Errorf("after revision %d", l.revision)
	}
	err := errors.New("nothing was shown")
	for at := max(l.at, 0); at < len(l.shown) && err != nil; at++ {
		if err = fits(b, l.shown[at], l.depth); err == nil {
			l.at = at
		}
	}
	if err != nil && b.Duplicates == 1 && l.twice != nil && l.twice() {
		whole := l.shown[len(l.shown)-1]
		lost := min(len(whole.Rows), fastmoss.MaxPageSize) - 1
		less := simulator.List{Rows: slices.Delete(slices.Clone(whole.Rows), lost, lost+1), Total: max(whole.Total, len(whole.Rows))}
		if err = fits(b, less, l.depth); err == nil {
			l.lies++
		}
	}
	if err != nil {
		return fmt.Errorf("not a board of the source: %w", err)
	}
	l.revision++
	if b.Outcome == event.OutcomeBaseline {
		l.held = map[string]standing{}
	}
	defer clear(l.touched)
	return l.members(b)
}

func (l *ledger) members(b event.Snapshot) error {
	seen := map[string]bool{}
	members := 0
	for _, r := range b.Board {
		seen[r.UID] = true
		if b.Outcome == event.OutcomeBaseline && !r.Edge && r.Rank <= l.top {
			l.held[r.UID] = standing{r.Rank, r.PotentialIndex}
		}
		held, member := l.held[r.UID]
		if due := r.Rank <= l.top && (member || !r.Edge); due != member || member != r.Member {
			return fmt.Errorf("%+v: a member by the events: %t, by the list: %t", r, member, due)
		}
		if member && held != (standing{r.Rank, r.PotentialIndex}) {
			return fmt.Errorf("%+v: the events say %+v", r, held)
		}
		if member {
			members++
		}
	}
	if len(b.Holes) == 0 && members != len(l.held) {
		return fmt.Errorf("%d members on the board, %d by the events", members, len(l.held))
	}
	list := l.shown[max(l.at, 0)]
	places := list.Rows[:min(len(list.Rows), l.depth)]
	for i, r := range places {
		cutOff := list.Total > l.depth && r.Index == places[len(places)-1].Index
		if l.touched[r.UID] == event.Dropped && !seen[r.UID] && !cutOff {
			if l.blind++; !l.shuffled {
				return fmt.Errorf("%s dropped, but stands at place %d", r.UID, i+1)
			}
		}
	}
	return nil
}

// fits compares a board with a list to the last rank; who of a tie stands in
// which of its places is open, and so is who is shown of the cut-off one.
func fits(b event.Snapshot, l simulator.List, depth int) error {
	total := max(l.Total, len(l.Rows))
	index, rank := map[string]int64{}, map[int64]int{}
	for i, r := range l.Rows {
		index[r.UID] = r.Index
		if rank[r.Index] == 0 {
			rank[r.Index] = i + 1
		}
	}
	places := l.Rows[:min(depth, len(l.Rows))]
	cut := total > depth
	edge := places[len(places)-1].Index
	left := 0 // places outside the cut-off tie
	for _, r := range places {
		if !cut || r.Index != edge {
			left++
		}
	}
	seen := map[string]bool{}
	for _, r := range b.Board {
		i, listed := index[r.UID]
		switch {
		case !listed || i != r.PotentialIndex || r.Rank != rank[i] || seen[r.UID]:
			return fmt.Errorf("%+v, listed %t at rank %d with index %d", r, listed, rank[i], i)
		case r.Position > len(places) || places[r.Position-1].Index != i || r.Edge != (cut && i == edge):
			return fmt.Errorf("%+v: wrong place or edge", r)
		}
		seen[r.UID] = true
		if !r.Edge {
			left--
		}
	}
	for _, h := range b.Holes {
		if h.Position > len(places) || places[h.Position-1].Index != h.PotentialIndex {
			return fmt.Errorf("hole %+v: wrong place", h)
		}
		left--
	}
	if left != 0 || b.Total != total {
		return fmt.Errorf("total %d of %d; %d places are not accounted for", b.Total, total, left)
	}
	return nil
}

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
	if text != "" {
		f, err := simulator.ParseFault(text)
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
			s.t.Log(s.sim.Strikes(), s.log.String()[:min(6000, s.log.Len())])
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
			if err := s.ledgers[b.Chain.Watchlist].take(m.Subject, m.Data); err != nil {
				s.t.Error(err)
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
		if got := strings.Join(s.ledgers[name].statuses, ", "); got != want {
			s.t.Errorf("status of %s: %q, want %q", name, got, want)
		}
	}
}

func spell(reason string) string {
	status, word, _ := strings.Cut(reason, " ")
	if status == "" {
		return ""
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
		{"duplicate-row", "", "", ""},
		{"skipped-row", "rejected short", "rejected short", ""},
		{"board-change", "", "rejected torn", ""},
		{"stale-period", "rejected period", "rejected period", ""},
		{"empty-page", "rejected short", "rejected short", ""},
		{"empty-page:1:page=3", "", "rejected short", ""},
		{"total-change", "", "rejected torn", ""},
		{"wrong-region", "rejected filter", "rejected filter", ""},
		{"30001:1:region=GB,for=1", "", "", denied},
		{"mixed:0.4", "?", "?", ""},
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
					if row.fault == "duplicate-row" {
						s.withoutLast()
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
				if row.one == "?" {
					row.one, row.three = strings.Join(s.ledgers["one"].statuses, ", "), strings.Join(s.ledgers["three"].statuses, ", ")
				} else {
					row.one, row.three = spell(row.one), spell(row.three)
				}
				s.said(row.one, row.three, row.token)
				if t.Failed() {
					t.Log(s.sim.Strikes(), s.log.String()[:min(6000, s.log.Len())])
				}
				for name, l := range s.ledgers {
					if !l.well() {
						t.Errorf("%s: not well in the end: %q", name, l.statuses)
					}
				}
			})
		})
	}
}

// withoutLast shows the lists without their last entry: that is what a source
// says that lists the last row of every page before the last twice.
func (s *scene) withoutLast() {
	for _, l := range s.ledgers {
		if len(l.shown) == 0 {
			continue
		}
		last := l.shown[len(l.shown)-1]
		n := len(last.Rows)
		l.shown = append(l.shown, simulator.List{Rows: last.Rows[:n-1], Total: n})
	}
}

var _ = []any{nats.Connect, publisher.Open, httptest.NewServer, os.Getenv, filepath.Join, strconv.Itoa, maps.Keys[map[int]int]}
