package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/turns"
	"github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// A report is all that is shown. It is the form of -o json, too.
type report struct {
	Stream     string     `json:"stream"`
	Prefix     string     `json:"prefix"`
	File       *file      `json:"file"` // nil before anybody has brought one
	Limits     limits     `json:"limits"`
	Turns      queue      `json:"turns"`
	Watchlists watchlists `json:"watchlists"`
	Token      *token     `json:"token,omitempty"`      // nil while it works
	HoldUntil  *time.Time `json:"hold_until,omitempty"` // the source wants no calls
	Workers    []worker   `json:"workers"`
	Waited     float64    `json:"waited"` // for their answers, in seconds
}

type file struct {
	Order  uint64    `json:"order"`
	Hash   string    `json:"hash"`
	Since  time.Time `json:"since"`
	Writer string    `json:"writer"`
}

type limits struct {
	Readings int     `json:"readings"`
	Rate     float64 `json:"rate"` // calls per second
}

type queue struct {
	Waiting     int      `json:"waiting"`      // that nobody has taken
	Held        int      `json:"held"`         // that were taken
	Redelivered int      `json:"redelivered"`  // of those, not for the first time
	Unanswered  int      `json:"unanswered"`   // held by nobody that answered
	LateWaiting *float64 `json:"late_waiting"` // of the oldest that waits, since it was due; nil without one
	LateReading *float64 `json:"late_reading"` // of the workers' last turns at their start, the worst; nil without one
}

type watchlists struct {
	File    int      `json:"file"`    // -1 if this version cannot read the file
	Armed   int      `json:"armed"`   // that have a schedule
	Called  int      `json:"called"`  // that have a turn which is not done
	Without []string `json:"without"` // of the file's, with neither
	Retired []string `json:"retired"` // that have one and are not in the file
}

type token struct {
	Status  string     `json:"status"`
	Reason  string     `json:"reason,omitempty"`
	Detail  string     `json:"detail,omitempty"`
	Since   time.Time  `json:"since"`
	NextTry *time.Time `json:"next_try,omitempty"`
	Writer  string     `json:"writer"`
}

type worker struct {
	Writer  string    `json:"writer"`
	Host    string    `json:"host"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	Order   uint64    `json:"order"`   // of the file it goes by
	Behind  bool      `json:"behind"`  // that is not the fleet's
	Differs bool      `json:"differs"` // the file on its disk is not the fleet's
	Limits  limits    `json:"limits"`  // it goes by
	Done    uint64    `json:"done"`    // turns
	Back    uint64    `json:"back"`    // turns handed back
	Lost    uint64    `json:"lost"`    // turns not kept to the end
	Retaken uint64    `json:"retaken"` // turns that somebody had before
	Waiting int       `json:"waiting"` // batches for the bus
	Late    *float64  `json:"late"`    // of its last turn at its start; nil before the first
	Reading []reading `json:"reading"` // the longest first
}

type reading struct {
	Watchlist string    `json:"watchlist"`
	Since     time.Time `json:"since"`
	For       float64   `json:"for"` // seconds, if the clocks agree
}

// A question is whom to ask.
type question struct {
	conn   *nats.Conn
	view   *fleet.View
	prefix string
	wait   time.Duration
}

// gather asks server and workers.
func gather(ctx context.Context, q question) (*report, error) {
	r := &report{Workers: []worker{}, Waited: q.wait.Seconds()}
	var members []turns.Member
	var state fleet.State
	now := time.Now()
	// At once, so that what the server says of the turns goes with the answers.
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		members, err = turns.Ask(gctx, q.conn, q.prefix, q.wait)
		return err
	})
	g.Go(func() (err error) {
		state, err = q.view.State(gctx)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	names, err := r.addFile(ctx, q.view)
	if err != nil {
		return nil, err
	}
	if err := r.addWatchlists(ctx, q.view, names); err != nil {
		return nil, err
	}
	if err := r.addToken(ctx, q.view); err != nil {
		return nil, err
	}
	r.addWorkers(members, now)
	r.addTurns(state, now)
	r.Turns.Unanswered, err = r.unanswered(ctx, q, state.Working)
	return r, err
}

// unanswered counts the held turns that no worker told of. A turn that was just then
// taken, or done, is not one of them, so that what seems to be is asked for again.
func (r *report) unanswered(ctx context.Context, q question, held int) (int, error) {
	after, err := q.view.State(ctx)
	n := max(0, min(held, after.Working)-r.reading())
	for range 2 {
		if err != nil || n == 0 {
			break
		}
		members, aerr := turns.Ask(ctx, q.conn, q.prefix, q.wait)
		if aerr != nil {
			return 0, aerr
		}
		reading := 0
		for _, m := range members {
			reading += len(m.Reading)
		}
		var now fleet.State
		now, err = q.view.State(ctx)
		n = min(n, max(0, now.Working-reading))
	}
	return n, err
}

// reading is how many readings the workers that answered have told of.
func (r *report) reading() (n int) {
	for _, w := range r.Workers {
		n += len(w.Reading)
	}
	return n
}

// addFile returns the names of the file's watchlists, nil if they are not known.
func (r *report) addFile(ctx context.Context, v *fleet.View) (names []string, err error) {
	f, err := v.File(ctx)
	if errors.Is(err, fleet.ErrNoFile) {
		return []string{}, nil
	}
	if err != nil {
		return nil, err
	}
	r.File = &file{Order: f.Order, Hash: f.Hash, Since: f.At.UTC(), Writer: f.Writer}
	lists, err := watcher.ParseWatchlists("the fleet's file", f.Content)
	if err != nil {
		return nil, nil //nolint:nilerr // its worker read it, so that one is of a newer version
	}
	names = make([]string, len(lists))
	for i := range lists {
		names[i] = lists[i].Name
	}
	return names, nil
}

func (r *report) addWatchlists(ctx context.Context, v *fleet.View, names []string) error {
	armed, called, err := v.Names(ctx)
	if err != nil {
		return err
	}
	w := watchlists{File: len(names), Armed: len(armed), Called: len(called), Without: []string{}, Retired: []string{}}
	defer func() { r.Watchlists = w }()
	if names == nil {
		w.File = -1
		return nil
	}
	retired := maps.Clone(armed)
	maps.Copy(retired, called)
	for _, n := range names {
		if !retired[n] {
			w.Without = append(w.Without, n)
		}
		delete(retired, n)
	}
	w.Retired = append(w.Retired, slices.Sorted(maps.Keys(retired))...)
	if len(w.Without) == 0 {
		return nil
	}
	// A schedule that became a turn meanwhile was seen as neither.
	armed, called, err = v.Names(ctx)
	w.Without = slices.DeleteFunc(w.Without, func(n string) bool { return armed[n] || called[n] })
	slices.Sort(w.Without)
	return err
}

func (r *report) addToken(ctx context.Context, v *fleet.View) error {
	t, until, err := v.Token(ctx)
	if err != nil {
		return err
	}
	if until.After(time.Now()) {
		until = until.UTC()
		r.HoldUntil = &until
	}
	if t.Status == "" || t.Status == fastmoss.StatusOK {
		return nil
	}
	r.Token = &token{Status: t.Status, Reason: t.Reason, Detail: t.Detail, Since: t.Since.UTC(), Writer: t.Writer}
	if !t.NextTry.IsZero() {
		next := t.NextTry.UTC()
		r.Token.NextTry = &next
	}
	return nil
}

func (r *report) addWorkers(members []turns.Member, now time.Time) {
	for _, m := range members {
		w := worker{
			Writer: m.Writer, Host: m.Host, Version: m.Version, Since: m.Started.UTC(), Order: m.Order, Differs: m.Differs,
			Behind: r.File != nil && (m.Order != r.File.Order || m.File != r.File.Hash), Limits: limits(m.Limits),
			Done: m.Stats.Turns, Back: m.Stats.Back, Lost: m.Stats.Lost, Retaken: m.Stats.Retaken, Waiting: m.Waiting, Reading: []reading{},
		}
		if !m.Stats.LastTaken.IsZero() {
			w.Late = seconds(m.Stats.LastLate)
		}
		for name, since := range m.Reading {
			w.Reading = append(w.Reading, reading{Watchlist: name, Since: since.UTC(), For: *seconds(max(0, now.Sub(since)))})
		}
		slices.SortFunc(w.Reading, func(a, b reading) int {
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Watchlist, b.Watchlist))
		})
		r.Workers = append(r.Workers, w)
	}
	slices.SortFunc(r.Workers, func(a, b worker) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), a.Since.Compare(b.Since), cmp.Compare(a.Writer, b.Writer))
	})
}

func (r *report) addTurns(s fleet.State, now time.Time) {
	r.Limits = limits(s.Limits)
	r.Turns = queue{Waiting: s.Queued, Held: s.Working, Redelivered: s.Redelivered}
	if !s.Waits.IsZero() {
		r.Turns.LateWaiting = seconds(max(0, now.Sub(s.Waits)))
	}
	for _, w := range r.Workers {
		if w.Late != nil && (r.Turns.LateReading == nil || *w.Late > *r.Turns.LateReading) {
			r.Turns.LateReading = w.Late
		}
	}
}

func seconds(d time.Duration) *float64 {
	s := d.Round(time.Millisecond).Seconds()
	return &s
}
