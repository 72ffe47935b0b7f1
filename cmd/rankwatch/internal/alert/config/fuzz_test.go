package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/config"
	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

// literal is a configuration with the secrets in it.
const literal = `name: sales
targets:
  sales:
    slack: {webhook: "https://hooks.slack.com/services/T0/B0/hush"}
  ops:
    slack:
      token: xoxb-hush
      channel: C0123456
  crm:
    webhook:
      url: https://crm.example.com/hush
      secret: ` + key + `
      previous_secret: "whsec_` + oldKey + `"
      headers:
        Authorization: Bearer hush
  phone:
    service: {url: 'ntfy://hush@ntfy.sh/x'}
routes:
  - name: r
    target: sales
    quiet: {from: "22:00", to: "07:00"}
    match: {region: US}
`

// checkWhole holds what Parse promises of any file.
func checkWhole(t interface{ Fatalf(string, ...any) }, data []byte) error {
	c, err := config.Parse("conf/f", data, lookup())
	if err != nil {
		var bad *strictyaml.FileError
		if !errors.As(err, &bad) || len(bad.Problems) == 0 || c != nil {
			t.Fatalf("not a whole error: %v", err)
		}
		for _, p := range bad.Problems {
			if p.Line < 1 || p.Column < 1 || p.Text == "" {
				t.Fatalf("no place or no text: %+v", p)
			}
		}
		return err
	}
	if len(c.Targets) == 0 || len(c.Routes) == 0 || c.Name == "" || c.RetryFor <= 0 {
		t.Fatalf("insane: %+v", c)
	}
	names := map[string]bool{}
	for _, r := range c.Routes {
		if to, ok := c.Target(r.Target); !ok || to.To == nil || names[r.Name] || r.Cap < 1 || r.Digest < 0 || r.Cooldown < 0 || r.Quiet.Always() {
			t.Fatalf("insane: %+v", r)
		}
		names[r.Name] = true
	}
	return nil
}

func FuzzParse(f *testing.F) {
	bad, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range bad {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(whole))
	f.Add([]byte(literal))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = checkWhole(t, data) // says itself what is wrong
	})
}

// Slips of the pen: characters lost, doubled or put in, and lines lost, doubled,
// moved, joined or shifted.
func slip(t *rapid.T, text string) string {
	lines := strings.Split(text, "\n")
	i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
	line := lines[i]
	at := rapid.IntRange(0, len(line)).Draw(t, "column")
	switch rapid.IntRange(0, 7).Draw(t, "slip") {
	case 0: // lose a character
		if at < len(line) {
			line = line[:at] + line[at+1:]
		}
	case 1: // put one in
		line = line[:at] + rapid.SampledFrom([]string{`"`, "'", ":", ": ", "{", "}", "[", "]", "*", "&", "!", "|", ">", "- ", "#", " #", ",", "\n", "\t", "? ", "<<: "}).Draw(t, "sign") + line[at:]
	case 2:
		line = strings.TrimLeft(line, " ")
	case 3:
		line = "  " + line
	case 4:
		return strings.Join(slices.Delete(lines, i, i+1), "\n")
	case 5:
		line += "\n" + line
	case 6: // join with the next
		if i+1 < len(lines) {
			line += strings.TrimLeft(lines[i+1], " ")
			lines = slices.Delete(lines, i+1, i+2)
		}
	case 7: // move up
		if i > 0 {
			lines[i-1], line = line, lines[i-1]
		}
	}
	lines[i] = line
	return strings.Join(lines, "\n")
}

func TestNoSlipMakesAnErrorTellASecret(t *testing.T) {
	t.Parallel()
	if err := checkWhole(t, []byte(literal)); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := literal
		for range rapid.IntRange(1, 3).Draw(t, "slips") {
			text = slip(t, text)
		}
		err := checkWhole(t, []byte(text))
		if err == nil {
			return
		}
		if s := shows(err.Error()); s != "" {
			t.Fatalf("%s shows in\n%v\nof\n%s", s, err, text)
		}
	})
}
