package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// Type is the type of every body.
const Type = "rankwatch.alert"

// A Body is what a receiver gets, as JSON. Its schema is
// deploy/schemas/alert.schema.json. More fields may be added; receivers ignore
// those that they don't know.
type Body struct {
	// ID is the message's: of a reading `us-beauty/42`, of a status
	// `us-beauty/status/stale/<since>`, of several `first..last`. It is the same in
	// every attempt and after a restart.
	ID    string `json:"id"`
	Route string `json:"route"`
	Type  string `json:"type"` // Type
	// Timestamp is when the newest of the readings and statuses came about, not when
	// it was sent; as all times, RFC 3339 in UTC with milliseconds.
	Timestamp string    `json:"timestamp"`
	Readings  []Reading `json:"readings"`
	Statuses  []Status  `json:"statuses"`
	// Text tells the same to people, in lines; empty if nothing renders it.
	Text string `json:"text"`
	// Sample marks a message that was made up to try the target.
	Sample bool `json:"sample"`
}

// A Reading is what the message tells of one reading of a watchlist. Counts are
// those of the whole reading, Events those that the route took and shows, More
// those that it took and does not show.
type Reading struct {
	ID             string        `json:"id"`
	Watchlist      string        `json:"watchlist"`
	Region         string        `json:"region"`
	Revision       uint64        `json:"revision"`
	Period         *event.Period `json:"period"`
	PreviousPeriod *event.Period `json:"previous_period"`
	Time           string        `json:"time"`
	Outcome        string        `json:"outcome"`
	Counts         event.Counts  `json:"counts"`
	Events         []Event       `json:"events"`
	More           event.Counts  `json:"more"`
}

// An Event is the data of one change, as it is in the stream, and its kind:
// entered, moved, dropped or index. ID is the stored event's.
type Event struct {
	ID   string     `json:"id"`
	Kind event.Kind `json:"kind"`
	event.Change
}

// A Status is the data of one status message.
type Status struct {
	ID string `json:"id"`
	event.Condition
}

// BodyOf puts a message and its rendering into a body.
func BodyOf(m *digest.Message, text string) *Body {
	b := &Body{ID: m.ID, Route: m.Route, Type: Type, Text: text, Sample: m.Sample, Readings: []Reading{}, Statuses: []Status{}}
	var newest time.Time
	for i := range m.Sections {
		s := &m.Sections[i]
		b.Readings = append(b.Readings, reading(s))
		newest = later(newest, s.Reading.At)
	}
	for _, n := range m.Notices {
		b.Statuses = append(b.Statuses, Status{ID: n.ID, Condition: n.Condition})
		newest = later(newest, n.At)
	}
	b.Timestamp = event.Time(newest)
	return b
}

func reading(s *digest.Section) Reading {
	board := &s.Reading.Board
	r := Reading{
		ID: s.Reading.ID, Watchlist: board.Watchlist, Region: board.Region, Revision: board.Revision,
		Period: board.Period, PreviousPeriod: board.PreviousPeriod, Time: event.Time(s.Reading.At), Outcome: board.Outcome,
		Counts: board.Counts, Events: make([]Event, 0, len(s.Shown)), More: s.More,
	}
	for i := range s.Shown {
		c := &s.Shown[i]
		id := s.Reading.ID + "/" + string(c.Kind) + "/" + event.EscapeUID(c.Creator.UID)
		r.Events = append(r.Events, Event{ID: id, Kind: c.Kind, Change: c.Change})
	}
	return r
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// encode writes a body. The same message gives the same bytes.
func encode(b *Body) ([]byte, error) {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false) // names are text for people
	if err := e.Encode(b); err != nil {
		return nil, fmt.Errorf("webhook: encode %s: %w", b.ID, err)
	}
	return bytes.TrimSuffix(w.Bytes(), []byte("\n")), nil
}
