package digest_test

import (
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

func TestKeepShowsTheMostTellingAndCountsTheRest(t *testing.T) {
	t.Parallel()
	places := 40
	s := digest.Section{More: event.Counts{Moved: 3}, Shown: []text.Change{
		{Kind: event.Dropped, Change: event.Change{Before: &event.Place{Rank: 90}}},
		{Kind: event.Dropped, Change: event.Change{Before: &event.Place{Rank: 5}}},
		{Kind: event.Entered, Change: event.Change{After: &event.Place{Rank: 7}}},
		{Kind: event.Moved, Change: event.Change{Before: &event.Place{Rank: 50}, After: &event.Place{Rank: 10}, Places: &places}},
		{Kind: event.Index, Change: event.Change{Before: &event.Place{Rank: 1}, After: &event.Place{Rank: 1}}},
	}}
	for n, want := range map[int]event.Counts{
		-1: {Entered: 1, Moved: 4, Dropped: 2, Index: 1}, 0: {Entered: 1, Moved: 4, Dropped: 2, Index: 1},
		2: {Moved: 4, Dropped: 1, Index: 1}, 4: {Moved: 3, Index: 1}, 5: {Moved: 3}, 9: {Moved: 3},
	} {
		got := s.Keep(n)
		if got.More != want || len(got.Shown) != min(max(n, 0), 5) || got.Changes() != s.Changes() {
			t.Errorf("%d: %d shown, %+v more", n, len(got.Shown), got.More)
		}
	}
	if got := s.Keep(2).Shown; got[0].Before.Rank != 5 || got[1].Kind != event.Entered {
		t.Errorf("%+v", got)
	}
	if len(s.Shown) != 5 || s.Shown[0].Before.Rank != 90 {
		t.Error("the section itself was changed")
	}
}
