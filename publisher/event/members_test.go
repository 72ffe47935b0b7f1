package event_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// board makes a board whose only member has rank 1 and the revision for an
// index.
func board(revision uint64, lineage int, reason string, previous uint64, hours int) event.Received {
	s := &event.Snapshot{
		Revision: revision, Reading: fmt.Sprintf("R%d", revision), Outcome: event.OutcomeChanged,
		Board: []event.Row{{UID: "a", Rank: 1, Position: 1, PotentialIndex: int64(revision), Member: true}, {UID: "b", Rank: 2, Position: 2}},
	}
	if previous > 0 {
		s.PreviousRevision = &previous
	}
	if reason != "" {
		s.Outcome, s.Reason = event.OutcomeBaseline, &reason
	} else {
		s.Counts.Index = 1
	}
	return event.Received{
		Subject: event.Subject{Prefix: "p", Region: "US", Watchlist: "w", Kind: event.Board}, Board: s,
		ID: event.ReadingID("w", revision, lineage) + "/board", Time: at.Add(time.Duration(hours) * time.Hour),
	}
}

// step is the event that leads to a board of the same revision.
func step(revision uint64) event.Received {
	return event.Received{
		Subject: event.Subject{Prefix: "p", Region: "US", Watchlist: "w", Kind: event.Index, UID: "a"},
		ID:      event.ReadingID("w", revision, 1) + "/index/a", Time: at,
		Change: &event.Change{
			Revision: revision, Reading: fmt.Sprintf("R%d", revision), N: 1, Of: 1, Creator: event.Creator{UID: "a"},
			Before: place(1, int64(revision-1)), After: place(1, int64(revision)),
		},
	}
}

func TestMembersAcrossBreaks(t *testing.T) {
	t.Parallel()
	const same, gap, old = "taken", "gap", "ignored"
	for name, c := range map[string]struct {
		next event.Received
		want string
	}{
		"what is held already":                  {board(7, 1, "", 6, 7), old},
		"an older one":                          {board(5, 1, "", 4, 5), old},
		"an older baseline":                     {board(1, 1, event.ReasonFirst, 0, 1), old},
		"a revision too many":                   {board(9, 1, "", 8, 9), gap},
		"a baseline after a missing revision":   {board(9, 1, event.ReasonConfig, 8, 9), gap},
		"the next baseline":                     {board(8, 1, event.ReasonRollover, 7, 9), same},
		"history broke off before what is held": {board(6, 2, event.ReasonRestored, 5, 9), same},
		"history broke off at what is held":     {board(8, 2, event.ReasonRestored, 7, 9), same},
		"history broke off after what is held":  {board(10, 2, event.ReasonRestored, 9, 9), gap},
		"a stream begun anew":                   {board(1, 1, event.ReasonFirst, 0, 9), gap},
		"its event is missing":                  {board(8, 1, "", 7, 9), gap},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m event.Members
			for _, r := range []event.Received{board(6, 1, "", 5, 6), step(7), board(7, 1, "", 6, 7)} {
				if _, err := m.Add(r); err != nil {
					t.Fatal(err)
				}
			}
			reading, err := m.Add(c.next)
			var missing *event.GapError
			got := same
			switch {
			case errors.As(err, &missing):
				got = gap
			case err != nil:
				t.Fatal(err)
			case reading == nil:
				got = old
			}
			if got != c.want {
				t.Errorf("%s (%v), want %s", got, err, c.want)
			}
			held := c.next.Board.Revision
			if c.want == old {
				held = 7
			}
			if p, ok := m.Place("a"); !ok || p.PotentialIndex != int64(held) || m.Revision() != held || m.Len() != 1 {
				t.Errorf("revision %d: a is at %+v, %d members; want revision %d", m.Revision(), p, m.Len(), held)
			}
		})
	}
}

func TestMembersRefuseAnotherWatchlist(t *testing.T) {
	t.Parallel()
	var m event.Members
	if _, err := m.Add(board(6, 1, "", 5, 6)); err != nil {
		t.Fatal(err)
	}
	other := board(7, 1, "", 6, 7)
	other.Subject.Watchlist = "other"
	if r, err := m.Add(other); err == nil || r != nil || m.Revision() != 6 {
		t.Errorf("%v %v, revision %d", r, err, m.Revision())
	}
}
