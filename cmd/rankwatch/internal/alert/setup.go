package alert

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// route is nil if there is none of that name.
func (s *setup) route(name string) *digest.Route {
	i := slices.IndexFunc(s.Routes, func(r digest.Route) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Routes[i]
}

func (s *setup) routes() []string {
	var names []string
	for i := range s.Routes {
		names = append(names, s.Routes[i].Name)
	}
	return names
}

func (s *setup) targets() []string { return slices.Sorted(maps.Keys(s.Targets)) }

// tryLimit bounds one attempt to send a sample or a parked message.
const tryLimit = time.Minute

// try sends a sample to a target, or to all, and says what came of it.
func try(ctx context.Context, set *setup, target string, out io.Writer) error {
	failed := 0
	names := set.targets()
	if target != "" {
		names = []string{target}
	}
	width := 0
	for _, n := range names {
		width = max(width, text.Cells(n))
	}
	for _, name := range names {
		once, cancel := context.WithTimeout(ctx, tryLimit)
		err := set.Targets[name].Send(once, sample(name))
		cancel()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to end
		}
		said := "ok"
		if err != nil {
			failed++
			said = text.Printable(strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		if _, err := fmt.Fprintf(out, "%s  %s\n", text.Fill(name, width), said); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s took no sample", failed, text.Some(len(names), "target"))
	}
	return nil
}

// sample is a made-up message with one event of each kind and a status.
func sample(route string) *digest.Message {
	at := time.Now().UTC().Truncate(time.Second)
	period := event.Period{Type: "month", Value: at.AddDate(0, -1, 0).Format("2006-01")}
	counts := event.Counts{Entered: 1, Moved: 1, Dropped: 1, Index: 1}
	board := event.Snapshot{
		Watchlist: "sample", Region: "US", Revision: 2, Outcome: event.OutcomeChanged, Period: &period, PreviousPeriod: &period, FetchedAt: event.Time(at), Counts: counts,
	}
	place := func(rank int, index int64) *event.Place {
		return &event.Place{Rank: rank, Position: rank, PotentialIndex: index}
	}
	change := func(kind event.Kind, n int, before, after *event.Place) text.Change {
		name, followers, units := fmt.Sprintf("Sample creator %d", n), int64(480_500), int64(6138)
		sales, plays := 244052.07, int64(77007)
		c := text.Change{Kind: kind, Change: event.Change{
			Watchlist: board.Watchlist, Region: board.Region, Revision: board.Revision, N: n, Of: 4, Period: &period, PreviousPeriod: &period, Before: before, After: after,
			Creator: event.Creator{UID: fmt.Sprint(n), Nickname: &name, UniqueID: &name, FollowerCount: &followers, URL: fmt.Sprintf("https://www.fastmoss.com/influencer/detail/%d", n)},
			Metrics: event.Metrics{USDGMV: &sales, UnitsSold: &units, AvgPlayCount: &plays, SalesCategoryL3: []event.Category{{ID: 601554, Name: "Concealer & Foundation"}}},
			History: event.History{FirstSeen: event.Time(at), PeakRank: 3, RevisionsOnBoard: 2},
		}}
		if before != nil && after != nil {
			places, index := before.Rank-after.Rank, after.PotentialIndex-before.PotentialIndex
			c.Places, c.IndexChange, c.Cause = &places, &index, &event.Cause{Passed: max(places, 0), PassedBy: max(-places, 0)}
		}
		return c
	}
	changes := []text.Change{
		change(event.Dropped, 1, place(4, 91), nil), change(event.Entered, 2, nil, place(9, 85)),
		change(event.Moved, 3, place(12, 80), place(3, 93)), change(event.Index, 4, place(20, 70), place(20, 74)),
	}
	r := &digest.Reading{ID: "sample/2", At: at, Board: board, Changes: changes}
	return &digest.Message{
		ID: fmt.Sprintf("sample/%d", at.UnixMilli()), Route: route, Sample: true, Sections: []digest.Section{{Reading: r, Shown: changes}},
		Notices: []digest.Notice{{ID: "sample/status/stale", At: at, Condition: event.Condition{
			Watchlist: "sample", Region: "US", Status: event.StatusStale, Reason: "torn", Detail: "this is a sample", Since: event.Time(at),
		}}},
	}
}
