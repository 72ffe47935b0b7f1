package words

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

var fancy = text.Style{Unicode: true}

// line says who did what and why. What follows the name begins with a letter.
func (d Dialect) line(c *text.Change) string {
	parts := []string{d.link(c), "index " + fancy.Index(*c)}
	if why := why(c); why != "" {
		parts = append(parts, why)
	}
	rank := d.bold(rank(c))
	if p := text.Places(*c); p != "" {
		rank += " (" + p + ")"
	}
	return d.sign(c) + " " + rank + " " + strings.Join(parts, " · ")
}

// sign tells at a glance what happened. Who fell out of sight is not known to
// be gone and has a sign of its own.
func (d Dialect) sign(c *text.Change) string {
	plain := text.SignOf(*c).Fancy
	if c.Edge {
		plain = "▽"
	}
	if d != Mrkdwn {
		return plain
	}
	switch plain {
	case "✚":
		return ":new:"
	case "✖":
		return ":x:"
	case "▲":
		return ":arrow_up:"
	case "▼":
		return ":arrow_down:"
	case "▽":
		return ":arrow_heading_down:"
	}
	return ":bar_chart:"
}

// rank is the rank before and after.
func rank(c *text.Change) string {
	switch {
	case c.Kind == event.Index && c.After != nil:
		return "#" + strconv.Itoa(c.After.Rank)
	case c.Before == nil && c.After != nil:
		return "in → #" + strconv.Itoa(c.After.Rank)
	case c.Kind == event.Dropped && c.Before != nil && c.Edge:
		return "#" + strconv.Itoa(c.Before.Rank) + " → out of sight"
	case c.Kind == event.Dropped && c.Before != nil:
		return "#" + strconv.Itoa(c.Before.Rank) + " → out"
	case c.Before == nil || c.After == nil:
		return "–"
	}
	return "#" + strconv.Itoa(c.Before.Rank) + " → #" + strconv.Itoa(c.After.Rank)
}

// name is what people call the creator.
func (d Dialect) name(c *text.Change) string {
	for _, s := range []*string{c.Creator.Nickname, c.Creator.UniqueID, &c.Creator.UID} {
		if s != nil && visible(*s) {
			return isolated(d.short(nameCells, *s))
		}
	}
	return "(no name)"
}

func (d Dialect) link(c *text.Change) string {
	name := d.name(c)
	if d == Mrkdwn && c.Creator.URL != "" {
		return "<" + c.Creator.URL + "|" + name + ">"
	}
	return name
}

// why says why a creator moved, or what else is worth knowing. It begins with a
// letter.
func why(c *text.Change) string {
	switch c.Kind {
	case event.Entered, event.Dropped:
		parts := text.Why(*c)
		if c.Kind == event.Dropped && c.After != nil {
			parts = append([]string{fmt.Sprintf("now at rank %d", c.After.Rank)}, parts...)
		}
		return strings.Join(parts, ", ")
	case event.Moved:
		return cause(c.Cause)
	}
	return ""
}

// cause tells who overtook whom; who only made room was displaced.
func cause(c *event.Cause) string {
	if c == nil {
		return ""
	}
	var parts []string
	say := func(n int, format string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(format, n))
		}
	}
	say(c.Passed, "overtook %d")
	say(c.PassedBy, "was overtaken by %d")
	displaced := len(parts) == 0
	say(c.EnteredAbove, "%d came in above")
	say(c.DroppedAbove, "%d dropped out above")
	if displaced {
		return strings.TrimSuffix("displaced: "+strings.Join(parts, ", "), ": ")
	}
	return strings.Join(parts, ", ")
}

// detail is what the creator sold, and in plain text its page. Empty if the
// source did not say.
func (d Dialect) detail(c *text.Change) string {
	m := &c.Metrics
	var parts []string
	if m.USDGMV != nil {
		parts = append(parts, "GMV "+money(*m.USDGMV))
	}
	if m.UnitsSold != nil {
		parts = append(parts, units(m))
	}
	if m.AvgPlayCount != nil {
		parts = append(parts, "avg "+number(float64(*m.AvgPlayCount))+" plays")
	}
	if s := d.categories(m.SalesCategoryL3); s != "" {
		parts = append(parts, "sells "+s)
	}
	if d == Plain && c.Creator.URL != "" {
		parts = append(parts, c.Creator.URL)
	}
	return strings.Join(parts, " · ")
}

func units(m *event.Metrics) string {
	s := humanize.Comma(*m.UnitsSold) + " units"
	var split []string
	if m.VideoUnitsSold != nil {
		split = append(split, humanize.Comma(*m.VideoUnitsSold)+" video")
	}
	if m.LiveUnitsSold != nil {
		split = append(split, humanize.Comma(*m.LiveUnitsSold)+" live")
	}
	if split != nil {
		s += " (" + strings.Join(split, ", ") + ")"
	}
	return s
}

// topCategories is how many sales categories are named, the best first as the
// source lists them.
const topCategories = 3

func (d Dialect) categories(list []event.Category) string {
	var names []string
	for _, c := range list {
		if visible(c.Name) && len(names) < topCategories {
			names = append(names, isolated(d.short(nameCells, c.Name)))
		}
	}
	return strings.Join(names, ", ")
}

// money is a sum in US dollars, in millions when it comes to that.
func money(usd float64) string {
	sign := ""
	if usd < 0 {
		sign, usd = "-", -usd
	}
	switch {
	case usd >= 1e9:
		return sign + "$" + strconv.FormatFloat(usd/1e9, 'f', 2, 64) + "B"
	case usd >= 1e6:
		return sign + "$" + strconv.FormatFloat(usd/1e6, 'f', 2, 64) + "M"
	}
	return sign + "$" + humanize.Comma(int64(math.Round(usd)))
}

// number is a count as 77k.
func number(n float64) string {
	return strings.ReplaceAll(humanize.SIWithDigits(n, 1, ""), " ", "")
}

// date is a time as people write it, in UTC.
func date(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") }
