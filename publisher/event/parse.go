package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Errors of Parse, besides ErrSubject. Of none of these messages anything is to
// be used; delivering it again does not help.
var (
	// ErrKind means that the message is of a kind that this version does not
	// know. A later worker may send such: skip it.
	ErrKind = errors.New("event: unknown kind")
	// ErrSchema means that the data follows another version of the contract.
	// What it says is lost on this version: upgrade.
	ErrSchema = errors.New("event: unknown schema")
	// ErrMessage means that the message is not what the contract says. No
	// worker sends such.
	ErrMessage = errors.New("event: malformed message")
)

const (
	specVersion  = "1.0"
	typePrefix   = "rankwatch."
	schemaPrefix = "rankwatch/v1/"
)

// A Received is a message as a consumer gets it. Exactly one of Change, Board
// and Status is set, as Subject.Kind tells. ID is unique and the same each time
// the message is delivered; Time is when the reading's last page came, or the
// condition changed.
type Received struct {
	Subject Subject
	ID      string
	Source  string
	Time    time.Time

	Change *Change   // of Entered, Moved, Dropped and Index
	Board  *Snapshot // of Board
	Status *Condition
}

// Parse reads a message that came on a subject under prefix. What it returns
// without an error has all that its kind promises: After and, but for Entered,
// Before, as far as the kind has them; watchlist, region and uid as the subject
// says; for Moved and Index also Places and IndexChange.
func Parse(prefix, subject string, data []byte) (Received, error) {
	s, err := ParseSubject(prefix, subject)
	if err != nil {
		return Received{}, err
	}
	var e Envelope[json.RawMessage]
	if err := json.Unmarshal(data, &e); err != nil {
		return Received{}, fmt.Errorf("%w: %s: %w", ErrMessage, subject, err)
	}
	at, err := frame(s.Kind, &e)
	if err != nil {
		return Received{}, fmt.Errorf("%w on %s", err, subject)
	}
	r := Received{Subject: s, ID: e.ID, Source: e.Source, Time: at}
	if err := r.fill(e.Data); err != nil {
		return Received{}, fmt.Errorf("%w on %s, id %q", err, subject, e.ID)
	}
	return r, nil
}

// frame checks what all messages share.
func frame(k Kind, e *Envelope[json.RawMessage]) (time.Time, error) {
	switch k {
	case Entered, Moved, Dropped, Index, Board, Status:
	default:
		return time.Time{}, fmt.Errorf("%w %q", ErrKind, k)
	}
	switch {
	case e.SpecVersion != specVersion:
		return time.Time{}, fmt.Errorf("%w: specversion is %q, not %s", ErrMessage, e.SpecVersion, specVersion)
	case e.ID == "":
		return time.Time{}, fmt.Errorf("%w: no id", ErrMessage)
	case e.Type != typePrefix+string(k):
		return time.Time{}, fmt.Errorf("%w: type is %q, not %s%s", ErrMessage, e.Type, typePrefix, k)
	case e.DataSchema != schemaPrefix+string(k):
		return time.Time{}, fmt.Errorf("%w %q instead of %s%s", ErrSchema, e.DataSchema, schemaPrefix, k)
	case len(e.Data) == 0 || bytes.Equal(e.Data, []byte("null")):
		return time.Time{}, fmt.Errorf("%w: no data", ErrMessage)
	}
	at, err := time.Parse(time.RFC3339Nano, e.Time)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: time %q is not RFC 3339", ErrMessage, e.Time)
	}
	return at, nil
}

// fill decodes the data and holds it against the subject.
func (r *Received) fill(data []byte) error {
	var watchlist, region, uid string
	var missing error
	var err error
	switch r.Subject.Kind {
	case Board:
		r.Board = new(Snapshot)
		err = json.Unmarshal(data, r.Board)
		watchlist, region, missing = r.Board.Watchlist, r.Board.Region, r.Board.missing()
	case Status:
		r.Status = new(Condition)
		err = json.Unmarshal(data, r.Status)
		watchlist, region, missing = r.Status.Watchlist, r.Status.Region, absent("status", r.Status.Status == "")
	default:
		r.Change = new(Change)
		err = json.Unmarshal(data, r.Change)
		watchlist, region, uid, missing = r.Change.Watchlist, r.Change.Region, r.Change.Creator.UID, r.Change.missing(r.Subject.Kind)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: data: %w", ErrMessage, err)
	case watchlist != r.Subject.Watchlist:
		return fmt.Errorf("%w: data is of watchlist %q", ErrMessage, watchlist)
	case region != r.Subject.Region:
		return fmt.Errorf("%w: data is of region %q", ErrMessage, region)
	case uid != r.Subject.UID:
		return fmt.Errorf("%w: data is of creator %q", ErrMessage, uid)
	}
	return missing
}

func (c *Change) missing(k Kind) error {
	return errors.Join(
		absent("reading", c.Reading == ""),
		absent("creator.uid", c.Creator.UID == ""),
		absent("before", c.Before == nil && k != Entered),
		absent("after", c.After == nil && k != Dropped),
		absent("places", c.Places == nil && (k == Moved || k == Index)),
		absent("index_change", c.IndexChange == nil && (k == Moved || k == Index)),
	)
}

func (s *Snapshot) missing() error {
	return errors.Join(
		absent("revision", s.Revision == 0),
		absent("reading", s.Reading == ""),
		absent("outcome", s.Outcome == ""),
		absent("board", s.Board == nil),
	)
}

func absent(key string, is bool) error {
	if !is {
		return nil
	}
	return fmt.Errorf("%w: data has no %s", ErrMessage, key)
}
