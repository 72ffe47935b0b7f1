package words

import (
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// Sample is a made-up message with every kind of event and a few statuses, to
// try a target or a template. One creator has nothing but its uid.
func Sample(now time.Time) *digest.Message {
	now = now.UTC().Truncate(time.Second)
	last := time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC)
	month := &event.Period{Type: "month", Value: last.Format("2006-01")}
	reading := &digest.Reading{ID: "us-beauty/42", At: now, Board: event.Snapshot{
		Watchlist: "us-beauty", Region: "US", Revision: 42, Reading: "sample", Outcome: event.OutcomeChanged, FetchedAt: event.Time(now),
		Period: month, PreviousPeriod: month, Total: 200, Depth: 200, Counts: event.Counts{Entered: 3, Moved: 12, Dropped: 3, Index: 1},
	}}
	shown := []text.Change{
		{Kind: event.Dropped, Change: event.Change{Before: at(88, 51), Creator: creator("1", "Rosa Díaz", 48_200), Metrics: sales(3_120, 75, 75)}},
		{Kind: event.Dropped, Change: event.Change{Before: at(140, 40), After: at(212, 31), Creator: creator("2", "lip_lab", 812_000), Metrics: sales(18_400, 512, 400)}},
		{Kind: event.Dropped, Change: event.Change{Before: at(197, 33), Edge: true, Creator: event.Creator{UID: "3"}}},
		{Kind: event.Entered, Change: event.Change{After: at(9, 83), Creator: creator("4", "itzelsantana11", 930_920), Metrics: sales(244_052.07, 6_138, 5_207)}},
		{Kind: event.Entered, Change: event.Change{After: at(61, 58), Creator: creator("5", "ハナ 🌸", 61_000), Metrics: sales(1_240_000, 20_400, 0)}},
		{Kind: event.Moved, Change: event.Change{
			Before: at(12, 80), After: at(7, 85), Cause: &event.Cause{Passed: 5, PassedBy: 1, DroppedAbove: 1},
			Creator: creator("6", "Glow & Go", 2_100_000), Metrics: sales(391_700, 9_800, 6_000),
		}},
		{Kind: event.Moved, Change: event.Change{
			Before: at(30, 70), After: at(38, 66), Cause: &event.Cause{PassedBy: 7, EnteredAbove: 1}, Creator: creator("7", "mina.beauty", 154_000),
		}},
		{Kind: event.Moved, Change: event.Change{Before: at(54, 60), After: at(55, 60), Cause: &event.Cause{EnteredAbove: 1}, Creator: creator("8", "نور الجمال", 77_300)}},
		{Kind: event.Index, Change: event.Change{Before: at(1, 97), After: at(1, 99), Creator: creator("9", "Top Seller", 5_400_000), Metrics: sales(2_900_000, 61_000, 12_000)}},
	}
	for i := range shown {
		c := &shown[i].Change
		c.Watchlist, c.Region, c.Revision, c.Reading, c.N, c.Of = "us-beauty", "US", 42, "sample", i+1, 19
		c.Period, c.PreviousPeriod = month, month
		c.History = event.History{FirstSeen: event.Time(now.AddDate(0, -2, 0)), PeakRank: 5 * (i + 1), RevisionsOnBoard: 12, Reentry: i == 4}
		if c.Before != nil && c.After != nil {
			places, change := c.Before.Rank-c.After.Rank, c.After.PotentialIndex-c.Before.PotentialIndex
			c.Places, c.IndexChange = &places, &change
		}
	}
	notice := func(status, reason, detail string) digest.Notice {
		next := event.Time(now.Add(5 * time.Minute))
		return digest.Notice{ID: "us-beauty/status/" + status + "/" + event.Time(now), At: now, Condition: event.Condition{
			Watchlist: "us-beauty", Region: "US", Status: status, Reason: reason, Detail: detail, Since: event.Time(now), NextTry: &next,
		}}
	}
	retired := notice(event.StatusRetired, "removed", "")
	retired.NextTry = nil
	return &digest.Message{
		ID: "us-beauty/42", Route: "sample", Sample: true,
		Sections: []digest.Section{{Reading: reading, Shown: shown, More: event.Counts{Entered: 1, Moved: 9}}},
		Notices: []digest.Notice{
			notice(event.StatusWaiting, "loss", "a reading has 61 of 118 members; it counts once a second one agrees"),
			retired,
		},
	}
}

func at(rank int, index int64) *event.Place {
	return &event.Place{Rank: rank, Position: rank, PotentialIndex: index}
}

func creator(uid, nickname string, followers int64) event.Creator {
	region := "US"
	return event.Creator{
		UID: uid, Nickname: &nickname, UniqueID: &nickname, Region: &region, FollowerCount: &followers,
		Category: &event.Category{ID: 4, Name: "Beauty"}, URL: "https://www.fastmoss.com/influencer/detail/" + uid,
	}
}

func sales(usd float64, units, video int64) event.Metrics {
	live, plays := units-video, 13*units
	return event.Metrics{
		USDGMV: &usd, UnitsSold: &units, VideoUnitsSold: &video, LiveUnitsSold: &live, AvgPlayCount: &plays,
		SalesCategoryL3: []event.Category{{ID: 601554, Name: "Concealer & Foundation"}, {ID: 601450, Name: "Lipstick & Lip Gloss"}},
	}
}
