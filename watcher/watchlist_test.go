package watcher

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

func itoa(i int) string { return strconv.Itoa(i) }

// contractFile is the example of the contract.
const contractFile = `
defaults: {every: 6h, top: 200}
watchlists:
  - name: us-beauty            # ^[a-z0-9][a-z0-9-]{0,62}$, unique
    every: 6h
    top: 200
    margin: 50
    filter:
      region: US
      creator_category_id: 4
      product_category_l1_id: 14
      follower_count_range: {min: 500000, max: 1000000}
    period: {type: month, value: latest}
    ties: shared
    rules:
      moved: {min_places: 1, ignore_displaced: false}
      index: {min_change: 1}
      dropped: {after: 1}
    rollover: compare
    baseline: silent
    guard: {max_loss: 0.5, confirm: 2}
`

func parse(t *testing.T, file string) []Watchlist {
	t.Helper()
	lists, err := ParseWatchlists("watchlists.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return lists
}

// one parses a single watchlist from its flow form.
func one(t *testing.T, flow string) Watchlist {
	t.Helper()
	return parse(t, "watchlists: [{"+flow+"}]")[0]
}

func TestContractExample(t *testing.T) {
	w := parse(t, contractFile)[0]
	want := Watchlist{
		Name: "us-beauty", Every: 6 * time.Hour, Timezone: time.UTC, Top: 200, Margin: 50,
		Filter: fastmoss.Filter{
			Region: "US", CreatorCategoryID: fastmoss.Some[int64](4), ProductCategoryL1ID: fastmoss.Some[int64](14),
			FollowerCountRange: fastmoss.Range{Min: fastmoss.Some[int64](500000), Max: fastmoss.Some[int64](1000000)},
		},
		Period: PeriodSpec{Type: "month", Value: "latest"},
		Rules:  diff.Rules{Top: 200, Margin: 50, MinPlaces: 1, MinChange: 1, DropAfter: 1},
		Guard:  Guard{MaxLoss: 0.5, Confirm: 2},
	}
	if !w.Equal(want) {
		t.Errorf("got  %+v\nwant %+v", w, want)
	}
	if w.Depth() != 300 || w.Pages() != 3 || w.Region() != "US" {
		t.Errorf("depth %d, pages %d, region %s", w.Depth(), w.Pages(), w.Region())
	}
}

func TestWhatAWatchlistIsWithoutWords(t *testing.T) {
	w := one(t, "name: a")
	want := Watchlist{
		Name: "a", Every: time.Hour, Top: 100, Period: PeriodSpec{Type: "month", Value: "latest"},
		Rules: diff.Rules{Top: 100, MinPlaces: 1, MinChange: 1, DropAfter: 1}, Guard: Guard{MaxLoss: 0.5, Confirm: 2},
	}
	if !w.Equal(want) {
		t.Errorf("got  %+v\nwant %+v", w, want)
	}
	if w.Depth() != 100 || w.Region() != event.RegionAll {
		t.Errorf("depth %d, region %s", w.Depth(), w.Region())
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	w := one(t, `name: a, cron: "0 9 * * 1-5", timezone: Asia/Shanghai, top: 7, margin: 3, period: none, ties: ordinal, rollover: reset, baseline: announce,
		filter: {product_category_l2_id: 2, product_category_l3_id: 9223372036854775807, ecommerce_type: 2, follower_age_type: 3, follower_gender_type: 0, follower_count_range: {max: 0}},
		rules: {moved: {min_places: 2, ignore_displaced: true}, index: {min_change: 5}, dropped: {after: 4}}, guard: {max_loss: 1, confirm: 1}`)
	some := fastmoss.Some[int64]
	want := Watchlist{
		Name: "a", Cron: "0 9 * * 1-5", Timezone: w.Timezone, Top: 7, Margin: 3, Period: PeriodSpec{None: true}, Rollover: RolloverReset, Announce: true,
		Filter: fastmoss.Filter{
			ProductCategoryL2ID: some(2), ProductCategoryL3ID: some(9223372036854775807), EcommerceType: some(2),
			FollowerAgeType: some(3), FollowerGenderType: some(0), FollowerCountRange: fastmoss.Range{Max: some(0)},
		},
		Rules: diff.Rules{Top: 7, Margin: 3, Ties: diff.Ordinal, MinPlaces: 2, IgnoreDisplaced: true, MinChange: 5, DropAfter: 4},
		Guard: Guard{MaxLoss: 1, Confirm: 1},
	}
	if !w.Equal(want) || w.Timezone.String() != "Asia/Shanghai" {
		t.Errorf("got  %+v\nwant %+v", w, want)
	}
}

func TestDefaultsHoldKeyByKey(t *testing.T) {
	const defaults = `
defaults:
  cron: "0 9 * * *"
  timezone: Asia/Tokyo
  top: 500
  filter: {region: JP, follower_count_range: {min: 10, max: 20}}
  period: {type: week, value: 2026-08}
  rules: {moved: {min_places: 3, ignore_displaced: true}}
  guard: {max_loss: 0.25}
watchlists:
  - {name: a, `
	some := fastmoss.Some[int64]
	for name, c := range map[string]struct {
		own  string
		want func(w Watchlist) bool
	}{
		"nothing of its own": {"}", func(w Watchlist) bool {
			return w.Cron == "0 9 * * *" && w.Every == 0 && w.Timezone.String() == "Asia/Tokyo" && w.Top == 500 && w.Filter.Region == "JP" &&
				w.Period == PeriodSpec{Type: "week", Value: "2026-08"} && w.Rules.MinPlaces == 3 && w.Guard == Guard{0.25, 2}
		}},
		"every replaces cron":  {"every: 1d}", func(w Watchlist) bool { return w.Cron == "" && w.Every == 24*time.Hour }},
		"null takes cron back": {"cron: null}", func(w Watchlist) bool { return w.Cron == "" && w.Every == time.Hour }},
		"filter merges": {"filter: {ecommerce_type: 1}}", func(w Watchlist) bool {
			return w.Filter.Region == "JP" && w.Filter.EcommerceType == some(1)
		}},
		"ranges merge": {"filter: {follower_count_range: {max: 15}}}", func(w Watchlist) bool {
			return w.Filter.FollowerCountRange == fastmoss.Range{Min: some(10), Max: some(15)}
		}},
		"null takes the region back": {"filter: {region: ~}}", func(w Watchlist) bool {
			return w.Region() == "all" && w.Filter.FollowerCountRange.Min == some(10)
		}},
		"null takes the filter back": {"filter: null}", func(w Watchlist) bool { return w.Filter == fastmoss.Filter{} }},
		"rules merge": {"rules: {moved: {min_places: 5}, dropped: {after: 2}}}", func(w Watchlist) bool {
			return w.Rules.MinPlaces == 5 && w.Rules.IgnoreDisplaced && w.Rules.DropAfter == 2
		}},
		"guard merges":             {"guard: {confirm: 1}}", func(w Watchlist) bool { return w.Guard == Guard{0.25, 1} }},
		"period none":              {"period: none}", func(w Watchlist) bool { return w.Period == PeriodSpec{None: true} }},
		"a period's value":         {"period: {value: latest}}", func(w Watchlist) bool { return w.Period == PeriodSpec{Type: "week", Value: "latest"} }},
		"a value needs its type":   {"period: {type: month}}", func(w Watchlist) bool { return w.Period == PeriodSpec{Type: "month", Value: "latest"} }},
		"the same type, the value": {"period: {type: week}}", func(w Watchlist) bool { return w.Period == PeriodSpec{Type: "week", Value: "2026-08"} }},
	} {
		t.Run(name, func(t *testing.T) {
			if w := parse(t, defaults+c.own)[0]; !c.want(w) {
				t.Errorf("got %+v", w)
			}
		})
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	lists := parse(t, `
defaults: {top: 10, margin: &n 3}
watchlists:
  - &a {name: a, top: 5, filter: &f {region: US, ecommerce_type: 1}}
  - {<<: *a, name: b, filter: *f}
  - name: c
    <<: [{margin: 7}, *a]
    filter: {<<: *f, region: GB}
  - {name: !!str 4, top: *n}
`)
	a, b, c, d := lists[0], lists[1], lists[2], lists[3]
	a.Name = "b"
	if !a.Equal(b) {
		t.Errorf("a %+v\nb %+v", a, b)
	}
	if c.Top != 5 || c.Margin != 7 || c.Filter.Region != "GB" || c.Filter.EcommerceType != fastmoss.Some[int64](1) {
		t.Errorf("c %+v", c)
	}
	if d.Name != "4" || d.Top != 3 {
		t.Errorf("d %+v", d)
	}
}

func TestFingerprint(t *testing.T) {
	const base = "name: a, top: 200, margin: 50, filter: {region: US, follower_count_range: {min: 5}}"
	w := one(t, base)
	const want = "region=US follower_count_min=5; period=month; top=200; margin=50; ties=shared"
	// A different text would make every installation's next reading a baseline.
	if got := w.Fingerprint(); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	for own, same := range map[string]bool{
		"every: 1m": true, `cron: "0 9 * * *"`: true, "rules: {moved: {min_places: 9}, index: {min_change: 9}, dropped: {after: 9}}": true,
		"guard: {confirm: 9}": true, "rollover: reset": true, "baseline: announce": true, "timezone: Asia/Tokyo": true,
		"period: {type: month, value: 2026-03}": true,
		"period: {type: week}":                  false, "period: none": false, "ties: ordinal": false,
	} {
		if got := one(t, base+", "+own).Fingerprint() == want; got != same {
			t.Errorf("%s: same fingerprint %v, want %v", own, got, same)
		}
	}
	for _, other := range []string{
		"name: a, top: 201, margin: 50, filter: {region: US, follower_count_range: {min: 5}}",
		"name: a, top: 200, margin: 51, filter: {region: US, follower_count_range: {min: 5}}",
		"name: a, top: 200, margin: 50, filter: {region: GB, follower_count_range: {min: 5}}",
		"name: a, top: 200, margin: 50, filter: {region: US, follower_count_range: {max: 5}}",
		"name: a, top: 200, margin: 50, filter: {region: US}",
		"name: a, top: 200, margin: 50",
	} {
		if one(t, other).Fingerprint() == want {
			t.Errorf("%s: the fingerprint is the same", other)
		}
	}
}

// Every field of a filter must show in the text that tells filters apart.
func TestEveryFilterHasItsOwnText(t *testing.T) {
	seen := map[string]string{}
	for _, f := range []string{
		"region: US", "creator_category_id: 1", "product_category_l1_id: 1", "product_category_l2_id: 1", "product_category_l3_id: 1",
		"ecommerce_type: 1", "follower_count_range: {min: 1}", "follower_count_range: {max: 1}", "follower_age_type: 1", "follower_gender_type: 1",
		"follower_gender_type: 0", "region: null",
	} {
		text := filterText(one(t, "name: a, filter: {"+f+"}").Filter)
		if seen[text] != "" {
			t.Errorf("%s and %s are both %q", f, seen[text], text)
		}
		seen[text] = f
	}
}

func TestFeed(t *testing.T) {
	feed := func(own string) Feed { return one(t, "name: a, "+own).Feed() }
	base := feed("filter: {region: US}")
	for own, same := range map[string]bool{
		"every: 7m": true, "top: 60, margin: 40": true, "ties: ordinal": true, "rules: {dropped: {after: 3}}": true,
		"timezone: UTC": true, "timezone: Asia/Tokyo": false, "top: 101": false, "margin: 1": false, "period: {type: week}": false, "period: none": false,
	} {
		if got := feed("filter: {region: US}, "+own) == base; got != same {
			t.Errorf("%s: same feed %v, want %v", own, got, same)
		}
	}
	if feed("period: {value: 2026-03}, timezone: Asia/Tokyo") != feed("period: {value: 2026-03}") {
		t.Error("a fixed period depends on the time zone")
	}
	if feed("filter: {region: US}") == feed("filter: {region: GB}") {
		t.Error("two markets are one feed")
	}
}

func TestDepthIsWholePages(t *testing.T) {
	for _, c := range []struct{ top, margin, depth int }{
		{1, 0, 100}, {100, 0, 100}, {100, 1, 200}, {150, 50, 200}, {1000, 0, 1000}, {950, 50, 1000}, {901, 0, 1000},
	} {
		w := one(t, "name: a, top: "+itoa(c.top)+", margin: "+itoa(c.margin))
		if w.Depth() != c.depth || w.Pages()*100 != c.depth {
			t.Errorf("%d+%d: depth %d, pages %d, want %d", c.top, c.margin, w.Depth(), w.Pages(), c.depth)
		}
	}
}

func BenchmarkParseWatchlists(b *testing.B) {
	var f strings.Builder
	f.WriteString("defaults: {every: 6h, timezone: Asia/Shanghai}\nwatchlists:\n")
	for i := range 10_000 {
		f.WriteString("  - name: us-" + itoa(i) + "\n    top: 200\n    filter:\n      region: US\n      creator_category_id: " + itoa(i+1) +
			"\n      follower_count_range: {min: 500000, max: 1000000}\n    period: {type: month, value: latest}\n    rules:\n      moved: {min_places: 1}\n")
	}
	for b.Loop() {
		lists, err := ParseWatchlists("f", []byte(f.String()))
		if err != nil || len(lists) != 10_000 {
			b.Fatal(err)
		}
	}
}
