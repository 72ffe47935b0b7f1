package wording_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/wording"
)

const source = `{{range .Sections}}{{with .Reading.Board}}{{.Watchlist}} {{.Period.Value}}: {{counts .Counts}}{{end}}
{{range .Shown}}{{sign .}} {{name .}} {{rank .Before}}>{{rank .After}} {{places .}} {{index .}} ({{why .}})
{{end}}{{end}}{{range .Notices}}{{.Watchlist}}: {{.Status}}, {{escape .Detail}}
{{end}}`

func TestATemplateHasTheWordsOfTheBuiltInMessages(t *testing.T) {
	t.Parallel()
	m := digest.Sample("r", time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC))
	m.Template = source
	got, err := wording.Render(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = `sample 2026-03: 2 in, 1 moved, 1 out, 1 index
✖ leaver 7>–  85 (best rank 3)
✚ newcomer –>5  88 (has 930.9k followers)
✚ 6787580688797713413 –>48  61 ()
▲ climber 12>9 +3 80 → 83 (passed 4, passed by 1)
● riser 3>3  90 → 92 ()
sample: stale, this is a sample; nothing is wrong
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := wording.Check("good", source); err != nil {
		t.Error(err)
	}
}

func TestNamesFromOutsideAreEscaped(t *testing.T) {
	t.Parallel()
	m := digest.Sample("r", time.Time{})
	hostile := "<!channel>\x1b[2J"
	m.Sections[0].Shown[0].Creator.Nickname = &hostile
	m.Notices[0].Detail = hostile
	m.Template = "{{range .Sections}}{{range .Shown}}{{name .}} {{end}}{{end}}{{range .Notices}}{{escape .Detail}}{{end}}"
	got, err := wording.Render(m, strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace)
	if err != nil || strings.ContainsAny(got, "<>\x1b") || strings.Count(got, "&lt;!channel&gt;") != 2 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestATemplateIsTriedOnAllThatMessagesHold(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"{{.Sections}":            "bad character",
		"{{.Nothing}}":            "Nothing",
		"{{nothing .}}":           `function "nothing" not defined`,
		"{{(slice .Notices 1)}}":  "out of range", // a message may have no status
		"{{(slice .Sections 1)}}": "out of range",
		"{{range .Sections}}{{range .Shown}}{{.Places}}{{.After.Rank}}{{end}}{{end}}": "nil pointer",
		"{{range 1000000000}}and on {{end}}":                                          wording.ErrTooLong.Error(),
	} {
		if err := wording.Check("t", source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", source, err, want)
		}
	}
	m := digest.Sample("r", time.Time{})
	m.Template = "{{range 1000000000}}and on {{end}}"
	if _, err := wording.Render(m, nil); !errors.Is(err, wording.ErrTooLong) {
		t.Errorf("got %v", err)
	}
}
