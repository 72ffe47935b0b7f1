package e2e

import (
	"slices"
	"testing"
)

// However a scan ends, with or without a check of page 1, a list never changes
// within it.
func TestAScanSeesOneList(t *testing.T) {
	month := period{Type: "month", Value: "2026-03"}
	f := &feed{depth: 300, served: make(chan int, 100), pages: map[int]bool{}}
	for n := range 4 {
		var rows []item
		for i := range 250 {
			rows = append(rows, made(string(rune('a'+n))+string(rune('0'+i)), 9, n, "US"))
		}
		f.add(reading{rows: rows, total: 250, period: month})
	}
	ask := func(page int) string {
		_, data := f.serve(page, 100, month)
		rows := data.(map[string]any)["list"].([]any)
		return rows[0].(map[string]any)["uid"].(string)[:1]
	}
	scan := func(pages ...int) string {
		var s string
		for _, p := range pages {
			s += ask(p)
		}
		return s
	}
	for i, step := range []struct {
		next  int
		pages []int
		want  string
	}{
		{0, []int{1, 2, 3, 1}, "aaaa"},
		{1, []int{1, 2, 3}, "bbb"},     // without the check
		{2, []int{1, 2, 3, 1}, "bbbb"}, // its page 1 was taken for that check
		{2, []int{1, 2, 1, 2, 3, 1}, "cccccc"},
		{3, []int{1, 3, 2, 1}, "dddd"},
	} {
		f.set(step.next)
		if got := scan(step.pages...); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
	close(f.served)
	var served []int
	for n := range f.served {
		served = append(served, n)
	}
	if want := []int{0, 1, 1, 2, 3}; !slices.Equal(served, want) {
		t.Errorf("served %v, want %v", served, want)
	}
}
