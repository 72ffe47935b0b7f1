package simulator

import (
	"slices"
	"strings"
	"testing"
)

// scans reads the two pages of three rows n times.
func scans(c caller, n int) (out []string) {
	for range n {
		out = append(out, c.page(inMarch, 1, 3).uids()+" | "+c.page(inMarch, 2, 3).uids())
	}
	return out
}

const tied = "top:9 a:8 b:8 c:8 d:8 e:7"

func TestStableTiesStayAsTheyAre(t *testing.T) {
	c, _, _ := scripted(t, Config{}, tied)
	for _, got := range scans(c, 3) {
		if got != "top a b | c d e" {
			t.Errorf("got %s", got)
		}
	}
}

func TestTiesTurnByOneForEachReading(t *testing.T) {
	c, _, _ := scripted(t, Config{Ties: TiesRotate}, tied)
	want := []string{"top a b | c d e", "top b c | d a e", "top c d | a b e", "top d a | b c e", "top a b | c d e"}
	if got := scans(c, 5); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestTiesShuffledForEachReadingAreWholeWithinIt(t *testing.T) {
	c, _, _ := scripted(t, Config{Seed: 3, Ties: TiesReading}, tied)
	orders := map[string]bool{}
	for _, got := range scans(c, 20) {
		orders[got] = true
		checkTies(t, got)
		fields := strings.Fields(strings.Replace(got, "|", "", 1))
		slices.Sort(fields)
		if want := "a b c d e top"; strings.Join(fields, " ") != want {
			t.Errorf("a scan repeats or skips: %s", got)
		}
	}
	if len(orders) < 5 {
		t.Errorf("only %d orders in 20 readings", len(orders))
	}
}

func TestTiesShuffledForEachCallRepeatAndSkipAcrossTheSeam(t *testing.T) {
	c, _, _ := scripted(t, Config{Seed: 3, Ties: TiesCall}, tied)
	torn := 0
	for _, got := range scans(c, 20) {
		checkTies(t, got)
		fields := strings.Fields(strings.Replace(got, "|", "", 1))
		slices.Sort(fields)
		if len(slices.Compact(fields)) < 6 {
			torn++
		}
	}
	if torn == 0 || torn == 20 {
		t.Errorf("%d of 20 scans repeat a row, want some", torn)
	}
}

func checkTies(t *testing.T, scan string) {
	t.Helper()
	if !strings.HasPrefix(scan, "top ") || !strings.HasSuffix(scan, " e") {
		t.Errorf("a shuffle crossed ties: %s", scan)
	}
}

func TestTiesOfOneQueryDoNotDependOnOthers(t *testing.T) {
	alone, _, _ := scripted(t, Config{Seed: 3, Ties: TiesCall}, tied)
	beside, _, script := scripted(t, Config{Seed: 3, Ties: TiesCall}, tied)
	script.Set(Key{Region: "GB", Period: march}, List{Rows: rows(tied)})
	want := scans(alone, 5)
	var got []string
	for range 5 {
		beside.page(strings.Replace(inMarch, "US", "GB", 1), 1, 3)
		got = append(got, scans(beside, 1)...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, alone %q", got, want)
	}
}

func TestTheTiePastTheDepthIsShuffledToo(t *testing.T) {
	script := new(Script)
	list := rows(strings.Repeat("x:9 ", 990))
	list = append(list, rows("a:8 b:8 c:8 d:8 e:8 f:8 g:8 h:8 i:8 j:8 k:8 l:8 m:8 n:8 o:8 p:8 q:8 r:8 s:8 t:8")...)
	script.Set(Key{Region: "US", Period: march}, List{Rows: list})
	c := serve(t, New(Config{Source: script, Ties: TiesCall}))
	seen := map[string]bool{}
	for range 20 {
		for uid := range strings.FieldsSeq(c.page(inMarch, 100, 10).uids()) {
			seen[uid] = true
		}
	}
	if len(seen) != 20 {
		t.Errorf("saw %d of the 20 that are tied across the depth", len(seen))
	}
}
