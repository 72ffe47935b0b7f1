package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Query selects messages. Empty fields select everything. Both ends of a
// range belong to it.
type Query struct {
	Watchlists []string
	Kinds      []event.Kind
	UIDs       []string // selects changes only, which alone have one
	// Since and Until are about Message.Time: when a reading was made, not when
	// the bus took it.
	Since, Until time.Time
	// FromRevision and ToRevision, if not 0, leave out statuses, which have no
	// revision.
	FromRevision, ToRevision uint64
}

const (
	// maxFilters is how many subject filters a consumer is given. A query that
	// needs more is filtered here in part.
	maxFilters = 256
	// maxSearches is for how many watchlists the start of a range of revisions
	// is searched for.
	maxSearches = 16
)

// A selection is a query made ready: what the server filters, and what is left
// to do here.
type selection struct {
	q       Query
	prefix  string
	filters []string // they do not overlap; none means that nothing can match
	// What the filters are too many for; nil if the server does it.
	names, uids map[string]bool
}

// compile checks a query and makes it ready.
func compile(prefix string, q Query) (*selection, error) {
	for _, w := range q.Watchlists {
		if w == "" || strings.ContainsAny(w, " \t\r\n.*>") {
			return nil, fmt.Errorf("history: %q is no name of a watchlist", w)
		}
	}
	if slices.Contains(q.UIDs, "") {
		return nil, errors.New("history: an empty uid names nobody")
	}
	q.Watchlists, q.UIDs = unique(q.Watchlists), unique(q.UIDs)
	s := &selection{q: q, prefix: prefix}
	kinds, some := q.kinds()
	if !some {
		return s, nil
	}
	names, uids := q.Watchlists, q.UIDs
	count := func() int { return max(len(names), 1) * max(len(kinds), 1) * max(len(uids), 1) }
	if count() > maxFilters && len(uids) > 0 {
		if uids, s.uids = nil, set(uids); len(kinds) == 0 {
			kinds = changes
		}
	}
	if count() > maxFilters {
		names, s.names = nil, set(names)
	}
	for _, w := range orAll(names) {
		for _, k := range orAll(kinds) {
			for _, u := range orAll(uids) {
				s.filters = append(s.filters, event.Filter(event.Subject{Prefix: prefix, Watchlist: w, Kind: k, UID: u}))
			}
		}
	}
	return s, nil
}

var changes = []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index}

// kinds are those that the query can match, none for all of them; false means
// that it can match nothing.
func (q *Query) kinds() ([]event.Kind, bool) {
	kinds := unique(q.Kinds)
	if q.FromRevision != 0 || q.ToRevision != 0 {
		kinds = slices.DeleteFunc(kinds, func(k event.Kind) bool { return k == event.Status })
	}
	if len(q.UIDs) > 0 {
		kinds = slices.DeleteFunc(kinds, func(k event.Kind) bool { return k == event.Board || k == event.Status })
	}
	return kinds, len(kinds) > 0 || len(q.Kinds) == 0
}

func orAll[T ~string](s []T) []T {
	if len(s) == 0 {
		return []T{""}
	}
	return s
}

func unique[T ~string](s []T) []T {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

func set(s []string) map[string]bool {
	m := make(map[string]bool, len(s))
	for _, v := range s {
		m[v] = true
	}
	return m
}

// named says that the query does not leave out the watchlist.
func (s *selection) named(watchlist string) bool { return s.names == nil || s.names[watchlist] }

// matches decides what the server did not.
func (s *selection) matches(m *Message) bool {
	if q := &s.q; !q.Since.IsZero() || !q.Until.IsZero() {
		t := m.Time()
		if !q.Since.IsZero() && t.Before(q.Since) || !q.Until.IsZero() && t.After(q.Until) {
			return false
		}
	}
	if q := &s.q; q.FromRevision != 0 || q.ToRevision != 0 {
		n, ok := m.Revision()
		if !ok || n < q.FromRevision || q.ToRevision != 0 && n > q.ToRevision {
			return false
		}
	}
	if s.names == nil && s.uids == nil {
		return true
	}
	subject, err := event.ParseSubject(s.prefix, m.Subject)
	return err == nil && s.named(subject.Watchlist) && (s.uids == nil || s.uids[subject.UID])
}

// A Progress is told where a reading of the stream is: how many messages were
// looked at and about how many are left. It is called for each message and must
// not block.
type Progress func(read, left uint64)

// Each calls fn with every message of the query that the stream holds now, in
// stream order, and passes on fn's error. The Message is fn's until it returns;
// its Data stays as it is. fn runs in another goroutine, and not any more once
// Each has returned. progress may be nil.
//
// A server that is restarted meanwhile is waited for, and nothing is missed or
// repeated; one that stays away is ErrGone.
func (r *Reader) Each(ctx context.Context, q Query, progress Progress, fn func(*Message) error) error {
	s, err := compile(r.prefix, q)
	if err != nil || len(s.filters) == 0 {
		return err
	}
	p := pass{r: r, conf: jetstream.ConsumerConfig{FilterSubjects: s.filters}}
	all := r.prefix + "."
	if len(s.filters) == 1 && s.filters[0] == all+">" && r.ours() {
		// The server takes longer to match a wildcard against a block's subjects
		// than to send the few messages that are not for the public.
		p.conf.FilterSubjects = nil
	}
	if err := r.begin(ctx, &s.q, &p.conf); err != nil {
		return err
	}
	end, err := r.newEnd(ctx, s)
	if err != nil {
		return err
	}
	var read uint64
	p.fn = func(m *Message, left uint64) error {
		if read++; progress != nil {
			progress(read, end.left(m, read, left))
		}
		if strings.HasPrefix(m.Subject, all) && s.matches(m) {
			if err := fn(m); err != nil {
				return err
			}
		}
		return end.after(m)
	}
	return p.run(ctx)
}

// ours says that the stream holds nothing of others.
func (r *Reader) ours() bool {
	for _, s := range r.Stream().Config.Subjects {
		if s != r.prefix+".>" && s != event.IngestRoot+r.prefix+".>" && s != event.InternalRoot+r.prefix+".>" {
			return false
		}
	}
	return true
}

// begin has the server leave out what comes before the range, as far as that is
// easily found.
func (r *Reader) begin(ctx context.Context, q *Query, conf *jetstream.ConsumerConfig) error {
	if !q.Since.IsZero() {
		// Nothing is stored before it was made, but by another clock: what lies
		// before a message that was stored before t was made before the range. That
		// holds for times that do not rise, too, as long as the clocks keep to it.
		t := q.Since.Add(-r.skew)
		if !r.Stream().State.FirstTime.Before(t) {
			return nil
		}
		start, err := r.search(ctx, t, near)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		// A search that broke off costs time and no message. The reading itself waits
		// for a server that is away, and tells what else is wrong.
		if start > 1 {
			conf.DeliverPolicy, conf.OptStartSeq = jetstream.DeliverByStartSequencePolicy, start
		}
		return nil
	}
	if q.FromRevision <= 1 || len(q.Watchlists) == 0 || len(q.Watchlists) > maxSearches || !r.direct() {
		return nil
	}
	var start uint64
	for _, w := range q.Watchlists {
		// The events of a revision come after the board before it.
		m, err := r.BoardUpToRevision(ctx, w, q.FromRevision-1)
		switch {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return err
		case start == 0 || m.Sequence < start:
			start = m.Sequence + 1
		}
	}
	conf.DeliverPolicy, conf.OptStartSeq = jetstream.DeliverByStartSequencePolicy, start
	return nil
}

// An end knows when the rest of the stream has nothing more of a range: once
// each chain has been seen past it, or to its end. Times rise along a chain, but
// not along the stream, which takes late what the bus could not take in time. A
// nil end never comes.
type end struct {
	s     *selection
	skew  time.Duration
	open  map[event.Chain]bool // chains that may go on
	lasts []Chain              // where they end, in stream order

	// Where the first message lies, for left.
	firstTime     time.Time
	firstRevision uint64
}

// newEnd returns nil for a range that has no end.
func (r *Reader) newEnd(ctx context.Context, s *selection) (*end, error) {
	if s.q.Until.IsZero() && s.q.ToRevision == 0 {
		return nil, nil
	}
	lists := s.q.Watchlists
	if s.names != nil {
		lists = nil
	}
	chains, err := r.Chains(ctx, lists...)
	if err != nil || len(chains) == 0 {
		return nil, err
	}
	e := &end{s: s, skew: r.skew, open: make(map[event.Chain]bool, len(chains))}
	for _, c := range chains {
		if c.Kind == event.Status && (s.q.ToRevision != 0 || len(s.q.UIDs) > 0) || !s.named(c.Watchlist) {
			continue
		}
		e.open[c.Chain] = true
		e.lasts = append(e.lasts, c)
	}
	if len(e.open) == 0 {
		return nil, nil
	}
	return e, nil
}

// past says that a message comes after the range, and so does what follows it
// in its chain.
func (e *end) past(m *Message) bool {
	if q := &e.s.q; q.ToRevision != 0 {
		if n, ok := m.Revision(); ok && n > q.ToRevision {
			return true
		}
	}
	return !e.s.q.Until.IsZero() && m.Time().After(e.s.q.Until.Add(e.skew))
}

// after returns errDone if nothing of the range can follow m.
func (e *end) after(m *Message) error {
	if e == nil {
		return nil
	}
	// A reading in several parts, the last of which is still missing, has events
	// behind its chain's last board, but soon.
	for len(e.lasts) > 0 && e.lasts[0].Sequence <= m.Sequence && m.Stored.Sub(e.lasts[0].Stored) > e.skew {
		delete(e.open, e.lasts[0].Chain)
		e.lasts = e.lasts[1:]
	}
	if e.past(m) {
		s, err := event.ParseSubject(e.s.prefix, m.Subject)
		if err != nil {
			return nil //nolint:nilerr // not one of ours
		}
		c := event.Chain{Watchlist: s.Watchlist, Kind: event.Board}
		if s.Kind == event.Status {
			c.Kind = event.Status
		}
		delete(e.open, c)
	}
	if len(e.open) == 0 {
		return errDone
	}
	return nil
}

// left guesses how many of the messages that are left come before the end, from
// how far the last one has come on the way to it.
func (e *end) left(m *Message, read, left uint64) uint64 {
	if e == nil {
		return left
	}
	share := 0.0
	if until := e.s.q.Until; !until.IsZero() {
		t := m.Time()
		if e.firstTime.IsZero() {
			e.firstTime = t
		}
		if whole := until.Sub(e.firstTime); whole > 0 {
			share = float64(t.Sub(e.firstTime)) / float64(whole)
		}
	}
	if to := e.s.q.ToRevision; to != 0 {
		n, _ := m.Revision()
		if e.firstRevision == 0 {
			e.firstRevision = n
		}
		if to > e.firstRevision && n > e.firstRevision {
			share = max(share, float64(n-e.firstRevision)/float64(to-e.firstRevision))
		}
	}
	if share <= 0 {
		return left
	}
	return min(left, uint64(float64(read)*max(1-share, 0)/share))
}
