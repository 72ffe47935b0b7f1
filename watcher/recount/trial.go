package recount

import (
	"maps"
	"slices"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A TrialConfig is what else a watchlist might have been set to. Reset makes a
// baseline of each new period, Announce publishes `entered` for everybody in the
// very first reading.
type TrialConfig struct {
	Rules    diff.Rules
	Reset    bool
	Announce bool
}

// A Trial reads a watchlist's stored boards again under other settings and tells
// what would have been published. It is for one goroutine.
//
// Two things are not in the stored boards and are taken as they were: readings
// that the guard held back, and, where history begins in the middle, what had
// been reported of a creator before; up to its first event it counts as it was
// published.
type Trial struct {
	cfg      TrialConfig
	comparer diff.Comparer
	board    diff.Board
	unsure   unsure
	blurred  bool
	last     *Reading
	names    map[string]string // of those that the last board names by uid alone
}

// NewTrial makes a Trial for one watchlist.
func NewTrial(cfg TrialConfig) *Trial { return &Trial{cfg: cfg} }

// Told is one event that the settings of a trial call for, or that was
// published. Before and After are nil as in the message.
type Told struct {
	Kind          event.Kind
	UID           string
	Name          string
	Before, After *event.Place
}

// A Verdict compares one reading's events, unless Compared is false: a reading
// that history begins with, or begins again with after a gap, only gives the
// start. Published counts those that were published, Trial those of the trial's
// settings. Those that one of them alone has are in OnlyPublished and OnlyTrial;
// Other has those that both have, but from or to another place.
type Verdict struct {
	Compared                 bool
	Gap                      bool // the revision before is missing
	Published, Trial         event.Counts
	OnlyPublished, OnlyTrial []Told
	Other                    []Pair
}

// A Pair is one event as it was published and as the trial tells it.
type Pair struct{ Published, Trial Told }

// Differ says whether the two are not the same.
func (v *Verdict) Differ() bool {
	return len(v.OnlyPublished)+len(v.OnlyTrial)+len(v.Other) > 0
}

// Next reads the next board again.
func (t *Trial) Next(r *Reading) (Verdict, error) {
	rules, err := r.Rules()
	if err != nil {
		return Verdict{}, r.fault("%v", err)
	}
	defer func() { t.remember(r) }()
	gap := t.last != nil && r.Data.Revision != t.last.Data.Revision+1 && r.reason() != event.ReasonRestored
	if t.last == nil && !r.first() || t.blurred || r.Cut || gap {
		t.begin(r, rules)
		return Verdict{Gap: gap}, nil
	}
	told := t.between(r)
	if t.fresh(r) {
		res := diff.Baseline(r.List(), t.cfg.Rules, t.cfg.Announce && r.first())
		t.board, t.unsure = res.Board, unsure{}
		return compare(r, append(told, t.told(r, res.Changes)...)), nil
	}
	for _, i := range r.Data.Interim {
		t.board.Resume(i.UID, int32(i.Unseen), t.cfg.Rules)
	}
	t.unsure.guide(&t.board, r, t.cfg.Rules)
	res := t.comparer.Compare(t.board, r.List(), t.cfg.Rules)
	told = append(told, t.told(r, res.Changes)...)
	t.board = res.Board
	for i := range r.Events {
		t.unsure.learn(&r.Events[i])
	}
	return compare(r, told), nil
}

// begin takes the first board as it is, if it can.
func (t *Trial) begin(r *Reading, rules diff.Rules) {
	mine := t.cfg.Rules
	t.unsure, t.blurred = unsure{}, r.blurred(rules)
	if r.baseline() || rules.Top != mine.Top || rules.Margin != mine.Margin || rules.Ties != mine.Ties {
		t.board = diff.Baseline(r.List(), mine, false).Board
		return
	}
	t.board = r.Board()
	t.unsure = newUnsure(&t.board, rules)
}

// fresh says whether the reading is a baseline under the trial's settings too.
func (t *Trial) fresh(r *Reading) bool {
	if r.baseline() && r.reason() != event.ReasonRollover {
		return true
	}
	p, q := r.Data.PreviousPeriod, r.Data.Period
	return t.cfg.Reset && p != nil && q != nil && *p != *q
}

// between reads the board before again as often as it came again unpublished:
// that is what rules count which wait for several readings.
func (t *Trial) between(r *Reading) []Told {
	if t.last == nil || len(t.last.Data.Holes) > 0 {
		return nil // a torn tie may have hidden others each time
	}
	var told []Told
	for range r.Data.Unchanged {
		res := t.comparer.Compare(t.board, t.last.List(), t.cfg.Rules)
		if !res.Changed {
			break
		}
		told = append(told, t.told(t.last, res.Changes)...)
		t.board = diff.Board{Rows: slices.Clone(res.Board.Rows), Holes: res.Board.Holes}
	}
	return told
}

// told describes changes that lead to reading r.
func (t *Trial) told(r *Reading, changes []diff.Change) []Told {
	if len(changes) == 0 {
		return nil
	}
	names := maps.Clone(t.names)
	if names == nil {
		names = make(map[string]string)
	}
	for _, b := range []*Reading{t.last, r} {
		if b == nil {
			continue
		}
		for i := range b.Data.Board {
			names[b.Data.Board[i].UID] = b.Data.Board[i].Nickname
		}
	}
	out := make([]Told, len(changes))
	for i, c := range changes {
		out[i] = Told{Kind: KindOf(c.Kind), UID: c.UID, Name: names[c.UID], Before: PlaceOf(c.Before), After: PlaceOf(c.After)}
	}
	return out
}

// remember keeps the reading, and the names of those on the board whom it does
// not show.
func (t *Trial) remember(r *Reading) {
	names := make(map[string]string)
	for _, row := range t.board.Rows[min(len(r.Data.Board), len(t.board.Rows)):] {
		if n, ok := t.names[row.UID]; ok {
			names[row.UID] = n
		}
		if t.last == nil {
			continue
		}
		for i := range t.last.Data.Board {
			if t.last.Data.Board[i].UID == row.UID {
				names[row.UID] = t.last.Data.Board[i].Nickname
			}
		}
	}
	t.names, t.last = names, r
}

// compare holds what was published of a reading against what the trial told.
func compare(r *Reading, trial []Told) Verdict {
	type key struct {
		kind event.Kind
		uid  string
	}
	v := Verdict{Compared: true, Published: r.Data.Counts}
	mine := make(map[key]*Told, len(trial))
	for i := range trial {
		mine[key{trial[i].Kind, trial[i].UID}] = &trial[i]
		v.Trial.Add(trial[i].Kind)
	}
	for i := range r.Events {
		e := &r.Events[i]
		k := key{e.Kind, e.Data.Creator.UID}
		m := mine[k]
		was := Told{Kind: e.Kind, UID: k.uid, Before: e.Data.Before, After: e.Data.After}
		if n := e.Data.Creator.Nickname; n != nil {
			was.Name = *n
		}
		if m == nil {
			v.OnlyPublished = append(v.OnlyPublished, was)
			continue
		}
		if !samePlace(m.Before, was.Before) || !samePlace(m.After, was.After) {
			v.Other = append(v.Other, Pair{Published: was, Trial: *m})
		}
		delete(mine, k)
	}
	for i := range trial {
		if mine[key{trial[i].Kind, trial[i].UID}] == &trial[i] {
			v.OnlyTrial = append(v.OnlyTrial, trial[i])
		}
	}
	return v
}

// samePlace compares rank and index. A position is as of the last event, which
// other rules tell at another time.
func samePlace(a, b *event.Place) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Rank == b.Rank && a.PotentialIndex == b.PotentialIndex
}

// At is when the reading was made; zero if the message does not say.
func (r *Reading) At() time.Time {
	at, err := time.Parse(time.RFC3339, r.Time)
	if err != nil {
		return time.Time{}
	}
	return at
}
