// Package text writes what people read: signs, colors and columns on a
// terminal, plain ASCII elsewhere.
//
// Names come from outside. What goes through this package cannot steer a
// terminal, and lines up whatever script it is written in.
package text

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

// A Style is how output looks: with Unicode signs and colors on a terminal,
// plain elsewhere. The zero value is plain.
type Style struct {
	Color, Unicode bool
	// Tight leaves out the spaces around arrows, for narrow tables.
	Tight bool
	Width int // cells in a line, 0: no limit
}

// StyleOf is fancy on a terminal, without colors if NO_COLOR is set, and plain
// elsewhere. Where COLUMNS is set, it is a terminal's width.
func StyleOf(out io.Writer) Style {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return Style{}
	}
	s := Style{Unicode: true, Color: os.Getenv("NO_COLOR") == ""}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		s.Width = width
	}
	if width, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && width > 0 {
		s.Width = width
	}
	return s
}

// The colors and weights of Paint.
const (
	Green = "32"
	Red   = "31"
	Cyan  = "36"
	Faint = "2"
	Bold  = "1"
)

// Paint colors text, if the style has colors and color is not empty.
func (s Style) Paint(color, text string) string {
	if !s.Color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// Pick is fancy in a style with Unicode and plain in one without.
func (s Style) Pick(fancy, plain string) string {
	if s.Unicode {
		return fancy
	}
	return plain
}

// Sep stands between the parts of a line.
func (s Style) Sep() string { return s.Pick(" · ", " | ") }

// Arrow stands between before and after.
func (s Style) Arrow() string {
	if s.Tight {
		return s.Pick("→", ">")
	}
	return s.Pick(" → ", " -> ")
}

// Dash stands for what is not there.
func (s Style) Dash() string { return s.Pick("–", "-") }
