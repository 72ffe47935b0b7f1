package feed

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// frame makes a message ready to be sent. It is nil for one on a subject that
// this version does not know.
func frame(prefix string, m *history.Message) (*item, error) {
	s, err := event.ParseSubject(prefix, m.Subject)
	if err != nil {
		return nil, nil //nolint:nilerr // of a later version
	}
	data := jsontext.Value(m.Data)
	if s.Kind == event.Board {
		data, err = without(data, "data", "board", "absent", "holes", "interim")
	}
	if err == nil && bytes.ContainsAny(data, "\r\n") {
		data = data.Clone()
		err = data.Compact()
	}
	if err != nil {
		return nil, fmt.Errorf("sequence %d: %w", m.Sequence, err)
	}
	b := make([]byte, 0, len(data)+64)
	b = append(strconv.AppendUint(append(b, "id: "...), m.Sequence, 10), "\nevent: "...)
	b = append(append(append(b, s.Kind...), "\ndata: "...), data...)
	return &item{sequence: m.Sequence, subject: s, frame: append(b, "\n\n"...)}, nil
}

// without copies a JSON object, of whose member in the keys are left out.
func without(object jsontext.Value, member string, keys ...string) (jsontext.Value, error) {
	var out bytes.Buffer
	err := eachMember(object, func(key, value jsontext.Value, name string) error {
		if name == member {
			inner, err := omit(value, keys)
			if err != nil {
				return err
			}
			value = inner
		}
		pair(&out, key, value)
		return nil
	})
	out.WriteByte('}')
	return out.Bytes(), err
}

func omit(object jsontext.Value, keys []string) (jsontext.Value, error) {
	var out bytes.Buffer
	err := eachMember(object, func(key, value jsontext.Value, name string) error {
		if slices.Contains(keys, name) {
			return nil
		}
		pair(&out, key, value)
		return nil
	})
	if out.Len() == 0 {
		out.WriteByte('{')
	}
	out.WriteByte('}')
	return out.Bytes(), err
}

// pair adds a member to the object that is being written.
func pair(out *bytes.Buffer, key, value jsontext.Value) {
	sep := byte(',')
	if out.Len() == 0 {
		sep = '{'
	}
	out.WriteByte(sep)
	out.Write(key)
	out.WriteByte(':')
	out.Write(value)
}

// eachMember calls fn with every member of an object: its key as it is written,
// its value, and its name.
func eachMember(object jsontext.Value, fn func(key, value jsontext.Value, name string) error) error {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	if d.PeekKind() != '{' {
		return errors.New("not an object")
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		key, err := d.ReadValue()
		if err != nil {
			return err
		}
		key = key.Clone()
		name, err := jsontext.AppendUnquote(nil, key)
		if err != nil {
			return err
		}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := fn(key, value, string(name)); err != nil {
			return err
		}
	}
	return nil
}
