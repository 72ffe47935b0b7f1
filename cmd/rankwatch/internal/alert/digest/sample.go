package digest

import (
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// Sample is a made-up message, to try a target or a template: a creator of each
// kind of change, one of whom the source says nothing, and a status.
func Sample(route string, at time.Time) *Message {
	const id = "sample/42"
	period := &event.Period{Type: "month", Value: "2026-03"}
	change := func(n int, kind event.Kind, name string, before, after *event.Place) text.Change {
		uid := "678758068879771341" + string(rune('0'+n))
		c := event.Change{
			Watchlist: "sample", Region: "US", Revision: 42, Reading: "sample", N: n, Of: 5, Period: period, PreviousPeriod: period,
			Creator: event.Creator{UID: uid, URL: "https://www.fastmoss.com/influencer/detail/" + uid},
			Before:  before, After: after, History: event.History{FirstSeen: event.Time(at), PeakRank: 3, RevisionsOnBoard: 12},
		}
		if name != "" {
			c.Creator.Nickname, c.Creator.UniqueID, c.Creator.FollowerCount = &name, &name, ptr(int64(930_920))
			c.Creator.Category = &event.Category{ID: 4, Name: "Beauty"}
			c.Metrics = event.Metrics{
				USDGMV: ptr(244_052.07), UnitsSold: ptr(int64(6138)), VideoUnitsSold: ptr(int64(5207)), LiveUnitsSold: ptr(int64(931)),
				AvgPlayCount: ptr(int64(77_007)), VideoCount: ptr(int64(186)), EcommerceType: ptr(int64(3)),
				SalesCategoryL3: []event.Category{{ID: 601554, Name: "Concealer & Foundation"}},
			}
		}
		if before != nil && after != nil {
			c.Places, c.IndexChange = ptr(before.Rank-after.Rank), ptr(after.PotentialIndex-before.PotentialIndex)
		}
		return text.Change{Kind: kind, Change: c}
	}
	place := func(rank int, index int64) *event.Place {
		return &event.Place{Rank: rank, Position: rank, PotentialIndex: index}
	}
	moved := change(4, event.Moved, "climber", place(12, 80), place(9, 83))
	moved.Cause = &event.Cause{Passed: 4, PassedBy: 1}
	changes := []text.Change{
		change(1, event.Dropped, "leaver", place(7, 85), nil),
		change(2, event.Entered, "newcomer", nil, place(5, 88)),
		change(3, event.Entered, "", nil, place(48, 61)),
		moved,
		change(5, event.Index, "riser", place(3, 90), place(3, 92)),
	}
	reading := &Reading{ID: id, At: at, Changes: changes, Board: event.Snapshot{
		Watchlist: "sample", Region: "US", Revision: 42, Reading: "sample", Outcome: event.OutcomeChanged, Period: period, PreviousPeriod: period,
		FetchedAt: event.Time(at), Total: 1000, Depth: 200, Counts: event.Counts{Entered: 2, Moved: 1, Dropped: 1, Index: 1},
	}}
	notice := Notice{ID: "sample/status/stale/" + event.Time(at), At: at, Condition: event.Condition{
		Watchlist: "sample", Region: "US", Status: event.StatusStale, Reason: "short", Detail: "this is a sample; nothing is wrong", Since: event.Time(at),
	}}
	return &Message{ID: id, Route: route, Sections: []Section{{Reading: reading, Shown: changes}}, Notices: []Notice{notice}, Sample: true}
}

func ptr[T any](v T) *T { return &v }
