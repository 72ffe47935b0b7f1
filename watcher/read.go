package watcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

const (
	// confirmWithin is how soon a reading that the guard holds back is repeated.
	confirmWithin = 5 * time.Minute
	// A reading that failed is tried again between ticks, ever more slowly.
	retryFirst, retryMax = time.Minute, 15 * time.Minute
	// ownRetry is how soon the worker tries again after trouble of its own: its
	// disk, or a bus that it has to ask first.
	ownRetry = 5 * time.Second
	// tokenRetry is how soon watchlists ask whether the token works again, which
	// costs no call while it is known not to.
	tokenRetry = 10 * time.Second
	// staleTries bounds how often a step is computed anew because something else
	// changed the watchlist meanwhile.
	staleTries = 5
)

// read makes one reading of a feed and settles it for each of its watchlists.
func (w *Worker) read(ctx context.Context, j *job) {
	ctx, span := w.cfg.Tracer.Start(ctx, "reading", trace.WithNewRoot())
	defer endReading(span, j)
	j.began = time.Now()
	for _, name := range j.names {
		if w.cfg.Shared != nil {
			break // Serve did it
		}
		if err := w.adopt(ctx, name); err != nil {
			w.failed(ctx, j, fmt.Errorf("ask the stream about %s: %w", name, err))
			return
		}
	}
	scan, err := w.scan(ctx, j)
	if err != nil {
		w.failed(ctx, j, err)
		return
	}
	w.tokenWorks()
	for _, name := range j.names {
		w.settle(ctx, j, name, scan)
	}
}

// adopt asks the stream about a watchlist that was never read here.
func (w *Worker) adopt(ctx context.Context, name string) error {
	w.mu.Lock()
	e := w.lists[name]
	done := e == nil || e.adopted
	w.mu.Unlock()
	if done {
		return nil
	}
	l, err := w.cfg.Store.Load(name)
	if err != nil {
		return err
	}
	if !l.Known && l.Revision == 0 {
		if err := w.cfg.Adopt(ctx, name); err != nil {
			return err
		}
	}
	w.mu.Lock()
	e.adopted = true
	w.mu.Unlock()
	return nil
}

// scan reads the feed's list, of the newest published period if that is asked.
func (w *Worker) scan(ctx context.Context, j *job) (sc *Scan, err error) {
	ctx, span := w.cfg.Tracer.Start(ctx, "scan")
	defer func() { endScan(span, sc, err) }()
	source := j.source
	if source == nil {
		source = w.cfg.Source
	}
	q := fastmoss.Query{Filter: j.feed.Filter, Period: j.feed.Period.Fixed()}
	if j.feed.Period.Latest() {
		held, err := w.held(j)
		if err != nil {
			return nil, err
		}
		if q.Period, err = latest(ctx, source, q, j.feed, held); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	var known facts
	if k := w.known[j.feed]; k != nil {
		known = *k
	}
	w.mu.Unlock()
	s := &scanner{source: source, query: q, depth: j.feed.Depth}
	if sc, err = s.read(ctx, &known); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(known.duplicates) > 0 || known.rises {
		w.known[j.feed] = &known
	} else {
		delete(w.known, j.feed)
	}
	return sc, nil
}

// held is the newest period that the job's watchlists have read.
func (w *Worker) held(j *job) (event.Period, error) {
	var newest event.Period
	for _, name := range j.names {
		l, err := w.cfg.Store.Load(name)
		if err != nil {
			return newest, err
		}
		r, err := decodeRecord(l.Record)
		if err != nil {
			return newest, err
		}
		if r.Period.Type == j.feed.Period.Type && Newer(r.Period, newest) {
			newest = r.Period
		}
	}
	return newest, nil
}

// latest finds the newest published period with one-row calls.
func latest(ctx context.Context, source Source, q fastmoss.Query, feed Feed, held event.Period) (event.Period, error) {
	loc, err := time.LoadLocation(feed.Timezone)
	if err != nil {
		return event.Period{}, fmt.Errorf("time zone of the watchlist: %w", err)
	}
	newest := LastCompleted(feed.Period.Type, time.Now(), loc)
	return Latest(ctx, held, newest, func(ctx context.Context, p event.Period) (bool, error) {
		q.Period = p
		page, err := source.Page(ctx, q, 1, 1)
		if errors.Is(err, fastmoss.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		// The echo of another period is a source that answers with what it has.
		return page.Rows > 0 && (page.Period == p || page.Period == event.Period{}), nil
	})
}

// settle computes and commits what a scan means for one watchlist.
func (w *Worker) settle(ctx context.Context, j *job, name string, scan *Scan) {
	ctx, span := w.cfg.Tracer.Start(ctx, "commit")
	endCommit(span, name, w.commit(ctx, j, name, scan))
}

// commit returns what it came to, without an outcome if the scan is of no use
// any more.
func (w *Worker) commit(ctx context.Context, j *job, name string, scan *Scan) Attempt {
	for range staleTries {
		wl, ok := w.current(j, name)
		if !ok {
			return Attempt{}
		}
		out, err := w.step(wl, scan)
		if err == nil {
			follow(ctx, out.commit.Batches)
			err = w.cfg.Store.Commit(out.commit)
		}
		switch {
		case errors.Is(err, ErrStale):
			continue
		case err != nil:
			return w.failedOne(ctx, j, name, err)
		}
		return w.committed(j, wl, out, scan)
	}
	return w.failedOne(ctx, j, name, fmt.Errorf("commit %s: %w %d times", name, ErrStale, staleTries))
}

// current is the watchlist as configured now; false if the job's reading is not
// for it any more.
func (w *Worker) current(j *job, name string) (Watchlist, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.lists[name]
	if e == nil || e.fenced || e.watchlist.Feed() != j.feed {
		return Watchlist{}, false
	}
	return e.watchlist, true
}

func (w *Worker) step(wl Watchlist, scan *Scan) (*settled, error) {
	loaded, err := w.cfg.Store.Load(wl.Name)
	if err != nil {
		return nil, err
	}
	c, ok := w.comparers.Get().(*diff.Comparer)
	if !ok {
		c = new(diff.Comparer)
	}
	defer w.comparers.Put(c)
	s := &step{
		watchlist: wl, scan: scan, loaded: loaded, prefix: w.cfg.Prefix, writer: w.cfg.Writer,
		maxPayload: w.cfg.MaxPayload(), comparer: c,
		departed: func(uids []string) (map[string]Departure, error) { return w.cfg.Store.Departed(wl.Name, uids) },
	}
	return s.compute()
}

func (w *Worker) committed(j *job, wl Watchlist, out *settled, scan *Scan) Attempt {
	a := Attempt{
		Watchlist: wl.Name, Outcome: out.outcome, Reason: out.reason, Events: out.events, Counts: out.counts,
		Took: time.Since(j.began), At: scan.At,
	}
	for _, b := range out.commit.Batches {
		if b.Chain.Kind == event.Board {
			a.Revision = b.Revision
		}
	}
	if len(out.commit.Batches) > 0 {
		w.cfg.Committed()
	}
	if out.commit.Tracked.Board != nil && a.Revision == 0 {
		j.silent = append(j.silent, wl.Name)
	}
	w.mu.Lock()
	failures := 0
	if e := w.lists[wl.Name]; e != nil {
		failures = e.failures
		e.failures, e.tokenHeld = 0, false
		if out.outcome == OutcomeWaiting {
			w.schedule.Retry(wl.Name, time.Now().Add(confirmWithin))
		}
		e.tried(a, "")
	}
	a.Next, _ = w.schedule.At(wl.Name)
	if e := w.lists[wl.Name]; e != nil {
		e.next = a.Next
	}
	w.mu.Unlock()
	w.holds(out.commit, out.condition, out.detail)
	if failures > 0 {
		w.cfg.Logger.Info("reading succeeds again", "watchlist", wl.Name, "failures", failures)
	}
	w.cfg.Logger.Debug("reading", "watchlist", wl.Name, "outcome", out.outcome, "reason", out.reason,
		"revision", a.Revision, "events", out.events, "entries", len(scan.Items), "total", scan.Total)
	w.cfg.Observe(a)
	j.note(a)
	return a
}

// tokenWorks says so if an earlier process left the token's condition bad.
func (w *Worker) tokenWorks() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tokenBad {
		w.tokenBad = false
		w.noticeToken(statusChange{status: event.StatusRecovered, reason: ReasonToken, detail: "the token works again"})
	}
}

func (w *Worker) failed(ctx context.Context, j *job, err error) {
	for _, name := range j.names {
		w.failedOne(ctx, j, name, err)
	}
}

// failedOne plans the next try of a reading that came to nothing and says so if
// that is news. It returns the attempt, without an outcome if nobody waits for
// it any more.
func (w *Worker) failedOne(ctx context.Context, j *job, name string, err error) Attempt {
	if ctx.Err() != nil {
		return Attempt{}
	}
	v := judge(err)
	now := time.Now()
	w.mu.Lock()
	e := w.lists[name]
	if e == nil || e.watchlist.Feed() != j.feed {
		w.mu.Unlock()
		return Attempt{}
	}
	e.failures++
	switch {
	case v.token:
		e.tokenHeld = true
		w.schedule.Retry(name, now.Add(tokenRetry))
	case v.own:
		w.schedule.Retry(name, now.Add(ownRetry))
	case v.again:
		w.schedule.Retry(name, now.Add(min(retryFirst<<min(e.failures-1, 10), retryMax)))
	}
	next, _ := w.schedule.At(name)
	e.next = next
	first := e.failures == 1
	origin := event.Origin{Prefix: w.cfg.Prefix, Region: e.watchlist.Region(), Watchlist: name}
	a := Attempt{Watchlist: name, Outcome: v.outcome, Reason: v.reason, Took: now.Sub(j.began), At: now, Next: next, Err: err}
	e.tried(a, cmp.Or(v.detail, err.Error()))
	w.mu.Unlock()

	level := w.cfg.Logger.Debug
	if first {
		level = w.cfg.Logger.Warn
	}
	level("reading failed", "watchlist", name, "outcome", v.outcome, "reason", v.reason, "next", next, "err", err)
	if v.status != "" {
		change := statusChange{
			status: v.status, reason: v.reason, detail: v.detail, at: now, next: next,
			trace: traceParent(ctx),
		}
		if err := w.tell(origin, change, true); err != nil {
			w.cfg.Logger.Error("status not kept", "watchlist", name, "status", v.status, "err", err)
		}
	}
	w.cfg.Observe(a)
	j.note(a)
	return a
}

// verdict is what a failed reading means.
type verdict struct {
	outcome, status, reason, detail string
	again                           bool // try before the next tick
	token                           bool // every watchlist of the token waits
	own                             bool // the worker's own trouble
}

func judge(err error) verdict {
	stale := func(reason string, again bool) verdict {
		return verdict{outcome: OutcomeStale, status: event.StatusStale, reason: reason, detail: err.Error(), again: again}
	}
	rejected := func(reason string, again bool) verdict {
		return verdict{outcome: OutcomeRejected, status: event.StatusRejected, reason: reason, detail: err.Error(), again: again}
	}
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		v := rejected(refusal.Reason, true)
		v.detail = refusal.Detail
		return v
	case errors.Is(err, fastmoss.ErrParameter):
		return rejected(ReasonParameter, false)
	case errors.Is(err, fastmoss.ErrMalformed):
		return rejected(ReasonMalformed, true)
	case errors.Is(err, ErrUnpublished), errors.Is(err, fastmoss.ErrNotFound):
		return stale(ReasonUnpublished, false)
	case errors.Is(err, fastmoss.ErrToken):
		return stale(ReasonToken, true)
	case errors.Is(err, fastmoss.ErrDenied):
		return verdict{outcome: OutcomePaused, reason: ReasonToken, token: true}
	case errors.Is(err, fastmoss.ErrQuota):
		return verdict{outcome: OutcomePaused, reason: ReasonQuota, token: true}
	case errors.Is(err, fastmoss.ErrThrottled):
		return stale(ReasonThrottled, true)
	case errors.Is(err, fastmoss.ErrUnavailable):
		return stale(ReasonUnavailable, true)
	case errors.Is(err, ErrFull):
		return verdict{outcome: OutcomePaused, reason: ReasonBacklog, detail: "too much waits for the bus", own: true}
	case errors.Is(err, ErrBusAway):
		return verdict{outcome: OutcomePaused, reason: ReasonBus, detail: "waits for NATS: it is new to this worker, and the stream may hold its history", own: true}
	case errors.Is(err, ErrFenced):
		return verdict{outcome: OutcomePaused, reason: ReasonFenced, detail: "another worker writes this watchlist"}
	}
	// The error may name files, and anybody may ask for the detail.
	return verdict{outcome: OutcomePaused, reason: ReasonWorker, detail: "the worker's own trouble; its log says why", own: true}
}

// tell commits a change of condition by itself. tried says that it comes of an
// attempt at a reading, which the record then knows of. An origin without a
// region takes that of the watchlist's last reading.
func (w *Worker) tell(o event.Origin, change statusChange, tried bool) error {
	if change.at.IsZero() {
		change.at = time.Now()
	}
	for range staleTries {
		c, err := w.condition(o, change, tried)
		if err != nil {
			return err
		}
		if len(c.commit.Batches) == 0 && !tried {
			return nil
		}
		err = w.cfg.Store.Commit(c.commit)
		if errors.Is(err, ErrStale) {
			continue
		}
		if err == nil {
			w.holds(c.commit, c.condition, change.detail)
		}
		if err == nil && len(c.commit.Batches) > 0 {
			w.cfg.Committed()
		}
		return err
	}
	return fmt.Errorf("status of %s: %w %d times", o.Watchlist, ErrStale, staleTries)
}

func (w *Worker) condition(o event.Origin, change statusChange, tried bool) (*settled, error) {
	l, err := w.cfg.Store.Load(o.Watchlist)
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(l.Record)
	if err != nil {
		return nil, fmt.Errorf("watchlist %s: %w", o.Watchlist, err)
	}
	if o.Region == "" {
		if o.Region = r.Region; o.Region == "" {
			o.Region = event.RegionAll
		}
	}
	if r.Region == "" {
		r.Region = o.Region
	}
	change.number = l.Statuses + 1
	next, batch, err := transition(o, r.Condition, change)
	if err != nil {
		return nil, err
	}
	c := Commit{Watchlist: o.Watchlist, Version: l.Version, At: change.at}
	if batch != nil {
		c.Batches = []event.Batch{*batch}
	}
	r.Condition = next
	if tried {
		r.Tick = change.at
		r.Attempts++
	}
	if c.Tracked.Record, err = json.Marshal(r); err != nil {
		return nil, fmt.Errorf("encode record of %s: %w", o.Watchlist, err)
	}
	return &settled{commit: c, condition: next}, nil
}
