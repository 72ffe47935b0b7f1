package fastmoss

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// vendorItem is the vendor's own example.
const vendorItem = `{"creator":{"uid":"6787580688797713413","nickname":"itzelsantana11","unique_id":"itzesantana11","avatar":"https://p16-sign-va.tiktokcdn.com/tos-maliva-avt-0068/7310299~c5_300x300.jpeg","region":"US",
  "category":{"id":4,"name":"Beauty"},"follower_count":930920,"video_count":879,
  "follower_genders":[{"key":"female","value":"0.6319"}],"follower_ages":[{"key":"35-44","value":"0.3406"}]},
 "uid":"6787580688797713413","video_count":186,"ecommerce_type":3,"potential_index":83,"gmv":244052.07,"usd_gmv":244052.07,
 "units_sold":6138,"avg_play_count":77007,"live_units_sold":931,"video_units_sold":5207,
 "sales_category_l3":[{"id":601554,"name":"Concealer & Foundation"}]}`

func envelope(data string) string {
	return `{"code":0,"data":` + data + `,"message":"","timestamp":1776186472,"request_id":"r1"}`
}

func listOf(rows ...string) string {
	return envelope(`{"list":[` + strings.Join(rows, ",") + `],"total":17,"date_type":"month","date_value":"2026-03"}`)
}

func mustDecode(t *testing.T, body string) answer {
	t.Helper()
	a, err := newDecoder().decode(bytes.NewBufferString(body))
	if err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
	return a
}

func TestDecodeVendorsExample(t *testing.T) {
	a := mustDecode(t, listOf(vendorItem))
	want := Page{
		Items: []Item{{
			UID: "6787580688797713413", PotentialIndex: 83, UniqueID: "itzesantana11", Nickname: "itzelsantana11",
			Avatar: "https://p16-sign-va.tiktokcdn.com/tos-maliva-avt-0068/7310299~c5_300x300.jpeg", Region: "US",
			Category: Some(event.Category{ID: 4, Name: "Beauty"}), FollowerCount: Some[int64](930920),
			USDGMV: Some(244052.07), UnitsSold: Some[int64](6138), VideoUnitsSold: Some[int64](5207), LiveUnitsSold: Some[int64](931),
			AvgPlayCount: Some[int64](77007), VideoCount: Some[int64](186), EcommerceType: Some[int64](3),
			SalesCategoryL3: []event.Category{{ID: 601554, Name: "Concealer & Foundation"}},
		}},
		Slots: []int{0}, Rows: 1, Total: 17, Period: event.Period{Type: "month", Value: "2026-03"},
	}
	if a.fault != nil || !a.hasCode || a.code != 0 || a.requestID != "r1" {
		t.Fatalf("envelope: %+v", a)
	}
	if !reflect.DeepEqual(a.page, want) {
		t.Fatalf("got  %+v\nwant %+v", a.page, want)
	}
}

func TestDecodeShapesOfOneRow(t *testing.T) {
	long := strings.Repeat("u", event.MaxUID)
	// The row, then what its Item shows; "skip" for none, "bad" for a page that
	// is refused.
	for row, want := range map[string]string{
		`{"uid":"a","potential_index":1}`:                              `a 1`,
		`{"uid":9223372036854775808123,"potential_index":1}`:           `9223372036854775808123 1`,
		`{"uid":"9223372036854775808123","potential_index":"1"}`:       `9223372036854775808123 1`,
		`{"uid":-5,"potential_index":-5}`:                              `-5 -5`,
		`{"uid":null,"creator":{"uid":7},"potential_index":1}`:         `7 1`,
		`{"uid":"","creator":{"uid":"7"},"potential_index":1}`:         `7 1`,
		`{"uid":7,"creator":{"uid":"7"},"potential_index":1}`:          `7 1`,
		`{"creator":{"uid":"7"},"potential_index":83.0}`:               `7 83`,
		`{"uid":"a","creator":null,"potential_index":8e1}`:             `a 80`,
		`{"uid":"a","creator":[],"potential_index":" 8 "}`:             `a 8`,
		`{"uid":"a","creator":"x","potential_index":9007199254740993}`: `a 9007199254740993`,
		`{"uid":"a","potential_index":9223372036854775807}`:            `a 9223372036854775807`,
		`{"uid":"` + long + `","potential_index":1}`:                   long + ` 1`,
		`{"uid":"` + long + `u","potential_index":1}`:                  `skip`,
		`{"uid":"","potential_index":1}`:                               `skip`,
		`{"potential_index":1}`:                                        `skip`,
		`{"uid":1.5,"potential_index":1}`:                              `bad`,
		`{"uid":1e3,"potential_index":1}`:                              `bad`,
		`{"uid":true,"potential_index":1}`:                             `bad`,
		`{"uid":["a"],"potential_index":1}`:                            `bad`,
		`{"uid":"a","creator":{"uid":{}},"potential_index":1}`:         `bad`,
		`{"uid":"a","creator":{"uid":"b"},"potential_index":1}`:        `bad`,
		`{"uid":"a"}`:                          `bad`,
		`{"uid":"a","potential_index":null}`:   `bad`,
		`{"uid":"a","potential_index":""}`:     `bad`,
		`{"uid":"a","potential_index":"high"}`: `bad`,
		`{"uid":"a","potential_index":83.5}`:   `bad`,
		`{"uid":"a","potential_index":1e30}`:   `bad`,
		`{"uid":"a","potential_index":"0x10"}`: `bad`,
		`{"uid":"a","potential_index":"1_0"}`:  `bad`,
		`{"uid":"a","potential_index":"+1"}`:   `bad`,
		`{"uid":"a","potential_index":[1]}`:    `bad`,
		`null`:                                 `bad`, `"a"`: `bad`, `[]`: `bad`, `{}`: `bad`,
		// The last of equal names counts, for a whole creator too.
		`{"uid":"a","potential_index":1,"uid":"b","potential_index":2}`:                                          `b 2`,
		`{"uid":true,"uid":"b","potential_index":2}`:                                                             `b 2`,
		`{"uid":"a","creator":{"nickname":"x"},"creator":{"region":"US"},"potential_index":2}`:                   `a 2 region=US`,
		`{"u\u0069d":"a","potential_index":2}`:                                                                   `a 2`,
		`{"uid":"a","creator":{"nickname":"\ud83d\ude00\ud800","unique_id":"\u00e9"},"potential_index":2}`:       `a 2 nickname=😀` + "\uFFFD" + ` unique_id=é`,
		"{\"uid\":\"a\",\"creator\":{\"nickname\":\"x\xff\xfe\"},\"potential_index\":2}":                         "a 2 nickname=x\uFFFD\uFFFD",
		`{"uid":"a","creator":{"unique_id":123,"nickname":null,"avatar":{},"region":false},"potential_index":2}`: `a 2 unique_id=123`,
		`{"uid":"a","potential_index":2,"usd_gmv":"244052.07","units_sold":6138.0,"avg_play_count":77.6}`:        `a 2 usd=244052.07 units=6138 play=78`,
		`{"uid":"a","potential_index":2,"usd_gmv":null,"gmv":5,"units_sold":"","avg_play_count":"77K"}`:          `a 2`,
		`{"uid":"a","potential_index":2,"usd_gmv":1e999,"units_sold":1e99,"avg_play_count":[]}`:                  `a 2`,
		`{"uid":"a","potential_index":2,"creator":{"category":null}}`:                                            `a 2`,
		`{"uid":"a","potential_index":2,"creator":{"category":[]}}`:                                              `a 2`,
		`{"uid":"a","potential_index":2,"creator":{"category":{"name":"x"}}}`:                                    `a 2`,
		`{"uid":"a","potential_index":2,"creator":{"category":{"id":"4","name":"x"}}}`:                           `a 2 category=4/x`,
		`{"uid":"a","potential_index":2,"sales_category_l3":null}`:                                               `a 2`,
		`{"uid":"a","potential_index":2,"sales_category_l3":{"id":1}}`:                                           `a 2`,
		`{"uid":"a","potential_index":2,"sales_category_l3":[null,{"id":1},{"id":"2","name":"y"},7]}`:            `a 2 sales=[{1 } {2 y}]`,
		`{"uid":"a","potential_index":2,"creator":{"video_count":879}}`:                                          `a 2`,
		`{"uid":"a","potential_index":2,"video_count":"186","creator":{"video_count":879,"follower_count":5}}`:   `a 2 followers=5 videos=186`,
	} {
		if got := describe(mustDecode(t, listOf(row))); got != want {
			t.Errorf("%s\n got %q\nwant %q", row, got, want)
		}
	}
}

// describe shows the one item of a page, missing fields left out.
func describe(a answer) string {
	if a.fault != nil {
		return "bad"
	}
	if a.page.Rows != 1 || a.page.Skipped+len(a.page.Items) != 1 {
		return fmt.Sprintf("%+v", a.page)
	}
	if a.page.Skipped == 1 {
		return "skip"
	}
	it := a.page.Items[0]
	s := fmt.Sprintf("%s %d", it.UID, it.PotentialIndex)
	add := func(name string, set bool, v any) {
		if set {
			s += fmt.Sprintf(" %s=%v", name, v)
		}
	}
	add("nickname", it.Nickname != "", it.Nickname)
	add("unique_id", it.UniqueID != "", it.UniqueID)
	add("avatar", it.Avatar != "", it.Avatar)
	add("region", it.Region != "", it.Region)
	add("category", it.Category.Valid, fmt.Sprintf("%d/%s", it.Category.Value.ID, it.Category.Value.Name))
	add("followers", it.FollowerCount.Valid, it.FollowerCount.Value)
	add("usd", it.USDGMV.Valid, it.USDGMV.Value)
	add("units", it.UnitsSold.Valid, it.UnitsSold.Value)
	add("play", it.AvgPlayCount.Valid, it.AvgPlayCount.Value)
	add("videos", it.VideoCount.Valid, it.VideoCount.Value)
	add("sales", it.SalesCategoryL3 != nil, it.SalesCategoryL3)
	return s
}

func TestDecodeShapesOfData(t *testing.T) {
	for data, want := range map[string]string{
		`{"list":[],"total":0}`:                                                       "rows 0 total 0 period {}",
		`{"list":null,"total":"0"}`:                                                   "rows 0 total 0 period {}",
		`{"list":null,"total":17.0,"date_type":"week"}`:                               "rows 0 total 17 period {}",
		`{"list":[],"total":1,"date_type":"week","date_value":"2026-08"}`:             "rows 0 total 1 period {week 2026-08}",
		`{"list":[],"total":1,"date_type":null,"date_value":null,"other":{"list":1}}`: "rows 0 total 1 period {}",
		`{"total":1,"list":[1],"list":[],"total":2}`:                                  "rows 0 total 2 period {}",
		`{"total":1}`:                "bad",
		`{"list":{},"total":1}`:      "bad",
		`{"list":"","total":1}`:      "bad",
		`{"list":[]}`:                "bad",
		`{"list":[],"total":null}`:   "bad",
		`{"list":[],"total":-1}`:     "bad",
		`{"list":[],"total":"many"}`: "bad",
		`{"list":[],"total":1.5}`:    "bad",
		`{"list":[],"total":1e40}`:   "bad",
		`{"list":[null],"total":1}`:  "bad",
		`null`:                       "bad", `"x"`: "bad", `""`: "bad", `[]`: "bad", `1`: "bad", `{}`: "bad",
	} {
		a := mustDecode(t, envelope(data))
		got := fmt.Sprintf("rows %d total %d period %v", a.page.Rows, a.page.Total, a.page.Period)
		got = strings.Replace(got, "{ }", "{}", 1)
		if a.fault != nil {
			got = "bad"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", data, got, want)
		}
	}
}

func TestDecodeSlotsLeaveOutSkippedRows(t *testing.T) {
	a := mustDecode(t, listOf(`{"uid":"","potential_index":9}`, `{"uid":"a","potential_index":8}`, `{"potential_index":7}`, `{"uid":"b","potential_index":6}`))
	if !slices.Equal(a.page.Slots, []int{1, 3}) || a.page.Rows != 4 || a.page.Skipped != 2 {
		t.Fatalf("%+v", a.page)
	}
}

func TestDecodeRefusesWhatIsNotJSON(t *testing.T) {
	ok := listOf(vendorItem)
	for _, body := range []string{
		"", " ", "{", ok[:len(ok)-1], ok[:len(ok)/2], ok + "x", ok + ok, ok + "]", "\xef\xbb\xbf" + ok,
		`{"code":00}`, `{"code":1.}`, `{"code":.1}`, `{"code":+1}`, `{"code":NaN}`, `{"code":1e}`, `{"code":-}`,
		`{"code":0,}`, `{"code" 0}`, `{code:0}`, `{'code':0}`, `{"code":0 "data":1}`, `[1,]`, `[1 2]`,
		`{"message":"\x"}`, `{"message":"\u12"}`, `{"message":"\u12g4"}`, `{"message":"a` + "\n" + `b"}`, `{"message":"` + "\x01" + `\n"}`, `{"message":"`,
		`{"x":tru}`, `{"x":nullx}`, strings.Repeat("[", 10001) + strings.Repeat("]", 10001), `{"data":` + strings.Repeat("[", 100000),
		listOf(`{"uid":"a","potential_index":01}`), "<html>", "\x00",
	} {
		if json.Valid([]byte(body)) {
			t.Errorf("the table is wrong: %.60q is JSON", body)
		}
		if a, err := newDecoder().decode(bytes.NewBufferString(body)); err == nil {
			t.Errorf("%.60q was taken for %+v", body, a)
		}
	}
}

func TestDecodedPageOutlivesDecoder(t *testing.T) {
	d := newDecoder()
	buf := bytes.NewBufferString(listOf(vendorItem))
	first, err := d.decode(buf)
	if err != nil {
		t.Fatal(err)
	}
	keep := fmt.Sprintf("%+v", first.page)
	buf.Reset()
	buf.WriteString(strings.ReplaceAll(listOf(vendorItem), "a", "Z"))
	if _, err := d.decode(buf); err != nil {
		t.Fatal(err)
	}
	buf.Reset()
	buf.WriteString(strings.ReplaceAll(listOf(vendorItem, vendorItem), "6787580688797713413", "1111111111111111111"))
	if _, err := d.decode(buf); err != nil {
		t.Fatal(err)
	}
	if now := fmt.Sprintf("%+v", first.page); now != keep {
		t.Fatalf("the first page changed:\n%s\n%s", keep, now)
	}
}

func TestDecodeAllocatesPerPageNotPerRow(t *testing.T) {
	d, body := newDecoder(), documented(100)
	var buf bytes.Buffer
	n := testing.AllocsPerRun(20, func() {
		buf.Reset()
		buf.Write(body)
		if a, err := d.decode(&buf); err != nil || len(a.page.Items) != 100 {
			t.Fatal(err)
		}
	})
	if n > 12 {
		t.Errorf("%v allocations for a page of 100", n)
	}
}

func TestParseIntAtItsEnds(t *testing.T) {
	for in, want := range map[string]number{
		"0": {0, good, true}, "-0": {0, good, true}, "-1": {-1, good, true},
		"9223372036854775807":  {math.MaxInt64, good, true},
		"-9223372036854775808": {math.MinInt64, good, true},
		"9223372036854775808":  {0, bad, false},
		"-9223372036854775809": {0, bad, false},
		"1.5":                  {2, good, false}, "-1.5": {-2, good, false}, "1e2": {100, good, true}, "1e-400": {0, good, true}, "1e400": {0, bad, false},
	} {
		if got := parseInt([]byte(in)); got != want {
			t.Errorf("%s: %+v, want %+v", in, got, want)
		}
	}
}

// documented is a page of n items with all fields of the documentation.
func documented(n int) []byte {
	rows := make([]string, n)
	for i := range rows {
		r := strings.ReplaceAll(vendorItem, "6787580688797713413", fmt.Sprintf("67875806887977%05d", i))
		rows[i] = strings.NewReplacer("\n", "", "  ", "").Replace(r)
	}
	return []byte(listOf(rows...))
}
