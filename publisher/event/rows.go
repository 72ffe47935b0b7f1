package event

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// appendRows writes a board's rows as encoding/json would, HTML left alone. A
// board has up to 1000 of them and they are most of what a reading publishes,
// so they are worth a way around reflection.
func appendRows(b []byte, rows []Row) []byte {
	b = append(b, '[')
	for i := range rows {
		r := &rows[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"uid":`...), r.UID)
		b = appendText(append(b, `,"unique_id":`...), r.UniqueID)
		b = appendText(append(b, `,"nickname":`...), r.Nickname)
		b = strconv.AppendInt(append(b, `,"rank":`...), int64(r.Rank), 10)
		b = strconv.AppendInt(append(b, `,"position":`...), int64(r.Position), 10)
		b = strconv.AppendInt(append(b, `,"potential_index":`...), r.PotentialIndex, 10)
		b = strconv.AppendBool(append(b, `,"member":`...), r.Member)
		if r.Edge {
			b = append(b, `,"edge":true`...)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendText writes s as a JSON string. Text that needs an escape is left to
// encoding/json.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		// U+2028 and U+2029 end lines in JavaScript.
		line := c == 0xE2 && i+2 < len(s) && s[i+1] == 0x80 && s[i+2]&^1 == 0xA8
		if c < 0x20 || c == '"' || c == '\\' || c == 0x7F || line {
			return appendEscaped(b, s)
		}
	}
	if !utf8.ValidString(s) {
		return appendEscaped(b, s)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	w := buffer{b}
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return w.b[:len(w.b)-1] // without the encoder's newline
}

type buffer struct{ b []byte }

func (w *buffer) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}
