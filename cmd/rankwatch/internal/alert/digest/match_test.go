package digest_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

var at = time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC)

// change reads `kind uid before>after`, ranks with a dash for none, and words
// behind it: `i5` an index change, `passed`, `displaced` or `unseen` for the
// cause, `again` for a reentry. The index is 100 - rank.
func change(t testing.TB, notation string) text.Change {
	t.Helper()
	f := strings.Fields(notation)
	place := func(s string) *event.Place {
		if s == "-" {
			return nil
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return &event.Place{Rank: n, Position: n, PotentialIndex: int64(100 - n)}
	}
	before, after, _ := strings.Cut(f[2], ">")
	c := text.Change{Kind: event.Kind(f[0]), Change: event.Change{
		Watchlist: "us-beauty", Region: "US", Creator: event.Creator{UID: f[1]}, Before: place(before), After: place(after),
	}}
	if c.Before != nil && c.After != nil {
		n := c.Before.Rank - c.After.Rank
		c.Places, c.Cause = &n, &event.Cause{Passed: 1}
	}
	for _, word := range f[3:] {
		switch {
		case word == "displaced":
			c.Cause = &event.Cause{EnteredAbove: 3}
		case word == "passedby":
			c.Cause = &event.Cause{PassedBy: 3}
		case word == "unseen":
			c.Cause = nil
		case word == "again":
			c.History.Reentry = true
		default:
			n, err := strconv.ParseInt(strings.TrimPrefix(word, "i"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			c.IndexChange = &n
		}
	}
	return c
}

// Each row is a match, a change, and a part of the reason against it, empty if
// it is taken.
func TestWhatARouteTakesOfChanges(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	type m = digest.Match
	for _, tt := range []struct {
		match  digest.Match
		change string
		why    string
	}{
		{m{}, "moved 1 5>5", ""},
		{m{Kinds: []event.Kind{event.Entered}}, "moved 1 5>4", "kind moved is not asked for"},
		{m{Kinds: []event.Kind{event.Entered, event.Moved}}, "moved 1 5>4", ""},
		{m{Regions: []string{"GB"}}, "moved 1 5>4", "region US"},
		{m{Regions: []string{"GB", "US"}}, "moved 1 5>4", ""},
		{m{Watchlists: []string{"us-"}}, "moved 1 5>4", "watchlist us-beauty"},
		{m{Watchlists: []string{"gb-*", "us-*"}}, "moved 1 5>4", ""},
		{m{Watchlists: []string{"us-["}}, "moved 1 5>4", "watchlist us-beauty"},
		{m{UIDs: map[string]bool{"2": true}}, "moved 1 5>4", "uid 1 is not in the list"},
		{m{UIDs: map[string]bool{}}, "moved 1 5>4", "uid 1"},
		{m{UIDs: map[string]bool{"1": true}}, "moved 1 5>4", ""},
		{m{UIDs: map[string]bool{"2": true}}, "moved \x1b[2J1 5>4", "uid [2J1 is"},
		{m{Top: 10}, "moved 1 11>12", "rank 11 is below the top 10"},
		{m{Top: 10}, "moved 1 10>12", ""},
		{m{Top: 10}, "moved 1 12>10", ""},
		{m{Top: 10}, "entered 1 ->11", "rank 11"},
		{m{Top: 10}, "entered 1 ->10", ""},
		{m{Top: 10}, "dropped 1 10>-", ""},
		{m{Top: 10}, "dropped 1 10>60", ""},
		{m{Top: 10}, "dropped 1 11>-", "rank 11"},
		{m{MinPlaces: 5}, "moved 1 10>6", "4 places are less than 5"},
		{m{MinPlaces: 5}, "moved 1 10>5", ""},
		{m{MinPlaces: 5}, "moved 1 5>10", ""},
		{m{MinPlaces: 5}, "entered 1 ->10", ""},
		{m{MinPlaces: 5}, "index 1 10>10 i1", ""},
		{m{SkipDisplaced: true}, "moved 1 5>8 displaced", "only displaced"},
		{m{SkipDisplaced: true}, "moved 1 5>8 passedby", ""},
		{m{SkipDisplaced: true}, "moved 1 8>5", ""},
		{m{SkipDisplaced: true}, "moved 1 8>5 unseen", ""},
		{m{SkipDisplaced: true}, "index 1 5>5 i3 displaced", ""},
		{m{}, "moved 1 5>8 displaced", ""},
		{m{MinIndexChange: 3}, "index 1 5>5 i-2", "2 points are less than 3"},
		{m{MinIndexChange: 3}, "index 1 5>5 i-3", ""},
		{m{MinIndexChange: 3}, "moved 1 5>4 i1", ""},
		{m{Reentry: &yes}, "entered 1 ->5", "reentry is false"},
		{m{Reentry: &yes}, "entered 1 ->5 again", ""},
		{m{Reentry: &no}, "entered 1 ->5 again", "reentry is true"},
		{m{Reentry: &no}, "moved 1 5>4 again", ""},
		{m{Statuses: []string{"stale"}}, "moved 1 5>4", ""},
	} {
		r := digest.Route{Match: tt.match}
		c := change(t, tt.change)
		checkVerdict(t, tt.change, r.Change(&c, nil, at), tt.why)
	}
}

func checkVerdict(t *testing.T, what string, v digest.Verdict, why string) {
	t.Helper()
	if v.Taken != (why == "") || v.Taken != (v.Why == "") || !strings.Contains(v.Why, why) {
		t.Errorf("%s: got %+v, want a reason with %q", what, v, why)
	}
}

func TestWhatARouteTakesOfStatuses(t *testing.T) {
	t.Parallel()
	type m = digest.Match
	for _, tt := range []struct {
		match     digest.Match
		watchlist string
		why       string
	}{
		{m{}, "us-beauty", ""},
		{m{Kinds: []event.Kind{event.Moved}}, "us-beauty", "kind status"},
		{m{Kinds: []event.Kind{event.Status}}, "us-beauty", ""},
		{m{Regions: []string{"GB"}}, "us-beauty", "region US"},
		{m{Watchlists: []string{"gb-*"}}, "us-beauty", "watchlist us-beauty"},
		{m{Regions: []string{"GB"}, Watchlists: []string{"gb-*"}}, event.TokenWatchlist, ""},
		{m{Statuses: []string{"quota", "denied"}}, event.TokenWatchlist, "status stale"},
		{m{Statuses: []string{"stale"}}, "us-beauty", ""},
		{m{UIDs: map[string]bool{"1": true}}, "us-beauty", "about no uid"},
		{m{Top: 1, MinPlaces: 9, MinIndexChange: 9, SkipDisplaced: true}, "us-beauty", ""},
	} {
		r := digest.Route{Match: tt.match}
		n := &digest.Notice{Condition: event.Condition{Watchlist: tt.watchlist, Region: "US", Status: "stale"}}
		checkVerdict(t, tt.watchlist, r.Notice(n), tt.why)
	}
}

func TestACooldownIsOfACreatorABoardAndAKind(t *testing.T) {
	t.Parallel()
	c := change(t, "moved 1.a 5>4")
	key := digest.CooldownKey(&c)
	if key != "us-beauty/moved/1%2Ea" {
		t.Errorf("key %s", key)
	}
	cool := digest.Cooldown{key: at}
	r := digest.Route{Cooldown: time.Hour}
	checkVerdict(t, "in it", r.Change(&c, cool, at.Add(time.Hour-1)), "in cooldown until 2026-04-14T18:07:52Z")
	checkVerdict(t, "after it", r.Change(&c, cool, at.Add(time.Hour)), "")
	checkVerdict(t, "the route has none", (&digest.Route{}).Change(&c, cool, at), "")
	other := c
	other.Kind = event.Index
	checkVerdict(t, "another kind", r.Change(&other, cool, at), "")
	other = c
	other.Watchlist = "us-toys"
	checkVerdict(t, "another board", r.Change(&other, cool, at), "")
}

func TestExplainSpeaksOfEveryRouteAndEvent(t *testing.T) {
	t.Parallel()
	routes := digest.DefaultRoutes("sales")
	reading := digest.Item{Reading: &digest.Reading{ID: "us-beauty/42", Changes: []text.Change{change(t, "entered 1.a ->5"), change(t, "moved 2 5>7 displaced")}}}
	var got []string
	for _, d := range digest.Explain(routes, reading, at) {
		got = append(got, d.Route+" "+d.ID+" "+string(d.Kind)+" "+d.Verdict.Why)
	}
	want := []string{
		"changes us-beauty/42/entered/1%2Ea entered ", "changes us-beauty/42/moved/2 moved 2 places are less than 5",
		"statuses us-beauty/42/entered/1%2Ea entered kind entered is not asked for", "statuses us-beauty/42/moved/2 moved kind moved is not asked for",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	notice := digest.Item{Notice: &digest.Notice{ID: "us-beauty/status/stale/x", Condition: event.Condition{Watchlist: "us-beauty", Status: "stale"}}}
	if d := digest.Explain(routes, notice, at); len(d) != 2 || d[0].Verdict.Taken || !d[1].Verdict.Taken || d[1].Subject != "stale" {
		t.Errorf("got %+v", d)
	}
}
