package watcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// memory is a Store that records what was committed.
type memory struct {
	mu       sync.Mutex
	loaded   map[string]Loaded
	departed map[string]map[string]Departure
	out      []event.Batch
	full     bool
	refuse   []error // given to the next commits, in order
}

func newMemory() *memory {
	return &memory{loaded: map[string]Loaded{}, departed: map[string]map[string]Departure{}}
}

func (m *memory) Load(name string) (Loaded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loaded[name]
	l.Lineage = max(l.Lineage, 1)
	return l, nil
}

func (m *memory) Commit(c Commit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.refuse) > 0 {
		err := m.refuse[0]
		m.refuse = m.refuse[1:]
		return err
	}
	l := m.loaded[c.Watchlist]
	if c.Version != l.Version {
		return ErrStale
	}
	for _, b := range c.Batches {
		last := &l.Revision
		if b.Chain.Kind == event.Status {
			last = &l.Statuses
		}
		if b.Revision != *last+1 {
			return fmt.Errorf("batch %d of %s after %d", b.Revision, b.Chain.Kind, *last)
		}
		*last = b.Revision
		if b.Chain.Kind == event.Board {
			l.Broken = false
		}
	}
	l.Known, l.Version = true, l.Version+1
	l.Record = c.Tracked.Record
	if c.Tracked.Board != nil {
		l.Board = c.Tracked.Board
	}
	m.loaded[c.Watchlist] = l
	m.out = append(m.out, c.Batches...)
	for _, d := range c.Departed {
		if m.departed[c.Watchlist] == nil {
			m.departed[c.Watchlist] = map[string]Departure{}
		}
		m.departed[c.Watchlist][d.UID] = d
	}
	return nil
}

func (m *memory) Departed(name string, uids []string) (map[string]Departure, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]Departure{}
	for _, u := range uids {
		if d, ok := m.departed[name][u]; ok {
			found[u] = d
		}
	}
	return found, nil
}

func (m *memory) Records(each func(string, []byte) error) error {
	for name, l := range m.loaded {
		if err := each(name, l.Record); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.full
}

// said writes what was committed since the last call: "entered a", "baseline
// first 1", "changed 2", "status stale unavailable".
func (m *memory) said(t testing.TB) []string {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, b := range m.out {
		for _, msg := range b.Messages {
			if msg.Role == event.Head {
				continue
			}
			s, err := event.ParseSubject("rankwatch", msg.Subject)
			if err != nil {
				t.Fatal(err)
			}
			switch s.Kind {
			case event.Board:
				d := mustDecode[event.Snapshot](t, msg.Data)
				line := fmt.Sprintf("%s %d", d.Outcome, d.Revision)
				if d.Reason != nil {
					line += " " + *d.Reason
				}
				out = append(out, line)
			case event.Status:
				d := mustDecode[event.Condition](t, msg.Data)
				out = append(out, strings.Join([]string{"status", s.Watchlist, d.Status, d.Reason}, " "))
			default:
				out = append(out, string(s.Kind)+" "+s.UID)
			}
		}
	}
	m.out = nil
	return out
}

func mustDecode[T any](t testing.TB, data []byte) T {
	t.Helper()
	e, err := event.Decode[T](data)
	if err != nil {
		t.Fatal(err)
	}
	return e.Data
}

func parseLists(t testing.TB, text string) []Watchlist {
	t.Helper()
	ls, err := ParseWatchlists("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

const oneList = "watchlists: [{name: us, every: 1h, top: 10, filter: {region: US}, period: {type: month, value: 2026-03}%s}]"

type rig struct {
	t      *testing.T
	source *source
	store  *memory
	worker *Worker
	seen   []Attempt
}

func newRig(t *testing.T, more string) *rig {
	t.Helper()
	r := &rig{t: t, source: &source{}, store: newMemory()}
	r.restart(more)
	return r
}

// restart makes another worker on the same store.
func (r *rig) restart(more string) {
	r.t.Helper()
	w, err := New(Config{
		Watchlists: parseLists(r.t, fmt.Sprintf(oneList, more)), Source: r.source, Store: r.store,
		Prefix: "rankwatch", Writer: "w1", Concurrency: 2,
		MaxPayload: func() int { return 1 << 20 },
		Adopt:      func(context.Context, string) error { return nil },
		Committed:  func() {},
		Observe:    func(a Attempt) { r.seen = append(r.seen, a) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.worker = w
}

// read makes the source list "a9 b8" and a reading of it, and returns what was
// committed.
func (r *rig) read(list string) string {
	r.t.Helper()
	r.source.rows = nil
	for _, f := range strings.Fields(list) {
		var n int64
		if _, err := fmt.Sscanf(f[1:], "%d", &n); err != nil {
			r.t.Fatal(err)
		}
		r.source.rows = append(r.source.rows, listed{f[:1], n})
	}
	r.worker.ReadNow(r.t.Context(), "us")
	r.worker.sayNotices()
	return strings.Join(r.store.said(r.t), ", ")
}

func (r *rig) want(got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReadingsBecomeEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.want(r.read("a9 b8 c7"), "baseline 1 first")
	r.want(r.read("a9 b8 c7"), "")
	r.want(r.read("b9 a8 d7"), "dropped c, entered d, moved b, moved a, changed 2")
	r.want(r.read("b9 a8 c7"), "dropped d, entered c, changed 3")
	r.restart("")
	r.want(r.read("b9 a8 c6"), "index c, changed 4")
}

func TestAnnounceTellsTheFirstBoard(t *testing.T) {
	t.Parallel()
	r := newRig(t, ", baseline: announce")
	r.want(r.read("a9 b8"), "entered a, entered b, baseline 1 first")
	r.restart(", baseline: announce, margin: 3")
	r.want(r.read("c9 b8"), "baseline 2 config")
}

func TestWhatMakesABaseline(t *testing.T) {
	t.Parallel()
	const changed = "entered c, moved b, changed 2"
	for more, want := range map[string]string{
		", margin: 5":                       "baseline 2 config",
		", ties: ordinal":                   "baseline 2 config",
		", rules: {moved: {min_places: 3}}": "entered c, index b, changed 2",
		", rules: {index: {min_change: 2}}": changed,
		", rules: {dropped: {after: 2}}":    changed,
		", guard: {max_loss: 0.9}":          changed,
		", rollover: reset":                 changed,
		", baseline: announce":              changed,
	} {
		r := newRig(t, "")
		r.want(r.read("a9 b8"), "baseline 1 first")
		r.restart(more)
		r.want(r.read("a9 c8 b7"), want)
	}
}

func TestABrokenStreamIsDeclared(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	l := r.store.loaded["us"]
	l.Broken, l.Lineage, l.Revision, l.StreamRevision = true, 2, 7, 3
	r.store.loaded["us"] = l
	r.source.rows = []listed{{"a", 9}, {"c", 8}}
	r.worker.ReadNow(t.Context(), "us")
	b := r.store.out[0]
	e, err := event.Decode[event.Snapshot](b.Fence().Data)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "us/8~2/board" || *e.Data.Reason != "restored" || *e.Data.PreviousRevision != 3 || e.Data.Revision != 8 {
		t.Errorf("%s %s after %d", e.ID, *e.Data.Reason, *e.Data.PreviousRevision)
	}
}

func TestHistoryOutlivesADrop(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8 c7")
	r.read("a9 b8")
	r.read("a9 b8 d5 c4")
	var got event.Change
	r.store.said(t)
	r.source.rows = []listed{{"c", 9}, {"a", 8}, {"b", 7}}
	r.worker.ReadNow(t.Context(), "us")
	for _, b := range r.store.out {
		for _, m := range b.Messages {
			if strings.HasSuffix(m.Subject, "moved.c") {
				got = mustDecode[event.Change](t, m.Data)
			}
		}
	}
	if h := got.History; !h.Reentry || h.PeakRank != 1 || h.RevisionsOnBoard != 2 {
		t.Errorf("%+v", h)
	}
}

func TestTheGuardWaitsForAConfirmation(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8 c7 d6")
	r.want(r.read("a9"), "status us waiting loss")
	r.want(r.read("a9 b8 c7 d6"), "status us recovered loss")
	r.want(r.read("a9"), "status us waiting loss")
	r.want(r.read("b9"), "")
	r.want(r.read("b9"), "dropped a, dropped c, dropped d, moved b, changed 2, status us recovered loss")
	off := newRig(t, ", guard: {confirm: 1}")
	off.read("a9 b8 c7 d6")
	off.want(off.read("a9"), "dropped b, dropped c, dropped d, changed 2")
}

func TestFailuresAreToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		r.read("a9 b8")
		r.source.err = &fastmoss.Error{Kind: fastmoss.ErrUnavailable, HTTPStatus: 502}
		r.want(r.read("a9"), "status us stale unavailable")
		r.want(r.read("a9"), "")
		r.restart("")
		r.want(r.read("a9"), "")
		r.source.err = nil
		r.want(r.read(""), "status us rejected empty")
		r.want(r.read("a9 b8"), "status us recovered empty")
		r.source.err = &fastmoss.Error{Kind: fastmoss.ErrParameter, Code: 10001, Message: "region"}
		r.want(r.read("a9 b8"), "status us rejected parameter")
		r.source.err = &fastmoss.Error{Kind: fastmoss.ErrNotFound, Code: 20001}
		r.want(r.read("a9 b8"), "status us stale unpublished")
	})
}

func TestTheTokenSpeaksForAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	r.source.err = &fastmoss.Error{Kind: fastmoss.ErrDenied, Code: 30001}
	r.worker.TokenCondition(fastmoss.TokenCondition{Status: "denied", Detail: "no", Since: time.Now()})
	r.want(r.read("a9 b8"), "status _token denied token")
	r.worker.TokenCondition(fastmoss.TokenCondition{Status: "denied", Detail: "no", Since: time.Now()})
	r.want(r.read("a9 b8"), "")
	// A new process finds that the token works.
	r.restart("")
	r.source.err = nil
	r.want(r.read("b9 a8"), "moved b, moved a, changed 2, status _token recovered token")
}

func TestAStaleCommitIsComputedAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	r.store.refuse = []error{ErrStale, ErrStale}
	r.want(r.read("b9 a8"), "moved b, moved a, changed 2")
}

func TestWhatTheStoreRefusesIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	r.store.refuse = []error{ErrFull}
	r.want(r.read("b9 a8"), "")
	r.store.refuse = []error{errors.New("disk full")}
	r.want(r.read("b9 a8"), "")
	r.want(r.read("b9 a8"), "moved b, moved a, changed 2")
}

func TestAWatchlistThatIsNewWaitsForTheBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		adopt := r.worker.cfg.Adopt
		r.worker.cfg.Adopt = func(context.Context, string) error { return fmt.Errorf("%w: no server at nats://secret", ErrBusAway) }
		if err := r.worker.start(); err != nil {
			t.Fatal(err)
		}
		r.want(r.read("a9 b8"), "")
		s := r.standing()
		r.want(stands(s), "paused bus · failed 1")
		if !s.Read.IsZero() || !strings.HasPrefix(s.Detail, "waits for NATS") || strings.Contains(s.Detail, "secret") {
			t.Errorf("%+v", s)
		}
		r.worker.cfg.Adopt = adopt
		r.want(r.read("a9 b8"), "baseline 1 first")
		// What is known here does not ask.
		r.restart("")
		r.worker.cfg.Adopt = func(context.Context, string) error { return ErrBusAway }
		r.want(r.read("b9 a8"), "moved b, moved a, changed 2")
	})
}

func TestFencedStops(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	r.worker.Fenced("us", "board 5 is another worker's")
	r.worker.Fenced("us", "board 5 is another worker's")
	r.want(r.read("b9 a8"), "status us fenced fenced")
}

func TestRetiredAndAddedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	r.worker.Reload(nil)
	r.worker.sayNotices()
	r.want(strings.Join(r.store.said(t), ", "), "status us retired removed")
	r.worker.Reload(parseLists(t, fmt.Sprintf(oneList, "")))
	r.want(r.read("b9 a8"), "moved b, moved a, changed 2")
	// Removed while no worker ran.
	r.restart("")
	r.worker.cfg.Watchlists = nil
	if err := r.worker.start(); err != nil {
		t.Fatal(err)
	}
	r.worker.sayNotices()
	r.want(strings.Join(r.store.said(t), ", "), "status us retired removed")
}

func TestNewPeriods(t *testing.T) {
	t.Parallel()
	for rollover, want := range map[string]string{
		"compare": "dropped b, entered c, entered d, changed 2",
		"reset":   "baseline 2 rollover",
	} {
		r := newRig(t, ", rollover: "+rollover)
		r.read("a9 b8")
		r.worker.Reload(parseLists(t, strings.Replace(fmt.Sprintf(oneList, ", rollover: "+rollover), "2026-03", "2026-04", 1)))
		r.want(r.read("a9 c8 d7"), want)
	}
}

func TestOversizeIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.worker.cfg.MaxPayload = func() int { return 6 << 10 }
	long := strings.Repeat("x", 250)
	for i := range 10 {
		r.source.rows = append(r.source.rows, listed{fmt.Sprintf("%d%s", i, long), int64(20 - i)})
	}
	r.worker.ReadNow(t.Context(), "us")
	r.want(strings.Join(r.store.said(t), ", "), "status us rejected oversize")
}

func TestRunReadsOnScheduleAndDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		r.source.rows = []listed{{"a", 9}}
		var mu sync.Mutex
		var at []time.Time
		r.worker.cfg.Observe = func(a Attempt) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, a.At)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.worker.Run(ctx) }()
		time.Sleep(10 * time.Hour)
		r.store.mu.Lock()
		r.store.full = true
		r.store.mu.Unlock()
		time.Sleep(3 * time.Hour)
		mu.Lock()
		n := len(at)
		mu.Unlock()
		r.store.mu.Lock()
		r.store.full = false
		r.store.mu.Unlock()
		time.Sleep(2 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n != 11 {
			t.Errorf("%d readings in ten hours and while the backlog was full", n)
		}
		if len(at) != n+1 {
			t.Errorf("%d readings after the backlog had room: missed ticks are made up by one", len(at)-n)
		}
	})
}

func TestSameFeedIsReadOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		r.source.rows = []listed{{"a", 9}, {"b", 8}}
		r.worker.cfg.Watchlists = parseLists(t, `
defaults: {every: 1h, top: 10, period: {type: month, value: 2026-03}}
watchlists:
  - {name: one, filter: {region: US}}
  - {name: two, filter: {region: US}, rules: {moved: {min_places: 3}}}
  - {name: far, filter: {region: US}, every: 6h}
`)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.worker.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if r.source.calls != 1 {
			t.Errorf("%d calls for one list", r.source.calls)
		}
		said := r.store.said(t)
		slices.Sort(said)
		r.want(strings.Join(said, ", "), "baseline 1 first, baseline 1 first, baseline 1 first")
	})
}

func TestADropTellsWhatWasLastSeen(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	r.source.after = func(_ int, p *fastmoss.Page) {
		for i := range p.Items {
			p.Items[i].UnitsSold = fastmoss.Some[int64](42)
		}
	}
	r.want(r.read("a9 b8"), "")
	r.source.rows = r.source.rows[:1]
	r.worker.ReadNow(t.Context(), "us")
	d := mustDecode[event.Change](t, r.store.out[0].Messages[0].Data)
	if d.Metrics.UnitsSold == nil || *d.Metrics.UnitsSold != 42 {
		t.Errorf("%+v", d.Metrics)
	}
}

func TestAMissingEchoIsNotAnotherPeriod(t *testing.T) {
	t.Parallel()
	r := newRig(t, ", rollover: reset")
	r.read("a9 b8 c7 d6")
	r.source.after = func(_ int, p *fastmoss.Page) { p.Period = event.Period{} }
	r.want(r.read("a9 b8 c7 d6"), "")
	r.want(r.read("a9"), "status us waiting loss")
	free := newRig(t, ", rollover: reset")
	free.worker.Reload(parseLists(t, strings.Replace(fmt.Sprintf(oneList, ""), "{type: month, value: 2026-03}", "none", 1)))
	free.source.after = func(_ int, p *fastmoss.Page) { p.Period = event.Period{Type: "month", Value: "2026-02"} }
	free.read("a9 b8 c7 d6")
	free.source.after = nil
	free.want(free.read("a9 b8 c7 d6"), "")
	free.want(free.read("a9"), "status us waiting loss")
}

func TestRetiredSpeaksInItsRegion(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.worker.ReadNow(t.Context(), "us") // an empty list: nothing was ever read
	r.worker.Reload(nil)
	r.worker.sayNotices()
	for _, b := range r.store.out {
		if s := b.Fence().Subject; !strings.HasPrefix(s, "rankwatch.US.") {
			t.Errorf("said on %s", s)
		}
	}
}

func TestResumeGoesOnFromTheLastStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{
		event.StatusStale:     "moved b, moved a, changed 2, status us recovered unavailable",
		event.StatusRecovered: "moved b, moved a, changed 2",
	} {
		r := newRig(t, "")
		r.read("a9 b8")
		l := r.store.loaded["us"]
		rec, err := Resume(l.Record, event.Condition{Status: status, Reason: "unavailable", Since: "2026-04-14T17:07:52.000Z"})
		if err != nil {
			t.Fatal(err)
		}
		l.Record = rec
		r.store.loaded["us"] = l
		r.want(r.read("b9 a8"), want)
	}
	if _, err := Resume(nil, event.Condition{Status: event.StatusStale, Since: "yesterday"}); err == nil {
		t.Error("a status without a time was taken")
	}
}
