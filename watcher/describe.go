package watcher

import (
	"iter"
	"net/url"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

const creatorPage = "https://www.fastmoss.com/influencer/detail/"

// CreatorURL is where FastMoss shows a creator to people.
func CreatorURL(uid string) string { return creatorPage + url.PathEscape(uid) }

// details puts what the source says of a creator in the words of the contract.
func details(it *fastmoss.Item) (event.Creator, event.Metrics) {
	c := event.Creator{
		UID: it.UID, UniqueID: optional(it.UniqueID), Nickname: optional(it.Nickname), Avatar: optional(it.Avatar), Region: optional(it.Region),
		FollowerCount: known(it.FollowerCount), URL: CreatorURL(it.UID), Category: known(it.Category),
	}
	return c, event.Metrics{
		USDGMV: known(it.USDGMV), UnitsSold: known(it.UnitsSold), VideoUnitsSold: known(it.VideoUnitsSold),
		LiveUnitsSold: known(it.LiveUnitsSold), AvgPlayCount: known(it.AvgPlayCount), VideoCount: known(it.VideoCount),
		EcommerceType: known(it.EcommerceType), SalesCategoryL3: it.SalesCategoryL3,
	}
}

func known[T any](o fastmoss.Opt[T]) *T {
	if !o.Valid {
		return nil
	}
	return &o.Value
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func period(p event.Period) *event.Period {
	if p == (event.Period{}) {
		return nil
	}
	return &p
}

// snapshot writes the board message.
func (s *step) snapshot(outcome string, counts event.Counts, events []event.Message) (event.Message, error) {
	r := s.watchlist.Rules
	d := &event.Snapshot{
		Watchlist: s.watchlist.Name, Region: s.watchlist.Region(), Revision: s.revision,
		PreviousRevision: s.previousRevision(), Reading: s.reading, Writer: s.writer,
		Outcome: outcome, Reason: optional(s.reason), Period: period(s.scan.Period), PreviousPeriod: s.previous,
		FetchedAt: event.Time(s.scan.At), Total: s.scan.Total, Depth: s.scan.Depth,
		Duplicates: s.scan.Duplicates, Skipped: s.scan.Skipped, Unchanged: s.record.Unchanged, Counts: counts,
		Rules: event.Rules{
			Top: int(r.Top), Margin: int(r.Margin), Ties: r.Ties.String(),
			Moved: event.Moves{MinPlaces: int(r.MinPlaces), IgnoreDisplaced: r.IgnoreDisplaced},
			Index: event.Steps{MinChange: r.MinChange}, Dropped: event.Misses{After: int(r.DropAfter)},
		},
		Absent: []event.Absent{}, Holes: []event.Hole{}, Interim: s.interim(),
		EventsDigest: event.EventsDigest(payloads(events)), PreviousDigest: s.previousDigest(),
		Board: make([]event.Row, len(s.scan.Items)),
	}
	for _, h := range s.scan.Holes {
		d.Holes = append(d.Holes, event.Hole{Position: int(h.Position), PotentialIndex: h.Index})
	}
	for i := range s.result.Board.Rows {
		row := &s.result.Board.Rows[i]
		if i < len(d.Board) {
			it := &s.scan.Items[i]
			d.Board[i] = event.Row{
				UID: it.UID, UniqueID: it.UniqueID, Nickname: event.CutNickname(it.Nickname), Rank: int(row.Rank),
				Position: int(row.Position), PotentialIndex: row.Index, Member: row.Member, Edge: row.Edge,
			}
			continue
		}
		if row.Member {
			d.Absent = append(d.Absent, event.Absent{
				UID: row.UID, Rank: int(row.Reported.Rank), PotentialIndex: row.Reported.Index,
				Misses: int(row.Misses), Unseen: int(row.Unseen),
			})
		}
	}
	return s.origin().Board(s.id, s.scan.At, d)
}

func payloads(messages []event.Message) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range messages {
			if !yield(messages[i].Data) {
				return
			}
		}
	}
}

// interim tells what unpublished readings have made of the board before.
func (s *step) interim() []event.Interim {
	out := []event.Interim{}
	if s.reason != "" {
		return out // a baseline does not build on it
	}
	for i := range s.before.Rows {
		if row := &s.before.Rows[i]; row.Interim {
			out = append(out, event.Interim{UID: row.UID, Unseen: int(row.Unseen)})
		}
	}
	return out
}

// previousDigest seals the board that this one follows in the stream.
func (s *step) previousDigest() *string {
	if s.loaded.Broken || s.record.Digest == "" {
		return nil
	}
	return &s.record.Digest
}

// previousRevision is the revision that this one follows in the stream.
func (s *step) previousRevision() *uint64 {
	n := s.loaded.Revision
	if s.loaded.Broken {
		n = s.loaded.StreamRevision
	}
	if n == 0 {
		return nil
	}
	return &n
}
