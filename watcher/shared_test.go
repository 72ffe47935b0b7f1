package watcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// A hub is what several workers publish to: of each chain the last message, and
// the heads. It knows who was first.
type hub struct {
	t        *testing.T
	source   *source
	lists    string
	sequence uint64
	boards   map[string]posted
	statuses map[string]posted
	heads    map[string]posted
	out      []event.Batch
	carried  map[string][]byte // what the last reader of a watchlist left
}

type posted struct {
	sequence, revision uint64
	tracked            event.Tracked
	condition          event.Condition
}

func newHub(t *testing.T, lists string) *hub {
	t.Helper()
	return &hub{
		t: t, source: &source{after: func(_ int, p *fastmoss.Page) { p.At = time.Now() }}, lists: lists, boards: map[string]posted{}, statuses: map[string]posted{}, heads: map[string]posted{},
		carried: map[string][]byte{},
	}
}

// A peer is a worker with a state of its own, one of several at a hub.
type peer struct {
	*Worker
	hub    *hub
	db     *state.DB
	heads  map[string]uint64 // those seen beside their boards
	calls  []string
	refuse map[string]error // given to the next calls
}

func (h *hub) join(writer string) *peer {
	h.t.Helper()
	db, err := state.Open(state.Config{Dir: h.t.TempDir()})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := db.Check(); err != nil {
			h.t.Error(err)
		}
		db.Close()
	})
	p := &peer{hub: h, db: db, heads: map[string]uint64{}, refuse: map[string]error{}}
	p.Worker, err = New(Config{
		Watchlists: parseLists(h.t, h.lists), Source: deafSource{}, Store: p, Prefix: "rankwatch", Writer: writer, Concurrency: 1,
		MaxPayload: func() int { return 1 << 20 }, Committed: func() {},
		Adopt:  func(context.Context, string) error { return errors.New("asked to adopt") },
		Shared: &Shared{Sync: p.sync, Marks: p.marks, Flush: p.flush, PutHead: p.putHead},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := p.start(); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// deafSource is never asked: calls go through the turn's source.
type deafSource struct{}

func (deafSource) Page(context.Context, fastmoss.Query, int, int) (fastmoss.Page, error) {
	return fastmoss.Page{}, errors.New("a call without a turn")
}

func (p *peer) Load(name string) (Loaded, error) {
	l, err := p.db.Load(name)
	return Loaded(l), err
}

func (p *peer) Commit(c Commit) error {
	err := p.db.Commit(state.Commit{Watchlist: c.Watchlist, Version: c.Version, Tracked: c.Tracked, Batches: c.Batches, At: c.At})
	if errors.Is(err, state.ErrStale) {
		return errors.Join(ErrStale, err)
	}
	return err
}

func (p *peer) Departed(string, []string) (map[string]Departure, error) { return nil, nil }

func (p *peer) Records(each func(string, []byte) error) error { return p.db.Records(each) }

func (p *peer) Full() bool { return false }

// called notes a call, and says whether it is to fail.
func (p *peer) called(what, list string) error {
	call := what + " " + list
	p.calls = append(p.calls, call)
	err := p.refuse[call]
	delete(p.refuse, call)
	return err
}

func (p *peer) acked(list string, kind event.Kind) state.Ack {
	a, _, err := p.db.Acked(event.Chain{Watchlist: list, Kind: kind})
	if err != nil {
		p.hub.t.Fatal(err)
	}
	return a
}

func (p *peer) sync(_ context.Context, list string, k Known) (bool, error) {
	if err := p.called("sync", list); err != nil {
		return true, err
	}
	h := p.hub
	board := p.acked(list, event.Board)
	is, head := h.boards[list], h.heads[list]
	news := is.sequence != board.Sequence || head.sequence > max(is.sequence, p.heads[list]) && (k.Board == 0 || k.Head > p.heads[list])
	if news && is.sequence > 0 {
		t := head.tracked
		if last, ok := h.statuses[list]; ok {
			t.Record = p.must(Resume(t.Record, last.condition))
		}
		p.must(p.db.Adopt(state.Ack{Chain: event.Chain{Watchlist: list, Kind: event.Board}, Revision: is.revision, Sequence: is.sequence}, &t, nil))
		p.heads[list] = head.sequence
	}
	if last := h.statuses[list]; last.sequence != p.acked(list, event.Status).Sequence {
		p.takeStatus(list, last)
	}
	return true, nil
}

func (p *peer) takeStatus(list string, last posted) {
	p.must(p.db.Adopt(state.Ack{Chain: event.Chain{Watchlist: list, Kind: event.Status}, Revision: last.revision, Sequence: last.sequence}, nil, nil))
	p.must(0, p.db.Amend(list, func(record []byte) ([]byte, error) { return Resume(record, last.condition) }))
}

// must fails the test. It is generic in what it is given only.
func (p *peer) must(v any, err error) []byte {
	p.hub.t.Helper()
	if err != nil {
		p.hub.t.Fatal(err)
	}
	b, _ := v.([]byte)
	return b
}

func (p *peer) marks(list string) (Known, error) {
	k := Known{Board: p.acked(list, event.Board).Sequence, Status: p.acked(list, event.Status).Sequence}
	if p.heads[list] > k.Board {
		k.Head = p.heads[list]
	}
	return k, nil
}

func (p *peer) flush(ctx context.Context, list string) error {
	if err := cmp.Or(p.called("flush", list), ctx.Err()); err != nil {
		return err
	}
	h := p.hub
	infos, err := p.db.Queue(0)
	p.must(0, err)
	for _, i := range infos {
		if i.Chain.Watchlist != list {
			continue
		}
		last := h.boards
		if i.Chain.Kind == event.Status {
			last = h.statuses
		}
		if last[list].sequence != p.acked(list, i.Chain.Kind).Sequence {
			_, err := p.sync(context.Background(), list, Known{}) // another one was first
			return err
		}
		b, err := p.db.Batch(i.Order)
		p.must(0, err)
		h.sequence += 10
		is := posted{sequence: h.sequence, revision: b.Revision}
		for _, m := range b.Messages {
			if m.Role == event.Head {
				t, err := event.UnpackTracked(m.Data)
				p.must(0, err)
				h.heads[list] = posted{sequence: h.sequence - 1, revision: b.Revision, tracked: t}
			}
		}
		if i.Chain.Kind == event.Status {
			is.condition = mustDecode[event.Condition](h.t, b.Fence().Data)
		}
		last[list] = is
		h.out = append(h.out, b)
		p.must(0, p.db.Acknowledge(state.Ack{Chain: b.Chain, Order: b.Order, Revision: b.Revision, Sequence: h.sequence}))
	}
	return nil
}

func (p *peer) putHead(_ context.Context, list string, t event.Tracked) error {
	if err := p.called("head", list); err != nil {
		return err
	}
	is := p.hub.boards[list]
	if is.sequence != p.acked(list, event.Board).Sequence {
		return errors.New("overtaken")
	}
	p.hub.sequence++
	p.hub.heads[list] = posted{sequence: p.hub.sequence, revision: is.revision, tracked: t}
	p.heads[list] = p.hub.sequence
	return nil
}

// said is what was published since the last call.
func (h *hub) said() string {
	m := &memory{out: h.out}
	h.out = nil
	return strings.Join(m.said(h.t), ", ")
}

// shows makes the source list "a9 b8".
func (h *hub) shows(list string) {
	h.source.rows = nil
	for _, f := range strings.Fields(list) {
		var n int64
		if _, err := fmt.Sscanf(f[1:], "%d", &n); err != nil {
			h.t.Fatal(err)
		}
		h.source.rows = append(h.source.rows, listed{f[:1], n})
	}
}

func (p *peer) serve(names ...string) ([]Served, error) {
	p.hub.t.Helper()
	var turns []Turn
	for _, n := range names {
		turns = append(turns, Turn{Watchlist: n, Carry: p.hub.carried[n]})
	}
	served, err := p.Serve(p.hub.t.Context(), p.hub.source, turns...)
	for _, s := range served {
		p.hub.carried[s.Watchlist] = s.Carry
	}
	return served, err
}

// reads has a peer read us, and returns what was published.
func (p *peer) reads(list string) string {
	p.hub.t.Helper()
	p.hub.shows(list)
	if _, err := p.serve("us"); err != nil {
		p.hub.t.Fatal(err)
	}
	return p.hub.said()
}

func (h *hub) want(got, want string) {
	h.t.Helper()
	if got != want {
		h.t.Errorf("got  %s\nwant %s", got, want)
	}
}

func oneListOf(more string) string { return fmt.Sprintf(oneList, more) }

func TestWorkersInTurnReadAsOne(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(""))
	a, b, c := h.join("a"), h.join("b"), h.join("c")
	h.want(a.reads("a9 b8"), "baseline 1 first")
	h.want(b.reads("a9 b8"), "")
	h.want(a.reads("a9 b8"), "")
	h.want(c.reads("a9 b8"), "")
	h.shows("b9 a8")
	if _, err := b.serve("us"); err != nil {
		t.Fatal(err)
	}
	s := mustDecode[event.Snapshot](t, h.out[0].Fence().Data)
	if s.Unchanged != 3 || s.Revision != 2 || s.Writer != "b" {
		t.Errorf("revision %d of %s comes after %d unchanged readings", s.Revision, s.Writer, s.Unchanged)
	}
	h.want(h.said(), "moved b, moved a, changed 2")
	h.want(c.reads("b9 a8 c7"), "entered c, changed 3")
}

// The clock of one worker is ahead of the other's by much more than the interval.
func TestWhatWasCountedHoldsWhateverTheClocksSay(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(""))
	a, b := h.join("a"), h.join("b")
	clock := time.Now()
	h.source.after = func(_ int, p *fastmoss.Page) {
		clock = clock.Add(time.Minute)
		p.At = clock
	}
	h.want(a.reads("a9 b8"), "baseline 1 first")
	h.want(a.reads("a9 b8"), "")
	clock = clock.Add(-time.Hour)
	h.want(b.reads("a9 b8"), "")
	h.want(b.reads("a9 b8"), "")
	h.shows("b9 a8")
	clock = clock.Add(time.Hour)
	if _, err := a.serve("us"); err != nil {
		t.Fatal(err)
	}
	s := mustDecode[event.Snapshot](t, h.out[0].Fence().Data)
	if s.Unchanged != 3 || s.Revision != 2 || s.Writer != "a" {
		t.Errorf("revision %d of %s comes after %d unchanged readings, not 3", s.Revision, s.Writer, s.Unchanged)
	}
}

// A turn that comes again brings what was left before it; what this worker has read
// since counts more. What somebody else read at the same turn, and ended it, counts
// instead.
func TestATurnThatComesAgainTakesNothingBack(t *testing.T) {
	t.Parallel()
	unchanged := func(h *hub, p *peer) int {
		t.Helper()
		h.shows("b9 a8")
		if _, err := p.serve("us"); err != nil {
			t.Fatal(err)
		}
		return mustDecode[event.Snapshot](t, h.out[0].Fence().Data).Unchanged
	}
	h := newHub(t, oneListOf(""))
	a, b := h.join("a"), h.join("b")
	h.want(b.reads("a9 b8"), "baseline 1 first")
	h.want(b.reads("a9 b8"), "")
	left := h.carried["us"]
	h.want(a.reads("a9 b8"), "")
	h.carried["us"] = left // the end of the turn was lost
	if n := unchanged(h, a); n != 2 {
		t.Errorf("%d unchanged readings, not 2", n)
	}
	h = newHub(t, oneListOf(""))
	a = h.join("a")
	h.want(a.reads("a9 b8"), "baseline 1 first")
	h.want(a.reads("a9 b8"), "")
	left = h.carried["us"] // its own
	h.want(a.reads("a9 b8"), "")
	h.carried["us"] = left
	if n := unchanged(h, a); n != 2 {
		t.Errorf("%d unchanged readings, not 2", n)
	}
	h = newHub(t, oneListOf(""))
	a, b = h.join("a"), h.join("b")
	h.want(b.reads("a9 b8"), "baseline 1 first")
	left = h.carried["us"]
	h.want(a.reads("a9 b8"), "")
	h.carried["us"] = left
	h.want(b.reads("a9 b8"), "")
	if n := unchanged(h, a); n != 1 {
		t.Errorf("%d unchanged readings, not 1", n)
	}
}

func TestWhatWasLeftIsForgottenWithoutHarm(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]string{
		"nothing": "", "junk": "{", "of another board": `{"revision":7,"record":{"tick":"2999-01-01T00:00:00Z","unchanged":9}}`,
		"a record of another version": `{"revision":1,"record":7}`,
	} {
		h := newHub(t, oneListOf(""))
		a, b := h.join("a"), h.join("b")
		h.want(a.reads("a9 b8"), "baseline 1 first")
		h.carried["us"] = []byte(left)
		h.shows("b9 a8")
		_, err := b.serve("us")
		if err != nil {
			t.Fatal(err)
		}
		if s := mustDecode[event.Snapshot](t, h.out[0].Fence().Data); s.Unchanged != 0 {
			t.Errorf("%s: %d unchanged readings", name, s.Unchanged)
		}
		h.want(h.said(), "moved b, moved a, changed 2")
	}
}

// The last status tells how a watchlist is, whatever the last reader thought.
func TestTheConditionIsWhatWasTold(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(""))
	a, b, late := h.join("a"), h.join("b"), h.join("c")
	h.want(a.reads("a9 b8"), "baseline 1 first")
	h.want(late.reads("a9 b8"), "")
	h.source.err = &fastmoss.Error{Kind: fastmoss.ErrUnavailable, HTTPStatus: 502}
	h.want(a.reads("a9 b8"), "status us stale unavailable")
	left := h.carried["us"]
	h.source.err = nil
	h.want(late.reads("a9 b8"), "status us recovered unavailable")
	h.carried["us"] = left // that one did not have the turn any more
	h.source.err = &fastmoss.Error{Kind: fastmoss.ErrUnavailable, HTTPStatus: 502}
	h.want(b.reads("a9 b8"), "status us stale unavailable")
}

func TestAWorkerThatEndsPublishesWhatItHasRead(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(""))
	a := h.join("a")
	h.shows("a9 b8")
	ctx, cancel := context.WithCancel(t.Context())
	h.source.after = func(_ int, p *fastmoss.Page) {
		p.At = time.Now()
		cancel()
	}
	served, err := a.Serve(ctx, h.source, Turn{Watchlist: "us"})
	if err != nil || len(served) != 1 || served[0].Next.IsZero() || len(served[0].Carry) == 0 {
		t.Errorf("%+v: %v", served, err)
	}
	h.want(h.said(), "baseline 1 first")
}

func TestTheGuardIsConfirmedByAnyWorker(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(", guard: {confirm: 3}"))
	a, b, c := h.join("a"), h.join("b"), h.join("c")
	h.want(a.reads("a9 b8 c7 d6"), "baseline 1 first")
	h.want(b.reads("a9"), "status us waiting loss")
	h.want(c.reads("a9"), "")
	h.want(a.reads("a9"), "dropped b, dropped c, dropped d, changed 2, status us recovered loss")
	// Two that heard of the loss, and one that finds all as it was.
	h.want(b.reads("e9"), "status us waiting loss")
	h.want(c.reads("a9"), "status us recovered loss")
	h.want(a.reads("e9"), "status us waiting loss")
}

// What the last reader left may be lost, with the schedules or with a watchlist that
// was away for a while. A loss that somebody saw to be none is not confirmed then.
func TestALossIsNotConfirmedByWhoMissedThatItWasNone(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(", guard: {confirm: 2}"))
	a, b := h.join("a"), h.join("b")
	h.want(a.reads("a9 b8 c7 d6"), "baseline 1 first")
	h.want(a.reads("a9"), "status us waiting loss")
	h.want(b.reads("a9 b8 c7 d6"), "status us recovered loss")
	h.carried["us"] = nil
	h.want(a.reads("a9"), "status us waiting loss")
	h.want(b.reads("a9"), "dropped b, dropped c, dropped d, changed 2, status us recovered loss")
}

func TestMissesCountAcrossWorkers(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(", rules: {dropped: {after: 3}}"))
	a, b, c := h.join("a"), h.join("b"), h.join("c")
	h.want(a.reads("a9 b8 c7 d6 e5"), "baseline 1 first")
	// Everybody knows the board.
	h.want(b.reads("a9 b8 c7 d6 e5"), "")
	h.want(c.reads("a9 b8 c7 d6 e5"), "")
	h.want(b.reads("a9 b8 c7 d6"), "changed 2")
	h.want(c.reads("a9 b8 c7 d6"), "changed 3")
	h.want(a.reads("a9 b8 c7 d6"), "dropped e, changed 4")
}

// What nobody is told of with a board goes from reader to reader all the same.
func TestADropTellsWhatAnyWorkerSawLast(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(""))
	a, b, c := h.join("a"), h.join("b"), h.join("c")
	h.want(a.reads("a9 b8 c7"), "baseline 1 first")
	for _, p := range []*peer{b, c} {
		h.want(p.reads("a9 b8 c7"), "")
	}
	h.source.after = func(_ int, p *fastmoss.Page) {
		p.At = time.Now()
		for i := range p.Items {
			p.Items[i].UnitsSold = fastmoss.Some[int64](42)
		}
	}
	b.calls = nil
	h.want(b.reads("a9 b8 c7"), "")
	h.want(strings.Join(b.calls, ", "), "sync us, flush us, head us")
	h.shows("a9 b8")
	if _, err := a.serve("us"); err != nil {
		t.Fatal(err)
	}
	d := mustDecode[event.Change](t, h.out[0].Messages[0].Data)
	if d.Creator.UID != "c" || d.Metrics.UnitsSold == nil || *d.Metrics.UnitsSold != 42 {
		t.Errorf("%+v", d)
	}
	// A head that comes too late is of no use, and does no harm.
	b.refuse["head us"] = errors.New("overtaken")
	h.source.after = func(_ int, p *fastmoss.Page) { p.At = time.Now() }
	h.said()
	h.want(b.reads("a9 b8"), "")
	h.want(c.reads("a9 b8"), "")
}

func TestFailuresCountAcrossWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, strings.Replace(oneListOf(""), "1h", "1d", 1))
		a, b := h.join("a"), h.join("b")
		h.want(a.reads("a9 b8"), "baseline 1 first")
		h.source.err = &fastmoss.Error{Kind: fastmoss.ErrUnavailable, HTTPStatus: 502}
		for n, p := range []*peer{b, a, a, b} {
			h.shows("a9 b8")
			served, err := p.serve("us")
			if err != nil {
				t.Fatal(err)
			}
			if d, want := time.Until(served[0].Next), retryFirst<<n; d != want {
				t.Errorf("after failure %d the next try comes in %v, not %v", n+1, d, want)
			}
			if s, _ := p.Standing("us"); s.Failures != n+1 || !s.Next.Equal(served[0].Next) {
				t.Errorf("after failure %d: %+v", n+1, s)
			}
			time.Sleep(time.Until(served[0].Next))
		}
		h.want(h.said(), "status us stale unavailable")
		h.source.err = nil
		h.want(a.reads("b9 a8"), "moved b, moved a, changed 2, status us recovered unavailable")
	})
}

const threeLists = `
defaults: {every: 1h, top: 10, period: {type: month, value: 2026-03}}
watchlists:
  - {name: one, filter: {region: US}}
  - {name: two, filter: {region: US}, rules: {moved: {min_places: 3}}}
  - {name: far, filter: {region: US}, every: 6h}
  - {name: gb, filter: {region: GB}}
`

func TestMatesAreServedByOneScan(t *testing.T) {
	t.Parallel()
	h := newHub(t, threeLists)
	a := h.join("a")
	h.shows("a9 b8")
	served, err := a.serve("two", "gb", "far", "one")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range served {
		names = append(names, s.Watchlist)
	}
	h.want(strings.Join(names, " "), "two far one")
	h.want(h.said(), "baseline 1 first, baseline 1 first, baseline 1 first")
	if h.source.calls != 1 {
		t.Errorf("%d calls for one list", h.source.calls)
	}
	h.want(strings.Join(a.calls, ", "), "sync two, sync far, sync one, flush two, flush far, flush one")
	if m := a.Mates("one"); len(m) != 2 || len(a.Mates("gb"))+len(a.Mates("none")) > 0 {
		t.Errorf("mates of one: %v", m)
	}
	if f := a.FeedOf("one"); f == "" || f != a.FeedOf("far") || f == a.FeedOf("gb") || a.FeedOf("none") != "" {
		t.Errorf("feeds %q %q", f, a.FeedOf("gb"))
	}
}

func TestAMateThatCannotBePreparedHasATurnOfItsOwn(t *testing.T) {
	t.Parallel()
	h := newHub(t, threeLists)
	a := h.join("a")
	h.shows("a9 b8")
	a.refuse["sync far"] = errors.New("away")
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() { // the page asks all the time
		for {
			select {
			case <-done:
				return
			default:
				a.Standings()
			}
		}
	})
	served, err := a.serve("one", "far", "two")
	close(done)
	asking.Wait()
	if err != nil || len(served) != 2 || served[1].Watchlist != "two" {
		t.Fatalf("%+v: %v", served, err)
	}
	h.want(h.said(), "baseline 1 first, baseline 1 first")
	// The one whose turn it is must be prepared.
	a.refuse["sync one"] = errors.New("away")
	if served, err := a.serve("one", "two"); err == nil || len(served) > 0 {
		t.Errorf("%+v: %v", served, err)
	}
}

func TestAMateThatIsRemovedMeanwhileCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	h := newHub(t, threeLists)
	a := h.join("a")
	h.shows("a9 b8")
	h.source.before = func(int, int) {
		a.Reload(parseLists(t, strings.Replace(threeLists, "- {name: far, filter: {region: US}, every: 6h}", "", 1)))
	}
	served, err := a.serve("one", "far", "two")
	if err != nil || len(served) != 2 {
		t.Fatalf("%+v: %v", served, err)
	}
	h.source.before = func(int, int) { a.Reload(nil) }
	if served, err := a.serve("one", "two"); !errors.Is(err, ErrAbandoned) {
		t.Errorf("%+v: %v", served, err)
	}
}

func TestAFeedIsServedOnceAtATime(t *testing.T) {
	t.Parallel()
	h := newHub(t, threeLists)
	a := h.join("a")
	h.shows("a9")
	var inner []error
	h.source.before = func(int, int) {
		h.source.before = nil
		for _, name := range []string{"one", "far"} {
			_, err := a.serve(name)
			inner = append(inner, err)
		}
		_, err := a.serve("gb")
		inner = append(inner, err)
	}
	if _, err := a.serve("one"); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(inner[0], ErrBusy) || !errors.Is(inner[1], ErrBusy) || inner[2] != nil {
		t.Errorf("while the feed was read: %v", inner)
	}
	if _, err := a.serve("far"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := a.serve("none"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown one: %v", err)
	}
}

// lostSource ends the turn instead of making a call.
type lostSource struct{ lose context.CancelFunc }

var errNoTurn = errors.New("the turn was lost")

func (s lostSource) Page(context.Context, fastmoss.Query, int, int) (fastmoss.Page, error) {
	s.lose()
	return fastmoss.Page{}, errNoTurn
}

func TestATurnThatIsLostBeforeTheFirstCallLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHub(t, threeLists)
	a := h.join("a")
	h.shows("a9")
	if _, err := a.serve("one", "two"); err != nil {
		t.Fatal(err)
	}
	h.said()
	before, _ := a.Load("one")
	standing, _ := a.Standing("one")
	ctx, cancel := context.WithCancel(t.Context())
	served, err := a.Serve(ctx, lostSource{cancel}, Turn{Watchlist: "one", Carry: h.carried["one"]}, Turn{Watchlist: "two", Carry: h.carried["two"]})
	if !errors.Is(err, ErrAbandoned) || len(served) > 0 {
		t.Errorf("%+v: %v", served, err)
	}
	if after, _ := a.Load("one"); after.Version != before.Version || h.said() != "" {
		t.Errorf("left version %d behind, not %d", after.Version, before.Version)
	}
	if s, _ := a.Standing("one"); stands(s) != stands(standing) || s.Reading {
		t.Errorf("stands %s, stood %s", stands(s), stands(standing))
	}
	if _, err := a.serve("one"); err != nil {
		t.Errorf("the next turn: %v", err)
	}
}

func TestWhatIsNotPublishedYetIsNoResult(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(""))
	a, b := h.join("a"), h.join("b")
	h.want(a.reads("a9 b8"), "baseline 1 first")
	a.refuse["flush us"] = errors.New("the bus is away")
	h.shows("b9 a8")
	if served, err := a.serve("us"); err == nil {
		t.Errorf("%+v", served)
	}
	// Another one reads meanwhile; what a has is dropped.
	h.want(b.reads("c9 b8 a7"), "entered c, moved a, changed 2")
	if err := a.flush(t.Context(), "us"); err != nil {
		t.Fatal(err)
	}
	h.want(h.said(), "")
	h.want(a.reads("c9 b8 a7"), "")
	if l, _ := a.Load("us"); l.Revision != 2 {
		t.Errorf("revision %d", l.Revision)
	}
}

// Whoever looks a watchlist's feed up may leave it to exactly one of those that
// tick just then, and finds when that one is due.
func TestOfThoseThatTickTogetherOneLeads(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &Scheduler{}
		now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "now")))
		n := rapid.IntRange(1, 6).Draw(t, "lists")
		feed := rapid.IntRange(0, 1000).Draw(t, "feed")
		for i := range n {
			w := listNo(feed, time.Duration(rapid.SampledFrom([]int{1, 2, 3, 5, 10, 15, 60, 120}).Draw(t, "every"))*time.Minute)
			w.Name = fmt.Sprint("list", i)
			if rapid.IntRange(0, 3).Draw(t, "cron") == 0 {
				w.Cron = rapid.SampledFrom([]string{"*/5 * * * *", "0 * * * *", "30 10 * * *"}).Draw(t, "spec")
				w.schedule, _ = parseCron(w.Cron)
			}
			s.Add(w, time.Time{})
			s.Took(w.Name, now.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "ago"))*time.Second))
		}
		together := map[time.Time][]*item{} // by the next tick of any
		for _, it := range s.items {
			together[it.tick] = append(together[it.tick], it)
		}
		for tick := range together {
			var ticks []*item // also those that tick before, and then
			for _, it := range s.items {
				if it.rhythm.after(tick.Add(-1)).Equal(tick) {
					ticks = append(ticks, it)
				}
			}
			leaders := 0
			var first time.Time
			for _, it := range ticks {
				if due := tick.Add(it.rhythm.jitter(tick)); first.IsZero() || due.Before(first) {
					first = due
				}
			}
			for _, it := range ticks {
				planned := *it
				planned.tick = tick
				planned.setDue()
				was := *it
				it.tick, it.due = planned.tick, planned.due
				at, follows := s.Follows(it.name)
				*it = was
				if !follows {
					leaders++
					if !planned.due.Equal(first) {
						t.Fatalf("%s leads at %v, and another one is due at %v", it.name, planned.due, first)
					}
				} else if !at.Equal(first) {
					t.Fatalf("%s follows one at %v; the first is due at %v", it.name, at, first)
				}
			}
			if leaders != 1 {
				t.Fatalf("%d of %d lead", leaders, len(ticks))
			}
		}
	})
}

func TestARetryOfItsOwnFollowsNobody(t *testing.T) {
	t.Parallel()
	s := &Scheduler{}
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, name := range []string{"x", "y"} {
		w := listNo(1, time.Hour)
		w.Name = name
		s.Add(w, time.Time{})
		s.Took(name, now)
	}
	if _, follows := s.Follows("y"); !follows {
		t.Fatal("y does not follow x")
	}
	s.Retry("y", now.Add(time.Second))
	if _, follows := s.Follows("y"); follows {
		t.Error("a retry follows")
	}
	s.Took("y", now)
	s.Postpone("y", now.Add(3*time.Hour))
	if _, follows := s.Follows("y"); follows {
		t.Error("one that is held back follows")
	}
	for _, name := range []string{"x", "none"} {
		if _, follows := s.Follows(name); follows {
			t.Errorf("%s follows", name)
		}
	}
}

// A follower is due when the one is that it follows, so that it is found due then.
func TestWhoFollowsIsDueWithTheLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Duration(rand.N(int64(time.Hour)))) // any tick will do
		h := newHub(t, threeLists)
		a := h.join("a")
		h.shows("a9 b8")
		for range 12 {
			served, err := a.serve("one", "two", "far")
			if err != nil {
				t.Fatal(err)
			}
			var leads, follows []time.Time
			first := served[0].Next
			for _, s := range served {
				if s.Next.Before(first) {
					first = s.Next
				}
				if s.Follows {
					follows = append(follows, s.Next)
				} else {
					leads = append(leads, s.Next)
				}
			}
			for _, at := range follows {
				found := false
				for _, l := range leads {
					found = found || l.Equal(at)
				}
				if !found {
					t.Fatalf("one is due at %v to be read with none of %v", at, leads)
				}
			}
			time.Sleep(time.Until(first))
		}
	})
}

func TestATurnFromAClockThatIsAheadCountsAsMadeThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, oneListOf(""))
		a := h.join("a")
		h.shows("a9 b8")
		served, err := a.serve("us")
		if err != nil {
			t.Fatal(err)
		}
		due := served[0].Next
		time.Sleep(time.Until(due) - 40*time.Second) // before the tick, by the clock here
		served, err = a.Serve(t.Context(), h.source, Turn{Watchlist: "us", Due: due, Carry: served[0].Carry})
		if err != nil || !served[0].Next.After(due.Add(50*time.Minute)) {
			t.Errorf("after the turn of %v the next one is %+v: %v", due, served, err)
		}
	})
}

func TestAChangedPlanIsDueAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, oneListOf(""))
		a := h.join("a")
		h.want(a.reads("a9 b8"), "baseline 1 first")
		plan, known := a.Plan("us")
		if !known || plan == "" {
			t.Fatal("no plan")
		}
		if _, known := a.Plan("none"); known {
			t.Error("a plan of nothing")
		}
		read := time.Now()
		time.Sleep(10 * time.Minute)
		left := h.carried["us"]
		for name, c := range map[string]struct {
			more    string // of the file
			changed bool
			due     func(time.Time) bool
		}{
			"nothing":      {"", false, time.Time.IsZero},
			"its rules":    {", rules: {moved: {min_places: 2}}", false, time.Time.IsZero},
			"how often":    {", every: 3h", true, func(at time.Time) bool { return at.After(read) && at.Before(read.Add(3*time.Hour+maxJitter)) }},
			"its length":   {", top: 20", true, func(at time.Time) bool { return !at.After(time.Now()) }},
			"both of them": {", top: 20, every: 3h", true, func(at time.Time) bool { return !at.After(time.Now()) }},
		} {
			text := oneListOf(c.more)
			for _, key := range []string{"every: ", "top: "} {
				if strings.Contains(c.more, key) {
					text = strings.Replace(text, map[string]string{"every: ": " every: 1h,", "top: ": " top: 10,"}[key], "", 1)
				}
			}
			a.Reload(parseLists(t, text))
			if due, changed := a.Replan("us", plan, left); changed != c.changed || !c.due(due) {
				t.Errorf("%s changed: due %v, %t", name, due, changed)
			}
		}
		// Without a word of the last reading it is due at once.
		a.Reload(parseLists(t, strings.Replace(oneListOf(""), "every: 1h", "every: 3h", 1)))
		for _, left := range []string{"", "{", `{"record":3}`} {
			if due, changed := a.Replan("us", plan, []byte(left)); !changed || due.After(time.Now()) {
				t.Errorf("left %q: due %v, %t", left, due, changed)
			}
		}
		if _, changed := a.Replan("none", plan, left); changed {
			t.Error("an unknown one is due")
		}
	})
}

func TestAWatchlistIsRetiredOnce(t *testing.T) {
	t.Parallel()
	h := newHub(t, oneListOf(""))
	a, b := h.join("a"), h.join("b")
	h.want(a.reads("a9 b8"), "baseline 1 first")
	a.Reload(nil)
	a.sayNotices()
	h.want(h.said(), "") // a worker that shares does not say so for itself
	for _, p := range []*peer{b, a, b} {
		if err := p.Retire(t.Context(), "us"); err != nil {
			t.Fatal(err)
		}
		if err := p.Retire(t.Context(), "never"); err != nil {
			t.Fatal(err)
		}
	}
	h.want(h.said(), "status us retired removed")
	a.Reload(parseLists(t, oneListOf("")))
	h.want(a.reads("b9 a8"), "moved b, moved a, changed 2")
	if err := b.Retire(t.Context(), "us"); err != nil {
		t.Fatal(err)
	}
	h.want(h.said(), "status us retired removed")
}

func TestAStandingIsHeardOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, oneListOf(""))
		a, b := h.join("a"), h.join("b")
		known, _ := b.Standing("us")
		time.Sleep(time.Minute)
		h.want(a.reads("a9 b8"), "baseline 1 first")
		first, _ := a.Standing("us")
		time.Sleep(time.Minute)
		h.source.err = &fastmoss.Error{Kind: fastmoss.ErrUnavailable, HTTPStatus: 502}
		a.reads("a9 b8")
		last, _ := a.Standing("us")
		b.Hear(last)
		b.Hear(first) // it was late
		s, _ := b.Standing("us")
		h.want(stands(s), "stale unavailable · stale: unavailable · failed 1")
		if !s.Known.Equal(known.Known) || !s.Read.Equal(first.Read) || !s.Tried.Equal(last.Tried) || !s.Next.Equal(last.Next) || s.Watchlist.Name != "us" {
			t.Errorf("heard %+v", s)
		}
		// A worker that comes new has what was left.
		c := h.join("c")
		c.Recall("us", h.carried["us"], last.Next)
		s, _ = c.Standing("us")
		if !s.Read.Equal(first.Read) || !s.Tried.Equal(last.Tried) || !s.Next.Equal(last.Next) || s.Failures != 1 || s.Condition == nil || s.Condition.Status != event.StatusStale {
			t.Errorf("recalled %+v", s)
		}
		if s.Overdue().IsZero() || s.Outcome != "" {
			t.Errorf("recalled %+v", s)
		}
		c.Recall("us", []byte("{"), time.Time{})
		c.Recall("us", []byte(`{"record":{"tick":"1999-01-01T00:00:00Z"}}`), time.Time{})
		c.Recall("none", h.carried["us"], time.Time{})
		c.Hear(Standing{Watchlist: Watchlist{Name: "none"}})
		if again, _ := c.Standing("us"); !again.Tried.Equal(s.Tried) || !again.Next.Equal(s.Next) {
			t.Errorf("junk was recalled: %+v", again)
		}
		// What was read of another list says nothing of this one.
		d := h.join("d")
		d.Reload(parseLists(t, strings.Replace(oneListOf(""), "region: US", "region: GB", 1)))
		d.Recall("us", h.carried["us"], last.Next)
		if s, _ := d.Standing("us"); !s.Read.IsZero() {
			t.Errorf("recalled of another list: %+v", s)
		}
		if n := c.Names(); len(n) != 1 || n[0] != "us" {
			t.Errorf("names %v", n)
		}
	})
}

func TestTheTokensConditionIsTheFleets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, oneListOf(""))
		a, b := h.join("a"), h.join("b")
		a.TokenCondition(fastmoss.TokenCondition{Status: "denied", Detail: "no", Since: time.Now()})
		b.TokenCondition(fastmoss.TokenCondition{Status: "denied", Detail: "no", Since: time.Now()})
		a.sayNotices()
		if err := a.flush(t.Context(), event.TokenWatchlist); err != nil {
			t.Fatal(err)
		}
		b.sayNotices() // it hears of the other one's first
		if err := b.flush(t.Context(), event.TokenWatchlist); err != nil {
			t.Fatal(err)
		}
		h.want(h.said(), "status _token denied token")
		c := h.join("c")
		if err := c.RecallToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := c.TokenStanding(); s == nil || s.Status != "denied" {
			t.Errorf("the token stands %+v", s)
		}
		// It works again, as a worker finds that only knows the status.
		h.want(c.reads("a9 b8"), "baseline 1 first")
		c.sayNotices()
		if err := c.flush(t.Context(), event.TokenWatchlist); err != nil {
			t.Fatal(err)
		}
		h.want(h.said(), "status _token recovered token")
		b.HearToken(fastmoss.TokenCondition{Status: fastmoss.StatusOK})
		if s := b.TokenStanding(); s != nil {
			t.Errorf("the token stands %+v", s)
		}
		b.HearToken(fastmoss.TokenCondition{Status: "quota", Reason: "limit"})
		if s := b.TokenStanding(); s == nil || s.Reason != "limit" {
			t.Errorf("the token stands %+v", s)
		}
	})
}
