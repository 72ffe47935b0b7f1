// Package digest decides what of history becomes a message: which route takes
// which event, and how the events of a reading, or of a window of readings, are
// put together.
//
// It is arithmetic: no clock, no I/O. The same readings, routes and cooldowns
// give the same messages and the same reasons.
package digest

import (
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Reading is one published reading: its board, without rows, and its changes
// in order. ID is what its messages' ids begin with, `us-beauty/42`; Sequence is
// the board's in the stream.
type Reading struct {
	ID       string
	Sequence uint64
	At       time.Time
	Board    event.Snapshot
	Changes  []text.Change
}

// A Notice is one published status.
type Notice struct {
	ID       string
	Sequence uint64
	At       time.Time
	event.Condition
}

// An Item is one of both.
type Item struct {
	Reading *Reading
	Notice  *Notice
}

// ID is what receivers drop a repeat by.
func (i Item) ID() string {
	if i.Notice != nil {
		return i.Notice.ID
	}
	return i.Reading.ID
}

// Sequence is where the item is in the stream.
func (i Item) Sequence() uint64 {
	if i.Notice != nil {
		return i.Notice.Sequence
	}
	return i.Reading.Sequence
}

// At is when the reading was made, or the condition began.
func (i Item) At() time.Time {
	if i.Notice != nil {
		return i.Notice.At
	}
	return i.Reading.At
}

// A Match selects events. Empty fields select everything; a change has to pass
// all of them, a status those that it has: region, watchlist and kind.
type Match struct {
	Regions    []string
	Watchlists []string // names, or patterns as path.Match has them
	Kinds      []event.Kind
	// Top is the lowest rank that counts, before or after; 0 for any.
	Top int
	// MinPlaces and MinIndexChange are about moved and index events: at least so
	// many ranks, so many points.
	MinPlaces      int
	MinIndexChange int64
	// SkipDisplaced leaves out who only made room: moved with nobody passed and
	// passed by nobody.
	SkipDisplaced bool
	Reentry       *bool // about entered events
	UIDs          map[string]bool
	Statuses      []string // words of status events
}

// A Route brings what it matches to a target. Digest is how long readings are
// collected for one message, 0 for one message a reading. Cooldown is how long a
// creator's events of a kind are left out after one was delivered. Cap is the
// number of events in a message.
type Route struct {
	Name     string
	Target   string
	Match    Match
	Digest   time.Duration
	Quiet    *Quiet
	Cooldown time.Duration
	Cap      int
	Template string // text/template source; empty for the built-in one
}

// A Message is what goes to a target. ID names it: the id of its item, or
// `first..last` of several.
type Message struct {
	ID       string
	Route    string
	Sections []Section
	Notices  []Notice
	Template string
	Sample   bool // made up, to try a target
}

// A Section is what a message tells of one reading: the changes shown, and how
// many more there are of each kind.
type Section struct {
	Reading *Reading
	Shown   []text.Change
	More    event.Counts
}

// Changes counts the changes of the section, shown or not.
func (s *Section) Changes() int { return len(s.Shown) + s.More.Total() }

// Told counts the same by kind.
func (s *Section) Told() event.Counts {
	c := s.More
	for i := range s.Shown {
		c.Add(s.Shown[i].Kind)
	}
	return c
}
