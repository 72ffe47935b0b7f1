package text

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Change is one event with its kind.
type Change struct {
	Kind event.Kind
	event.Change
}

// A Sign stands before an event: Fancy on a terminal, Plain elsewhere.
type Sign struct{ Fancy, Plain, Color string }

// SignOf tells at a glance what happened.
func SignOf(c Change) Sign {
	switch {
	case c.Kind == event.Entered:
		return Sign{"✚", "+", Green}
	case c.Kind == event.Dropped:
		return Sign{"✖", "x", Red}
	case c.Kind == event.Index:
		return Sign{"●", "*", ""}
	case c.Places != nil && *c.Places > 0:
		return Sign{"▲", "^", Cyan}
	}
	return Sign{"▼", "v", ""}
}

// Rank is a place's rank, or a dash.
func (s Style) Rank(p *event.Place) string {
	if p == nil {
		return s.Dash()
	}
	return strconv.Itoa(p.Rank)
}

// Places is how far a moved creator came; positive is a climb.
func Places(c Change) string {
	if c.Places == nil || c.Kind != event.Moved {
		return ""
	}
	return fmt.Sprintf("%+d", *c.Places)
}

// Index is the potential_index before and after, once if it is the same.
func (s Style) Index(c Change) string {
	switch {
	case c.Before == nil && c.After == nil:
		return s.Dash()
	case c.Before == nil:
		return strconv.FormatInt(c.After.PotentialIndex, 10)
	case c.After == nil || c.Before.PotentialIndex == c.After.PotentialIndex:
		return strconv.FormatInt(c.Before.PotentialIndex, 10)
	}
	return strconv.FormatInt(c.Before.PotentialIndex, 10) + s.Arrow() + strconv.FormatInt(c.After.PotentialIndex, 10)
}

// nameWidth is the width of the column of names in cells of a terminal.
const nameWidth = 24

// Line renders one event with a note behind it. The name comes late and what
// follows it begins with a Latin letter, so that a name written from right to
// left cannot reorder the columns.
func (s Style) Line(c Change, note string) string {
	sign := SignOf(c)
	line := fmt.Sprintf("  %s %-7s %4s%s%-4s %4s  index %-10s  %s  %s",
		s.Pick(sign.Fancy, sign.Plain), c.Kind, s.Rank(c.Before), s.Arrow(), s.Rank(c.After), Places(c), s.Index(c), Pad(Name(c.Creator), nameWidth), note)
	line = strings.TrimRight(line, " ")
	if s.Width > 0 {
		line = Cut(line, s.Width)
	}
	return s.Paint(sign.Color, line) + "\n"
}

// Why says why it happened, or what else is worth knowing, the most telling
// first. Each part begins with a letter or a digit.
func Why(c Change) []string {
	var why []string
	switch c.Kind {
	case event.Entered:
		if c.History.Reentry {
			why = append(why, "back again")
		}
		if n := c.Creator.FollowerCount; n != nil {
			why = append(why, "has "+strings.ReplaceAll(humanize.SIWithDigits(float64(*n), 1, ""), " ", "")+" followers")
		}
	case event.Dropped:
		if c.Edge {
			why = append(why, "below the visible part")
		}
		if c.History.PeakRank > 0 {
			why = append(why, fmt.Sprintf("best rank %d", c.History.PeakRank))
		}
	case event.Moved:
		why = causes(c.Cause)
	}
	return why
}

func causes(c *event.Cause) []string {
	if c == nil {
		return nil
	}
	var why []string
	say := func(n int, format string) {
		if n > 0 {
			why = append(why, fmt.Sprintf(format, n))
		}
	}
	say(c.Passed, "passed %d")
	say(c.PassedBy, "passed by %d")
	if len(why) == 0 {
		why = append(why, "displaced")
	}
	say(c.EnteredAbove, "%d entered above")
	say(c.DroppedAbove, "%d dropped above")
	return why
}

// Name is what people call a creator, safe to print: the nickname, or else the
// unique id, or else the uid.
func Name(c event.Creator) string {
	for _, s := range []*string{c.Nickname, c.UniqueID} {
		if s == nil {
			continue
		}
		if name := Printable(*s); strings.TrimSpace(name) != "" {
			return name
		}
	}
	return Printable(c.UID)
}

// Counts says how many events of each kind a reading had.
func Counts(c event.Counts) string {
	parts := []string{strconv.Itoa(c.Entered) + " in", strconv.Itoa(c.Moved) + " moved", strconv.Itoa(c.Dropped) + " out"}
	if c.Index > 0 {
		parts = append(parts, strconv.Itoa(c.Index)+" index")
	}
	return strings.Join(parts, ", ")
}

// Some counts things: 1 member, 2 members.
func Some(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
