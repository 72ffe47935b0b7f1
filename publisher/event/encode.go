package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rivo/uniseg"
)

// MaxNickname is the length in bytes at which a board's nicknames are cut, on a
// grapheme.
const MaxNickname = 64

// CutNickname cuts s to MaxNickname bytes without tearing a grapheme.
func CutNickname(s string) string {
	if len(s) <= MaxNickname {
		return s
	}
	end := 0
	state := -1
	rest := s
	for rest != "" {
		var g string
		g, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if end+len(g) > MaxNickname {
			break
		}
		end += len(g)
	}
	return s[:end]
}

// An Origin is where messages come from. Prefix is the subject prefix.
type Origin struct {
	Prefix    string
	Region    string
	Watchlist string
}

func (o Origin) source() string { return "/" + o.Prefix + "/" + o.Watchlist }

func (o Origin) subject(k Kind, uid string) string {
	return Subject{Prefix: o.Prefix, Region: o.Region, Watchlist: o.Watchlist, Kind: k, UID: uid}.String()
}

// Change encodes one event of the reading named by readingID (see ReadingID)
// that was fetched at the given time.
func (o Origin) Change(k Kind, readingID string, at time.Time, c *Change) (Message, error) {
	return encode(o, k, c.Creator.UID, readingID+"/"+string(k)+"/"+EscapeUID(c.Creator.UID), at, c)
}

// Board encodes the message that closes a reading.
func (o Origin) Board(readingID string, at time.Time, s *Snapshot) (Message, error) {
	bare := *s
	bare.Board = nil
	m, err := encode(o, Board, "", readingID+"/board", at, &bare)
	if err != nil {
		return Message{}, err
	}
	// The rows are the last thing in the message.
	frame, ok := bytes.CutSuffix(m.Data, []byte("null}}"))
	if !ok {
		return Message{}, fmt.Errorf("event: encode %s/board: the rows are not where they were", readingID)
	}
	data := make([]byte, 0, len(frame)+192*len(s.Board)+8)
	data = appendRows(append(data, frame...), s.Board)
	m.Data, m.Role = append(data, "}}"...), Fence
	return m, nil
}

// Status encodes a change of condition.
func (o Origin) Status(at time.Time, c *Condition) (Message, error) {
	m, err := encode(o, Status, "", o.Watchlist+"/status/"+c.Status+"/"+c.Since, at, c)
	m.Role = Fence
	return m, err
}

func encode[T any](o Origin, k Kind, uid, id string, at time.Time, data T) (Message, error) {
	w := buffer{make([]byte, 0, 1536)}
	e := json.NewEncoder(&w)
	// Nicknames are text for people: escaping < > & would only cost bytes.
	e.SetEscapeHTML(false)
	err := e.Encode(Envelope[T]{
		SpecVersion: "1.0", ID: id, Source: o.source(), Type: "rankwatch." + string(k), Subject: uid,
		Time: Time(at), DataContentType: "application/json", DataSchema: "rankwatch/v1/" + string(k), Data: data,
	})
	if err != nil {
		return Message{}, fmt.Errorf("event: encode %s: %w", id, err)
	}
	return Message{Subject: o.subject(k, uid), Data: bytes.TrimSuffix(w.b, []byte("\n"))}, nil
}

// Decode reads a message whose data is a T: Change, Snapshot or Condition.
func Decode[T any](data []byte) (Envelope[T], error) {
	var e Envelope[T]
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("event: decode: %w", err)
	}
	return e, nil
}
