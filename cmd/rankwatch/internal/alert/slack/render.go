package slack

import (
	"strings"
	"unicode/utf16"

	"github.com/rivo/uniseg"
	"github.com/slack-go/slack"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/words"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A section of text holds 3000 characters and a header 150. All blocks of a
// message together hold about 13,000, which is written nowhere; less is read
// better anyway.
const (
	maxSection = 2900
	maxHeader  = 150
	maxBlocks  = 50
	maxMessage = 10_000
	maxNotices = 20
	maxEvents  = 100 // of one reading; with their links, fewer fit
)

// A Payload is one message as Slack takes it. Text is what notifications show
// and screen readers read.
type Payload struct {
	Text   string        `json:"text"`
	Blocks []slack.Block `json:"blocks"`
}

// Render makes one message of m that fits, whatever comes in: two lines an
// event, or one if they are many, or the most telling ones and how many more
// there are. A template that fails gives way to the built-in text, and the
// message says so: news matter more than their form.
func Render(m *digest.Message) Payload {
	p := Payload{Text: words.Mrkdwn.Entities(words.Subject(m))}
	var note []slack.Block
	if m.Template != "" {
		body, err := words.Body(m, words.Mrkdwn)
		if err == nil && strings.TrimSpace(body) != "" {
			p.Blocks = templated(body)
			return p
		}
		if err != nil {
			note = append(note, aside(":warning: the template of the route failed: "+words.Mrkdwn.Safe(err.Error())))
		}
	}
	p.Blocks = append(fitted(m), note...)
	return p
}

// templated puts the text of a template into sections.
func templated(body string) []slack.Block {
	lines := strings.Split(body, "\n")
	first := func(n int) []slack.Block {
		shown := lines[:n:n]
		if n < len(lines) {
			shown = append(shown, "… and "+text.Some(len(lines)-n, "more line"))
		}
		return sections(shown)
	}
	return first(largest(len(lines), func(n int) bool { return fits(first(n)) }))
}

// A form is how much of a message is shown: figures or not, how many events of
// each reading, and how many readings.
type form struct {
	figures  bool
	events   int
	sections int
}

// fitted finds the form that shows the most and fits.
func fitted(m *digest.Message) []slack.Block {
	most := 0
	for i := range m.Sections {
		most = max(most, len(m.Sections[i].Shown))
	}
	most = min(most, maxEvents)
	m = kept(m, most)
	for _, figures := range []bool{true, false} {
		if blocks, ok := tried(m, form{figures, most, len(m.Sections)}); ok {
			return blocks
		}
	}
	do := func(f form) bool {
		_, ok := tried(m, f)
		return ok
	}
	events := largest(most, func(n int) bool { return do(form{false, n, len(m.Sections)}) })
	if events > 0 {
		return laid(m, form{false, events, len(m.Sections)})
	}
	return laid(m, form{false, 0, largest(len(m.Sections), func(n int) bool { return do(form{false, 0, n}) })})
}

// tried lays out a message in a form and tells whether it fits. What cannot is
// not even laid out: no line of an event or of a reading is shorter than this.
func tried(m *digest.Message, f form) ([]slack.Block, bool) {
	const shortest = 25
	lines := f.sections
	for _, s := range m.Sections[len(m.Sections)-f.sections:] {
		lines += min(len(s.Shown), f.events)
	}
	if lines*shortest > maxMessage {
		return nil, false
	}
	blocks := laid(m, f)
	return blocks, fits(blocks)
}

// largest is the largest number up to n that will do, 0 if none does.
func largest(n int, do func(int) bool) int {
	low, high := 0, n
	for low < high {
		mid := (low + high + 1) / 2
		if do(mid) {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

// reduced is the part of a message that a form shows, and a line about what it
// leaves out: of readings and statuses, the earlier ones.
func reduced(m *digest.Message, f form) (*digest.Message, string) {
	out := *m
	var left []string
	if n := len(m.Sections) - f.sections; n > 0 {
		var c event.Counts
		for i := range m.Sections[:n] {
			c = c.Plus(m.Sections[i].Told())
		}
		left = append(left, text.Some(n, "earlier reading")+" ("+text.Counts(c)+")")
		out.Sections = m.Sections[n:]
	}
	if n := len(m.Notices) - maxNotices; n > 0 {
		left = append(left, text.Some(n, "earlier notice"))
		out.Notices = m.Notices[n:]
	}
	if left == nil {
		return kept(&out, f.events), ""
	}
	return kept(&out, f.events), "not shown: " + strings.Join(left, ", ")
}

// kept is a message with at most n events of each reading.
func kept(m *digest.Message, n int) *digest.Message {
	out := *m
	out.Sections = make([]digest.Section, len(m.Sections))
	for i, s := range m.Sections {
		out.Sections[i] = s.Keep(n)
	}
	return &out
}

// laid lays out a message in a form.
func laid(m *digest.Message, f form) []slack.Block {
	shown, left := reduced(m, f)
	parts := words.Parts(shown, words.Mrkdwn)
	single := len(parts) == 1 && parts[0].Title != ""
	title := words.Subject(m)
	if single {
		title = words.Parts(shown, words.Plain)[0].Title
		if m.Sample {
			title = "Sample: " + title
		}
	}
	blocks := []slack.Block{header(title)}
	var lines, end []string
	for i, p := range parts {
		if i > 0 {
			lines = append(lines, "")
		}
		switch {
		case single:
			blocks = append(blocks, aside(p.Facts))
		case p.Title != "":
			lines = append(lines, "*"+p.Title+"* · "+p.Facts)
		}
		for _, e := range p.Entries {
			lines = append(lines, e.Line)
			if f.figures && e.Detail != "" {
				lines = append(lines, indent+e.Detail)
			}
		}
		switch {
		case single && p.More != "":
			end = append(end, p.More)
		case p.More != "":
			lines = append(lines, indent+p.More)
		}
	}
	if left != "" {
		end = append(end, left)
	}
	blocks = append(blocks, sections(lines)...)
	if end != nil {
		blocks = append(blocks, aside(strings.Join(end, " · ")))
	}
	return blocks
}

// indent stands before a second line. Slack drops plain blanks there.
const indent = "\u2003\u2002"

func header(s string) slack.Block {
	return slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, cut(s, maxHeader), false, false))
}

func aside(s string) slack.Block {
	return slack.NewContextBlock("", mrkdwn(cut(s, maxSection)))
}

// mrkdwn is verbatim: what looks like an address or a channel in a name is none.
func mrkdwn(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, s, false, true)
}

// sections puts lines into as few sections as hold them. A section does not
// begin or end with an empty line, nor is it empty.
func sections(lines []string) []slack.Block {
	var blocks []slack.Block
	var b strings.Builder
	length := 0
	flush := func() {
		if s := strings.Trim(b.String(), "\n"); strings.TrimSpace(s) != "" {
			blocks = append(blocks, slack.NewSectionBlock(mrkdwn(s), nil, nil, slack.SectionBlockOptionExpand(true)))
		}
		b.Reset()
		length = 0
	}
	for _, l := range lines {
		l = cut(l, maxSection-1)
		if n := characters(l) + 1; length+n > maxSection {
			flush()
			length = n
		} else {
			length += n
		}
		b.WriteString(l + "\n")
	}
	flush()
	return blocks
}

// fits tells whether Slack takes the blocks together.
func fits(blocks []slack.Block) bool {
	n := 0
	for _, b := range blocks {
		switch b := b.(type) {
		case *slack.SectionBlock:
			n += characters(b.Text.Text)
		case *slack.HeaderBlock:
			n += characters(b.Text.Text)
		case *slack.ContextBlock:
			for _, e := range b.ContextElements.Elements {
				if t, ok := e.(*slack.TextBlockObject); ok {
					n += characters(t.Text)
				}
			}
		}
	}
	return len(blocks) < maxBlocks && n <= maxMessage
}

// characters counts as the stricter reading of the limits does: what is outside
// of the basic plane counts twice.
func characters(s string) int { return len(utf16.Encode([]rune(s))) }

// cut cuts s to at most n characters, on a grapheme and not within a link or an
// entity.
func cut(s string, n int) string {
	if characters(s) <= n {
		return s
	}
	end, length := 0, 1 // for the dots
	for g := uniseg.NewGraphemes(s); g.Next(); {
		if length += characters(g.Str()); length > n {
			break
		}
		_, end = g.Positions()
	}
	s = s[:end]
	for _, pair := range []string{"<>", "&;"} {
		if open := strings.LastIndexByte(s, pair[0]); open > strings.LastIndexByte(s, pair[1]) {
			s = s[:open]
		}
	}
	return s + "…"
}
