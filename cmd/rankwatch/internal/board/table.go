package board

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// table is the board for eyes: a heading, the rows, and at the end the members
// that the reading did not show.
func (v *view) table(style text.Style, all bool) string {
	var out strings.Builder
	g := newGrid(style)
	g.plain(&out, text.Bold, v.title(style))
	g.plain(&out, "", v.summary(style))
	if v.note != "" {
		g.plain(&out, text.Faint, v.note)
	}
	out.WriteString("\n")
	g.line(&out, text.Bold, cells{rank: "RANK", change: "CHANGE", position: "POS", index: "INDEX", handle: "UNIQUE ID", nickname: "NICKNAME"})
	hidden := 0
	for i := range v.rows {
		if r := &v.rows[i]; all || r.Member {
			g.row(&out, r)
		} else {
			hidden++
		}
	}
	if hidden > 0 {
		g.plain(&out, text.Faint, fmt.Sprintf("and %d that were read and are no members, see --all", hidden))
	}
	if len(v.waiting) > 0 {
		out.WriteString("\n")
		g.plain(&out, text.Bold, "waiting: members that this reading did not show, with what was last reported of them")
		for i := range v.waiting {
			g.row(&out, &v.waiting[i])
		}
	}
	return out.String()
}

func (v *view) title(style text.Style) string {
	parts := []string{v.Watchlist, v.Region, "revision " + strconv.FormatUint(v.Revision, 10)}
	if v.Period != nil {
		parts = append(parts, v.Period.Type+" "+v.Period.Value)
	}
	parts = append(parts, "made "+text.Stamp(v.at))
	return text.Printable(strings.Join(parts, style.Sep()))
}

func (v *view) summary(style text.Style) string {
	outcome := v.Outcome
	if v.Reason != nil {
		outcome += " (" + *v.Reason + ")"
	}
	parts := []string{outcome}
	if v.Outcome != event.OutcomeBaseline || v.Counts != (event.Counts{}) {
		parts = append(parts, text.Counts(v.Counts))
	}
	parts = append(parts, text.Some(v.members+len(v.waiting), "member"), text.Some(len(v.Board), "place")+fmt.Sprintf(" read of %d", v.Total))
	if n := len(v.Holes); n > 0 {
		parts = append(parts, text.Some(n, "place")+" hidden by a tie that shuffles")
	}
	return text.Printable(strings.Join(parts, style.Sep()))
}

// A grid is the columns of a board. The names come late, and what follows them
// begins with a letter, so that one written from right to left cannot reorder
// the columns.
type grid struct {
	style            text.Style
	handle, nickname int
}

func newGrid(style text.Style) grid {
	g := grid{style: style, handle: 24, nickname: 24}
	const rest = 4 + 2 + 6 + 2 + 4 + 2 + 5 + 1 + 4 + 2 + 2 + 2 + len("not a member")
	if over := rest + g.handle + g.nickname - style.Width; style.Width > 0 && over > 0 {
		g.nickname = max(g.nickname-(over+1)/2, 8)
		g.handle = max(g.handle-over/2, 8)
	}
	return g
}

func (g grid) plain(out *strings.Builder, color, line string) {
	if g.style.Width > 0 {
		line = text.Cut(line, g.style.Width)
	}
	out.WriteString(g.style.Paint(color, strings.TrimRight(line, " ")) + "\n")
}

// cells are those of one line. What is empty stays so.
type cells struct {
	rank, change, position, index string
	step                          string // how far the index came
	handle, nickname, mark        string
}

func (g grid) line(out *strings.Builder, color string, c cells) {
	g.plain(out, color, strings.Join([]string{
		text.FillLeft(c.rank, 4), text.Fill(c.change, 6), text.FillLeft(c.position, 4), text.FillLeft(c.index, 5) + " " + text.Fill(c.step, 4),
		text.Pad(text.Printable(c.handle), g.handle), text.Pad(text.Printable(c.nickname), g.nickname), c.mark,
	}, "  "))
}

func (g grid) row(out *strings.Builder, r *row) {
	color := ""
	c := cells{
		rank: strconv.Itoa(r.Rank), position: strconv.Itoa(r.Position), index: strconv.FormatInt(r.PotentialIndex, 10),
		handle: r.UniqueID, nickname: r.Nickname,
	}
	if n, ok := r.places(); ok {
		switch {
		case n > 0:
			color, c.change = text.Cyan, g.style.Pick("▲", "^")+fmt.Sprintf("%4d", n)
		case n < 0:
			c.change = g.style.Pick("▼", "v") + fmt.Sprintf("%4d", -n)
		}
	}
	if n, ok := r.indexChange(); ok && n != 0 {
		c.step = fmt.Sprintf("%+d", n)
	}
	switch {
	case r.fresh:
		color, c.change = text.Green, "new"
	case r.absent != nil:
		c.position, c.mark = g.style.Dash(), fmt.Sprintf("missed %d, unseen %d", r.absent.Misses, r.absent.Unseen)
	case !r.Member:
		color, c.mark = text.Faint, "not a member"
	}
	if r.Edge {
		c.mark = strings.TrimPrefix(c.mark+", edge", ", ")
	}
	if c.handle == "" {
		c.handle = r.UID
	}
	g.line(out, color, c)
}
