package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// A Config is what a Worker needs. Watchlists may be empty, Observe nil.
type Config struct {
	Watchlists  []Watchlist
	Source      Source
	Store       Store
	Prefix      string     // of subjects
	Writer      string     // names this process
	Concurrency int        // readings at once, at least 1
	MaxPayload  func() int // bytes that the bus takes in one message

	// Adopt is called before the first reading of a watchlist that the Store does
	// not know. It brings what the stream has of it into the Store, and fails
	// with ErrBusAway while it cannot know.
	Adopt func(ctx context.Context, watchlist string) error
	// Shared is set for a worker that shares its watchlists with others: it reads
	// when Serve is called, not when they are due.
	Shared *Shared
	// Committed is called after a commit that has something to publish. It must
	// not block.
	Committed func()
	// Observe is called after every attempt at a reading, once for each
	// watchlist. It must not block.
	Observe func(Attempt)
	Logger  *slog.Logger
	// Tracer gets a trace for each reading; nil for none. What the reading
	// publishes carries that trace.
	Tracer trace.Tracer
}

// An Attempt is what became of one tick of a watchlist. Revision is that of a
// published reading, 0 otherwise. Next is the next tick as planned now.
type Attempt struct {
	Watchlist string
	Outcome   string
	Reason    string
	Revision  uint64
	Events    int
	Counts    event.Counts  // of the events, by kind
	Took      time.Duration // from the reading's start, waiting for a turn included
	At, Next  time.Time
	Err       error
}

// A Worker reads watchlists when they are due and commits what their readings
// mean. Reload, Fenced and TokenCondition are safe for concurrent use.
type Worker struct {
	cfg       Config
	comparers sync.Pool
	wake      chan struct{}

	mu       sync.Mutex
	lists    map[string]*entry
	schedule Scheduler
	ready    []*job
	running  map[Feed]*job
	known    map[Feed]*facts
	notices  []notice
	tokenBad bool // the last status of the token was not that all is well
	token    *Condition
	// tokenVersion is that which the token's condition is of, in the store.
	tokenVersion uint64
	full         bool
}

// entry is a configured watchlist.
type entry struct {
	watchlist Watchlist
	adopted   bool
	fenced    bool
	tokenHeld bool      // put off until the token works again
	failures  int       // in a row
	from, to  string    // names what was left that this worker's record goes on from, and what it left itself
	next      time.Time // as whoever read it last planned it; of shared ones
	standing  Standing
	version   uint64 // in the store, that the standing's condition is of
}

// job is one reading of a feed for all watchlists that are due.
type job struct {
	feed  Feed
	names []string
	began time.Time
	tally tally

	// Of shared watchlists:
	source   Source               // instead of the worker's
	attempts map[string]Attempt   // that came to something
	asked    map[string]time.Time // when the stream was asked last
	silent   []string             // whose board is not the published one any more
}

// notice is a status to publish that no reading brings about.
type notice struct {
	origin event.Origin // without a region: the one of the last reading
	change statusChange
}

// New checks cfg and returns a worker that does nothing until Run.
func New(cfg Config) (*Worker, error) {
	var problems []error
	need := func(ok bool, what string) {
		if !ok {
			problems = append(problems, errors.New("watcher: "+what))
		}
	}
	need(cfg.Source != nil, "a source is needed")
	need(cfg.Store != nil, "a store is needed")
	need(cfg.Prefix != "", "a subject prefix is needed")
	need(cfg.Writer != "", "a writer's name is needed")
	need(cfg.Concurrency >= 1, "concurrency must be at least 1")
	need(cfg.MaxPayload != nil && cfg.Adopt != nil && cfg.Committed != nil, "the publisher's functions are needed")
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Attempt) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Tracer == nil {
		cfg.Tracer = noop.NewTracerProvider().Tracer("")
	}
	w := &Worker{
		cfg:       cfg,
		comparers: sync.Pool{New: func() any { return new(diff.Comparer) }},
		wake:      make(chan struct{}, 1),
		lists:     map[string]*entry{},
		running:   map[Feed]*job{},
		known:     map[Feed]*facts{},
	}
	if cfg.Shared != nil {
		// Before Run: turns may come at once, and the fleet's file in place of this.
		w.Reload(cfg.Watchlists)
	}
	return w, nil
}

// Run reads until ctx ends, then waits for what is being committed and returns
// nil. It fails only if the store's records cannot be read.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.start(); err != nil {
		return err
	}
	slots := make(chan struct{}, w.cfg.Concurrency)
	var jobs sync.WaitGroup
	defer jobs.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-w.wake:
		}
		retry := w.sayNotices()
		for w.cfg.Shared == nil {
			j := w.take(slots)
			if j == nil {
				break
			}
			jobs.Go(func() {
				w.read(ctx, j)
				w.mu.Lock()
				delete(w.running, j.feed)
				w.mu.Unlock()
				<-slots
				w.nudge()
			})
		}
		timer.Reset(w.sleep(retry))
	}
}

// nudge makes Run look again.
func (w *Worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// start takes over the records of the last run: when each watchlist was tried,
// and which are no longer configured.
func (w *Worker) start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cfg.Shared != nil {
		return nil // what others did meanwhile comes with the turns
	}
	records := map[string]record{}
	configured := make(map[string]bool, len(w.cfg.Watchlists))
	for _, l := range w.cfg.Watchlists {
		configured[l.Name] = true
	}
	err := w.cfg.Store.Records(func(name string, data []byte) error {
		r, err := decodeRecord(data)
		if err != nil {
			return fmt.Errorf("watchlist %s: %w", name, err)
		}
		switch {
		case name == event.TokenWatchlist:
			w.tokenBad, w.token = r.Condition != nil, r.Condition.known()
		case configured[name]:
			records[name] = r
		case r.Condition == nil || r.Condition.Status != event.StatusRetired:
			w.retire(name, "")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("watcher: read records: %w", err)
	}
	for _, l := range w.cfg.Watchlists {
		r := records[l.Name]
		if listOf(r.Fingerprint) != listOf(l.Fingerprint()) {
			r.Read = time.Time{} // of another list
		}
		w.lists[l.Name] = &entry{
			watchlist: l, adopted: !r.Tick.IsZero(),
			standing: Standing{Known: time.Now(), Tried: r.Tick, Read: r.Read, Condition: r.Condition.known()},
		}
		w.schedule.Add(l, r.Tick)
	}
	return nil
}

// retire tells that a watchlist is gone; an empty region is that of its last
// reading.
func (w *Worker) retire(name, region string) {
	w.notices = append(w.notices, notice{
		origin: event.Origin{Prefix: w.cfg.Prefix, Watchlist: name, Region: region},
		change: retired(),
	})
}

// Reload takes over a new configuration at once. Watchlists that are gone are
// told as retired; readings under way of lists that changed come to nothing.
func (w *Worker) Reload(lists []Watchlist) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	stays := make(map[string]bool, len(lists))
	for _, l := range lists {
		stays[l.Name] = true
		e := w.lists[l.Name]
		if e == nil {
			w.lists[l.Name] = &entry{watchlist: l, standing: Standing{Known: now}}
			w.schedule.Add(l, time.Time{})
			continue
		}
		changed := e.watchlist.Fingerprint() != l.Fingerprint() || e.watchlist.Period != l.Period
		if listOf(e.watchlist.Fingerprint()) != listOf(l.Fingerprint()) {
			// Of the list that is to be read now nothing is known yet.
			e.standing = Standing{Known: now, Condition: e.standing.Condition}
		}
		e.watchlist, e.tokenHeld, e.failures = l, false, 0
		w.schedule.Update(l)
		if changed {
			w.schedule.Retry(l.Name, now)
		}
	}
	for name, e := range w.lists {
		if !stays[name] {
			delete(w.lists, name)
			w.schedule.Remove(name)
			if w.cfg.Shared == nil {
				w.retire(name, e.watchlist.Region())
			}
		}
	}
	w.retryHeld(now)
	w.nudge()
}

// retryHeld makes watchlists due that wait for the token.
func (w *Worker) retryHeld(now time.Time) {
	for name, e := range w.lists {
		if e.tokenHeld {
			e.tokenHeld = false
			w.schedule.Retry(name, now)
		}
	}
}

// take starts the next job if a slot is free and the backlog has room.
func (w *Worker) take(slots chan struct{}) *job {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.collect()
	if w.paused() {
		return nil
	}
	for i, j := range w.ready {
		if w.running[j.feed] != nil {
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			return nil
		}
		w.ready = append(w.ready[:i], w.ready[i+1:]...)
		w.running[j.feed] = j
		return j
	}
	return nil
}

// collect groups the watchlists that are due by feed.
func (w *Worker) collect() {
	queued := make(map[Feed]*job, len(w.ready))
	waits := map[string]bool{}
	for _, j := range w.ready {
		queued[j.feed] = j
		for _, n := range j.names {
			waits[n] = true
		}
	}
	for _, name := range w.schedule.Due(time.Now()) {
		e := w.lists[name]
		if e == nil || e.fenced || waits[name] {
			continue
		}
		f := e.watchlist.Feed()
		j := queued[f]
		if j == nil {
			j = &job{feed: f}
			queued[f] = j
			w.ready = append(w.ready, j)
		}
		j.names = append(j.names, name)
	}
}

// paused says that the backlog is full, once.
func (w *Worker) paused() bool {
	full := w.cfg.Store.Full()
	if full != w.full {
		w.full = full
		if full {
			w.cfg.Logger.Warn("backlog full: polling pauses until the bus takes messages; changes in between will be merged")
		} else {
			w.cfg.Logger.Info("backlog has room: polling goes on")
		}
	}
	return full
}

const (
	noticeRetry  = 5 * time.Second // for statuses that could not be committed
	backlogCheck = time.Second
)

// sleep is how long Run may wait.
func (w *Worker) sleep(retry bool) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := time.Hour
	if at, ok := w.schedule.NextAt(); ok && w.cfg.Shared == nil {
		d = max(0, min(d, time.Until(at)))
	}
	if retry {
		d = min(d, noticeRetry)
	}
	if w.full {
		// Ticks that are due would only spin.
		d = backlogCheck
	}
	return d
}

// Fenced stops a watchlist that another worker writes, until the process ends.
func (w *Worker) Fenced(watchlist, detail string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	origin := event.Origin{Prefix: w.cfg.Prefix, Watchlist: watchlist}
	if e := w.lists[watchlist]; e != nil {
		if e.fenced {
			return
		}
		e.fenced = true
		origin.Region = e.watchlist.Region()
	}
	w.cfg.Logger.Error("fenced: another worker writes this watchlist; stop one of the two, then restart this one",
		"watchlist", watchlist, "detail", detail)
	w.notices = append(w.notices, notice{
		origin: origin,
		change: statusChange{status: event.StatusFenced, reason: ReasonFenced, detail: detail},
	})
	w.nudge()
}

// TokenCondition tells a change in whether the API token works.
func (w *Worker) TokenCondition(c fastmoss.TokenCondition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change := statusChange{status: c.Status, reason: ReasonToken, detail: c.Detail, at: c.Since, next: c.NextTry}
	switch c.Status {
	case fastmoss.StatusOK:
		change.status = event.StatusRecovered
		w.tokenBad = false
		w.retryHeld(time.Now())
	case event.StatusQuota:
		change.reason = ReasonQuota
		w.tokenBad = true
	default:
		w.tokenBad = true
	}
	w.noticeToken(change)
}

func (w *Worker) noticeToken(change statusChange) {
	w.notices = append(w.notices, notice{
		origin: event.Origin{Prefix: w.cfg.Prefix, Watchlist: event.TokenWatchlist, Region: event.RegionAll},
		change: change,
	})
	w.nudge()
}

// sayNotices commits the statuses that wait and reports whether some still do.
func (w *Worker) sayNotices() bool {
	w.mu.Lock()
	todo := w.notices
	w.notices = nil
	w.mu.Unlock()
	for i, n := range todo {
		err := w.agree(n.origin.Watchlist)
		if err == nil {
			err = w.tell(n.origin, n.change, false)
		}
		if err != nil {
			w.cfg.Logger.Error("status not kept yet", "watchlist", n.origin.Watchlist, "status", n.change.status, "err", err)
			w.mu.Lock()
			w.notices = append(todo[i:], w.notices...)
			w.mu.Unlock()
			return true
		}
	}
	return false
}
