package history

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// rowsKey comes before a board's rows. No text can hold it, since quotes in
// texts are escaped.
const rowsKey = `"board":[`

// Head decodes what stands before the rows of a board message, which are most
// of it.
func (m *Message) Head() (*event.Snapshot, error) {
	at := bytes.Index(m.Data, []byte(rowsKey))
	if at < 0 {
		return m.Snapshot()
	}
	const end = `"board":null}}`
	head := make([]byte, 0, at+len(end))
	head = append(append(head, m.Data[:at]...), end...)
	e, err := event.Decode[event.Snapshot](head)
	if err != nil {
		return &e.Data, fmt.Errorf("sequence %d: %w", m.Sequence, err)
	}
	return &e.Data, nil
}

// Members counts the members in the rows of a board message without decoding
// them.
func (m *Message) Members() int {
	return bytes.Count(m.Data, []byte(`"member":true`))
}

// Row finds a creator's row in a board message without decoding the others. It
// returns nil if there is none.
func (m *Message) Row(uid string) (*event.Row, error) {
	at := bytes.Index(m.Data, []byte(rowsKey))
	if at < 0 {
		return m.slowRow(uid)
	}
	rows := m.Data[at+len(rowsKey):]
	if !bytes.HasPrefix(rows, []byte(`{"uid":"`)) && !bytes.HasPrefix(rows, []byte(`]`)) {
		return m.slowRow(uid) // as another version writes them
	}
	key, err := rowKey(uid)
	if err != nil {
		return nil, err
	}
	at = bytes.Index(rows, key)
	if at < 0 {
		return nil, nil
	}
	var row event.Row
	if err := json.NewDecoder(bytes.NewReader(rows[at:])).Decode(&row); err != nil {
		return nil, fmt.Errorf("sequence %d: row of %s: %w", m.Sequence, uid, err)
	}
	return &row, nil
}

// rowKey is how the creator's row begins.
func rowKey(uid string) ([]byte, error) {
	b := bytes.NewBufferString(`{"uid":`)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(uid); err != nil {
		return nil, fmt.Errorf("uid %q: %w", uid, err)
	}
	return append(bytes.TrimSuffix(b.Bytes(), []byte("\n")), ','), nil
}

func (m *Message) slowRow(uid string) (*event.Row, error) {
	s, err := m.Snapshot()
	if err != nil {
		return nil, err
	}
	for i := range s.Board {
		if s.Board[i].UID == uid {
			return &s.Board[i], nil
		}
	}
	return nil, nil
}
