package board

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

func (p *path) write(format string, to streams) error {
	switch format {
	case "json":
		return p.json(to.out)
	case "csv":
		return p.csv(to.out)
	}
	return p.table(to.out, to.style)
}

// A step is a point as JSON. Nil is unknown or not applicable.
type step struct {
	Watchlist      string  `json:"watchlist"`
	UID            string  `json:"uid"`
	Revision       uint64  `json:"revision"`
	Time           string  `json:"time"`
	Standing       string  `json:"standing"`
	Rank           *int32  `json:"rank"`
	Places         *int32  `json:"places"`
	Position       *int32  `json:"position"`
	PotentialIndex *int64  `json:"potential_index"`
	IndexChange    *int64  `json:"index_change"`
	Edge           bool    `json:"edge"`
	Baseline       *string `json:"baseline"` // its reason
}

func (p *path) step(at *point) step {
	s := step{Watchlist: p.watchlist, UID: p.uid, Revision: at.revision, Time: event.Time(at.time()), Standing: at.standing.String(), Edge: at.edge}
	if at.rank != 0 {
		s.Rank, s.Position, s.PotentialIndex = &at.rank, &at.position, &at.index
	}
	if at.known {
		s.Places, s.IndexChange = &at.places, &at.change
	}
	if r := at.reason(); r != "" {
		s.Baseline = &r
	}
	return s
}

func (p *path) json(out io.Writer) error {
	w := bufio.NewWriterSize(out, 1<<16)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range p.points {
		if err := e.Encode(p.step(&p.points[i])); err != nil {
			return err
		}
	}
	return w.Flush()
}

var pathHeader = []string{"watchlist", "uid", "revision", "time", "standing", "rank", "places", "position", "potential_index", "index_change", "edge", "baseline"}

func (p *path) csv(out io.Writer) error {
	w := text.NewCSV(out, pathHeader)
	for i := range p.points {
		s := p.step(&p.points[i])
		err := w.Write([]string{
			s.Watchlist, text.Cell(s.UID), strconv.FormatUint(s.Revision, 10), s.Time, s.Standing, text.Number(s.Rank), text.Number(s.Places), text.Number(s.Position),
			text.Number(s.PotentialIndex), text.Number(s.IndexChange), strconv.FormatBool(s.Edge), p.points[i].reason(),
		})
		if err != nil {
			return err
		}
	}
	return w.Close()
}

// table is a heading, the drawing, and a row a revision.
func (p *path) table(out io.Writer, style text.Style) error {
	w := bufio.NewWriterSize(out, 1<<16)
	line := func(color, s string) {
		if style.Width > 0 {
			s = text.Cut(s, style.Width)
		}
		// The writer keeps its first error for Flush.
		_, _ = w.WriteString(style.Paint(color, strings.TrimRight(s, " ")) + "\n")
	}
	line(text.Bold, p.title(style))
	line("", p.summary(style))
	for _, b := range p.breaks() {
		line(text.Red, fmt.Sprintf("revision %d is a baseline (%s): do not compare its ranks with those before", b.revision, b.reason()))
	}
	if drawn := draw(p.points, style); drawn != "" {
		_, _ = w.WriteString("\n" + drawn)
	}
	line("", "")
	line(text.Bold, fmt.Sprintf("%-*s  %6s  %4s  %-6s  %4s  %5s %4s  %s", len(timeOf(style)), "TIME (UTC)", "REV", "RANK", "CHANGE", "POS", "INDEX", "", "STANDING"))
	for i := range p.points {
		line(p.row(&p.points[i], style))
	}
	return w.Flush()
}

// title names the creator. What follows the name begins with a letter.
func (p *path) title(style text.Style) string {
	parts := []string{p.watchlist, text.Printable(p.name), "uid " + text.Printable(p.uid)}
	if p.name == "" {
		parts = slices.Delete(parts, 1, 2)
	}
	if p.handle != "" {
		parts = append(parts, text.Printable(p.handle))
	}
	return strings.Join(parts, style.Sep())
}

func (p *path) summary(style text.Style) string {
	if len(p.points) == 0 {
		return "no boards were read"
	}
	on, best := 0, int32(0)
	for i := range p.points {
		at := &p.points[i]
		if at.standing >= waiting {
			on++
		}
		if at.standing == member && (best == 0 || at.rank < best) {
			best = at.rank
		}
	}
	first, last := &p.points[0], &p.points[len(p.points)-1]
	parts := []string{fmt.Sprintf("revisions %d to %d", first.revision, last.revision), fmt.Sprintf("a member in %d of %d", on, len(p.points))}
	if best > 0 {
		parts = append(parts, fmt.Sprintf("best rank %d", best))
	}
	return strings.Join(parts, style.Sep())
}

// timeOf leaves out the year where there is little room.
func timeOf(style text.Style) string {
	if style.Width > 0 && style.Width < 90 {
		return "01-02 15:04:05"
	}
	return text.Seconds
}

func (p *path) row(at *point, style text.Style) (color, line string) {
	rank, change, position, index, step := style.Dash(), "", "", "", ""
	if at.rank != 0 {
		rank, position, index = strconv.Itoa(int(at.rank)), strconv.Itoa(int(at.position)), strconv.FormatInt(at.index, 10)
	}
	switch {
	case at.fresh:
		color, change = text.Green, "new"
	case at.known && at.places > 0:
		color, change = text.Cyan, style.Pick("▲", "^")+fmt.Sprintf("%4d", at.places)
	case at.known && at.places < 0:
		change = style.Pick("▼", "v") + fmt.Sprintf("%4d", -at.places)
	}
	if at.known && at.change != 0 {
		step = fmt.Sprintf("%+d", at.change)
	}
	if at.standing < waiting {
		color = text.Faint
	}
	note := map[standing]string{
		unlisted: "not on the list", below: "below the visible part", listed: "listed, not a member", waiting: "waiting: a member not shown", member: "member",
	}[at.standing]
	if at.edge {
		note += ", edge"
	}
	if r := at.reason(); r != "" {
		note += ", baseline (" + r + ")"
	}
	return color, strings.Join([]string{
		at.time().UTC().Format(timeOf(style)), text.FillLeft(strconv.FormatUint(at.revision, 10), 6), text.FillLeft(rank, 4), text.Fill(change, 6),
		text.FillLeft(position, 4), text.FillLeft(index, 5) + " " + text.Fill(step, 4), note,
	}, "  ")
}
