package simulator

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
)

func set(v int64) Int { return Int{v, true} }

func mustList(t *testing.T, w *World, q Query, at time.Time) List {
	t.Helper()
	l, ok := w.List(q, at)
	if !ok {
		t.Fatalf("%+v is not published at %v", q, at)
	}
	return l
}

// ranks returns the rank that ties share of the top ones.
func ranks(l List, top int) map[string]int {
	out := map[string]int{}
	rank := 0
	for i, r := range l.Rows {
		if i == 0 || r.Index != l.Rows[i-1].Index {
			rank = i + 1
		}
		if rank > top {
			break
		}
		out[r.UID] = rank
	}
	return out
}

// TestEachStepChangesAHandfulOfPlaces holds the world to what makes a demo
// readable: 3 to 15 changes per step on average, newcomers and leavers among
// them, and never a flood.
func TestEachStepChangesAHandfulOfPlaces(t *testing.T) {
	const steps = 60
	for _, f := range []Filter{
		{Region: "US"}, {Region: "GB"}, {Region: "JP"},
		{Region: "US", CreatorCategory: set(4)}, {Region: "US", CreatorCategory: set(4), ProductCategoryL1: set(14)}, {Region: "ID", CreatorCategory: set(4)},
	} {
		w := NewWorld(WorldConfig{Seed: 7, Start: april, Step: time.Second})
		lists := []List{mustList(t, w, Query{Filter: f}, april)}
		for i := range steps {
			lists = append(lists, mustList(t, w, Query{Filter: f}, april.Add(time.Duration(i+1)*time.Second)))
		}
		for _, top := range []int{50, 100, 200} {
			sum, most := count{}, 0
			for i := range steps {
				c := changes(ranks(lists[i], top), ranks(lists[i+1], top))
				most = max(most, c.moved+c.entered+c.dropped)
				sum = count{sum.moved + c.moved, sum.entered + c.entered, sum.dropped + c.dropped}
			}
			mean := float64(sum.moved+sum.entered+sum.dropped) / steps
			t.Logf("%s category %d top %d: %.1f changes per step, %d at most; in all %+v", f.Region, f.CreatorCategory.Value, top, mean, most, sum)
			if mean < 3 || mean > 15 || most > 50 || sum.moved == 0 || sum.entered == 0 || sum.dropped == 0 {
				t.Errorf("not a handful of each")
			}
		}
	}
}

type count struct{ moved, entered, dropped int }

func changes(before, after map[string]int) (c count) {
	for uid, rank := range after {
		if was, ok := before[uid]; !ok {
			c.entered++
		} else if was != rank {
			c.moved++
		}
	}
	for uid := range before {
		if _, ok := after[uid]; !ok {
			c.dropped++
		}
	}
	return c
}

func TestAWorldDependsOnItsSeedAndTheTimeAlone(t *testing.T) {
	config := WorldConfig{Seed: 7, Start: april, Step: time.Minute}
	q := Query{Filter: Filter{Region: "MX"}}
	late := april.Add(3 * time.Hour)
	asked := NewWorld(config)
	for i := range 30 {
		mustList(t, asked, Query{Filter: Filter{Region: regions()[i%15]}}, april.Add(time.Duration(i)*5*time.Minute))
	}
	want := mustList(t, NewWorld(config), q, late)
	if got := mustList(t, asked, q, late); !reflect.DeepEqual(got, want) {
		t.Error("being asked before changes a world")
	}
	config.Seed = 8
	if got := mustList(t, NewWorld(config), q, late); reflect.DeepEqual(got, want) {
		t.Error("another seed gives the same world")
	}
}

func TestTheSameSeedAnswersTheSameBytes(t *testing.T) {
	run := func() (out [][]byte) {
		s := New(Config{Seed: 5, Now: fixed(april), Ties: TiesCall, Faults: []Fault{{Kind: DuplicateRow, Rate: 0.5}}})
		c := serve(t, s)
		for page := range 5 {
			out = append(out, c.page(`"region":"US"`, page+1, 20).raw)
			s.Advance(time.Minute)
		}
		return out
	}
	first, second := run(), run()
	for i := range first {
		sameBytes(t, fmt.Sprintf("pages %d", i+1), first[i], second[i])
	}
}

func TestTotalsAreBelowAtAndAboveTheDepth(t *testing.T) {
	s := New(Config{Now: fixed(april)})
	c := serve(t, s)
	for range 2 {
		for filter, is := range map[string]func(n int) bool{
			`"region":"US"`:                          func(n int) bool { return n > 1000 },
			`"region":"GB"`:                          func(n int) bool { return n == 1000 },
			`"region":"MX"`:                          func(n int) bool { return n > 300 && n < 500 },
			`"region":"US","creator_category_id":4`:  func(n int) bool { return n > 300 && n < 500 },
			``:                                       func(n int) bool { return n > 5000 },
			`"region":"US","creator_category_id":99`: func(n int) bool { return n == 0 },
		} {
			a := c.board(filter)
			if n := a.total(t); !is(n) || len(a.Data.List) != min(n, MaxDepth) {
				t.Errorf("{%s}: total %d, %d rows", filter, n, len(a.Data.List))
			}
			seen := map[string]bool{}
			for i, r := range a.Data.List {
				if uid := string(r.UID); seen[uid] {
					t.Errorf("{%s} lists %s twice", filter, uid)
				}
				seen[string(r.UID)] = true
				if i > 0 && r.Index > a.Data.List[i-1].Index {
					t.Errorf("{%s} rises at place %d", filter, i+1)
				}
			}
		}
		s.Advance(2 * time.Hour)
	}
}

func TestFiltersAreApplied(t *testing.T) {
	c := serve(t, New(Config{Now: fixed(april)}))
	all := c.board(`"region":"DE"`)
	every := all.total(t)
	for filter, want := range map[string]func(i int, a answer) bool{
		`"creator_category_id":4`:                            func(i int, a answer) bool { k := a.Data.List[i].Creator.Category; return k != nil && k.ID == 4 },
		`"product_category_l1_id":24`:                        func(i int, a answer) bool { return sellsAny(a, i, 24, 0, 0) },
		`"product_category_l2_id":915208`:                    func(i int, a answer) bool { return sellsAny(a, i, 0, 915208, 0) },
		`"product_category_l3_id":601554`:                    func(i int, a answer) bool { return sellsAny(a, i, 0, 0, 601554) },
		`"ecommerce_type":1`:                                 func(i int, a answer) bool { return a.Data.List[i].Trade != 2 },
		`"ecommerce_type":2`:                                 func(i int, a answer) bool { return a.Data.List[i].Trade != 1 },
		`"follower_count_range":{"min":500000}`:              func(i int, a answer) bool { return a.Data.List[i].Creator.Follower >= 500000 },
		`"follower_count_range":{"max":99999}`:               func(i int, a answer) bool { return a.Data.List[i].Creator.Follower <= 99999 },
		`"follower_count_range":{"min":50000,"max":1000000}`: func(i int, a answer) bool { n := a.Data.List[i].Creator.Follower; return n >= 50000 && n <= 1000000 },
		`"follower_gender_type":0`:                           func(i int, a answer) bool { return a.Data.List[i].Creator.Genders[0].Value > "0.5" },
		`"follower_gender_type":{"key":1}`:                   func(i int, a answer) bool { return a.Data.List[i].Creator.Genders[0].Value < "0.5" },
	} {
		got := c.board(`"region":"DE",` + filter)
		n := 0
		for i := range all.Data.List {
			if want(i, all) {
				n++
			}
		}
		if got.total(t) != n || n == 0 || n == every {
			t.Errorf("%s: total %s, of the whole list %d of %d match", filter, got.Data.Total, n, every)
		}
		for i := range got.Data.List {
			if !want(i, got) {
				t.Errorf("%s: row %d does not match", filter, i)
			}
		}
	}
	parts := 0
	for _, age := range []string{"1", "2", `{"type":3}`} {
		parts += c.board(`"region":"DE","follower_age_type":` + age).total(t)
	}
	if parts != every {
		t.Errorf("the ages have %d creators, the region %d", parts, every)
	}
	for _, typo := range []string{`"creator_category":4`, `"Creator_Category_Id":4`, `"follower_count":{"min":500000}`} {
		if got := c.board(`"region":"DE",` + typo).total(t); got != every {
			t.Errorf("the unknown filter %s leaves %d of %d", typo, got, every)
		}
	}
}

func sellsAny(a answer, i int, l1, l2, l3 int64) bool {
	for _, s := range a.Data.List[i].Sales {
		for _, p := range products {
			if p.ID == s.ID && (l1 == 0 || p.l1 == l1) && (l2 == 0 || p.l2 == l2) && (l3 == 0 || p.ID == l3) {
				return true
			}
		}
	}
	return false
}

func TestCreatorsAreOfManyKinds(t *testing.T) {
	w := NewWorld(WorldConfig{Seed: 7, Start: april})
	scripts := map[*unicode.RangeTable]string{
		unicode.Arabic: "Arabic", unicode.Hebrew: "Hebrew", unicode.Han: "Han", unicode.Thai: "Thai", unicode.Hiragana: "Hiragana",
		unicode.So: "emoji", unicode.Mn: "combining marks", unicode.Cyrillic: "Cyrillic",
	}
	uncategorised := 0
	for _, region := range regions() {
		l := mustList(t, w, Query{Filter: Filter{Region: region}}, april)
		for _, r := range l.Rows {
			if len(r.UID) != 19 || r.UID < "6500000000000000000" || r.Region != region {
				t.Fatalf("uid %s, region %s", r.UID, r.Region)
			}
			if r.LiveUnits+r.VideoUnits != r.Units || r.Index < 1 || r.Index > maxIndex || r.USDGMV <= 0 || len(r.Sales) == 0 {
				t.Fatalf("figures of %+v", r)
			}
			if r.Category == nil {
				uncategorised++
			}
			for table := range scripts {
				if strings.ContainsFunc(r.Nickname, func(c rune) bool { return unicode.Is(table, c) }) {
					delete(scripts, table)
				}
			}
		}
	}
	if uncategorised == 0 {
		t.Error("every creator has a category")
	}
	if len(scripts) > 0 {
		t.Errorf("no nickname with %v", scripts)
	}
}

func TestTheTopIsFullOfTies(t *testing.T) {
	w := NewWorld(WorldConfig{Seed: 7, Start: april})
	l := mustList(t, w, Query{Filter: Filter{Region: "US"}}, april)
	values := map[int64]bool{}
	for _, r := range l.Rows[:MaxDepth] {
		values[r.Index] = true
	}
	if len(values) > 80 || len(values) < 40 {
		t.Errorf("1000 places have %d different indices", len(values))
	}
}

func TestTheSameCreatorIsOnSeveralBoardsWithTheSameFigures(t *testing.T) {
	w := NewWorld(WorldConfig{Seed: 7, Start: april})
	region := map[string]Row{}
	for _, r := range mustList(t, w, Query{Filter: Filter{Region: "JP"}}, april).Rows {
		region[r.UID] = r
	}
	l := mustList(t, w, Query{Filter: Filter{Region: "JP", CreatorCategory: set(4)}}, april)
	if len(l.Rows) == 0 {
		t.Fatal("no rows")
	}
	for _, r := range l.Rows {
		if !reflect.DeepEqual(region[r.UID], r) {
			t.Errorf("%s differs: %+v, %+v", r.UID, region[r.UID], r)
		}
	}
}

func TestSomeChangeTheirNamesSomeComeBack(t *testing.T) {
	w := NewWorld(WorldConfig{Seed: 7, Start: april, Step: time.Second})
	names, gone := map[string]string{}, map[string]bool{}
	renamed, returned := 0, 0
	for i := range 300 {
		now := map[string]string{}
		for _, r := range mustList(t, w, Query{Filter: Filter{Region: "JP"}}, april.Add(time.Duration(i)*time.Second)).Rows {
			now[r.UID] = r.Nickname + "/" + r.UniqueID
			if was, ok := names[r.UID]; ok && was != now[r.UID] {
				renamed++
			}
			if gone[r.UID] {
				returned++
				delete(gone, r.UID)
			}
		}
		for uid := range names {
			if _, ok := now[uid]; !ok {
				gone[uid] = true
			}
		}
		names = now
	}
	if renamed < 5 || returned < 5 || len(gone) < 5 {
		t.Errorf("%d renamed, %d returned, %d gone for good", renamed, returned, len(gone))
	}
}
