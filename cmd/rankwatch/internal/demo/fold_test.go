package demo

import (
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

var origin = event.Origin{Prefix: "p", Region: "US", Watchlist: "w"}

// feed hands the fold one reading: its events, then a board with the members.
func feed(t *testing.T, f *fold, revision uint64, outcome string, members map[string]event.Place, changes ...text.Change) *seen {
	t.Helper()
	id := event.ReadingID("w", revision, 1)
	for i := range changes {
		m, err := origin.Change(changes[i].Kind, id, time.Unix(0, 0), &changes[i].Change)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.take(m.Subject, m.Data); err != nil || got != nil {
			t.Fatalf("an event alone gave %v, %v", got, err)
		}
	}
	b := &event.Snapshot{Watchlist: "w", Revision: revision, Outcome: outcome, Counts: event.Counts{Moved: len(changes)}}
	for uid, p := range members {
		b.Board = append(b.Board, event.Row{UID: uid, Rank: p.Rank, PotentialIndex: p.PotentialIndex, Member: true})
	}
	m, err := origin.Board(id, time.Unix(0, 0), b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.take(m.Subject, m.Data)
	if err != nil || got == nil || got.board == nil || len(got.changes) != len(changes) {
		t.Fatalf("a board gave %+v, %v", got, err)
	}
	return got
}

func TestEventsThatAddUpAreRight(t *testing.T) {
	f := newFold("p")
	feed(t, f, 1, event.OutcomeBaseline, map[string]event.Place{"a": {Rank: 1, PotentialIndex: 9}, "b": {Rank: 2, PotentialIndex: 8}})
	feed(t, f, 2, event.OutcomeChanged, map[string]event.Place{"c": {Rank: 1, PotentialIndex: 10}, "a": {Rank: 2, PotentialIndex: 9}},
		ev(t, event.Dropped, "b 2:8>", ""), ev(t, event.Entered, "c >1:10", ""), ev(t, event.Moved, "a 1:9>2:9", ""))
	if len(f.wrong) != 0 || f.reads != 2 || f.events() != 3 {
		t.Errorf("wrong %v, %d readings, %d events", f.wrong, f.reads, f.events())
	}
}

func TestAMissingEventIsNoticed(t *testing.T) {
	f := newFold("p")
	feed(t, f, 1, event.OutcomeBaseline, map[string]event.Place{"a": {Rank: 1, PotentialIndex: 9}, "b": {Rank: 2, PotentialIndex: 8}})
	feed(t, f, 2, event.OutcomeChanged, map[string]event.Place{"a": {Rank: 1, PotentialIndex: 9}})
	if len(f.wrong) != 1 || f.wrong[0] != "w revision 2" {
		t.Errorf("wrong %v", f.wrong)
	}
}
