// Package api answers what the page, and anybody else, asks over HTTP. It only
// reads: the worker for how watchlists are doing, the stream for everything
// that was published.
//
// What it says of history is what the stream holds, so two workers, or one
// before and after a restart, answer the same.
package api

import (
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// The types here are the API's JSON. Keys are always there, null is unknown or
// not applicable, uids are strings, times are RFC 3339 in UTC, and lists are
// never null. deploy/openapi.yaml describes them for others and is tested
// against them.

// Watchlists is the answer of /api/v1/watchlists.
type Watchlists struct {
	Version string `json:"version"`
	// Sequence is that of the last message in the stream, null while the bus is
	// away: what /api/v1/events can be followed from.
	Sequence *uint64 `json:"sequence"`
	// Bus says whether the stream could be asked. Without it revisions are null.
	Bus bool `json:"bus"`
	// Token is the condition of the API token, null if all is well.
	Token      *Condition  `json:"token"`
	Watchlists []Watchlist `json:"watchlists"`
}

// Watchlist is one configured board and how it is doing.
type Watchlist struct {
	Name     string         `json:"name"`
	Region   string         `json:"region"`
	Top      int            `json:"top"`
	Margin   int            `json:"margin"`
	Ties     string         `json:"ties"`
	Schedule string         `json:"schedule"` // `every 6h`, or `cron 0 9 * * * Asia/Shanghai`
	Period   string         `json:"period"`   // as configured: `month latest`, `week 2026-08`, `none`
	Filter   map[string]any `json:"filter"`   // the API's own names

	// Revision, Sequence and Changed are of the newest published board.
	Revision *uint64 `json:"revision"`
	Sequence *uint64 `json:"sequence"`
	Changed  *string `json:"changed"`

	Tried   *string `json:"tried"`   // last attempt
	Read    *string `json:"read"`    // last good reading
	Next    *string `json:"next"`    // next attempt; null if none is planned
	Reading bool    `json:"reading"` // now
	// Overdue is when the last good reading is too old even if nothing else is
	// wrong: when two more should have been made. Before the first one it counts
	// from when the worker knew the watchlist.
	Overdue string `json:"overdue"`
	// Outcome is of the last attempt since the worker started: baseline, changed,
	// unchanged, waiting, rejected, stale, paused; null before it. Reason is a
	// stable word, Detail is for people.
	Outcome  *string `json:"outcome"`
	Reason   *string `json:"reason"`
	Detail   *string `json:"detail"`
	Events   *int    `json:"events"`
	Failures int     `json:"failures"`
	// Condition is what the last status told, null if all is well.
	Condition *Condition `json:"condition"`
}

// Condition is a status that holds.
type Condition struct {
	Status string `json:"status"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
	Since  string `json:"since"`
}

// Board is the answer of /api/v1/watchlists/{name}/board: one published board,
// and what happened to each creator in its reading.
type Board struct {
	Watchlist        string        `json:"watchlist"`
	Region           string        `json:"region"`
	Revision         uint64        `json:"revision"`
	PreviousRevision *uint64       `json:"previous_revision"`
	LatestRevision   uint64        `json:"latest_revision"`
	FirstRevision    uint64        `json:"first_revision"` // the oldest that the stream holds
	Sequence         uint64        `json:"sequence"`       // of the board message
	Outcome          string        `json:"outcome"`
	Reason           *string       `json:"reason"`
	Period           *event.Period `json:"period"`
	PreviousPeriod   *event.Period `json:"previous_period"`
	FetchedAt        string        `json:"fetched_at"`
	Total            int           `json:"total"` // entries of the list at the source
	Depth            int           `json:"depth"` // places that were read
	Unchanged        int           `json:"unchanged"`
	Members          int           `json:"members"`
	Counts           event.Counts  `json:"counts"`
	Rules            event.Rules   `json:"rules"`
	// Events says whether the reading's events are still in the stream. If not,
	// changes and Dropped are empty because they are unknown.
	Events bool `json:"events"`
	// Rows are everything that was read, in position order.
	Rows []Row `json:"rows"`
	// Dropped are who left in this reading.
	Dropped []Dropped `json:"dropped"`
	// Absent are members that the reading did not show and that have not dropped out.
	Absent []Absent `json:"absent"`
}

// Row is one creator of a board.
type Row struct {
	UID            string `json:"uid"`
	UniqueID       string `json:"unique_id"`
	Nickname       string `json:"nickname"`
	URL            string `json:"url"`
	Rank           int    `json:"rank"`
	Position       int    `json:"position"`
	PotentialIndex int64  `json:"potential_index"`
	Member         bool   `json:"member"`
	Edge           bool   `json:"edge"`
	// Change is what this reading published of the creator, null if nothing.
	Change *Change `json:"change"`
	// Profile is known of the newest board, and of older ones as far as their
	// events tell; else null.
	Profile *Profile `json:"profile"`
}

// Change is an event, without who it is about.
type Change struct {
	Kind        event.Kind   `json:"kind"` // entered, moved, dropped, index
	Before      *event.Place `json:"before"`
	After       *event.Place `json:"after"`
	Places      *int         `json:"places"` // above 0 is a climb
	IndexChange *int64       `json:"index_change"`
	Cause       *event.Cause `json:"cause"`
	Reentry     bool         `json:"reentry"`
	Edge        bool         `json:"edge"`
}

// Profile is what the source said of a creator beyond its place. Figures are in
// the board's period.
type Profile struct {
	Region        *string         `json:"region"`
	Category      *event.Category `json:"category"`
	FollowerCount *int64          `json:"follower_count"`
	Metrics       event.Metrics   `json:"metrics"`
	FirstSeen     *string         `json:"first_seen"`
	PeakRank      *int            `json:"peak_rank"`
}

// Dropped is somebody who left the board.
type Dropped struct {
	UID      string   `json:"uid"`
	UniqueID *string  `json:"unique_id"`
	Nickname *string  `json:"nickname"`
	URL      string   `json:"url"`
	Change   Change   `json:"change"`
	Profile  *Profile `json:"profile"`
}

// Absent is a member that a reading did not show, with what was last reported.
type Absent struct {
	UID            string `json:"uid"`
	URL            string `json:"url"`
	Rank           int    `json:"rank"`
	PotentialIndex int64  `json:"potential_index"`
	Misses         int    `json:"misses"`
	Unseen         int    `json:"unseen"`
}

// History is the answer of /api/v1/watchlists/{name}/history: ranks over
// revisions, a column for each published board.
type History struct {
	Watchlist      string       `json:"watchlist"`
	Region         string       `json:"region"`
	LatestRevision uint64       `json:"latest_revision"`
	FirstRevision  uint64       `json:"first_revision"`
	Revisions      []Revision   `json:"revisions"` // oldest first
	Series         []RankSeries `json:"series"`    // by rank in the last revision, those who are gone last
}

// Revision is one published board of a History.
type Revision struct {
	Revision uint64        `json:"revision"`
	Time     string        `json:"time"`
	Outcome  string        `json:"outcome"`
	Reason   *string       `json:"reason"`
	Period   *event.Period `json:"period"`
	Top      int           `json:"top"`
	Counts   event.Counts  `json:"counts"`
}

// RankSeries is one creator's way. The lists run beside Revisions; null means that
// the reading did not show the creator.
type RankSeries struct {
	UID       string  `json:"uid"`
	UniqueID  string  `json:"unique_id"`
	Nickname  string  `json:"nickname"`
	URL       string  `json:"url"`
	Ranks     Numbers `json:"ranks"`
	Positions Numbers `json:"positions"`
	Indexes   Numbers `json:"indexes"`
	Members   []bool  `json:"members"`
}

// Numbers are whole numbers, some of which may be missing: these are none, and
// null in JSON.
type Numbers []int64

// none is no number of anything.
const none = math.MinInt64

// MarshalJSONTo writes the numbers.
func (n Numbers) MarshalJSONTo(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for _, v := range n {
		t := jsontext.Int(v)
		if v == none {
			t = jsontext.Null
		}
		if err := e.WriteToken(t); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndArray)
}

// Creator is the answer of /api/v1/creators/{uid}: one creator on all boards.
type Creator struct {
	UID      string  `json:"uid"`
	UniqueID *string `json:"unique_id"`
	Nickname *string `json:"nickname"`
	URL      string  `json:"url"`
	// Profile is the newest that is known, names included, whichever board it comes
	// from; but its FirstSeen and PeakRank are the earliest and the best of Boards.
	Profile     *Profile     `json:"profile"`
	ProfileFrom *ProfileFrom `json:"profile_from"`
	// Complete is false if not all watchlists could be looked at.
	Complete bool           `json:"complete"`
	Boards   []CreatorBoard `json:"boards"`
}

// ProfileFrom is which reading a creator's profile comes from. Time is null of a
// member that was last seen in one that is not known any more.
type ProfileFrom struct {
	Watchlist string        `json:"watchlist"`
	Period    *event.Period `json:"period"` // of the profile's figures
	Time      *string       `json:"time"`
}

// CreatorBoard is a creator's place on one watchlist's newest board, or the last
// that was told of it. Rank is null of who is not seen there now.
type CreatorBoard struct {
	Watchlist      string        `json:"watchlist"`
	Region         string        `json:"region"`
	Revision       uint64        `json:"revision"` // of that board
	Time           string        `json:"time"`
	Period         *event.Period `json:"period"`
	Member         bool          `json:"member"`
	Rank           *int          `json:"rank"`
	Position       *int          `json:"position"`
	PotentialIndex *int64        `json:"potential_index"`
	// FirstSeen and PeakRank are of the membership there, and of one that ended as
	// its dropped event told. They are null of who never was a member, and where
	// neither worker nor stream knows any more.
	FirstSeen *string `json:"first_seen"`
	PeakRank  *int    `json:"peak_rank"`
	// Last is the last event about the creator there, null if none is stored.
	Last         *Change `json:"last"`
	LastRevision *uint64 `json:"last_revision"`
	LastTime     *string `json:"last_time"`
}

// Problem is an error, as RFC 9457 has it (application/problem+json).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}
