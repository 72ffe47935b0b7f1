package watcher

import (
	"slices"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Standing is how a watchlist is doing. Times are zero where nothing was yet.
type Standing struct {
	Watchlist Watchlist
	Known     time.Time // since when this process has it
	Tried     time.Time // the last attempt at a reading
	Read      time.Time // the last good reading
	Next      time.Time // the next attempt as planned now
	// Outcome, Reason, Detail, Revision and Events are of the last attempt, as in
	// Attempt. Outcome is empty before the first one since the process started.
	Outcome, Reason, Detail string
	Revision                uint64
	Events                  int
	Failures                int    // in a row
	Attempts                uint64 // of all who share the watchlist, known to who made or heard of the last one
	Reading                 bool   // now
	Condition               *Condition
}

// A Condition is what the last status of a watchlist told, as long as it holds.
type Condition struct {
	Status, Reason string
	Detail         string // empty if an earlier process told it
	Since          time.Time
}

// Standings tells of every configured watchlist, by name. Before Run only a worker
// that shares its watchlists knows of any.
func (w *Worker) Standings() []Standing {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]Standing, 0, len(w.lists))
	for name := range w.lists {
		all = append(all, w.standing(name))
	}
	slices.SortFunc(all, func(a, b Standing) int { return strings.Compare(a.Watchlist.Name, b.Watchlist.Name) })
	return all
}

// Standing tells of one watchlist, and whether it is configured.
func (w *Worker) Standing(name string) (Standing, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lists[name] == nil {
		return Standing{}, false
	}
	return w.standing(name), true
}

// standing is called with mu held.
func (w *Worker) standing(name string) Standing {
	e := w.lists[name]
	s := e.standing
	s.Watchlist, s.Failures = e.watchlist, e.failures
	s.Next, _ = w.schedule.At(name)
	if w.cfg.Shared != nil {
		s.Next = e.next
	}
	if e.fenced {
		s.Next = time.Time{}
	}
	if j := w.running[e.watchlist.Feed()]; j != nil {
		s.Reading = slices.Contains(j.names, name)
	}
	return s
}

// after says that it is of a later attempt than another one. Clocks of workers may
// be apart, and what counts attempts may have been lost: both have to say so.
func (s *Standing) after(attempts uint64, tried time.Time) bool {
	return s.Attempts > attempts && s.Tried.After(tried)
}

// Overdue is when the last good reading is too old whatever else is said of it:
// the second time after it at which another one was due. Before the first good
// reading it is counted from Known.
func (s *Standing) Overdue() time.Time {
	from := s.Read
	if from.IsZero() {
		from = s.Known
	}
	r := rhythmOf(s.Watchlist)
	return r.after(r.after(from))
}

// TokenStanding tells of the token, as far as a status told of it; nil if all is
// well.
func (w *Worker) TokenStanding() *Condition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.token
}

// tried notes what became of an attempt. It is called with mu held.
func (e *entry) tried(a Attempt, detail string) {
	s := &e.standing
	s.Tried = a.At
	s.Outcome, s.Reason, s.Detail, s.Revision, s.Events = a.Outcome, a.Reason, detail, a.Revision, a.Events
	if a.Err == nil && a.Outcome != OutcomeWaiting {
		s.Read = a.At
	}
}

// holds notes what a watchlist's condition, or the token's, is since a commit. Of
// two commits at once the later one counts, whichever is noted first; a detail is
// that of the status which was told, and stays as long as that holds.
func (w *Worker) holds(c Commit, is *condition, detail string) {
	now := is.known()
	if now != nil && len(c.Batches) > 0 {
		now.Detail = detail
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	held, version := &w.token, &w.tokenVersion
	if c.Watchlist != event.TokenWatchlist {
		e := w.lists[c.Watchlist]
		if e == nil {
			return
		}
		held, version = &e.standing.Condition, &e.version
	}
	if c.Version < *version {
		return
	}
	*version = c.Version + 1
	if now != nil && len(c.Batches) == 0 && *held != nil && (*held).Status == now.Status {
		now.Detail = (*held).Detail
	}
	*held = now
}

// known is the condition as others see it, nil if all is well. A watchlist that
// is configured is not retired, whatever its last status told.
func (c *condition) known() *Condition {
	if c == nil || c.Status == event.StatusRetired {
		return nil
	}
	return &Condition{Status: c.Status, Reason: c.Reason, Since: c.Since}
}
