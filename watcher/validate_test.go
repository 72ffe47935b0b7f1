package watcher

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden holds got against the file, or rewrites it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update to accept)\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func TestBadFilesSayEverythingAtOnce(t *testing.T) {
	files, err := filepath.Glob("testdata/watchlists/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lists, err := ParseWatchlists(filepath.Base(file), data)
			var bad *FileError
			if !errors.As(err, &bad) || len(bad.Problems) == 0 {
				t.Fatalf("accepted, or no *FileError: %v", err)
			}
			if lists != nil {
				t.Error("a bad file gave watchlists, too")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", err.Error()+"\n")
		})
	}
}

func TestPlacesAreExact(t *testing.T) {
	for name, c := range map[string]struct {
		file         string
		line, column int
		path         string
	}{
		"block":                    {"watchlists:\n  - name: a\n    top: 0\n", 3, 10, "watchlists[0].top"},
		"flow":                     {"watchlists: [{name: a}, {name: b, top: 0}]\n", 1, 40, "watchlists[1].top"},
		"crlf":                     {"watchlists:\r\n  - name: a\r\n    top: 0\r\n", 3, 10, "watchlists[0].top"},
		"bom":                      {"\uFEFFwatchlists: [{name: a, top: 0}]\n", 1, 29, "watchlists[0].top"},
		"after umlauts":            {"watchlists:\n  # äöü 日本\n  - {name: \"ä\", top: 1}\n", 3, 12, "watchlists[0].name"},
		"columns count characters": {"watchlists:\n  - {\"ä\": 1, name: a}\n", 2, 6, "watchlists[0].ä"},
		"missing name":             {"watchlists:\n  - top: 5\n    margin: 3\n", 2, 5, "watchlists[0]"},
		"json":                     {"{\"watchlists\": [\n {\"name\": \"a\", \"top\": 0}]}", 2, 23, "watchlists[0].top"},
		"defaults":                 {"defaults:\n  top: 0\nwatchlists: [{name: a}, {name: b}]\n", 2, 8, "defaults.top"},
		"anchor":                   {"defaults: {top: &t 0}\nwatchlists: [{name: a, margin: 3, top: *t}]\n", 1, 20, "defaults.top"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseWatchlists("f", []byte(c.file))
			var bad *FileError
			if !errors.As(err, &bad) {
				t.Fatalf("accepted: %v", err)
			}
			p := bad.Problems[0]
			if len(bad.Problems) != 1 || p.Line != c.line || p.Column != c.column || p.Path != c.path {
				t.Errorf("got %d:%d %s of %d problems, want %d:%d %s\n%v", p.Line, p.Column, p.Path, len(bad.Problems), c.line, c.column, c.path, err)
			}
		})
	}
}

func TestAliasesOfAliasesCostNothing(t *testing.T) {
	var b strings.Builder
	b.WriteString("defaults: &d0 {top: 5}\nwatchlists:\n  - &d1 {name: a, <<: [*d0, *d0]}\n")
	for i := 2; i < 40; i++ {
		prev := string(rune('a'+i%26)) + "x"
		b.WriteString("  - &d" + itoa(i) + " {name: " + prev + itoa(i) + ", <<: [*d" + itoa(i-1) + ", *d" + itoa(i-1) + "]}\n")
	}
	start := time.Now()
	lists, err := ParseWatchlists("f", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); len(lists) != 39 || lists[38].Top != 5 || took > 5*time.Second {
		t.Errorf("%d watchlists, top %d, in %v", len(lists), lists[38].Top, took)
	}
}

func FuzzParseWatchlists(f *testing.F) {
	files, err := filepath.Glob("testdata/watchlists/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(contractFile))
	f.Fuzz(func(t *testing.T, data []byte) {
		lists, err := ParseWatchlists("f", data)
		if err == nil {
			if len(lists) == 0 {
				t.Fatal("accepted without watchlists")
			}
			for _, w := range lists {
				checkSane(t, w)
			}
			return
		}
		var bad *FileError
		if !errors.As(err, &bad) || len(bad.Problems) == 0 || lists != nil {
			t.Fatalf("not a whole error: %v", err)
		}
		for _, p := range bad.Problems {
			if p.Line < 1 || p.Column < 1 || p.Text == "" {
				t.Fatalf("no place or no text: %+v", p)
			}
		}
	})
}

// checkSane holds what the rest of the package relies on.
func checkSane(t *testing.T, w Watchlist) {
	t.Helper()
	switch {
	case !namePattern.MatchString(w.Name),
		w.Top < 1 || w.Margin < 0 || w.Top+w.Margin > 1000,
		w.Depth()%100 != 0 || w.Depth() < w.Top+w.Margin || w.Depth() > 1000,
		(w.Every == 0) == (w.Cron == ""),
		w.Cron == "" && w.Every < time.Second,
		w.Timezone == nil,
		int(w.Rules.Top) != w.Top || int(w.Rules.Margin) != w.Margin,
		w.Rules.MinPlaces < 1 || w.Rules.MinChange < 1 || w.Rules.DropAfter < 1,
		w.Guard.MaxLoss <= 0 || w.Guard.MaxLoss > 1 || w.Guard.Confirm < 1:
		t.Fatalf("insane: %+v", w)
	}
	if !w.Period.None && !w.Period.Latest() {
		if err := CheckPeriod(w.Period.Fixed()); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	if next := Next(w, now); !next.After(now) {
		t.Fatalf("next tick %v", next)
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "6h30m": 6*time.Hour + 30*time.Minute, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "-1h": -time.Hour,
		"": -1, "d": -1, "1": -1, "1d-2h": -1, "-1d": -1, "1.5d": -1, "1dd": -1, "6h1d": -1, "65536d": -1, "1d99999999h": -1, "65535d2562047h": -1,
	} {
		got, err := ParseDuration(s)
		if want == -1 {
			if err == nil {
				t.Errorf("%q gave %v", s, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, want)
		}
	}
}
