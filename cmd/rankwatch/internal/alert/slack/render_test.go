package slack

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/slack/slacktest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/words"
	"github.com/rankwatch/rankwatch/publisher/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC)

// many is a reading with n events, of all kinds.
func many(watchlist string, n int) digest.Section {
	kinds := words.Sample(now).Sections[0].Shown
	s := digest.Section{Reading: &digest.Reading{ID: watchlist + "/42", At: now, Board: event.Snapshot{
		Watchlist: watchlist, Region: "US", Revision: 42, Period: &event.Period{Type: "month", Value: "2026-03"},
	}}}
	for i := range n {
		c := kinds[i*len(kinds)/n]
		nick := fmt.Sprintf("creator %d", i+1)
		c.Creator = event.Creator{UID: strconv.Itoa(i), Nickname: &nick, FollowerCount: c.Creator.FollowerCount, URL: "https://www.fastmoss.com/influencer/detail/67875806887977" + strconv.Itoa(10000+i)}
		for _, p := range []**event.Place{&c.Before, &c.After} {
			if *p != nil {
				(*p) = &event.Place{Rank: (*p).Rank + i, Position: (*p).Position + i, PotentialIndex: (*p).PotentialIndex - int64(i/20)}
			}
		}
		s.Shown = append(s.Shown, c)
	}
	return s
}

func only(sections ...digest.Section) *digest.Message {
	return &digest.Message{ID: "us-beauty/42", Route: "changes", Sections: sections}
}

func notices(n int) *digest.Message {
	m := words.Sample(now)
	out := &digest.Message{ID: "x", Route: "statuses"}
	for i := range n {
		out.Notices = append(out.Notices, m.Notices[i%len(m.Notices)])
	}
	return out
}

// messages are those of the golden files.
func messages() map[string]*digest.Message {
	window := only(many("us-beauty", 3), many("us-beauty", 2), many("gb-home", 4))
	window.Notices = words.Sample(now).Notices
	capped := only(many("us-beauty", 20))
	capped.Sections[0].More = event.Counts{Entered: 3, Moved: 12, Dropped: 1}
	var windows []digest.Section
	for i := range 300 {
		windows = append(windows, many(fmt.Sprintf("board-%d", i), 20))
	}
	nasty := only(many("us-beauty", 3))
	for i, name := range []string{"<!channel> *bold* :tada:", "two\nlines|x> `code`", "نور\u202e _a_ <@U1>"} {
		nasty.Sections[0].Shown[i].Creator.Nickname = &name
	}
	own, broken := only(many("us-beauty", 4)), only(many("us-beauty", 2))
	own.Template = "*{{subject}}*\n{{range .Sections}}{{range .Shown}}• {{arrow .}} {{link .}} {{rank .}}\n{{end}}{{end}}"
	broken.Template = "{{range .Sections}}{{range .Shown}}{{.After.Rank}}{{end}}{{end}}"
	long := only(many("us-beauty", 1000))
	long.Template = own.Template
	return map[string]*digest.Message{
		"sample": words.Sample(now), "window": window, "capped": capped, "thousand": only(many("us-beauty", 1000)), "windows": only(windows...),
		"status": notices(1), "statuses": notices(100), "nasty": nasty, "template": own, "template-broken": broken, "template-long": long,
	}
}

func encoded(t interface{ Fatal(...any) }, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGoldenMessagesAreAsSlackTakesThem(t *testing.T) {
	t.Parallel()
	for name, m := range messages() {
		p := Render(m)
		got, file := encoded(t, p), filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs; got\n%s", file, got)
		}
		var stored struct {
			Text   string
			Blocks json.RawMessage
		}
		if err := json.Unmarshal(want, &stored); err != nil {
			t.Fatal(err)
		}
		if word, why := slacktest.Violations(stored.Text, stored.Blocks); word != "" {
			t.Errorf("%s: %s %v", file, word, why)
		}
	}
}

// TestMessagesAsPeopleReadThem keeps what a person sees beside the JSON.
func TestMessagesAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	for name, m := range messages() {
		got, file := plain(t, Render(m))+"\n", filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; got\n%s", file, got)
		}
	}
}

func plain(t interface{ Fatal(...any) }, p Payload) string {
	return slacktest.Message{Text: p.Text, Blocks: encoded(t, p.Blocks)}.Plain()
}

func TestAThousandEventsAreCounted(t *testing.T) {
	t.Parallel()
	m := only(many("us-beauty", 1000))
	got := plain(t, Render(m))
	shown := strings.Count(got, " · index ")
	if want := fmt.Sprintf("and %d more (", 1000-shown); shown < 30 || !strings.Contains(got, want) {
		t.Errorf("%d are shown, and not %q:\n%s", shown, want, got)
	}
	if len(m.Sections[0].Shown) != 1000 {
		t.Error("rendering changed the message")
	}
}

func TestWhateverComesInFits(t *testing.T) {
	t.Parallel()
	name := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		strings.Repeat("&", 400), strings.Repeat("👩‍👩‍👧‍👦", 90), "Z" + strings.Repeat("\u0301", 3000), strings.Repeat("<!channel>", 50), "a", "",
	}))
	rapid.Check(t, func(t *rapid.T) {
		m := notices(rapid.SampledFrom([]int{0, 0, 1, 5, 30}).Draw(t, "notices"))
		for range rapid.SampledFrom([]int{0, 1, 1, 2, 9, 40}).Draw(t, "sections") {
			s := many(name.Draw(t, "watchlist"), rapid.SampledFrom([]int{1, 2, 19, 60}).Draw(t, "events")/(1+len(m.Sections)))
			s.More.Moved = rapid.IntRange(0, 2000).Draw(t, "more")
			nick := name.Draw(t, "nickname")
			for i := range s.Shown {
				s.Shown[i].Creator.Nickname = &nick
				s.Shown[i].Metrics.SalesCategoryL3 = []event.Category{{Name: nick}, {Name: nick}, {Name: nick}}
			}
			s.Reading.Board.Region = nick
			m.Sections = append(m.Sections, s)
		}
		for i := range m.Notices {
			m.Notices[i].Detail = name.Draw(t, "detail")
		}
		m.Template = rapid.SampledFrom([]string{"", "", "{{range .Sections}}{{range .Shown}}{{name .}}{{end}}{{end}}", "\n\n", "{{nil.X}}"}).Draw(t, "template")
		p := Render(m)
		blocks := encoded(t, p.Blocks)
		if len(m.Sections)+len(m.Notices) == 0 {
			return
		}
		if word, why := slacktest.Violations(p.Text, blocks); word != "" {
			t.Fatalf("%s %v\n%s", word, why, blocks)
		}
		if len(p.Blocks) > 12 || len(p.Text) > 4000 || strings.Contains(p.Text+string(blocks), "<!") {
			t.Fatalf("%d blocks, text %q\n%s", len(p.Blocks), p.Text, blocks)
		}
	})
}

func TestCutsTearNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{
		{"abcdef", 6, "abcdef"}, {"abcdef", 4, "abc…"}, {"ab <https://x.test|name> c", 12, "ab …"}, {"a &amp; b", 5, "a …"}, {"👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 13, "👩‍👩‍👧‍👦…"},
		{"<https://x.test|n> &amp; cdef", 26, "<https://x.test|n> &amp; …"},
	} {
		if got := cut(c.s, c.n); got != c.want || slacktest.Length(got) > c.n {
			t.Errorf("%q at %d: %q", c.s, c.n, got)
		}
	}
}

func BenchmarkRenderThousand(b *testing.B) {
	m := only(many("us-beauty", 1000))
	b.ReportAllocs()
	for b.Loop() {
		Render(m)
	}
}
