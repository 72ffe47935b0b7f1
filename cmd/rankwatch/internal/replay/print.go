package replay

import (
	"bufio"
	"io"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A printer writes messages in one format, a line each. What it wrote is out
// once close returns. The same messages give the same bytes, except that a
// table follows the width of a terminal.
type printer interface {
	print(m *history.Message) error
	close() error
}

// A target is where a printer writes, and what about.
type target struct {
	out    io.Writer
	style  text.Style
	prefix string   // of the subjects
	names  []string // the watchlists that were asked for
}

// newPrinter returns the printer of a format: table, json or csv.
func newPrinter(format string, t target) printer {
	switch format {
	case "json":
		return &lines{bufio.NewWriterSize(t.out, 1<<20)}
	case "csv":
		return newSheet(t)
	}
	return newTable(t)
}

// lines are the stored bytes, one message a line.
type lines struct{ w *bufio.Writer }

func (l *lines) print(m *history.Message) error {
	// The writer keeps its first error, which the last write returns.
	_, _ = l.w.Write(m.Data)
	return l.w.WriteByte('\n')
}

func (l *lines) close() error { return l.w.Flush() }

// A content is what a message says, as far as it could be read: fields of
// another version's shape are left at zero.
type content struct {
	subject event.Subject
	change  *event.Change
	board   *event.Snapshot // without rows
	status  *event.Condition
	strange bool // not, or not all, of the shape that this version knows
}

// read decodes a message. It reads what it can.
func read(prefix string, m *history.Message) content {
	var c content
	s, err := event.ParseSubject(prefix, m.Subject)
	if err != nil {
		return content{strange: true}
	}
	c.subject = s
	switch s.Kind {
	case event.Entered, event.Moved, event.Dropped, event.Index:
		e, err := event.Decode[event.Change](m.Data)
		c.change, c.strange = &e.Data, err != nil
	case event.Board:
		b, err := m.Head()
		c.board, c.strange = b, err != nil
	case event.Status:
		e, err := event.Decode[event.Condition](m.Data)
		c.status, c.strange = &e.Data, err != nil
	default:
		c.strange = true
	}
	if c.change != nil && c.change.Creator.UID == "" {
		c.change.Creator.UID = s.UID
	}
	return c
}
