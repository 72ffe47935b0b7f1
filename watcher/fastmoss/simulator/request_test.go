package simulator

import (
	"net/http"
	"strings"
	"testing"
)

func TestLimitsAreEnforced(t *testing.T) {
	c, _, _ := scripted(t, Config{}, "a:9 b:8")
	us := `"region":"US"`
	for _, tt := range []struct {
		name, body string
		code       int
		says       string
	}{
		{"all in order", call(inMarch, 1, 100), 0, ""},
		{"no order, no page", `{"filter":{` + us + `}}`, 0, ""},
		{"last page of 100", call(us, 10, 100), 0, ""},
		{"page 1000 of 1", call(us, 1000, 1), 0, ""},
		{"page 0", call(us, 0, 10), codeBadParameter, "page"},
		{"page -1", call(us, -1, 10), codeBadParameter, "page"},
		{"pagesize 0", call(us, 1, 0), codeBadParameter, "pagesize"},
		{"pagesize 101", call(us, 1, 101), codeBadParameter, "pagesize"},
		{"past the depth", call(us, 11, 100), codeBadParameter, "page * pagesize"},
		{"just past the depth", call(us, 21, 48), codeBadParameter, "page * pagesize"},
		{"overflow", call(us, 1000, 100), codeBadParameter, "page"},
		{"page as a string", `{"page":"1"}`, codeBadParameter, "page"},
		{"page as a fraction", `{"page":1.5}`, codeBadParameter, "page"},
		{"unknown region", call(`"region":"XX"`, 1, 10), codeBadParameter, "filter.region"},
		{"region in lower case", call(`"region":"us"`, 1, 10), codeBadParameter, "filter.region"},
		{"region as a number", call(`"region":1`, 1, 10), codeBadParameter, "filter.region"},
		{"category as a string", call(`"creator_category_id":"4"`, 1, 10), codeBadParameter, "creator_category_id"},
		{"ecommerce_type 3", call(`"ecommerce_type":3`, 1, 10), codeBadParameter, "ecommerce_type"},
		{"age 4", call(`"follower_age_type":4`, 1, 10), codeBadParameter, "follower_age_type"},
		{"age 0 in an object", call(`"follower_age_type":{"type":0}`, 1, 10), codeBadParameter, "follower_age_type"},
		{"gender 2", call(`"follower_gender_type":2`, 1, 10), codeBadParameter, "follower_gender_type"},
		{"followers upside down", call(`"follower_count_range":{"min":2,"max":1}`, 1, 10), codeBadParameter, "follower_count_range"},
		{"followers as a number", call(`"follower_count_range":5`, 1, 10), codeBadParameter, "follower_count_range"},
		{"period type", call(`"date_info":{"type":"year","value":"2026"}`, 1, 10), codeBadParameter, "date_info.type"},
		{"period empty", call(`"date_info":{}`, 1, 10), codeBadParameter, "date_info.type"},
		{"month 13", call(`"date_info":{"type":"month","value":"2026-13"}`, 1, 10), codeBadParameter, "date_info.value"},
		{"day for a month", call(`"date_info":{"type":"month","value":"2026-03-01"}`, 1, 10), codeBadParameter, "date_info.value"},
		{"30 February", call(`"date_info":{"type":"day","value":"2026-02-30"}`, 1, 10), codeBadParameter, "date_info.value"},
		{"week 0", call(`"date_info":{"type":"week","value":"2026-00"}`, 1, 10), codeBadParameter, "date_info.value"},
		{"week 53 of a year with 52", call(`"date_info":{"type":"week","value":"2025-53"}`, 1, 10), codeBadParameter, "date_info.value"},
		{"week 53 of a year with 53", call(us+`,"date_info":{"type":"week","value":"2026-53"}`, 1, 10), codeNotFound, ""},
		{"null filters", call(us+`,"creator_category_id":null,"date_info":null`, 1, 10), 0, ""},
		{"order by another field", `{"orderby":[{"field":"gmv","order":"desc"}]}`, codeBadParameter, "orderby"},
		{"ascending order", `{"orderby":[{"field":"potential_index","order":"asc"}]}`, codeBadParameter, "orderby"},
		{"two orders", `{"orderby":[{"field":"potential_index","order":"desc"},{"field":"potential_index","order":"desc"}]}`, codeBadParameter, "orderby"},
		{"order as a string", `{"orderby":"potential_index"}`, codeBadParameter, "orderby"},
		{"no JSON", `page=1`, codeBadParameter, "body"},
		{"an array", `[]`, codeBadParameter, "body"},
		{"null", `null`, codeBadParameter, "body"},
		{"trailing garbage", `{} x`, codeBadParameter, "body"},
		{"filter as a string", `{"filter":"US"}`, codeBadParameter, "filter"},
		{"too long", `{"x":"` + strings.Repeat("x", maxBody) + `"}`, codeBadParameter, "body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := caller{t, c.url, c.token}.ask(tt.body)
			if a.status != http.StatusOK || a.Code != tt.code {
				t.Fatalf("HTTP %d, code %d, want 200, %d: %s", a.status, a.Code, tt.code, a.raw)
			}
			if a.Message == nil || !strings.Contains(*a.Message, tt.says) {
				t.Errorf("message does not name %q: %s", tt.says, a.raw)
			}
		})
	}
}

func TestOnlyThePathAndPostAnswer(t *testing.T) {
	c, s, _ := scripted(t, Config{}, "a:9")
	for _, tt := range []struct {
		method, url, contentType string
		status                   int
		code                     string
	}{
		{http.MethodGet, c.url, "application/json", http.StatusMethodNotAllowed, "use POST"},
		{http.MethodPost, c.url + "s", "application/json", http.StatusNotFound, "not found"},
		{http.MethodPost, c.url, "text/plain", http.StatusOK, `"code":10001`},
		{http.MethodPost, c.url, "application/json; charset=utf-8", http.StatusOK, `"code":0`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, strings.NewReader(call(inMarch, 1, 10)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tt.contentType)
		req.Header.Set("Authorization", "Bearer "+DefaultToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body strings.Builder
		if err := resp.Write(&body); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status || !strings.Contains(body.String(), tt.code) {
			t.Errorf("%s %s as %s: HTTP %d %s", tt.method, tt.url, tt.contentType, resp.StatusCode, body.String())
		}
	}
	if got := s.Calls()[DefaultToken].Calls; got != 2 {
		t.Errorf("%d calls metered, want the 2 that reached the API", got)
	}
}

func TestAnswerHasTheDocumentedShape(t *testing.T) {
	script := new(Script)
	script.Set(Key{Region: "US", Period: march}, List{Rows: []Row{{
		UID: "6787580688797713413", Index: 83, UniqueID: "itzesantana11", Nickname: "itzelsantana11", Avatar: "https://a",
		Category: &Category{4, "Beauty"}, Followers: 930920, LifetimeVideos: 879, Videos: 186, EcommerceType: 3,
		Genders: []Share{{"female", 0.6319}}, Ages: []Share{{"35-44", 0.3406}}, GMV: 244052.07, USDGMV: 244052.07,
		Units: 6138, AvgPlays: 77007, LiveUnits: 931, VideoUnits: 5207, Sales: []Category{{601554, "Concealer & Foundation"}},
	}}})
	c := serve(t, New(Config{Source: script, Now: fixed(april)}))
	a := c.page(inMarch, 1, 10)
	want := `{"code":0,"data":{"list":[{"creator":{"uid":"6787580688797713413","nickname":"itzelsantana11","unique_id":"itzesantana11",` +
		`"avatar":"https://a","region":"US","category":{"id":4,"name":"Beauty"},"follower_count":930920,"video_count":879,` +
		`"follower_genders":[{"key":"female","value":"0.6319"}],"follower_ages":[{"key":"35-44","value":"0.3406"}]},` +
		`"uid":"6787580688797713413","video_count":186,"ecommerce_type":3,"potential_index":83,"gmv":244052.07,"usd_gmv":244052.07,` +
		`"units_sold":6138,"avg_play_count":77007,"live_units_sold":931,"video_units_sold":5207,` +
		`"sales_category_l3":[{"id":601554,"name":"Concealer & Foundation"}]}],"total":1,"date_type":"month","date_value":"2026-03"},` +
		`"message":"","timestamp":1776186000,"request_id":"` + a.RequestID + `"}`
	sameBytes(t, "answers", a.raw, []byte(want))
	if got := a.header.Get("Content-Type"); got != typeJSON {
		t.Errorf("content type %q", got)
	}
}

func TestSpellings(t *testing.T) {
	for _, tt := range []struct {
		name         string
		cfg          Config
		list, refuse string // what the answers must hold
	}{
		{"plain", Config{}, `"uid":"123"`, `"data":null,"message":"bad`},
		{"msg", Config{Message: MessageShort}, `,"msg":""`, `"data":"","msg":"bad`},
		{"numeric ids", Config{IDs: IDsNumber}, `"uid":123}`, `"code":10001`},
		{"numeric ids in the creator", Config{IDs: IDsNumber}, `"creator":{"uid":123,`, `"code":10001`},
		{"ids that are no numbers", Config{IDs: IDsNumber}, `"uid":"007"`, `"code":10001`},
		{"total as a string", Config{Totals: TotalsString}, `"total":"3"`, `"code":10001`},
		{"table fields", Config{TableFields: true}, `"creator_usd_gmv":`, `"code":10001`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, _ := scripted(t, tt.cfg, "123:9 007:8 x/y:7")
			list := c.page(inMarch, 1, 10)
			refused, err := c.do(call(`"region":"XX"`, 1, 10))
			if err != nil {
				t.Fatal(err)
			}
			raw := strings.ReplaceAll(string(list.raw), `"uid":123,"video_count"`, `"uid":123}`)
			if !strings.Contains(raw, tt.list) {
				t.Errorf("no %s in %s", tt.list, list.raw)
			}
			if !strings.Contains(string(refused.raw), tt.refuse) {
				t.Errorf("no %s in %s", tt.refuse, refused.raw)
			}
		})
	}
}

func TestMixedIDsAreBothWays(t *testing.T) {
	c, _, _ := scripted(t, Config{IDs: IDsMixed}, "1:9 2:9 3:9 4:9 5:9 6:9 7:9 8:9")
	raw := string(c.page(inMarch, 1, 10).raw)
	quoted, bare := strings.Count(raw, `"creator":{"uid":"`), strings.Count(raw, `"creator":{"uid":`)
	if quoted == 0 || quoted == bare {
		t.Errorf("%d of %d uids are strings, want some of each", quoted, bare)
	}
	first := c.page(inMarch, 1, 10)
	again := c.page(inMarch, 1, 10)
	if first.uids() != again.uids() {
		t.Error("a uid changes its spelling")
	}
}
