package service

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// body is a line a change, with the name in it, and a line for those left out.
func body(name string) func(*digest.Message) (string, error) {
	return func(m *digest.Message) (string, error) {
		var b strings.Builder
		more := 0
		for i := range m.Sections {
			for _, c := range m.Sections[i].Shown {
				fmt.Fprintf(&b, "%s %s\n", c.Creator.UID, name)
			}
			more += m.Sections[i].Changes() - len(m.Sections[i].Shown)
		}
		if more > 0 {
			fmt.Fprintf(&b, "and %d more\n", more)
		}
		return b.String(), nil
	}
}

func made(sections ...int) *digest.Message {
	m := &digest.Message{ID: "x"}
	for s, n := range sections {
		r := &digest.Reading{ID: fmt.Sprintf("list%d/1", s)}
		for i := range n {
			r.Changes = append(r.Changes, text.Change{Kind: event.Entered, Change: event.Change{
				Watchlist: r.ID, Creator: event.Creator{UID: fmt.Sprintf("%d-%d", s, i)}, After: &event.Place{Rank: i + 1},
			}})
		}
		m.Sections = append(m.Sections, digest.Section{Reading: r, Shown: r.Changes, More: event.Counts{Index: 2}})
	}
	return m
}

var graphemes = []string{"a", "é", "e\u0301", "美", "🌸", "👩‍👩‍👧‍👦", "🇺🇸", "س", " "}

// Whatever the names are made of: the text fits, no grapheme is torn, and shown
// and left out add up to all there are.
func TestTextsFit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := strings.Join(rapid.SliceOfN(rapid.SampledFrom(graphemes), 0, 60).Draw(t, "name"), "")
		m := made(rapid.SliceOfN(rapid.IntRange(0, 40), 1, 4).Draw(t, "sections")...)
		k := kind{limit: rapid.IntRange(100, 3000).Draw(t, "limit"), wide: rapid.Bool().Draw(t, "wide"), title: rapid.Bool().Draw(t, "title")}
		got, err := k.fit(m, "title", body(name))
		if err != nil || k.size(got) > k.limit || !utf8.ValidString(got) {
			t.Fatalf("%d of %d: %v", k.size(got), k.limit, err)
		}
		full, err := (&kind{title: k.title}).fit(m, "title", body(name))
		if err != nil {
			t.Fatal(err)
		}
		if k.size(full) <= k.limit {
			if got != full {
				t.Fatalf("it had fitted")
			}
			return
		}
		if head, _, was := strings.Cut(got, "\n… cut here"); was {
			fewest, err := (&kind{title: k.title}).fit(fewer(m, 1), "title", body(name))
			if err != nil || k.size(fewest) <= k.limit || !strings.HasPrefix(fewest, head) {
				t.Fatalf("cut %q of %q: %v", head, fewest, err)
			}
			if whole := uniseg.GraphemeClusterCount(head) + uniseg.GraphemeClusterCount(fewest[len(head):]); whole != uniseg.GraphemeClusterCount(fewest) {
				t.Fatalf("%q is torn off %q", head, fewest)
			}
			return
		}
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if !k.title {
			lines = lines[1:]
		}
		var more int
		if _, err := fmt.Sscanf(lines[len(lines)-1], "and %d more", &more); err != nil || len(lines)-1+more != total(m) {
			t.Fatalf("%d lines, %d more, %d in all: %v", len(lines)-1, more, total(m), err)
		}
	})
}

func TestAsManyChangesAsFitAndTheBestOnes(t *testing.T) {
	t.Parallel()
	k := kind{limit: 100, title: true}
	got, err := k.fit(made(40), "", body("12345678"))
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for i := range 6 {
		want += fmt.Sprintf("0-%d 12345678\n", i)
	}
	if want += "and 36 more\n"; got != want {
		t.Errorf("got\n%s want\n%s", got, want)
	}
}

func TestTitlesAreOneShortLine(t *testing.T) {
	t.Parallel()
	if got := oneLine(" a\r\nb\x1b[2J\u202e  c "); got != "a b[2J c" {
		t.Errorf("got %q", got)
	}
	if got := oneLine(strings.Repeat("美", 200)); len(got) > titleSize || !strings.HasSuffix(got, "美…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
