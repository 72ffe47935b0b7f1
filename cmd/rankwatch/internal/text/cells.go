package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Printable leaves out what could steer a terminal, turn the direction of the
// rest of the line or hide in it: names come from outside. The joiners stay,
// since emoji and Persian are written with them.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		joiner := r == 0x200C || r == 0x200D
		line := r == 0x2028 || r == 0x2029 // separators, which some terminals and editors break at
		if line || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && !joiner {
			return -1
		}
		return r
	}, s)
}

// Cells is how wide s is on a terminal.
func Cells(s string) int { return uniseg.StringWidth(s) }

// Pad cuts or fills s to width cells.
func Pad(s string, width int) string {
	s = Cut(s, width)
	return s + strings.Repeat(" ", width-Cells(s))
}

// Fill fills s to width cells on the right, and cuts nothing.
func Fill(s string, width int) string { return s + blanks(width-Cells(s)) }

// FillLeft fills s to width cells on the left, and cuts nothing.
func FillLeft(s string, width int) string { return blanks(width-Cells(s)) + s }

func blanks(n int) string { return strings.Repeat(" ", max(n, 0)) }

// Cut cuts s to at most width cells without tearing a grapheme.
func Cut(s string, width int) string {
	if Cells(s) <= width {
		return s
	}
	end, cells, state := 0, 0, -1
	for rest := s; rest != ""; {
		var g string
		var w int
		g, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if cells+w > width {
			break
		}
		end, cells = end+len(g), cells+w
	}
	return s[:end]
}

// Cell is s as a spreadsheet may show it: printable, and with a leading quote
// if the spreadsheet could take it for a formula and run it. Names come from
// outside.
func Cell(s string) string {
	s = Printable(s)
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " "))
	if strings.ContainsRune("=+-@＝＋－＠", first) {
		return "'" + s
	}
	return s
}
