package words_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/words"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC)

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
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

func TestTheSampleInBothDialects(t *testing.T) {
	t.Parallel()
	m := words.Sample(now)
	for name, d := range map[string]words.Dialect{"plain.txt": words.Plain, "mrkdwn.txt": words.Mrkdwn} {
		body, err := words.Body(m, d)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, words.Subject(m)+"\n\n"+body+"\n")
	}
}

func TestEveryStatusIsSaidInWords(t *testing.T) {
	t.Parallel()
	m := &digest.Message{}
	for _, s := range [][3]string{
		{"stale", "unavailable", "502 Bad Gateway"}, {"stale", "token", ""}, {"recovered", "", ""}, {"recovered", "token", "the token works again"},
		{"rejected", "torn", "the total went from 200 to 180 at page 2"}, {"rejected", "newword", ""},
		{"waiting", "loss", "a reading has 61 of 118 members"}, {"fenced", "fenced", "another worker"}, {"retired", "removed", "no longer configured"}, {"newstatus", "x", ""},
	} {
		m.Notices = append(m.Notices, digest.Notice{At: now, Condition: event.Condition{
			Watchlist: "us-beauty", Region: "US", Status: s[0], Reason: s[1], Detail: s[2], Since: event.Time(now),
		}})
	}
	next := event.Time(now.Add(time.Hour))
	for _, s := range [][2]string{{"quota", "quota"}, {"denied", "token"}} {
		m.Notices = append(m.Notices, digest.Notice{At: now, Condition: event.Condition{
			Watchlist: event.TokenWatchlist, Region: event.RegionAll, Status: s[0], Reason: s[1], Since: event.Time(now), NextTry: &next,
		}})
	}
	body, err := words.Body(m, words.Mrkdwn)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "statuses.txt", words.Subject(m)+"\n\n"+body+"\n")
	if !strings.Contains(body, "waiting for confirmation") {
		t.Error("a guarded reading does not wait for confirmation")
	}
}

func TestWhoIsPastTheEdgeIsNotGone(t *testing.T) {
	t.Parallel()
	m := &digest.Message{Sections: []digest.Section{section(text.Change{Kind: event.Dropped, Change: event.Change{
		Before: &event.Place{Rank: 197}, Edge: true, Creator: event.Creator{UID: "3"},
	}})}}
	for _, d := range []words.Dialect{words.Plain, words.Mrkdwn} {
		body, err := words.Body(m, d)
		if err != nil || !strings.Contains(body, "below the visible part") {
			t.Errorf("%v: %s", err, body)
		}
		for _, word := range []string{"gone", ":x:", "✖", "dropped out", "→ out*"} {
			if strings.Contains(body, word) {
				t.Errorf("%q in %s", word, body)
			}
		}
	}
}

func section(changes ...text.Change) digest.Section {
	return digest.Section{Shown: changes, Reading: &digest.Reading{At: now, Board: event.Snapshot{Watchlist: "us", Region: "US"}}}
}

func named(nickname string) *digest.Message {
	return &digest.Message{Sections: []digest.Section{section(text.Change{Kind: event.Entered, Change: event.Change{
		After:   &event.Place{Rank: 9, PotentialIndex: 83},
		Creator: event.Creator{UID: "77", Nickname: &nickname, URL: "https://www.fastmoss.com/influencer/detail/77"},
	}})}}
}

// frame is the line of a creator without its name.
func frame(t interface{ Fatalf(string, ...any) }, nickname string) (before, name, after string) {
	p := words.Parts(named(nickname), words.Mrkdwn)
	line := p[0].Entries[0].Line
	before, rest, ok := strings.Cut(line, "|")
	name, after, ok2 := strings.Cut(rest, ">")
	if !ok || !ok2 || after != " · index 83" || before != ":new: *in → #9* <https://www.fastmoss.com/influencer/detail/77" {
		t.Fatalf("%q broke the line: %q", nickname, line)
	}
	return before, name, after
}

func TestNastyNames(t *testing.T) {
	t.Parallel()
	for nickname, want := range map[string]string{
		"<!channel> now":                "&lt;!channel&gt; now",
		"<!\u200dhere>":                 "&lt;!\u200dhere&gt;",
		"@here @\u200dchannel":          "＠here ＠\u200dchannel",
		"<https://evil.test|click me>":  "&lt;https꞉//evil.test¦click me&gt;",
		"a|b> *x*":                      "a¦b&gt; ∗x∗",
		"*bold* _it_ ~no~ `code`":       "∗bold∗ ˍitˍ ∼no∼ ˋcodeˋ",
		"snake_case_name":               "snake_case_name",
		"_\u200dx\u200d_":               "ˍ\u200dx\u200dˍ",
		":tada: :\u200dx:":              "꞉tada꞉ ꞉\u200dx꞉",
		"two\nlines\r\n> quote":         "two lines &gt; quote",
		"\u202eevil\u2066 \u200b\ufeff": "evil",
		"AT&T &lt;b&gt;":                "AT&amp;T &amp;lt;b&amp;gt;",
		"\u3164\u2800\u115f":            "77", // nothing to see
		"\u200d\u200c":                  "77",
		"":                              "77",
		"نور":                           "\u2068نور\u2069",
		strings.Repeat("&", 40):         strings.Repeat("&amp;", 31) + "…",
		strings.Repeat("👨‍👩‍👧‍👦", 40):                                      strings.Repeat("👨‍👩‍👧‍👦", 15) + "…",
		"Z" + strings.Repeat("\u0301", 5000):                               "Z",
		strings.TrimSuffix(strings.Repeat("👩\u200d", 100), "\u200d") + "!": "👩!",
		"[x](http://evil.test)":                                            "［x］(http꞉//evil.test)",
	} {
		if _, name, _ := frame(t, nickname); name != want {
			t.Errorf("%q became %q, want %q", nickname, name, want)
		}
	}
}

func TestNoNameBreaksTheLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"<", ">", "|", "&", "*", "_", "~", "`", ":", "@", "\n", "!", "\u200d", "\u0301", "a", "https://x.test"}))
		_, name, _ := frame(t, strings.Join(rapid.SliceOf(part).Draw(t, "parts"), ""))
		bare := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(name)
		if strings.ContainsAny(bare, "<>&*~`:@|\n\r") || len(name) > 32*16*4 {
			t.Fatalf("%q", name)
		}
	})
}

func TestOnlyLinksAreLinked(t *testing.T) {
	t.Parallel()
	for url, linked := range map[string]bool{
		"https://www.fastmoss.com/a?b=1&c=2": true, "javascript:alert(1)": false, "https://x.test/|evil> <!channel>": false, "": false, "https://x.test/\n": false,
	} {
		m := named("A")
		m.Sections[0].Shown[0].Creator.URL = url
		line := words.Parts(m, words.Mrkdwn)[0].Entries[0].Line
		if got := strings.Contains(line, "<"); got != linked || strings.Contains(line, "<!") || linked && !strings.Contains(line, "b=1&amp;c=2|A>") {
			t.Errorf("%q: %s", url, line)
		}
	}
}

func TestSubjectsAreShort(t *testing.T) {
	t.Parallel()
	m := words.Sample(now)
	m.Sections[0].Reading.Board.Watchlist = strings.Repeat("w", 500)
	m.Sections[0].Reading.Board.Period = &event.Period{Type: "month", Value: strings.Repeat("é", 500)}
	if s := words.Subject(m); len([]rune(s)) > 150 {
		t.Errorf("%d characters: %s", len([]rune(s)), s)
	}
	m.Sections = append(m.Sections, section(), section())
	if s := words.Subject(m); !strings.HasPrefix(s, "Sample: 2 boards, 3 readings: 3 in") {
		t.Error(s)
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	m := words.Sample(now)
	evil := "<!channel> *x*"
	m.Sections[0].Shown[0].Creator.Nickname = &evil
	m.Template = `{{subject}}
{{range .Sections}}{{title .}} | {{facts .}} | {{.Reading.Board.FetchedAt | date}} {{period .Reading.Board.Period}} {{counts .Reading.Board.Counts}}
{{range .Shown}}{{arrow .}} {{rank .}}{{with places .}} ({{.}}){{end}} {{link .}} {{.Creator.Nickname | escape | short 8}} {{with .Creator.Nickname}}{{.}}{{end}} {{index .}} {{why .}} {{money .Metrics.USDGMV}} {{number .Metrics.UnitsSold}}
{{end}}{{more .}}
{{end}}{{range .Notices}}{{status .}} {{date .Since}} {{date .NextTry}}
{{end}}`
	if err := words.Check(m.Template); err != nil {
		t.Fatal(err)
	}
	body, err := words.Body(m, words.Mrkdwn)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "template.txt", body+"\n")
	if strings.Contains(body, "<!") || strings.Contains(body, "*x*") {
		t.Error("a field came through raw")
	}
}

func TestTheTemplateOfTheDocumentationWorks(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("words.go")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(doc)) {
		if l, ok := strings.CutPrefix(line, "//\t"); ok && strings.Contains(l, "{{") {
			b.WriteString(l)
		}
	}
	if err := words.Check(b.String()); err != nil || b.Len() == 0 {
		t.Error(err)
	}
}

func TestMistakesInTemplatesAreFoundBeforeTheyMatter(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"{{":           "alert:1:",
		"a\n{{.Nope}}": "alert:2:2:",
		"{{range .Sections}}{{range .Shown}}{{.After.Rank}}{{end}}{{end}}": "nil pointer", // who dropped out has no place
		"{{money `x`}}": "no number",
		"{{date `x`}}":  "no time",
		"{{range 9999}}" + strings.Repeat("x", 99) + "{{end}}": "256 KiB",
	} {
		if err := words.Check(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", source, err)
		}
	}
}

func BenchmarkParts(b *testing.B) {
	m := words.Sample(now)
	for len(m.Sections[0].Shown) < 1000 {
		m.Sections[0].Shown = append(m.Sections[0].Shown, words.Sample(now).Sections[0].Shown...)
	}
	for b.Loop() {
		words.Parts(m, words.Mrkdwn)
	}
}
