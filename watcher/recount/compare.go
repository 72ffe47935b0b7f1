package recount

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// complete checks that the reading has all events that its board counts, each
// once and in order, and that they share what a reading's messages share.
func (r *Reading) complete() *Fault {
	s := &r.Data
	want := s.Counts.Total()
	var counts event.Counts
	for i := range r.Events {
		e := &r.Events[i]
		switch {
		case i > 0 && e.Data.N == r.Events[i-1].Data.N:
			return r.event(e, "event %d of %d is there twice", e.Data.N, want)
		case e.Data.N > i+1:
			return r.event(e, "event %d of %d is missing before it", i+1, want)
		case e.Data.N != i+1:
			return r.event(e, "n is %d, and it is event %d of its reading", e.Data.N, i+1)
		case e.Data.Of != want:
			return r.event(e, "of is %d, the board counts %d events", e.Data.Of, want)
		}
		if f := r.shared(e); f != nil {
			return f
		}
		counts.Add(e.Kind)
	}
	if len(r.Events) < want {
		return r.fault("event %d of %d is missing", len(r.Events)+1, want)
	}
	if counts != s.Counts {
		return r.fault("counts are %s, the events' %s", text(s.Counts), text(counts))
	}
	return nil
}

// shared checks what all messages of a reading say.
func (r *Reading) shared(e *Event) *Fault {
	_, lineage, _ := event.ParseReadingID(r.ID)
	id := event.ReadingID(r.Data.Watchlist, r.Data.Revision, lineage) + "/" + string(e.Kind) + "/" + event.EscapeUID(e.Data.Creator.UID)
	switch {
	case e.ID != id:
		return r.event(e, "the id is not %s", id)
	case e.Data.Revision != r.Data.Revision:
		return r.event(e, "revision is %d, the board's %d", e.Data.Revision, r.Data.Revision)
	case e.Time != r.Time:
		return r.event(e, "time is %s, the board's %s", e.Time, r.Time)
	case e.Data.Region != r.Data.Region:
		return r.event(e, "region is %s, the board's %s", e.Data.Region, r.Data.Region)
	case !reflect.DeepEqual(e.Data.Period, r.Data.Period) || !reflect.DeepEqual(e.Data.PreviousPeriod, r.Data.PreviousPeriod):
		return r.event(e, "period or previous_period are not the board's")
	}
	return nil
}

// events holds the changes that were computed against the events that were
// published.
func (t *Track) events(r *Reading, res diff.Result) *Fault {
	for i := range max(len(res.Changes), len(r.Events)) {
		switch {
		case i >= len(r.Events):
			c := &res.Changes[i]
			return r.fault("the boards give `%s` of %s, and it was not published", KindOf(c.Kind), c.UID)
		case i >= len(res.Changes):
			return r.event(&r.Events[i], "the boards give no such event")
		}
		e, c := &r.Events[i], &res.Changes[i]
		if e.Kind != KindOf(c.Kind) || e.Data.Creator.UID != c.UID {
			return r.event(e, "the boards give `%s` of %s in its place", KindOf(c.Kind), c.UID)
		}
		if what := t.change(e, c); what != "" {
			return r.event(e, "%s", what)
		}
		if what := t.who(r, e, c); what != "" {
			return r.event(e, "%s", what)
		}
		if what := t.past(r, res, e, c); what != "" {
			return r.event(e, "%s", what)
		}
		t.unsure.learn(e)
	}
	return nil
}

// change compares the two ends, and what lies between them.
func (t *Track) change(e *Event, c *diff.Change) string {
	d := &e.Data
	before, after := PlaceOf(c.Before), PlaceOf(c.After)
	unsure := t.unsure.uids[c.UID]
	if unsure && before != nil && d.Before != nil {
		before.Position = d.Before.Position
	}
	var places *int
	var index *int64
	var cause *event.Cause
	if before != nil && after != nil {
		p, x := before.Rank-after.Rank, after.PotentialIndex-before.PotentialIndex
		places, index = &p, &x
		if c.CauseKnown {
			cause = CauseOf(c.Cause)
		}
	}
	switch {
	case !reflect.DeepEqual(d.Before, before):
		return fmt.Sprintf("before is %s, recomputed %s", text(d.Before), text(before))
	case !reflect.DeepEqual(d.After, after):
		return fmt.Sprintf("after is %s, recomputed %s", text(d.After), text(after))
	case !reflect.DeepEqual(d.Places, places) || !reflect.DeepEqual(d.IndexChange, index):
		return "places or index_change are not the difference of before and after"
	case d.Edge != c.Edge:
		return fmt.Sprintf("edge is %t, recomputed %t", d.Edge, c.Edge)
	case unsure && t.unsure.rank && d.Cause != nil && places != nil && d.Cause.Passed+d.Cause.DroppedAbove-d.Cause.PassedBy-d.Cause.EnteredAbove != *places:
		return "the cause does not add up to places"
	case !(unsure && t.unsure.rank) && !reflect.DeepEqual(d.Cause, cause):
		return fmt.Sprintf("cause is %s, recomputed %s", text(d.Cause), text(cause))
	}
	return ""
}

// text writes a part of a message as the message does.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// who compares the names with those of the board's row.
func (t *Track) who(r *Reading, e *Event, c *diff.Change) string {
	if c.Row == diff.None || int(c.Row) >= len(r.Data.Board) {
		return ""
	}
	row := &r.Data.Board[c.Row]
	name := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	if name(e.Data.Creator.UniqueID) != row.UniqueID || event.CutNickname(name(e.Data.Creator.Nickname)) != row.Nickname {
		return "unique_id or nickname are not those of the board"
	}
	return ""
}

// past compares what is remembered of the creator, as far as it is known: a
// creator that comes back brings its past with it, and one that was there before
// a baseline or before history tells it with its first event.
func (t *Track) past(r *Reading, res diff.Result, e *Event, c *diff.Change) string {
	h := &e.Data.History
	first, err := time.Parse(time.RFC3339, h.FirstSeen)
	if err != nil {
		return fmt.Sprintf("history.first_seen: %v", err)
	}
	var row *diff.Row
	stays := uint64(1)
	if c.Kind == diff.Dropped {
		row, stays = &t.board.Rows[c.From], 0
	} else {
		row = &res.Board.Rows[c.Row]
	}
	if row.FirstSeen == 0 || c.Kind == diff.Entered && h.Reentry {
		row.FirstSeen, row.Peak = first.UnixMilli(), int32(h.PeakRank)
	}
	if row.Since == 0 {
		row.Since = r.Data.Revision + stays - h.RevisionsOnBoard
	}
	switch {
	case row.FirstSeen != first.UnixMilli():
		return fmt.Sprintf("history.first_seen is %s, recomputed %s", h.FirstSeen, event.Time(time.UnixMilli(row.FirstSeen)))
	case int(row.Peak) != h.PeakRank:
		return fmt.Sprintf("history.peak_rank is %d, recomputed %d", h.PeakRank, row.Peak)
	case r.Data.Revision-row.Since+stays != h.RevisionsOnBoard:
		return fmt.Sprintf("history.revisions_on_board is %d, recomputed %d", h.RevisionsOnBoard, r.Data.Revision-row.Since+stays)
	}
	return ""
}

// rows holds the computed board against the published one.
func (t *Track) rows(r *Reading) *Fault {
	s := &r.Data
	for i := range s.Board {
		got, want := &s.Board[i], &t.board.Rows[i]
		if got.Rank != int(want.Rank) || got.Member != want.Member || got.Edge != want.Edge {
			return r.fault("%s is on rank %d, member %t, edge %t; recomputed rank %d, member %t, edge %t",
				got.UID, got.Rank, got.Member, got.Edge, want.Rank, want.Member, want.Edge)
		}
	}
	absent := t.board.Rows[len(s.Board):]
	n := 0
	for i := range absent {
		row := &absent[i]
		if !row.Member {
			continue
		}
		if n >= len(s.Absent) || s.Absent[n].UID != row.UID {
			return r.fault("%s is a member that was not seen, and the board does not say so", row.UID)
		}
		a := &s.Absent[n]
		n++
		if t.unsure.uids[row.UID] || t.unsure.misses[row.UID] {
			t.unsure.adopt(row, a)
		}
		want := event.Absent{UID: row.UID, Rank: int(row.Reported.Rank), PotentialIndex: row.Reported.Index, Misses: int(row.Misses), Unseen: int(row.Unseen)}
		if *a != want {
			return r.fault("absent is %s, recomputed %s", text(a), text(want))
		}
	}
	if n < len(s.Absent) {
		return r.fault("%s is listed as absent and is no member", s.Absent[n].UID)
	}
	return nil
}
