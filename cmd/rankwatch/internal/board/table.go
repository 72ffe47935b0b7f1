package board

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

const timeForm = "2006-01-02 15:04:05"

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
	g.line(&out, text.Bold, "RANK", "CHANGE", "POS", "INDEX", "", "UNIQUE ID", "NICKNAME", "")
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
	parts = append(parts, "made "+stamp(v.at))
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

func stamp(t time.Time) string { return t.UTC().Format(timeForm) + " UTC" }

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

// line writes cells: rank, change, position, index, its change, unique id,
// nickname, mark.
func (g grid) line(out *strings.Builder, color string, c ...string) {
	g.plain(out, color, strings.Join([]string{
		text.FillLeft(c[0], 4), text.Fill(c[1], 6), text.FillLeft(c[2], 4), text.FillLeft(c[3], 5) + " " + text.Fill(c[4], 4),
		text.Pad(text.Printable(c[5]), g.handle), text.Pad(text.Printable(c[6]), g.nickname), c[7],
	}, "  "))
}

func (g grid) row(out *strings.Builder, r *row) {
	color, change, index, position := "", "", "", strconv.Itoa(r.Position)
	if n, ok := r.places(); ok {
		switch {
		case n > 0:
			color, change = text.Cyan, g.style.Pick("▲", "^")+fmt.Sprintf("%4d", n)
		case n < 0:
			change = g.style.Pick("▼", "v") + fmt.Sprintf("%4d", -n)
		}
	}
	if n, ok := r.indexChange(); ok && n != 0 {
		index = fmt.Sprintf("%+d", n)
	}
	mark := ""
	switch {
	case r.fresh:
		color, change = text.Green, "new"
	case r.absent != nil:
		position, mark = g.style.Dash(), fmt.Sprintf("missed %d, unseen %d", r.absent.Misses, r.absent.Unseen)
	case !r.Member:
		color, mark = text.Faint, "not a member"
	}
	if r.Edge {
		mark = strings.TrimPrefix(mark+", edge", ", ")
	}
	handle := r.UniqueID
	if handle == "" {
		handle = r.UID
	}
	g.line(out, color, strconv.Itoa(r.Rank), change, position, strconv.FormatInt(r.PotentialIndex, 10), index, handle, r.Nickname, mark)
}
