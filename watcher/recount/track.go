package recount

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Track goes over the readings of one watchlist in order and holds each
// against what its predecessors and its own list make of it. It is for one
// goroutine.
//
// Where history begins in the middle, what was last reported of a creator is
// learned from its first event; from then on everything must add up.
type Track struct {
	comparer diff.Comparer
	board    diff.Board
	held     map[string]event.Place // what the events so far say
	unsure   unsure
	blurred  bool // the board holds too little to go on from it
	last     *link
	sum      Summary
}

// A Summary is what was checked of a watchlist: readings and events from the
// revision First on, of Since, up to Last. Begins says why there is none before
// First; it is empty where nothing is missing.
type Summary struct {
	First, Last      uint64
	Since, Until     time.Time
	Readings, Events int
	Unnamed          int // events that no board names
	Blurred          int // readings that were not computed again, for want of a board that tells enough
	Begins           string
}

// link is what the next board refers to.
type link struct {
	at       Fault // where it is
	revision uint64
	lineage  int
	region   string
	rules    event.Rules
	digest   string
	seals    bool // written by a version that seals
}

func (r *Reading) link() *link {
	_, lineage, _ := event.ParseReadingID(r.ID)
	return &link{
		at: *r.fault(""), revision: r.Data.Revision, lineage: lineage, region: r.Data.Region, rules: r.Data.Rules,
		digest: event.Digest(r.Raw.Data), seals: r.Data.EventsDigest != "",
	}
}

// NewTrack makes a Track for one watchlist.
func NewTrack() *Track { return new(Track) }

// Summary tells what was checked so far.
func (t *Track) Summary() Summary { return t.sum }

// Next checks the next reading and returns what is wrong with it, nil if
// nothing is. After a Fault the Track is of no further use.
func (t *Track) Next(r *Reading) *Fault {
	defer func() { t.last = r.link() }()
	rules, err := r.Rules()
	if err != nil {
		return r.fault("%v", err)
	}
	at := r.At()
	if at.IsZero() {
		return r.fault("time %q is none", r.Time)
	}
	t.sum.Last, t.sum.Until = r.Data.Revision, at
	if t.last == nil && !r.first() || r.Cut {
		return t.start(r, rules)
	}
	if t.last == nil {
		t.sum.First, t.sum.Since = r.Data.Revision, at
	}
	t.sum.Unnamed += r.Unnamed
	t.sum.Readings++
	t.sum.Events += len(r.Events)
	if f := cmp.Or(t.frame(r), t.link(r), r.complete()); f != nil {
		return f
	}
	if t.blurred {
		t.sum.Blurred++
		t.begin(r, rules)
		return t.sealed(r, nil)
	}
	return t.sealed(r, t.recompute(r, rules))
}

// start begins with a reading whose predecessor is not there. Where nothing can
// be missing for its age, that is a Fault, and the reading itself is whole.
func (t *Track) start(r *Reading, rules diff.Rules) *Fault {
	t.sum.First, t.sum.Since, t.sum.Readings, t.sum.Events, t.sum.Unnamed, t.sum.Blurred = r.Data.Revision, r.At(), 1, 0, 0, 0
	t.sum.Begins = "what came before is not stored any more"
	switch restored := r.baseline() && r.reason() == event.ReasonRestored; {
	case r.first():
		t.sum.Begins = ""
	case restored:
		t.sum.Begins = "history broke off there (a baseline `restored`)"
	case !r.Cut && r.Whole:
		return r.fault("%s missing before it, and nothing has been deleted for its age", revisions(1, r.Data.Revision-1))
	}
	t.begin(r, rules)
	if r.Cut || !r.Kept {
		return nil
	}
	t.sum.Events = len(r.Events)
	return cmp.Or(t.frame(r), r.complete(), t.sealed(r, nil))
}

// begin takes a board as it is, since what led to it is not there, or not to be
// told from the board before.
func (t *Track) begin(r *Reading, rules diff.Rules) {
	t.unsure, t.blurred = unsure{}, false
	if r.baseline() {
		t.board = diff.Baseline(r.List(), rules, false).Board
		t.forget()
	} else {
		t.board = r.Board()
		t.unsure = newUnsure(&t.board, rules)
		t.blurred = r.blurred(rules)
	}
	t.hold(r)
}

// A Head is what a watchlist's head says of its newest board: the revision, and
// the digest unless it is empty.
type Head struct {
	Watchlist string
	Revision  uint64
	Digest    string
}

// Seal holds the last reading against the watchlist's head.
func (t *Track) Seal(h Head) *Fault {
	if t.last == nil {
		return &Fault{Watchlist: h.Watchlist, Revision: h.Revision, What: "the board is missing: the watchlist's head says that it was published"}
	}
	f := t.last.at
	switch {
	case h.Revision > t.last.revision:
		f.What = fmt.Sprintf("%s missing after it: the watchlist's head says that it was published", revisions(t.last.revision+1, h.Revision))
	case h.Revision == t.last.revision && h.Digest != "" && h.Digest != t.last.digest:
		f.What = fmt.Sprintf("the board is not what was published: the watchlist's head sealed it as %s, it is %s", h.Digest, t.last.digest)
	default:
		return nil
	}
	return &f
}

// blurred says that the board alone is too little to go on from: who of a torn
// tie is hidden it does not tell, nor, where rules keep moves back, in which
// order those come back into a tie that are away.
func (r *Reading) blurred(rules diff.Rules) bool {
	bands := rules.MinPlaces > 1 || rules.IgnoreDisplaced
	return !r.baseline() && (len(r.Data.Holes) > 0 || rules.Ties == diff.Ordinal && bands && len(r.Data.Absent) > 0)
}

// forget drops what a baseline leaves open: the history of those who were
// members before.
func (t *Track) forget() {
	for i := range t.board.Rows {
		t.board.Rows[i].FirstSeen, t.board.Rows[i].Peak = 0, 0
	}
}

// hold makes the board's members what a consumer holds.
func (t *Track) hold(r *Reading) {
	t.held = members(r)
}

func members(r *Reading) map[string]event.Place {
	m := make(map[string]event.Place, len(r.Data.Board))
	for i := range r.Data.Board {
		if row := &r.Data.Board[i]; row.Member {
			m[row.UID] = event.Place{Rank: row.Rank, PotentialIndex: row.PotentialIndex}
		}
	}
	for _, a := range r.Data.Absent {
		m[a.UID] = event.Place{Rank: a.Rank, PotentialIndex: a.PotentialIndex}
	}
	return m
}

// frame checks what a board says of itself.
func (t *Track) frame(r *Reading) *Fault {
	s := &r.Data
	_, lineage, _ := event.ParseReadingID(r.ID)
	switch want := event.ReadingID(s.Watchlist, s.Revision, lineage) + "/board"; {
	case r.ID != want:
		return r.fault("the id is not %s", want)
	case s.FetchedAt != r.Time:
		return r.fault("fetched_at is %s, time %s", s.FetchedAt, r.Time)
	case s.Outcome != event.OutcomeBaseline && s.Outcome != event.OutcomeChanged:
		return r.fault("outcome %q is not known", s.Outcome)
	case r.baseline() != (s.Reason != nil):
		return r.fault("reason is %q, outcome %s", r.reason(), s.Outcome)
	}
	return nil
}

// link checks that the board follows the one before.
func (t *Track) link(r *Reading) *Fault {
	if t.last == nil {
		return nil
	}
	s, p := &r.Data, t.last
	restored := r.baseline() && r.reason() == event.ReasonRestored
	_, lineage, _ := event.ParseReadingID(r.ID)
	switch {
	case !restored && s.Revision != p.revision+1:
		return r.fault("%s missing", revisions(p.revision+1, s.Revision-1))
	case s.PreviousRevision == nil || *s.PreviousRevision != p.revision:
		return r.fault("previous_revision is %s, but revision %d came before", number(s.PreviousRevision), p.revision)
	case lineage != p.lineage && (!restored || lineage < p.lineage):
		return r.fault("the ids' lineage goes from %d to %d without a baseline `restored`", p.lineage, lineage)
	case s.PreviousDigest != nil && *s.PreviousDigest != p.digest:
		f := p.at
		f.What = fmt.Sprintf("the board is not what was published: revision %d sealed it as %s, it is %s", s.Revision, *s.PreviousDigest, p.digest)
		return &f
	case s.PreviousDigest == nil && p.seals && !restored:
		return r.fault("previous_digest is missing")
	case r.baseline():
		return nil
	}
	if a, b := p.rules, s.Rules; a.Top != b.Top || a.Margin != b.Margin || a.Ties != b.Ties || p.region != s.Region {
		return r.fault("top, margin, ties or region changed without a baseline")
	}
	return nil
}

func revisions(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("revision %d is", from)
	}
	return fmt.Sprintf("revisions %d to %d are", from, to)
}

func number(n *uint64) string {
	if n == nil {
		return "null"
	}
	return fmt.Sprint(*n)
}

// recompute compares the list with the board before and holds the result
// against the events and the board.
func (t *Track) recompute(r *Reading, rules diff.Rules) *Fault {
	list := r.List()
	var res diff.Result
	if r.baseline() {
		res = diff.Baseline(list, rules, r.first() && len(r.Events) > 0)
		t.unsure = unsure{}
	} else {
		for _, i := range r.Data.Interim {
			t.board.Resume(i.UID, int32(i.Unseen), rules)
		}
		t.unsure.guide(&t.board, r, rules)
		res = t.comparer.Compare(t.board, list, rules)
		if !res.Changed && len(t.unsure.uids) == 0 && len(t.unsure.misses) == 0 {
			return r.fault("nothing changed since revision %d, so it should not be there", t.last.revision)
		}
	}
	if f := t.events(r, res); f != nil {
		return f
	}
	if !res.Changed {
		t.begin(r, rules)
		return nil
	}
	t.board = res.Board
	if r.baseline() && !r.first() {
		t.forget()
	}
	if f := t.rows(r); f != nil {
		return f
	}
	return t.fold(r, rules)
}

// sealed says what the digest of the events adds to a finding.
func (t *Track) sealed(r *Reading, f *Fault) *Fault {
	if r.Data.EventsDigest == "" {
		return f // of a version that did not seal
	}
	got := event.EventsDigest(func(yield func([]byte) bool) {
		for i := range r.Events {
			if !yield(r.Events[i].Raw.Data) {
				return
			}
		}
	})
	same := got == r.Data.EventsDigest
	switch {
	case f == nil && !same:
		return r.fault("an event of the reading is not what was published: sealed as %s, they are %s", r.Data.EventsDigest, got)
	case f != nil && same:
		f.What += "; the events are as they were sealed, so it is a board that was changed"
	}
	return f
}

// fold applies the events as a consumer does and holds the result against the
// board: membership exactly, rank and index as far as the rules tell each change.
func (t *Track) fold(r *Reading, rules diff.Rules) *Fault {
	if r.baseline() {
		t.hold(r)
		return nil
	}
	for i := range r.Events {
		e := &r.Events[i]
		uid := e.Data.Creator.UID
		switch e.Kind {
		case event.Dropped:
			delete(t.held, uid)
		case event.Index:
			p := t.held[uid]
			p.PotentialIndex = e.Data.After.PotentialIndex
			t.held[uid] = p
		default:
			t.held[uid] = event.Place{Rank: e.Data.After.Rank, PotentialIndex: e.Data.After.PotentialIndex}
		}
	}
	now := members(r)
	for _, uid := range slices.Sorted(maps.Keys(now)) {
		was, ok := t.held[uid]
		switch is := now[uid]; {
		case !ok:
			return r.fault("%s is a member of the board, and no event says so", uid)
		case rules.MinPlaces == 1 && !rules.IgnoreDisplaced && was.Rank != is.Rank && !(t.unsure.rank && t.unsure.uids[uid]):
			return r.fault("the events put %s on rank %d, the board on %d", uid, was.Rank, is.Rank)
		case rules.MinChange == 1 && was.PotentialIndex != is.PotentialIndex && !(t.unsure.index && t.unsure.uids[uid]):
			return r.fault("the events give %s the index %d, the board %d", uid, was.PotentialIndex, is.PotentialIndex)
		}
	}
	if len(now) != len(t.held) {
		for _, uid := range slices.Sorted(maps.Keys(t.held)) {
			if _, ok := now[uid]; !ok {
				return r.fault("%s is no member of the board, and no event says so", uid)
			}
		}
	}
	return nil
}
