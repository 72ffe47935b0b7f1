// Package event is the wire contract of rankwatch: what its messages hold, on
// which subjects they travel, and how both are written and read.
//
// Downstream services import it to decode what they consume: Parse reads any
// message, Members folds a watchlist's, Filter and Subject name what to ask the
// bus for. Origin, Message, Batch, Chain, Role and Tracked are the worker's way
// of writing; consumers need none of them, and they may change.
//
// It does no I/O and depends on no message bus.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"time"
)

// ContentType is the media type of every message: CloudEvents 1.0 in its
// structured JSON form.
const ContentType = "application/cloudevents+json"

// A Kind is the last fixed token of a subject and the tail of a message's type.
type Kind string

// The kinds of message. Entered, Moved, Dropped and Index concern one creator;
// Board closes a reading and carries the whole board; Status tells of the
// watchlist's health.
const (
	Entered Kind = "entered"
	Moved   Kind = "moved"
	Dropped Kind = "dropped"
	Index   Kind = "index"
	Board   Kind = "board"
	Status  Kind = "status"
)

// Envelope is the CloudEvents frame that all messages share. Subject is the
// creator's uid and empty for Board and Status.
type Envelope[T any] struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject,omitempty"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
	DataSchema      string `json:"dataschema"`
	Data            T      `json:"data"`
}

// Period names the span of time that a board covers, as the source writes it:
// a day `2026-03-01`, an ISO week `2026-08`, a month `2026-03`.
type Period struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Category is one node of the source's category tree.
type Category struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Creator says who a change is about. Nil means the source did not say.
type Creator struct {
	UID           string    `json:"uid"`
	UniqueID      *string   `json:"unique_id"`
	Nickname      *string   `json:"nickname"`
	Avatar        *string   `json:"avatar"`
	Region        *string   `json:"region"`
	Category      *Category `json:"category"`
	FollowerCount *int64    `json:"follower_count"`
	URL           string    `json:"url"`
}

// Metrics are the creator's sales figures in the board's period. USDGMV is in
// US dollars; nil means the source did not say.
type Metrics struct {
	USDGMV          *float64   `json:"usd_gmv"`
	UnitsSold       *int64     `json:"units_sold"`
	VideoUnitsSold  *int64     `json:"video_units_sold"`
	LiveUnitsSold   *int64     `json:"live_units_sold"`
	AvgPlayCount    *int64     `json:"avg_play_count"`
	VideoCount      *int64     `json:"video_count"`
	EcommerceType   *int64     `json:"ecommerce_type"`
	SalesCategoryL3 []Category `json:"sales_category_l3"`
}

// Place is where a creator stands. Rank and position start at 1.
type Place struct {
	Rank           int   `json:"rank"`
	Position       int   `json:"position"`
	PotentialIndex int64 `json:"potential_index"`
}

// Cause explains a change of rank:
// places = Passed + DroppedAbove - PassedBy - EnteredAbove.
type Cause struct {
	Passed       int `json:"passed"`
	PassedBy     int `json:"passed_by"`
	EnteredAbove int `json:"entered_above"`
	DroppedAbove int `json:"dropped_above"`
}

// History is what is remembered of a creator on this board. RevisionsOnBoard
// counts the published revisions of its present membership, this one included
// if it is still a member in it.
type History struct {
	FirstSeen        string `json:"first_seen"`
	PeakRank         int    `json:"peak_rank"`
	RevisionsOnBoard uint64 `json:"revisions_on_board"`
	Reentry          bool   `json:"reentry"`
}

// Change is the data of an Entered, Moved, Dropped or Index message. Before is
// nil for Entered, After nil for Dropped unless the creator is still seen past
// the margin. Edge marks a drop past the visible end of a list that goes on:
// the creator is out of sight, not known to be gone.
type Change struct {
	Watchlist      string  `json:"watchlist"`
	Region         string  `json:"region"`
	Revision       uint64  `json:"revision"`
	Reading        string  `json:"reading"`
	N              int     `json:"n"`
	Of             int     `json:"of"`
	Period         *Period `json:"period"`
	PreviousPeriod *Period `json:"previous_period"`
	Creator        Creator `json:"creator"`
	Metrics        Metrics `json:"metrics"`
	Before         *Place  `json:"before"`
	After          *Place  `json:"after"`
	Places         *int    `json:"places"`
	IndexChange    *int64  `json:"index_change"`
	Cause          *Cause  `json:"cause"`
	History        History `json:"history"`
	Edge           bool    `json:"edge"`
}

// Outcomes and reasons of a board message.
const (
	OutcomeBaseline = "baseline"
	OutcomeChanged  = "changed"

	ReasonFirst    = "first"
	ReasonConfig   = "config"
	ReasonRollover = "rollover"
	ReasonRestored = "restored"
)

// Counts are the numbers of events in a reading.
type Counts struct {
	Entered int `json:"entered"`
	Moved   int `json:"moved"`
	Dropped int `json:"dropped"`
	Index   int `json:"index"`
}

// Total is how many events there are of all kinds.
func (c Counts) Total() int { return c.Entered + c.Moved + c.Dropped + c.Index }

// Plus adds counts kind by kind.
func (c Counts) Plus(o Counts) Counts {
	return Counts{Entered: c.Entered + o.Entered, Moved: c.Moved + o.Moved, Dropped: c.Dropped + o.Dropped, Index: c.Index + o.Index}
}

// Add counts one event of a kind; what is no kind of a change counts as nothing.
func (c *Counts) Add(k Kind) {
	switch k {
	case Entered:
		c.Entered++
	case Moved:
		c.Moved++
	case Dropped:
		c.Dropped++
	case Index:
		c.Index++
	}
}

// Of is the number of one kind, 0 for what is no kind of a change.
func (c Counts) Of(k Kind) int {
	switch k {
	case Entered:
		return c.Entered
	case Moved:
		return c.Moved
	case Dropped:
		return c.Dropped
	case Index:
		return c.Index
	}
	return 0
}

// Rules are the rules that a reading was compared by.
type Rules struct {
	Top     int    `json:"top"`
	Margin  int    `json:"margin"`
	Ties    string `json:"ties"`
	Moved   Moves  `json:"moved"`
	Index   Steps  `json:"index"`
	Dropped Misses `json:"dropped"`
}

// Moves is the rule for Moved events: MinPlaces is in ranks.
type Moves struct {
	MinPlaces       int  `json:"min_places"`
	IgnoreDisplaced bool `json:"ignore_displaced"`
}

// Steps is the rule for Index events: MinChange is in points of
// potential_index.
type Steps struct {
	MinChange int64 `json:"min_change"`
}

// Misses is the rule for Dropped events: After is in consecutive readings.
type Misses struct {
	After int `json:"after"`
}

// Row is one creator of a board. Edge marks the tie that the end of the
// reading cuts through.
type Row struct {
	UID            string `json:"uid"`
	UniqueID       string `json:"unique_id"`
	Nickname       string `json:"nickname"`
	Rank           int    `json:"rank"`
	Position       int    `json:"position"`
	PotentialIndex int64  `json:"potential_index"`
	Member         bool   `json:"member"`
	Edge           bool   `json:"edge,omitempty"`
}

// Absent is a member that the reading did not show and that has not dropped
// out yet, with what was last reported of it. Misses counts the readings that
// are known not to have it, Unseen those that did not show it for whatever
// reason.
type Absent struct {
	UID            string `json:"uid"`
	Rank           int    `json:"rank"`
	PotentialIndex int64  `json:"potential_index"`
	Misses         int    `json:"misses"`
	Unseen         int    `json:"unseen"`
}

// Interim is a creator that unpublished readings since the previous board did
// not show, or showed again: Unseen counts the readings in a row, up to the one
// before this, that did not show it. With it every reading can be compared anew
// from boards alone.
type Interim struct {
	UID    string `json:"uid"`
	Unseen int    `json:"unseen"`
}

// Digest is how boards write the SHA-256 of a stored payload.
func Digest(payload []byte) string {
	sum := sha256.Sum256(payload)
	return DigestPrefix + hex.EncodeToString(sum[:])
}

// EventsDigest is the digest of a reading's events in order, a line each: of
// what `replay -o json` prints of them.
func EventsDigest(payloads iter.Seq[[]byte]) string {
	h := sha256.New()
	for p := range payloads {
		h.Write(p)
		h.Write([]byte{'\n'})
	}
	return DigestPrefix + hex.EncodeToString(h.Sum(nil))
}

// DigestPrefix is what every Digest begins with.
const DigestPrefix = "sha256:"

// Hole is a slot of a tie that no scan could fill because the source shuffles
// the tie on every call.
type Hole struct {
	Position       int   `json:"position"`
	PotentialIndex int64 `json:"potential_index"`
}

// Snapshot is the data of a Board message: the whole board after a reading. It
// commits the reading's events. Board lists everything read, in position order.
//
// EventsDigest seals the reading's events and PreviousDigest, the Digest of the
// board message before it, all history up to there. It is nil where the writer
// did not know that board.
type Snapshot struct {
	Watchlist        string    `json:"watchlist"`
	Region           string    `json:"region"`
	Revision         uint64    `json:"revision"`
	PreviousRevision *uint64   `json:"previous_revision"`
	Reading          string    `json:"reading"`
	Writer           string    `json:"writer"`
	Outcome          string    `json:"outcome"`
	Reason           *string   `json:"reason"`
	Period           *Period   `json:"period"`
	PreviousPeriod   *Period   `json:"previous_period"`
	FetchedAt        string    `json:"fetched_at"`
	Total            int       `json:"total"`
	Depth            int       `json:"depth"`
	Duplicates       int       `json:"duplicates"`
	Skipped          int       `json:"skipped"`
	Unchanged        int       `json:"unchanged"`
	Counts           Counts    `json:"counts"`
	Rules            Rules     `json:"rules"`
	Absent           []Absent  `json:"absent"`
	Holes            []Hole    `json:"holes"`
	Interim          []Interim `json:"interim"`
	EventsDigest     string    `json:"events_digest"`
	PreviousDigest   *string   `json:"previous_digest"`
	Board            []Row     `json:"board"`
}

// Conditions of a status message.
const (
	StatusStale     = "stale"
	StatusRecovered = "recovered"
	StatusRejected  = "rejected"
	StatusWaiting   = "waiting"
	StatusQuota     = "quota"
	StatusDenied    = "denied"
	StatusFenced    = "fenced"
	StatusRetired   = "retired"
)

// TokenWatchlist stands for the API token in the subject, source and id of
// statuses that concern all watchlists of that token.
const TokenWatchlist = "_token"

// RegionAll is the region of a watchlist without a region filter.
const RegionAll = "all"

// Condition is the data of a Status message. It is said once for each change.
type Condition struct {
	Watchlist string  `json:"watchlist"`
	Region    string  `json:"region"`
	Status    string  `json:"status"`
	Reason    string  `json:"reason"`
	Detail    string  `json:"detail"`
	Since     string  `json:"since"`
	NextTry   *string `json:"next_try"`
}

// Time writes t as all messages do: RFC 3339 in UTC, with milliseconds.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
