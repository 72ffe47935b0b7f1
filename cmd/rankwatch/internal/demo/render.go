package demo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// maxLines is how many events of one reading are printed; a demo is to be
// read, not to scroll away.
const maxLines = 6

// A look is how the demo writes in a style.
type look struct{ text.Style }

// reading renders a reading: the header of its board, then its most
// interesting events in the order in which they were published.
func (s look) reading(b *event.Snapshot, changes []text.Change) string {
	var out strings.Builder
	out.WriteString(s.header(b))
	shown := pickShown(changes)
	for _, c := range shown {
		out.WriteString(s.Line(c, note(c)))
	}
	if more := len(changes) - len(shown); more > 0 {
		out.WriteString(s.Paint(text.Faint, fmt.Sprintf("  %s and %d more", s.Pick("…", "..."), more)) + "\n")
	}
	return out.String()
}

func (s look) header(b *event.Snapshot) string {
	parts := []string{s.Paint(text.Bold, b.Watchlist), "revision " + strconv.FormatUint(b.Revision, 10)}
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
		return strings.Join(append(parts, fmt.Sprintf("baseline (%s): %d creators, from here on every change is an event", reason, members)), s.Sep()) + "\n"
	}
	return strings.Join(append(parts, text.Counts(b.Counts)), s.Sep()) + "\n"
}

// note says why, or what else is worth knowing.
func note(c text.Change) string {
	if why := text.Why(c); len(why) > 0 {
		return why[0]
	}
	return ""
}

// pickShown chooses the most interesting events, some of each kind, and leaves
// them in their order.
func pickShown(changes []text.Change) []text.Change {
	// A line that says `and 1 more` could as well be that one.
	if len(changes) <= maxLines+1 {
		return changes
	}
	byKind := map[event.Kind][]int{}
	for i := range changes {
		byKind[changes[i].Kind] = append(byKind[changes[i].Kind], i)
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
	shown := make([]text.Change, len(chosen))
	for i, at := range chosen {
		shown[i] = changes[at]
	}
	return shown
}

// interest orders events of one kind: the longest moves, and what happened
// nearest to the top.
func interest(c text.Change) int {
	if c.Kind == event.Moved && c.Places != nil {
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
