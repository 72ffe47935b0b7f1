package simulator

import (
	"reflect"
	"testing"
	"time"
)

func utc(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestPeriods(t *testing.T) {
	for _, tt := range []struct {
		typ, at, current, last string
	}{
		{Day, "2026-03-01T00:00:00Z", "2026-03-01", "2026-02-28"},
		{Day, "2024-02-29T23:59:59Z", "2024-02-29", "2024-02-28"},
		{Month, "2026-01-31T12:00:00Z", "2026-01", "2025-12"},
		{Month, "2026-03-31T12:00:00Z", "2026-03", "2026-02"},
		{Week, "2027-01-01T12:00:00Z", "2026-53", "2026-52"},
		{Week, "2027-01-04T00:00:00Z", "2027-01", "2026-53"},
		{Week, "2026-01-01T00:00:00Z", "2026-01", "2025-52"},
		{Week, "2024-12-30T00:00:00Z", "2025-01", "2024-52"},
	} {
		at := utc(tt.at)
		p := periodAt(tt.typ, at, time.UTC)
		from, to, ok := p.span(time.UTC)
		if p.Value != tt.current || !ok || at.Before(from) || !at.Before(to) {
			t.Errorf("%s at %s is %s from %v to %v, %v", tt.typ, tt.at, p.Value, from, to, ok)
		}
		if got := lastCompleted(tt.typ, at, time.UTC); got.Value != tt.last || got != p.before(time.UTC) {
			t.Errorf("last %s at %s is %s, want %s", tt.typ, tt.at, got.Value, tt.last)
		}
	}
	for _, p := range []Period{
		{Week, "2026-54"}, {Week, "2025-53"}, {Week, "2026-00"}, {Week, "2026-8"}, {Week, "2026-+8"}, {Week, "2026008"},
		{Day, "2026-3-1"}, {Day, "2026-03-32"}, {Month, "2026-3"}, {Month, "2026-00"}, {"", ""}, {"year", "2026"},
	} {
		if _, _, ok := p.span(time.UTC); ok {
			t.Errorf("%v is taken for a period", p)
		}
	}
}

// TestPublicationLags asks on 14 April, 17:00, with a lag of two days and a half.
func TestPublicationLags(t *testing.T) {
	for _, unpublished := range []Unpublished{UnpublishedCode, UnpublishedEmpty} {
		s := New(Config{Now: fixed(april), World: WorldConfig{Lag: 60 * time.Hour, Step: time.Hour}, Unpublished: unpublished})
		c := serve(t, s)
		check := func(info, echo string, published bool) {
			t.Helper()
			a := c.page(`"region":"SG"`+info, 1, 10)
			switch {
			case published && (a.Code != 0 || a.total(t) < 100 || a.Data.Value != echo):
				t.Errorf("%s is not published: %s", info, a.raw)
			case !published && unpublished == UnpublishedCode && a.Code != codeNotFound:
				t.Errorf("%s is published: %s", info, a.raw)
			case !published && unpublished == UnpublishedEmpty && (a.Code != 0 || string(a.Data.Total) != "0" || len(a.Data.List) != 0 || a.Data.Value != echo):
				t.Errorf("%s is published, or not echoed: %s", info, a.raw)
			}
		}
		on := func(typ, value string) string { return `,"date_info":{"type":"` + typ + `","value":"` + value + `"}` }
		check("", "2026-03", true)
		check(on(Day, "2026-04-11"), "2026-04-11", true)
		check(on(Day, "2026-04-12"), "2026-04-12", false)
		check(on(Day, "2026-04-14"), "2026-04-14", false)
		check(on(Week, "2026-14"), "2026-14", true)
		check(on(Week, "2026-15"), "2026-15", false)
		check(on(Month, "2026-03"), "2026-03", true)
		check(on(Month, "2026-04"), "2026-04", false)
		check(on(Month, "2023-01"), "2023-01", false)
		s.Advance(24 * time.Hour)
		check(on(Day, "2026-04-12"), "2026-04-12", true)
		check(on(Week, "2026-15"), "2026-15", true)
		s.SetNow(utc("2026-05-03T11:59:59Z"))
		check("", "2026-03", true)
		s.SetNow(utc("2026-05-03T12:00:00Z"))
		check("", "2026-04", true)
		if got := c.page(`"region":"SG"`, 1, 1).Timestamp; got != utc("2026-05-03T12:00:00Z").Unix() {
			t.Errorf("timestamp %d is not the simulator's", got)
		}
	}
}

func TestPeriodsBeginInTheSourcesTimeZone(t *testing.T) {
	shanghai := time.FixedZone("UTC+8", 8*3600)
	// 1 April has begun in Shanghai, not in London.
	s := New(Config{Now: fixed(utc("2026-03-31T16:30:00Z")), Location: shanghai})
	if got := serve(t, s).page(`"region":"SG"`, 1, 1).Data.Value; got != "2026-03" {
		t.Errorf("newest month %s, want 2026-03", got)
	}
}

func TestOnlyTheNewestPeriodIsRevised(t *testing.T) {
	w := NewWorld(WorldConfig{Seed: 7, Start: utc("2026-04-29T00:00:00Z"), Step: 10 * time.Minute, Lag: 36 * time.Hour})
	board := func(p Period, at string) List { return mustList(t, w, Query{Filter{Region: "SG"}, p}, utc(at)) }
	same := func(a, b List) bool { return reflect.DeepEqual(a, b) }
	april := Period{Month, "2026-04"}

	early, late := board(march, "2026-05-01T00:00:00Z"), board(march, "2026-05-02T11:50:00Z")
	if same(early, late) {
		t.Error("the newest month stands still")
	}
	first := board(april, "2026-05-02T12:00:00Z")
	if same(late, first) {
		t.Error("two months are the same")
	}
	for _, at := range []string{"2026-05-02T12:00:00Z", "2026-05-20T00:00:00Z", "2026-06-05T00:00:00Z"} {
		if !same(board(march, at), late) {
			t.Errorf("March changed after its last revision, at %s", at)
		}
	}
	if same(first, board(april, "2026-06-05T00:00:00Z")) {
		t.Error("April was not revised while it was the newest")
	}
	// A new period is another board of mostly the same creators.
	known := map[string]bool{}
	for _, r := range late.Rows {
		known[r.UID] = true
	}
	n := 0
	for _, r := range first.Rows {
		if known[r.UID] {
			n++
		}
	}
	if n < len(first.Rows)*9/10 {
		t.Errorf("%d of %d creators are in both months", n, len(first.Rows))
	}
}

func TestAFrozenWorldStandsStill(t *testing.T) {
	w := NewWorld(WorldConfig{Seed: 7, Start: april, Step: -1})
	q := Query{Filter{Region: "SG"}, march}
	if !reflect.DeepEqual(mustList(t, w, q, april), mustList(t, w, q, april.Add(30*24*time.Hour))) {
		t.Error("it changed")
	}
}

func TestSizesCanBeChosen(t *testing.T) {
	w := NewWorld(WorldConfig{Start: april, Sizes: map[string]int{"SG": 5000, "US": 0}})
	for region, want := range map[string]int{"SG": 5000, "US": 0, "GB": 1000} {
		l := mustList(t, w, Query{Filter: Filter{Region: region}}, april)
		if l.Total < want*97/100 || l.Total > want {
			t.Errorf("%s has %d, want about %d", region, l.Total, want)
		}
		if want == 5000 && len(l.Rows) < MaxDepth {
			t.Errorf("%s lists %d", region, len(l.Rows))
		}
	}
}
