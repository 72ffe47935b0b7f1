package history

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// A RawRow is a row of a board of which no text was copied: texts are as they
// stand in the message, JSON strings with their quotes.
type RawRow struct {
	UID, UniqueID, Nickname jsontext.Value
	Rank, Position          int
	PotentialIndex          int64
	Member, Edge            bool
}

// EachRow calls fn with every row of a board message, in position order, and
// passes on its error. It costs a fraction of what Snapshot does. The row is fn's
// until it returns.
func (m *Message) EachRow(fn func(*RawRow) error) error {
	at := bytes.Index(m.Data, []byte(rowsKey))
	if at < 0 {
		return fmt.Errorf("sequence %d: no rows", m.Sequence)
	}
	d := jsontext.NewDecoder(bytes.NewReader(m.Data[at+len(rowsKey)-1:]))
	if err := eachRow(d, fn); err != nil {
		return fmt.Errorf("sequence %d: rows: %w", m.Sequence, err)
	}
	return nil
}

func eachRow(d *jsontext.Decoder, fn func(*RawRow) error) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '{' {
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		var row RawRow
		if err := row.read(v); err != nil {
			return err
		}
		if err := fn(&row); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// read takes the members of an object that was found to be well-formed.
func (r *RawRow) read(object jsontext.Value) error {
	const space = " \t\r\n"
	for rest := bytes.TrimLeft(object[1:], space); rest[0] != '}'; rest = bytes.TrimLeft(rest, space+",") {
		key := text(rest)
		rest = bytes.TrimLeft(rest[len(key):], space+":")
		value := scalar(rest)
		if value == nil { // of a later version
			var err error
			if value, err = jsontext.NewDecoder(bytes.NewReader(rest)).ReadValue(); err != nil {
				return err
			}
		}
		if err := r.set(key, value); err != nil {
			return err
		}
		rest = rest[len(value):]
	}
	return nil
}

// text is the JSON string that data begins with.
func text(data []byte) jsontext.Value {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return data[:i+1]
		}
	}
	return data
}

// scalar is the value that data begins with, nil if that is an object or an array.
func scalar(data []byte) jsontext.Value {
	switch data[0] {
	case '{', '[':
		return nil
	case '"':
		return text(data)
	}
	return data[:bytes.IndexAny(data, ",} \t\r\n")]
}

func (r *RawRow) set(key, value jsontext.Value) (err error) {
	switch string(key) {
	case `"uid"`:
		r.UID = value
	case `"unique_id"`:
		r.UniqueID = value
	case `"nickname"`:
		r.Nickname = value
	case `"rank"`:
		r.Rank, err = strconv.Atoi(string(value))
	case `"position"`:
		r.Position, err = strconv.Atoi(string(value))
	case `"potential_index"`:
		r.PotentialIndex, err = strconv.ParseInt(string(value), 10, 64)
	case `"member"`:
		r.Member = string(value) == "true"
	case `"edge"`:
		r.Edge = string(value) == "true"
	}
	return err
}
