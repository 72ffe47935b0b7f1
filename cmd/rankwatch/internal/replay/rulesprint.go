package replay

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A rulesPrinter writes a backtest in one format: differences as they are
// found, then a sum for each watchlist. What it wrote is out once close returns.
type rulesPrinter interface {
	difference(d *difference) error
	sum(t *backtest) error
	close() error
}

func newRulesPrinter(format string, t target) rulesPrinter {
	switch format {
	case "json":
		return &rulesLines{newNetLines(t)}
	case "csv":
		return &rulesSheet{text.NewCSV(t.out, rulesColumns)}
	}
	return &rulesTable{w: bufio.NewWriter(t.out), style: t.style}
}

// rulesLines are JSON objects: one for each difference, and one for each
// watchlist, which has the key `published`.
type rulesLines struct{ *netLines }

func (l *rulesLines) difference(d *difference) error { return l.e.Encode(d) }
func (l *rulesLines) sum(t *backtest) error          { return l.e.Encode(t) }

// rulesTable is for eyes. Like a diff it marks with - what only was published,
// with + what only the rules tell, and with ~ what they tell otherwise.
type rulesTable struct {
	w         *bufio.Writer
	style     text.Style
	explained bool
}

var marks = map[string]struct{ sign, color string }{
	onlyPublished: {"-", text.Red}, onlyRules: {"+", text.Green}, bothOtherwise: {"~", ""},
}

func (t *rulesTable) difference(d *difference) error {
	mark := marks[d.Only]
	c := text.Change{Kind: d.Kind, Change: event.Change{
		Creator: event.Creator{UID: d.UID, Nickname: &d.Nickname}, Before: d.Before, After: d.After,
	}}
	if !t.explained {
		t.explained = true
		legend := "- was published, + the file's rules tell, ~ both tell, but otherwise: the file's rules, then what was published\n"
		if _, err := t.w.WriteString(t.style.Paint(text.Faint, legend)); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("%s %s %s %5d  %-7s %4s%s%-4s  index %-10s  %s", mark.sign, short(d.Time), d.Watchlist, d.Revision,
		d.Kind, t.style.Rank(d.Before), t.style.Arrow(), t.style.Rank(d.After), t.style.Index(c), text.Pad(text.Name(c.Creator), 24))
	if d.Only == bothOtherwise {
		was := text.Change{Kind: d.Kind, Change: event.Change{Before: d.PublishedBefore, After: d.PublishedAfter}}
		line += fmt.Sprintf("  published %s%s%s, index %s", t.style.Rank(was.Before), t.style.Arrow(), t.style.Rank(was.After), t.style.Index(was))
	}
	line = strings.TrimRight(line, " ")
	if t.style.Width > 0 {
		line = text.Cut(line, t.style.Width)
	}
	_, err := t.w.WriteString(t.style.Paint(mark.color, line) + "\n")
	return err
}

func (t *rulesTable) sum(b *backtest) error {
	_, err := fmt.Fprintf(t.w, "%s: %d readings, revision %d of %s to %d of %s\n%-9s %11s %11s %15s %11s %15s\n", t.style.Paint(text.Bold, b.Watchlist),
		b.Readings, b.From.Revision, short(b.From.Time), b.To.Revision, short(b.To.Time),
		"", "published", "file rules", "only published", "only file", "told otherwise")
	if err != nil {
		return err
	}
	same, other := b.Published, b.OnlyPublished.Plus(b.OnlyRules).Plus(b.ToldOtherwise)
	for _, row := range []struct {
		kind event.Kind
		of   func(event.Counts) int
	}{
		{event.Entered, func(c event.Counts) int { return c.Entered }}, {event.Moved, func(c event.Counts) int { return c.Moved }},
		{event.Dropped, func(c event.Counts) int { return c.Dropped }}, {event.Index, func(c event.Counts) int { return c.Index }},
	} {
		_, err := fmt.Fprintf(t.w, "%-9s %11d %11d %15d %11d %15d\n", row.kind, row.of(b.Published), row.of(b.Rules),
			row.of(b.OnlyPublished), row.of(b.OnlyRules), row.of(b.ToldOtherwise))
		if err != nil {
			return err
		}
	}
	if other == (event.Counts{}) && same == b.Rules {
		_, err = t.w.WriteString("no difference\n")
	}
	return err
}

func (t *rulesTable) close() error { return t.w.Flush() }

var rulesColumns = []string{
	"watchlist", "revision", "time", "only", "kind", "uid", "nickname", "before_rank", "before_potential_index", "after_rank", "after_potential_index",
	"published_before_rank", "published_before_potential_index", "published_after_rank", "published_after_potential_index",
}

// rulesSheet is CSV with the differences alone.
type rulesSheet struct{ w *text.CSV }

func (s *rulesSheet) difference(d *difference) error {
	row := []string{d.Watchlist, strconv.FormatUint(d.Revision, 10), d.Time, d.Only, string(d.Kind), text.Cell(d.UID), text.Cell(d.Nickname)}
	for _, p := range []*event.Place{d.Before, d.After, d.PublishedBefore, d.PublishedAfter} {
		row = append(row, placeCells(p)...)
	}
	return s.w.Write(row)
}

func (s *rulesSheet) sum(*backtest) error { return nil }

func (s *rulesSheet) close() error { return s.w.Close() }
