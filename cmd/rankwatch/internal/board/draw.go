package board

import (
	"math"
	"strconv"
	"strings"

	"github.com/guptarohit/asciigraph"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
)

const (
	drawWidth = 72 // cells, where there is no terminal
	drawRows  = 8
	wideStep  = 6 // cells that a revision takes at most
)

// ascii are the library's signs for where there is no Unicode. A gap in the
// line is a gap in the membership.
var ascii = strings.NewReplacer("┤", "|", "┼", "|", "│", "|", "─", "-", "╶", "-", "╴", "-", "╭", ".", "╮", ".", "╰", "'", "╯", "'")

// draw draws the ranks of a member, rank 1 on top, with a gap where it was
// none. It returns "" if it never was one.
func draw(points []point, style text.Style) string {
	best, worst := int32(0), int32(0)
	for i := range points {
		if at := &points[i]; at.standing == member {
			worst = max(worst, at.rank)
			if best == 0 || at.rank < best {
				best = at.rank
			}
		}
	}
	if best == 0 {
		return ""
	}
	width := drawWidth
	if style.Width > 0 {
		width = style.Width
	}
	label := len(strconv.Itoa(int(worst)))
	cells := max(width-label-3, 2)
	height := min(int(worst-best), drawRows-1)
	// The library's axes grow upwards. It would draw lines between values that
	// it has to stretch, through ranks that never were: so it gets one a cell.
	drawn := asciigraph.Plot(spread(points, cells), asciigraph.Height(height), asciigraph.YAxisValueFormatter(func(v float64) string {
		return strconv.Itoa(int(math.Round(-v)))
	}))
	if !style.Unicode {
		drawn = ascii.Replace(drawn)
	}
	lines := strings.Split(drawn, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	axis := strings.Repeat(" ", label+2) + points[0].time().UTC().Format(text.Seconds) + style.Arrow() + points[len(points)-1].time().UTC().Format(text.Seconds)
	return strings.Join(append(lines, text.Cut(axis, width)), "\n") + "\n"
}

// spread makes a value for each cell: the negative rank, or NaN for none. Where
// there are more revisions than cells, a cell shows the last of its share;
// where there are fewer, each revision takes as many cells.
func spread(points []point, cells int) []float64 {
	n := len(points)
	values := make([]float64, 0, cells)
	add := func(at *point, times int) {
		v := math.NaN()
		if at.standing == member {
			v = -float64(at.rank)
		}
		for range times {
			values = append(values, v)
		}
	}
	if n <= cells {
		for i := range points {
			add(&points[i], min(cells/n, wideStep))
		}
		return values
	}
	for c := range cells {
		add(&points[(c+1)*n/cells-1], 1)
	}
	return values
}
