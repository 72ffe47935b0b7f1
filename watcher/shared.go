package watcher

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Shared is what a worker needs of the bus to share its watchlists.
type Shared struct {
	// Sync brings the Store in line with the stream, of which others write too,
	// and says whether it asked the stream for that.
	Sync func(ctx context.Context, watchlist string, k Known) (asked bool, err error)
	// Marks says where the last messages of a watchlist are on the stream.
	Marks func(watchlist string) (Known, error)
	// Flush waits until what was committed of a watchlist is published, or was
	// dropped since another worker was first.
	Flush func(ctx context.Context, watchlist string) error
	// PutHead lets others know what is tracked now, where no board tells them.
	PutHead func(ctx context.Context, watchlist string, t event.Tracked) error
}

// Known is what the last reader left of a watchlist on the stream: a revision that
// it has, where its last messages are if that was asked for a short while ago, and
// where what PutHead wrote last is.
type Known struct {
	Revision      uint64
	Board, Status uint64
	Head          uint64
	Fresh         bool
}

// freshFor is how long it is believed that nobody published but who had the turn.
// A worker that was cut off can publish later what it read, if nothing else came
// in between; then this is how long that goes unnoticed.
const freshFor = time.Minute

// A Turn is a watchlist that this worker is to read now. Carry is what the last
// reader left for the next one; empty if nobody did.
//
// Due is when the reading was to be made. Where the bus's clock is ahead of this
// worker's that may be yet to come; it counts as made then.
type Turn struct {
	Watchlist string
	Due       time.Time
	Carry     []byte
}

// A Served is a watchlist whose turn is over.
type Served struct {
	Watchlist string
	Next      time.Time // when the next reading is due
	// Follows says that another watchlist of the same feed is due just then:
	// whoever reads that one serves this one too.
	Follows bool
	Carry   []byte // for the next reader
}

// What Serve answers when it read nothing.
var (
	// ErrUnknown means that no such watchlist is configured here.
	ErrUnknown = errors.New("watcher: no such watchlist here")
	// ErrBusy means that the same feed is being read here already.
	ErrBusy = errors.New("watcher: the same feed is being read")
	// ErrAbandoned means that nothing came of the reading: the worker ends, the
	// turn was lost, or the watchlist was configured anew.
	ErrAbandoned = errors.New("watcher: reading abandoned")
)

// flushTime is how long a turn that was read waits for the bus.
const flushTime = 30 * time.Second

// mostAhead bounds by how much another clock is believed to be ahead.
const mostAhead = time.Hour

// carry is what a reader leaves for the next one, which may be another worker:
// what the stream does not tell, since no board was worth publishing.
type carry struct {
	ID       string          `json:"id,omitempty"`
	Revision uint64          `json:"revision"` // of the board that it belongs to
	Record   json.RawMessage `json:"record,omitempty"`
	Failures int             `json:"failures,omitempty"` // in a row
	Board    uint64          `json:"board,omitempty"`    // the sequence of the last one
	Status   uint64          `json:"status,omitempty"`   // the same
	Head     uint64          `json:"head,omitempty"`     // of what PutHead wrote last
	Asked    time.Time       `json:"asked,omitzero"`     // when the stream was asked last
}

func (c *carry) known() Known {
	age := time.Since(c.Asked)
	return Known{Revision: c.Revision, Board: c.Board, Status: c.Status, Head: c.Head, Fresh: age < freshFor && age > -freshFor}
}

func decodeCarry(data []byte) (c carry, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &c)
	}
	return c, err
}

// Serve reads a feed once, for the watchlist of the first turn and, of the
// others, those that have the same feed. It returns when what changed is
// published, those first that the result names; the others were not served. Of a
// feed there is one Serve at a time.
//
// Calls are made through source, which ends them when the turn is lost. After an
// error nothing was published, or another worker was first.
func (w *Worker) Serve(ctx context.Context, source Source, turns ...Turn) ([]Served, error) {
	j, err := w.begin(source, turns)
	if err != nil {
		return nil, err
	}
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.running, j.feed)
	}()
	for i, t := range turns {
		if !slices.Contains(j.names, t.Watchlist) {
			continue
		}
		err := w.prepare(ctx, j, t)
		if err != nil && i == 0 {
			return nil, fmt.Errorf("prepare %s: %w", t.Watchlist, err)
		}
		if err != nil {
			w.cfg.Logger.Debug("left to a turn of its own", "watchlist", t.Watchlist, "err", err)
			w.leave(j, t.Watchlist)
		}
	}
	w.read(ctx, j)
	if _, ok := j.attempts[turns[0].Watchlist]; !ok {
		return nil, ErrAbandoned
	}
	// What is committed is to be published, also by a worker that ends.
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	var done []Served
	for _, name := range j.names {
		if _, ok := j.attempts[name]; !ok {
			continue
		}
		if err := w.cfg.Shared.Flush(flush, name); err != nil {
			return nil, err
		}
		s, err := w.served(flush, j, name)
		if errors.Is(err, ErrUnknown) && name != turns[0].Watchlist {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		done = append(done, s)
	}
	return done, nil
}

// leave has a job go on without a watchlist. Others read its names meanwhile.
func (w *Worker) leave(j *job, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j.names = slices.DeleteFunc(slices.Clone(j.names), func(n string) bool { return n == name })
}

// begin makes the job of the turns that go together.
func (w *Worker) begin(source Source, turns []Turn) (*job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.lists[turns[0].Watchlist]
	if first == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, turns[0].Watchlist)
	}
	j := &job{feed: first.watchlist.Feed(), source: source, attempts: map[string]Attempt{}, asked: map[string]time.Time{}}
	if w.running[j.feed] != nil {
		return nil, ErrBusy
	}
	now := time.Now()
	for _, t := range turns {
		e := w.lists[t.Watchlist]
		if e == nil || e.watchlist.Feed() != j.feed {
			continue
		}
		if c, err := decodeCarry(t.Carry); err == nil {
			e.failures = c.Failures
		}
		j.names = append(j.names, t.Watchlist)
		at := now
		if ahead := t.Due.Sub(now); ahead > 0 && ahead < mostAhead {
			at = t.Due
		}
		w.schedule.Took(t.Watchlist, at)
	}
	w.running[j.feed] = j
	return j, nil
}

// prepare takes over what others published of a watchlist, and what the last
// reader left.
func (w *Worker) prepare(ctx context.Context, j *job, t Turn) error {
	c, err := decodeCarry(t.Carry)
	if err == nil {
		_, err = decodeRecord(c.Record)
	}
	if err != nil {
		w.cfg.Logger.Warn("what the last reader left is unreadable", "watchlist", t.Watchlist, "err", err)
		c = carry{Revision: c.Revision}
	}
	at := time.Now()
	before, err := w.cfg.Store.Load(t.Watchlist)
	if err != nil {
		return err
	}
	asked, err := w.cfg.Shared.Sync(ctx, t.Watchlist, c.known())
	if err != nil {
		return err
	}
	if !asked {
		at = c.Asked
	}
	j.asked[t.Watchlist] = at
	after, err := w.cfg.Store.Load(t.Watchlist)
	if err != nil || after.Version == before.Version && w.goesOnFrom(t.Watchlist, c.ID) {
		return err
	}
	for range staleTries {
		if err = w.recall(t.Watchlist, c); !errors.Is(err, ErrStale) {
			break
		}
	}
	if err == nil {
		w.goOnFrom(t.Watchlist, c.ID)
	}
	return err
}

// goesOnFrom says that this worker's record is what was left, or of attempts after
// it, and so more: it left that itself, or its turn comes again.
func (w *Worker) goesOnFrom(name, id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.lists[name]
	if e == nil || id == "" || e.from != id && e.to != id {
		return false
	}
	e.from = id
	return true
}

func (w *Worker) goOnFrom(name, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.lists[name]; e != nil {
		e.from, e.to = id, ""
	}
}

// recall makes the record that was left the stored one, if no board was published
// since. The condition is what the last status told. If nothing was left, as for a
// schedule that was lost, what others read since is unknown, and a loss that waits
// for its confirmation may be one that they have seen to be none.
func (w *Worker) recall(name string, c carry) error {
	l, err := w.cfg.Store.Load(name)
	if err != nil || len(c.Record) > 0 && l.Revision != c.Revision || l.Broken || len(l.Record) == 0 {
		return err
	}
	now, err := decodeRecord(l.Record)
	if err != nil {
		return err
	}
	left := now
	left.Guard = nil
	if len(c.Record) > 0 {
		if left, err = decodeRecord(c.Record); err != nil {
			return err
		}
		left.Condition = now.Condition
	}
	data, err := json.Marshal(left)
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", name, err)
	}
	if bytes.Equal(data, l.Record) {
		return nil
	}
	return w.cfg.Store.Commit(Commit{Watchlist: name, Version: l.Version, Tracked: event.Tracked{Record: data}, At: time.Now()})
}

// served tells others what only this worker knows.
func (w *Worker) served(ctx context.Context, j *job, name string) (Served, error) {
	l, err := w.cfg.Store.Load(name)
	if err != nil {
		return Served{}, err
	}
	for _, s := range j.silent {
		if s == name && l.Revision > 0 {
			// Should somebody else have published meanwhile, it is of no use.
			if err := w.cfg.Shared.PutHead(ctx, name, l.Tracked); err != nil {
				w.cfg.Logger.Debug("head not replaced", "watchlist", name, "err", err)
			}
		}
	}
	marks, err := w.cfg.Shared.Marks(name)
	if err != nil {
		return Served{}, err
	}
	left := carry{ID: rand.Text(), Revision: l.Revision, Record: l.Record, Board: marks.Board, Status: marks.Status, Head: marks.Head, Asked: j.asked[name]}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.lists[name]
	if e == nil {
		return Served{}, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	left.Failures = e.failures
	if r, err := decodeRecord(l.Record); err == nil {
		e.standing.Attempts = r.Attempts
	}
	s := Served{Watchlist: name}
	if s.Next, s.Follows = w.schedule.Follows(name); !s.Follows {
		s.Next, _ = w.schedule.At(name)
	}
	e.next, e.to = s.Next, left.ID
	s.Carry, err = json.Marshal(left)
	if err != nil {
		return Served{}, fmt.Errorf("encode what is left of %s: %w", name, err)
	}
	return s, nil
}

// Mates returns the watchlists that share a feed with the named one.
func (w *Worker) Mates(name string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.schedule.Mates(name)
}

// Plan names all of a configured watchlist that its turns depend on.
func (w *Worker) Plan(name string) (plan string, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.lists[name]
	if e == nil {
		return "", false
	}
	return e.watchlist.plan(), true
}

// Replan says when a watchlist is due that is armed under another plan than the
// present one; false if it is not. As with Reload a changed list is due at once,
// while a changed schedule goes on from the last reading, which carry tells.
func (w *Worker) Replan(name, plan string, data []byte) (due time.Time, changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.lists[name]
	if e == nil {
		return time.Time{}, false
	}
	now := e.watchlist.plan()
	if plan == now {
		return time.Time{}, false
	}
	list, _, _ := strings.Cut(plan, planSeparator)
	if same, _, _ := strings.Cut(now, planSeparator); same != list {
		return time.Now(), true
	}
	c, err := decodeCarry(data)
	if err != nil {
		return time.Now(), true
	}
	r, err := decodeRecord(c.Record)
	if err != nil || r.Tick.IsZero() {
		return time.Now(), true
	}
	return Next(e.watchlist, r.Tick), true
}

// planSeparator parts what is read from when it is read.
const planSeparator = "."

// plan is a digest of what is read and one of when.
func (w Watchlist) plan() string {
	short := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:6])
	}
	return short(fmt.Sprintf("%s %v", w.Fingerprint(), w.Period)) + planSeparator +
		short(fmt.Sprintf("%s %s %s", w.Every, w.Cron, w.location()))
}

// Retire tells that a watchlist is gone, unless that was told already, and waits
// until that is published.
func (w *Worker) Retire(ctx context.Context, name string) error {
	if _, err := w.cfg.Shared.Sync(ctx, name, Known{}); err != nil {
		return err
	}
	l, err := w.cfg.Store.Load(name)
	if err != nil {
		return err
	}
	if !l.Known && l.Revision == 0 {
		return nil // nobody ever heard of it
	}
	if err := w.revive(name, l); err != nil {
		return err
	}
	o := event.Origin{Prefix: w.cfg.Prefix, Watchlist: name}
	if err := w.tell(o, retired(), false); err != nil {
		return err
	}
	return w.cfg.Shared.Flush(ctx, name)
}

// revive forgets that a watchlist was retired if a board came after that, which no
// status tells.
func (w *Worker) revive(name string, l Loaded) error {
	r, err := decodeRecord(l.Record)
	if err != nil || r.Condition == nil || r.Condition.Status != event.StatusRetired {
		return err
	}
	marks, err := w.cfg.Shared.Marks(name)
	if err != nil || marks.Board <= marks.Status {
		return err
	}
	r.Condition = nil
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", name, err)
	}
	return w.cfg.Store.Commit(Commit{Watchlist: name, Version: l.Version, Tracked: event.Tracked{Record: data}, At: time.Now()})
}

// agree brings a shared watchlist's last status here before another one follows.
func (w *Worker) agree(name string) error {
	if w.cfg.Shared == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	_, err := w.cfg.Shared.Sync(ctx, name, Known{})
	return err
}
