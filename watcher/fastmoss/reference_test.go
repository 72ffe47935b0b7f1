package fastmoss

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// reference decodes an answer the slow obvious way: encoding/json into a tree,
// then field by field. It shares no code with decoder.
func reference(body []byte) (answer, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || !json.Valid(body) {
		return answer{}, fmt.Errorf("not JSON: %w", err)
	}
	var a answer
	top, _ := v.(map[string]any)
	if n, exact, ok := refInt(top["code"]); ok && exact {
		a.hasCode, a.code = true, n
	}
	a.message, a.requestID = refString(top["message"]), refString(top["request_id"])
	if a.message == "" {
		a.message = refString(top["msg"])
	}
	a.page, a.fault = refPage(top["data"])
	return a, nil
}

func refPage(v any) (Page, error) {
	data, ok := v.(map[string]any)
	if !ok {
		return Page{}, errors.New("data")
	}
	list, ok := data["list"].([]any)
	if v, present := data["list"]; !present || (!ok && v != nil) {
		return Page{}, errors.New("list")
	}
	total, exact, ok := refInt(data["total"])
	if !ok || !exact || total < 0 {
		return Page{}, errors.New("total")
	}
	p := Page{Rows: len(list), Total: int(total)}
	if ty, val := refString(data["date_type"]), refString(data["date_value"]); ty != "" && val != "" {
		p.Period = event.Period{Type: ty, Value: val}
	}
	for slot, v := range list {
		it, err := refItem(v)
		if err != nil {
			return Page{}, err
		}
		if it.UID == "" || len(it.UID) > event.MaxUID {
			p.Skipped++
			continue
		}
		p.Items, p.Slots = append(p.Items, it), append(p.Slots, slot)
	}
	return p, nil
}

func refItem(v any) (Item, error) {
	row, _ := v.(map[string]any)
	creator, _ := row["creator"].(map[string]any)
	index, exact, ok := refInt(row["potential_index"])
	own, err1 := refID(row["uid"])
	inner, err2 := refID(creator["uid"])
	if !ok || !exact || err1 != nil || err2 != nil || (own != "" && inner != "" && own != inner) {
		return Item{}, errors.New("row")
	}
	if own == "" {
		own = inner
	}
	it := Item{
		UID: own, PotentialIndex: index,
		UniqueID: refString(creator["unique_id"]), Nickname: refString(creator["nickname"]),
		Avatar: refString(creator["avatar"]), Region: refString(creator["region"]),
		FollowerCount: refOpt(creator["follower_count"]), UnitsSold: refOpt(row["units_sold"]),
		VideoUnitsSold: refOpt(row["video_units_sold"]), LiveUnitsSold: refOpt(row["live_units_sold"]),
		AvgPlayCount: refOpt(row["avg_play_count"]), VideoCount: refOpt(row["video_count"]), EcommerceType: refOpt(row["ecommerce_type"]),
	}
	if s := refNumber(row["usd_gmv"]); s != "" {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			it.USDGMV = Some(f)
		}
	}
	if c, ok := refCategory(creator["category"]); ok {
		it.Category = Some(c)
	}
	sales, _ := row["sales_category_l3"].([]any)
	for _, v := range sales {
		if c, ok := refCategory(v); ok {
			it.SalesCategoryL3 = append(it.SalesCategoryL3, c)
		}
	}
	return it, nil
}

func refCategory(v any) (event.Category, bool) {
	m, _ := v.(map[string]any)
	id, exact, ok := refInt(m["id"])
	return event.Category{ID: id, Name: refString(m["name"])}, ok && exact
}

func refString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func refID(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			return v.String(), nil
		}
	}
	return "", errors.New("uid")
}

// refNumber is the text of a number, quoted or not, and "" if v is none.
func refNumber(v any) string {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		s := strings.Trim(v, " ")
		var n json.Number
		if json.Unmarshal([]byte(s), &n) == nil && n.String() == s {
			return s
		}
	}
	return ""
}

func refInt(v any) (n int64, exact, ok bool) {
	s := refNumber(v)
	if s == "" {
		return 0, false, false
	}
	if !strings.ContainsAny(s, ".eE") {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil, err == nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Round(f) >= 1<<63 || math.Round(f) < -1<<63 {
		return 0, false, false
	}
	return int64(math.Round(f)), math.Round(f) == f, true
}

func refOpt(v any) Opt[int64] {
	if n, _, ok := refInt(v); ok {
		return Some(n)
	}
	return Opt[int64]{}
}

func FuzzDecode(f *testing.F) {
	row := `{"uid":"a","potential_index":1}`
	for _, s := range []string{
		listOf(vendorItem), listOf(row, row), listOf(), envelope(`null`), envelope(`"x"`), envelope(`{"list":null,"total":"3"}`),
		`{"code":"30003","msg":"slow \u0064own","data":""}`, `{"code":30001,"message":"\ud800\udc00\ud800","data":{}}`,
		listOf(`{"uid":12345678901234567890,"creator":{"uid":"12345678901234567890","category":[]},"potential_index":"7"}`),
		listOf(`{"uid":"a","uid":1,"creator":{},"creator":null,"potential_index":1.0,"sales_category_l3":[{"id":1},{"id":"2"}],"sales_category_l3":7}`),
		"{\"message\":\"\xff\xc3\x28\xed\xa0\x80\",\"code\":0}", listOf(row) + " x", `[]`, `"a"`, `{"data":{"list":[],"list":3,"total":1},"code":0}`,
		listOf(`{"uid":"\u0000","potential_index":" 1 ","usd_gmv":"1e2","units_sold":1e18,"live_units_sold":" ","avg_play_count":-0.5}`),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want, wantErr := reference(body)
		got, err := newDecoder().decode(bytes.NewBuffer(bytes.Clone(body)))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("decode says %v, reference says %v", err, wantErr)
		}
		if (got.fault == nil) != (want.fault == nil) {
			t.Fatalf("decode finds %v, reference finds %v", got.fault, want.fault)
		}
		got.fault, want.fault = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("\ngot  %+v\nwant %+v", got, want)
		}
	})
}

// stdAnswer is what a client written with encoding/json alone would decode into.
type stdAnswer struct {
	Code int64 `json:"code"`
	Data struct {
		List []struct {
			Creator struct {
				UID           string          `json:"uid"`
				Nickname      string          `json:"nickname"`
				UniqueID      string          `json:"unique_id"`
				Avatar        string          `json:"avatar"`
				Region        string          `json:"region"`
				Category      *event.Category `json:"category"`
				FollowerCount *int64          `json:"follower_count"`
			} `json:"creator"`
			UID             string           `json:"uid"`
			VideoCount      *int64           `json:"video_count"`
			EcommerceType   *int64           `json:"ecommerce_type"`
			PotentialIndex  int64            `json:"potential_index"`
			USDGMV          *float64         `json:"usd_gmv"`
			UnitsSold       *int64           `json:"units_sold"`
			AvgPlayCount    *int64           `json:"avg_play_count"`
			LiveUnitsSold   *int64           `json:"live_units_sold"`
			VideoUnitsSold  *int64           `json:"video_units_sold"`
			SalesCategoryL3 []event.Category `json:"sales_category_l3"`
		} `json:"list"`
		Total     int    `json:"total"`
		DateType  string `json:"date_type"`
		DateValue string `json:"date_value"`
	} `json:"data"`
}

// BenchmarkDecode decodes one board: ten pages of a hundred documented items.
func BenchmarkDecode(b *testing.B) {
	body := documented(100)
	b.Run("fastmoss", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(10 * len(body)))
		d := newDecoder()
		var buf bytes.Buffer
		for b.Loop() {
			for range 10 {
				buf.Reset()
				buf.Write(body)
				if a, err := d.decode(&buf); err != nil || len(a.page.Items) != 100 {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(10 * len(body)))
		for b.Loop() {
			for range 10 {
				var a stdAnswer
				if err := json.Unmarshal(body, &a); err != nil || len(a.Data.List) != 100 {
					b.Fatal(err)
				}
			}
		}
	})
}
