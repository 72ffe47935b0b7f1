package service

import (
	"fmt"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
)

// fit writes a body that the service takes: with all changes of the message, or
// with as many of them as there is room for, the most telling ones. Where even
// one change a reading is too much, the text is cut.
func (k *kind) fit(m *digest.Message, title string, body func(*digest.Message) (string, error)) (string, error) {
	render := func(m *digest.Message) (string, error) {
		s, err := body(m)
		if err == nil && !k.title && title != "" {
			s = title + "\n" + s
		}
		return s, err
	}
	s, err := render(m)
	if err != nil || k.limit == 0 || k.size(s) <= k.limit {
		return s, err
	}
	shown := 0
	for i := range m.Sections {
		shown += len(m.Sections[i].Shown)
	}
	// The most changes that fit, between none that is known to fit and one too many.
	best := ""
	for low, high := 0, shown; high-low > 1; {
		n := (low + high) / 2
		if s, err = render(fewer(m, n)); err != nil {
			return "", err
		}
		if k.size(s) <= k.limit {
			low, best = n, s
		} else {
			high = n
		}
	}
	if best != "" {
		return best, nil
	}
	if s, err = render(fewer(m, 1)); err != nil {
		return "", err
	}
	return k.cut(s, total(m)), nil
}

// fewer returns a message that shows n changes of m, and at least one of each
// reading, and counts the rest.
func fewer(m *digest.Message, n int) *digest.Message {
	out := *m
	out.Sections = make([]digest.Section, len(m.Sections))
	copy(out.Sections, m.Sections)
	var items []digest.Item
	var at []int
	for i := range m.Sections {
		if s := &m.Sections[i]; len(s.Shown) > 0 {
			r := *s.Reading
			r.Changes = s.Shown
			items, at = append(items, digest.Item{Reading: &r}), append(at, i)
		}
	}
	all := digest.Route{Cap: max(n, 1)}
	less, _ := all.Make(items, nil, time.Time{})
	if less == nil {
		return &out
	}
	for j, i := range at {
		s := &out.Sections[i]
		s.Shown, s.More = less.Sections[j].Shown, s.More.Plus(less.Sections[j].More)
	}
	return &out
}

// total counts what a message tells of, shown or not.
func total(m *digest.Message) int {
	n := len(m.Notices)
	for i := range m.Sections {
		n += m.Sections[i].Changes()
	}
	return n
}

// cut takes what fits of a text, whole graphemes, and lines where it can, and
// says that it was cut.
func (k *kind) cut(s string, events int) string {
	if k.size(s) <= k.limit {
		return s
	}
	tail := fmt.Sprintf("\n… cut here; %s in all", text.Some(events, "event"))
	head := k.prefix(s, k.limit-k.size(tail))
	if line := strings.LastIndexByte(head, '\n'); line > len(head)/2 {
		head = head[:line]
	}
	return head + tail
}

// prefix is the longest beginning of s that has at most the given size and ends
// with a whole grapheme.
func (k *kind) prefix(s string, size int) string {
	end, state := 0, -1
	for rest := s; rest != ""; {
		var g string
		g, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if size -= k.size(g); size < 0 {
			break
		}
		end += len(g)
	}
	return s[:end]
}

// oneLine makes a title of a subject: printable, in one line, and not long.
func oneLine(s string) string {
	s = text.Printable(strings.Join(strings.Fields(s), " "))
	if len(s) <= titleSize {
		return s
	}
	const more = "…"
	bytes := kind{}
	return bytes.prefix(s, titleSize-len(more)) + more
}
