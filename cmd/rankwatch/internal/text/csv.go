package text

import (
	"bufio"
	"encoding/csv"
	"io"
	"strconv"
)

// A CSV writes a sheet as RFC 4180 has it, with a header and CRLF at the end of
// a line. It holds back up to 64 kB, the header too. What outsiders choose
// goes through Cell first.
type CSV struct{ w *csv.Writer }

// NewCSV begins a sheet. An error of the header is Write's and Close's too.
func NewCSV(out io.Writer, header []string) *CSV {
	w := csv.NewWriter(bufio.NewWriterSize(out, 1<<16)) // which it takes for its own
	w.UseCRLF = true
	_ = w.Write(header)
	return &CSV{w}
}

// Write adds a row, which may be used again afterwards.
func (c *CSV) Write(row []string) error { return c.w.Write(row) }

// Close writes what was held back, and returns the first error of all. It does
// not close what is written to.
func (c *CSV) Close() error {
	c.w.Flush()
	return c.w.Error()
}

// Number is n as a cell, and an empty one for what is not known.
func Number[T int | int32 | int64](n *T) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(int64(*n), 10)
}
