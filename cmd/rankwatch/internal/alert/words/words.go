// Package words says in words what a digest.Message tells: a subject, a body,
// and the lines that a body is made of.
//
// What comes from outside (nicknames, ids, categories, details) is made safe for
// the dialect before anything else looks at it: it stays on its line, formats
// nothing, mentions nobody and is cut on graphemes. That holds for a user's
// template too, whatever field it prints.
//
// A template is Go's text/template over the digest.Message, for example
//
//	{{range .Sections}}*{{title .}}* {{facts .}}
//	{{range .Shown}}{{arrow .}} {{rank .}} {{link .}} {{why .}} {{money .Metrics.USDGMV}}
//	{{end}}{{more .}}
//	{{end}}{{range .Notices}}{{status .}}
//	{{end}}
//
// It sees ID, Route, Sample, Sections and Notices. A section has Reading (ID, At
// and Board, without rows), Shown and More; one of Shown is an event with its
// Kind and the fields of event.Change; a notice has ID, At and the fields of
// event.Condition. Before is nil when the creator came in, After when it dropped
// out: use the functions, or `with`. The functions are
//
//	subject       what the message is about, on a line
//	title, facts  of a section: the board; period, date, counts
//	more          of a section: "and 9 more (3 in, 6 moved)", or nothing
//	line, detail  of an event: the two lines of the built-in text
//	arrow         of an event: a sign that tells what happened
//	rank, index   of an event: old and new
//	places        of an event: how far it moved, as +3
//	name, link    of an event: the creator; the same linked to its page
//	why           of an event: why it moved, or what else is worth knowing
//	status        of a notice: all of it, on two lines
//	money, number a sum in US dollars; a count, short (77k). Nothing for null
//	short N TEXT  at most N cells of a text
//	date, period  of a time or a period
//	counts        of event.Counts
//	escape        makes a text safe. Fields are safe already; twice is as good as once
package words

import (
	"fmt"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Dialect is how the target writes.
type Dialect int

// Plain is text that looks the same everywhere; chats that format it find
// nothing to format. Mrkdwn is Slack's.
const (
	Plain Dialect = iota
	Mrkdwn
)

// A Part is what a message tells of one reading, or of the statuses. All of it
// is safe to print in the dialect. Title is empty for the statuses; More is
// empty if everything is shown.
type Part struct {
	Title   string
	Facts   string
	Entries []Entry
	More    string
}

// An Entry is an event or a status: what happened, and the figures, which may
// be empty.
type Entry struct{ Line, Detail string }

// subjectCells is how long a subject is at most.
const subjectCells = 140

// Subject says on one line of at most 150 characters what a message is about.
// It is plain text.
func Subject(m *digest.Message) string {
	bare := *m
	bare.Sections = make([]digest.Section, len(m.Sections))
	for i, s := range m.Sections {
		bare.Sections[i] = digest.Section{Reading: s.Reading, More: s.Told()}
	}
	return subject(Plain.clean(&bare))
}

func subject(m *digest.Message) string {
	var all event.Counts
	for i := range m.Sections {
		all = all.Plus(m.Sections[i].Told())
	}
	var parts []string
	switch n := len(m.Sections); {
	case n == 1:
		b := &m.Sections[0].Reading.Board
		parts = append(parts, board(b.Watchlist, b.Region)+": "+counts(all))
		if b.Period != nil {
			parts = append(parts, b.Period.Type+" "+b.Period.Value)
		}
	case n > 1:
		parts = append(parts, boards(m.Sections)+": "+counts(all))
	}
	switch n := len(m.Notices); {
	case n == 1:
		c := &m.Notices[0].Condition
		parts = append(parts, Plain.about(c)+": "+saying(c.Status).short)
	case n > 1:
		parts = append(parts, fmt.Sprintf("%d statuses", n))
	}
	s := strings.Join(parts, " · ")
	if m.Sample {
		s = "Sample: " + s
	}
	return cut(s, subjectCells)
}

// boards names what several sections are about.
func boards(sections []digest.Section) string {
	names := map[string]bool{}
	for i := range sections {
		names[sections[i].Reading.Board.Watchlist] = true
	}
	b := &sections[0].Reading.Board
	if len(names) == 1 {
		return fmt.Sprintf("%s, %d readings", board(b.Watchlist, b.Region), len(sections))
	}
	if len(names) == len(sections) {
		return fmt.Sprintf("%d boards", len(names))
	}
	return fmt.Sprintf("%d boards, %d readings", len(names), len(sections))
}

// longBody is from how many entries on a body has one line for each.
const longBody = 20

// Body is the text of a message without its subject: by the message's template
// if it has one, else the built-in text. An error is the template's.
func Body(m *digest.Message, d Dialect) (string, error) {
	if m.Template != "" {
		return execute(m.Template, m, d)
	}
	parts := Parts(m, d)
	entries := 0
	for _, p := range parts {
		entries += len(p.Entries)
	}
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString("\n")
		}
		for _, s := range []string{d.bold(p.Title), p.Facts} {
			if s != "" {
				b.WriteString(s + "\n")
			}
		}
		for _, e := range p.Entries {
			b.WriteString(e.Line + "\n")
			if e.Detail != "" && entries <= longBody {
				b.WriteString(indent + e.Detail + "\n")
			}
		}
		if p.More != "" {
			b.WriteString(p.More + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// indent stands before the second line of an entry. They are no plain blanks,
// since Slack drops those at the beginning of a line.
const indent = "\u2003\u2002"

// Parts are the pieces of the built-in text, in the order of the message: its
// sections, then its notices.
func Parts(m *digest.Message, d Dialect) []Part {
	m = d.clean(m)
	var parts []Part
	for i := range m.Sections {
		s := &m.Sections[i]
		p := Part{Title: title(s), Facts: facts(s), More: more(s)}
		for k := range s.Shown {
			p.Entries = append(p.Entries, Entry{d.line(&s.Shown[k]), d.detail(&s.Shown[k])})
		}
		parts = append(parts, p)
	}
	if len(m.Notices) > 0 {
		p := Part{}
		for i := range m.Notices {
			p.Entries = append(p.Entries, d.notice(&m.Notices[i]))
		}
		parts = append(parts, p)
	}
	return parts
}

func (d Dialect) bold(s string) string {
	if d == Mrkdwn && s != "" {
		return "*" + s + "*"
	}
	return s
}

func title(s *digest.Section) string {
	return board(s.Reading.Board.Watchlist, s.Reading.Board.Region)
}

func board(watchlist, region string) string {
	if region == "" || region == event.RegionAll {
		return watchlist
	}
	return watchlist + " (" + region + ")"
}

// facts says which reading it was, and what of it the message tells.
func facts(s *digest.Section) string {
	b := &s.Reading.Board
	var parts []string
	if b.Period != nil {
		p := period(b.Period)
		if b.PreviousPeriod != nil && *b.PreviousPeriod != *b.Period {
			p += ", compared with " + b.PreviousPeriod.Value
		}
		parts = append(parts, p)
	}
	parts = append(parts, "read "+date(s.Reading.At))
	if b.Outcome == event.OutcomeBaseline {
		parts = append(parts, "new baseline")
	}
	c := s.Told()
	n := counts(c)
	if all := b.Counts.Total(); all > c.Total() {
		n += ", of " + text.Some(all, "change")
	}
	return strings.Join(append(parts, n), " · ")
}

func period(p *event.Period) string {
	if p == nil {
		return ""
	}
	return p.Type + " " + p.Value
}

// counts says how many events of each kind there are, leaving out those of which
// there are none.
func counts(c event.Counts) string {
	var parts []string
	for _, k := range []struct {
		n    int
		noun string
	}{{c.Entered, "in"}, {c.Moved, "moved"}, {c.Dropped, "out"}, {c.Index, "index"}} {
		if k.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", k.n, k.noun))
		}
	}
	if parts == nil {
		return "no changes"
	}
	return strings.Join(parts, ", ")
}

func more(s *digest.Section) string {
	if n := s.More.Total(); n > 0 {
		return fmt.Sprintf("and %d more (%s)", n, counts(s.More))
	}
	return ""
}
