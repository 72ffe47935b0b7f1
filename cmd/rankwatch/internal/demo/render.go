package demo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/rivo/uniseg"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// maxLines is how many events of one reading are printed; a demo is to be
// read, not to scroll away.
const maxLines = 6

// nameWidth is the width of the column of names in cells of a terminal.
const nameWidth = 24

// A style is how the output looks: with Unicode signs and colors on a
// terminal, plain elsewhere.
type style struct {
	color, unicode bool
	width          int // cells in a line, 0: no limit
}

type sign struct{ fancy, plain, color string }

const (
	green = "32"
	red   = "31"
	cyan  = "36"
	faint = "2"
	bold  = "1"
)

func (s style) paint(color, text string) string {
	if !s.color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (s style) pick(fancy, plain string) string {
	if s.unicode {
		return fancy
	}
	return plain
}

func (s style) sep() string   { return s.pick(" · ", " | ") }
func (s style) arrow() string { return s.pick(" → ", " -> ") }
func (s style) dash() string  { return s.pick("–", "-") }

// A change is one event with its kind.
type change struct {
	kind event.Kind
	event.Change
}

// reading renders a reading: the header of its board, then its most
// interesting events in the order in which they were published.
func (s style) reading(b *event.Snapshot, changes []change) string {
	var out strings.Builder
	out.WriteString(s.header(b))
	shown := pickShown(changes)
	for _, c := range shown {
		out.WriteString(s.line(c))
	}
	if more := len(changes) - len(shown); more > 0 {
		out.WriteString(s.paint(faint, fmt.Sprintf("  %s and %d more", s.pick("…", "..."), more)) + "\n")
	}
	return out.String()
}

func (s style) header(b *event.Snapshot) string {
	parts := []string{s.paint(bold, b.Watchlist), "revision " + strconv.FormatUint(b.Revision, 10)}
	if b.Period != nil {
		parts = append(parts, b.Period.Value)
	}
	if b.Outcome == event.OutcomeBaseline {
		members := 0
		for i := range b.Board {
			if b.Board[i].Member {
				members++
			}
		}
		reason := ""
		if b.Reason != nil {
			reason = *b.Reason
		}
		return strings.Join(append(parts, fmt.Sprintf("baseline (%s): %d creators, from here on every change is an event", reason, members)), s.sep()) + "\n"
	}
	counts := []string{strconv.Itoa(b.Counts.Entered) + " in", strconv.Itoa(b.Counts.Moved) + " moved", strconv.Itoa(b.Counts.Dropped) + " out"}
	if b.Counts.Index > 0 {
		counts = append(counts, strconv.Itoa(b.Counts.Index)+" index")
	}
	return strings.Join(append(parts, strings.Join(counts, ", ")), s.sep()) + "\n"
}

// line renders one event. The name comes late and what follows it begins with
// a Latin letter, so that a name written from right to left cannot reorder the
// columns.
func (s style) line(c change) string {
	sg := signOf(c)
	before, after := s.rank(c.Before), s.rank(c.After)
	places := ""
	if c.Places != nil && c.kind == event.Moved {
		places = fmt.Sprintf("%+d", *c.Places)
	}
	text := fmt.Sprintf("  %s %-7s %4s%s%-4s %4s  index %-10s  %s  %s",
		s.pick(sg.fancy, sg.plain), c.kind, before, s.arrow(), after, places, s.index(c.Change), pad(name(c.Creator), nameWidth), s.note(c))
	text = strings.TrimRight(text, " ")
	if s.width > 0 {
		text = cut(text, s.width)
	}
	return s.paint(sg.color, text) + "\n"
}

func signOf(c change) sign {
	switch {
	case c.kind == event.Entered:
		return sign{"✚", "+", green}
	case c.kind == event.Dropped:
		return sign{"✖", "x", red}
	case c.kind == event.Index:
		return sign{"●", "*", ""}
	case c.Places != nil && *c.Places > 0:
		return sign{"▲", "^", cyan}
	}
	return sign{"▼", "v", ""}
}

func (s style) rank(p *event.Place) string {
	if p == nil {
		return s.dash()
	}
	return strconv.Itoa(p.Rank)
}

func (s style) index(c event.Change) string {
	switch {
	case c.Before == nil && c.After == nil:
		return s.dash()
	case c.Before == nil:
		return strconv.FormatInt(c.After.PotentialIndex, 10)
	case c.After == nil || c.Before.PotentialIndex == c.After.PotentialIndex:
		return strconv.FormatInt(c.Before.PotentialIndex, 10)
	}
	return strconv.FormatInt(c.Before.PotentialIndex, 10) + s.arrow() + strconv.FormatInt(c.After.PotentialIndex, 10)
}

// note says why, or what else is worth knowing.
func (s style) note(c change) string {
	switch {
	case c.kind == event.Entered && c.History.Reentry:
		return "back again"
	case c.kind == event.Entered && c.Creator.FollowerCount != nil:
		return "has " + strings.ReplaceAll(humanize.SIWithDigits(float64(*c.Creator.FollowerCount), 1, ""), " ", "") + " followers"
	case c.kind == event.Dropped:
		return fmt.Sprintf("best rank %d", c.History.PeakRank)
	case c.kind == event.Moved && c.Cause != nil && c.Cause.Passed > 0:
		return fmt.Sprintf("passed %d", c.Cause.Passed)
	case c.kind == event.Moved && c.Cause != nil && c.Cause.PassedBy > 0:
		return fmt.Sprintf("passed by %d", c.Cause.PassedBy)
	case c.kind == event.Moved && c.Cause != nil:
		return "displaced"
	}
	return ""
}

// pickShown chooses the most interesting events, some of each kind, and leaves
// them in their order.
func pickShown(changes []change) []change {
	// A line that says `and 1 more` could as well be that one.
	if len(changes) <= maxLines+1 {
		return changes
	}
	byKind := map[event.Kind][]int{}
	for i := range changes {
		byKind[changes[i].kind] = append(byKind[changes[i].kind], i)
	}
	for _, of := range byKind {
		slices.SortStableFunc(of, func(a, b int) int { return interest(changes[b]) - interest(changes[a]) })
	}
	var chosen []int
	for len(chosen) < maxLines {
		for _, k := range []event.Kind{event.Entered, event.Moved, event.Dropped, event.Moved, event.Index} {
			if of := byKind[k]; len(of) > 0 && len(chosen) < maxLines {
				chosen, byKind[k] = append(chosen, of[0]), of[1:]
			}
		}
	}
	slices.Sort(chosen)
	shown := make([]change, len(chosen))
	for i, at := range chosen {
		shown[i] = changes[at]
	}
	return shown
}

// interest orders events of one kind: the longest moves, and what happened
// nearest to the top.
func interest(c change) int {
	if c.kind == event.Moved && c.Places != nil {
		return max(*c.Places, -*c.Places)
	}
	rank := 0
	if c.Before != nil {
		rank = c.Before.Rank
	}
	if c.After != nil {
		rank = c.After.Rank
	}
	return -rank
}

func name(c event.Creator) string {
	for _, s := range []*string{c.Nickname, c.UniqueID} {
		if s != nil && strings.TrimSpace(*s) != "" {
			return printable(*s)
		}
	}
	return c.UID
}

// printable leaves out what could steer a terminal, turn the direction of the
// rest of the line or hide in it: names come from outside. The joiners stay,
// since emoji and Persian are written with them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		joiner := r == 0x200C || r == 0x200D
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && !joiner {
			return -1
		}
		return r
	}, s)
}

// pad cuts or fills s to width cells.
func pad(s string, width int) string {
	s = cut(s, width)
	return s + strings.Repeat(" ", width-uniseg.StringWidth(s))
}

// cut cuts s to at most width cells without tearing a grapheme.
func cut(s string, width int) string {
	if uniseg.StringWidth(s) <= width {
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
