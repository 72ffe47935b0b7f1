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
	return rewrite(object, func(name string, value jsontext.Value) (jsontext.Value, error) {
		if name != member {
			return value, nil
		}
		return rewrite(value, func(name string, value jsontext.Value) (jsontext.Value, error) {
			if slices.Contains(keys, name) {
				return nil, nil
			}
			return value, nil
		})
	})
}

// rewrite copies a JSON object with the values that change returns; nil leaves a
// member out.
func rewrite(object jsontext.Value, change func(name string, value jsontext.Value) (jsontext.Value, error)) (jsontext.Value, error) {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	if d.PeekKind() != '{' {
		return nil, errors.New("not an object")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	out := []byte{'{'}
	for d.PeekKind() != '}' {
		key, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		key = key.Clone()
		name, err := jsontext.AppendUnquote(nil, key)
		if err != nil {
			return nil, err
		}
		value, err := d.ReadValue()
		if err == nil {
			value, err = change(string(name), value)
		}
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}'), nil
}
