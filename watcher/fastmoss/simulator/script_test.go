package simulator

import (
	"sync"
	"testing"
)

func TestScriptServesItsListsAsTheyAre(t *testing.T) {
	script := new(Script)
	april := Period{Month, "2026-04"}
	script.SetAll(map[Key]List{
		{Region: "US", Period: march}:              {Rows: rows("a:9 b:8 b:8 z:12")},
		{Region: "US", Category: 4, Period: march}: {Rows: rows("c:9"), Total: 5000},
		{Period: march}:                            {},
		{Region: "GB", Period: march}:              {Rows: rows("g:1"), Period: Period{Month, "2025-12"}},
	})
	script.SetFunc("rest", april, func(f Filter) bool { return f.FollowersMin.Value > 10 }, List{Rows: rows("m:1")})
	c := serve(t, New(Config{Source: script}))
	month := func(v string) string { return `"date_info":{"type":"month","value":"` + v + `"}` }
	for _, tt := range []struct {
		filter, uids string
		code, total  int
		echo         string
	}{
		{`"region":"US",` + month("2026-03"), "a b b z", 0, 4, "2026-03"},
		{`"region":"US","creator_category_id":4,` + month("2026-03"), "c", 0, 5000, "2026-03"},
		{month("2026-03"), "", 0, 0, "2026-03"},
		{`"region":"GB",` + month("2026-03"), "g", 0, 1, "2025-12"},
		{`"region":"US",` + month("2026-04"), "", codeNotFound, 0, ""},
		{`"region":"US","follower_count_range":{"min":11},` + month("2026-04"), "m", 0, 1, "2026-04"},
		{`"region":"US","follower_count_range":{"min":11}`, "m", 0, 1, "2026-04"},
		{`"region":"US"`, "a b b z", 0, 4, "2026-03"},
		{`"region":"JP"`, "", codeNotFound, 0, ""},
		{`"region":"US","colour":"red",` + month("2026-03"), "a b b z", 0, 4, "2026-03"},
	} {
		a := c.page(tt.filter, 1, 10)
		if a.Code != tt.code || a.uids() != tt.uids || a.Data.Value != tt.echo {
			t.Errorf("%s: %s", tt.filter, a.raw)
		}
		if tt.code == 0 && a.total(t) != tt.total {
			t.Errorf("%s: total %s, want %d", tt.filter, a.Data.Total, tt.total)
		}
	}
	script.Unset(Key{Region: "US", Period: march})
	script.UnsetFunc("rest", april)
	for _, filter := range []string{`"region":"US"`, `"region":"US","follower_count_range":{"min":11}`} {
		if a := c.page(filter, 1, 10); a.Code != codeNotFound {
			t.Errorf("%s is still published: %s", filter, a.raw)
		}
	}
}

func TestScriptRowsTakeTheRegionOfTheirKey(t *testing.T) {
	foreign := Entry("b", 8)
	foreign.Region = "GB"
	script := new(Script)
	given := append(rows("a:9"), foreign)
	script.Set(Key{Region: "US", Period: march}, List{Rows: given})
	a := serve(t, New(Config{Source: script})).page(inMarch, 1, 10)
	if a.Data.List[0].Creator.Region != "US" || a.Data.List[1].Creator.Region != "GB" {
		t.Errorf("regions in %s", a.raw)
	}
	if given[0].Region != "" {
		t.Error("Set changed the caller's rows")
	}
}

func TestARawRowIsWrittenAsItIs(t *testing.T) {
	script := new(Script)
	script.Set(Key{Region: "US", Period: march}, List{Rows: []Row{{Raw: []byte(`{"uid":null}`)}, {Raw: []byte(`null`)}}})
	a, err := serve(t, New(Config{Source: script})).do(call(inMarch, 1, 10))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"code":0,"data":{"list":[{"uid":null},null],"total":2`; string(a.raw[:len(want)]) != want {
		t.Errorf("got %s", a.raw)
	}
}

func TestAListCanBeReplacedInTheMiddleOfAScan(t *testing.T) {
	script := new(Script)
	key := Key{Region: "US", Period: march}
	script.Set(key, List{Rows: rows("a:9 b:8 c:7 d:6")})
	s := New(Config{Source: script, OnCall: func(c Call) {
		if c.Page == 2 {
			script.Set(key, List{Rows: rows("d:9 a:8 b:7 c:6")})
		}
	}})
	c := serve(t, s)
	if one, two := c.page(inMarch, 1, 2).uids(), c.page(inMarch, 2, 2).uids(); one != "a b" || two != "b c" {
		t.Errorf("pages %q and %q, want the seam torn", one, two)
	}
}

func TestOnCallSeesEachCall(t *testing.T) {
	var mu sync.Mutex
	var seen []Call
	c, _, _ := scripted(t, Config{
		Faults: []Fault{{Kind: ServiceError, Rate: 1, After: 1, For: 1}},
		OnCall: func(c Call) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, c)
		},
	}, "a:9")
	c.page(inMarch, 1, 7)
	c.page(inMarch, 2, 7)
	c.page(inMarch, 0, 7)
	caller{t, c.url, "other"}.page(inMarch, 1, 7)
	q := Query{Filter: Filter{Region: "US"}, Period: march}
	want := []Call{{N: 1, Query: q, Page: 1, Size: 7}, {N: 2, Query: q, Page: 2, Size: 7, Fault: ServiceError}, {N: 3}}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != len(want) {
		t.Fatalf("saw %+v", seen)
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Errorf("call %d is %+v, want %+v", i, seen[i], want[i])
		}
	}
}
