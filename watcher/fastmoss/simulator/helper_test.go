package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	april = time.Date(2026, 4, 14, 17, 0, 0, 0, time.UTC)
	march = Period{Month, "2026-03"}
)

func fixed(t time.Time) func() time.Time { return func() time.Time { return t } }

// A caller asks a simulator over real HTTP.
type caller struct {
	t     *testing.T
	url   string
	token string
}

func serve(t *testing.T, s *Simulator) caller {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return caller{t, server.URL + Path, DefaultToken}
}

// An answer is what came back, loosely decoded.
type answer struct {
	status int
	header http.Header
	raw    []byte

	Code int `json:"code"`
	Data struct {
		List []struct {
			Creator struct {
				UID      json.RawMessage               `json:"uid"`
				Nickname string                        `json:"nickname"`
				UniqueID string                        `json:"unique_id"`
				Region   string                        `json:"region"`
				Category *Category                     `json:"category"`
				Follower int64                         `json:"follower_count"`
				Genders  []struct{ Key, Value string } `json:"follower_genders"`
			} `json:"creator"`
			UID   json.RawMessage `json:"uid"`
			Index int64           `json:"potential_index"`
			Trade int64           `json:"ecommerce_type"`
			Sales []Category      `json:"sales_category_l3"`
			GMV   float64         `json:"usd_gmv"`
			Units int64           `json:"units_sold"`
			Live  int64           `json:"live_units_sold"`
			Video int64           `json:"video_units_sold"`
		} `json:"list"`
		Total json.RawMessage `json:"total"`
		Type  string          `json:"date_type"`
		Value string          `json:"date_value"`
	} `json:"data"`
	Message   *string `json:"message"`
	Msg       *string `json:"msg"`
	Timestamp int64   `json:"timestamp"`
	RequestID string  `json:"request_id"`
}

// uids is "a b c".
func (a answer) uids() string {
	var ids []string
	for _, r := range a.Data.List {
		ids = append(ids, strings.Trim(string(r.UID), `"`))
	}
	return strings.Join(ids, " ")
}

func (a answer) total(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(string(a.Data.Total))
	if err != nil {
		t.Fatalf("total %s: %v", a.Data.Total, err)
	}
	return n
}

// do sends body and returns the answer undecoded, or the transport's error.
func (c caller) do(body string) (answer, error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, raw: raw}, err
}

// ask sends body and decodes a JSON answer.
func (c caller) ask(body string) answer {
	c.t.Helper()
	a, err := c.do(body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(a.raw, &a); err != nil {
		c.t.Fatalf("%v in %s", err, a.raw)
	}
	return a
}

// page asks for a page of a filter, which is the inside of a JSON object.
func (c caller) page(filter string, page, size int) answer {
	c.t.Helper()
	return c.ask(call(filter, page, size))
}

func call(filter string, page, size int) string {
	return fmt.Sprintf(`{"filter":{%s},"orderby":[{"field":"potential_index","order":"desc"}],"page":%d,"pagesize":%d}`, filter, page, size)
}

// board reads all pages.
func (c caller) board(filter string) (all answer) {
	c.t.Helper()
	for page := 1; page <= 10; page++ {
		a := c.page(filter, page, 100)
		if a.Code != 0 {
			c.t.Fatalf("page %d of %s: %s", page, filter, a.raw)
		}
		list := append(all.Data.List, a.Data.List...)
		all = a
		all.Data.List = list
		if len(a.Data.List) < 100 {
			break
		}
	}
	return all
}

// rows reads "a:9 b:9 c:8".
func rows(notation string) []Row {
	var out []Row
	for f := range strings.FieldsSeq(notation) {
		uid, index, _ := strings.Cut(f, ":")
		n, err := strconv.ParseInt(index, 10, 64)
		if err != nil {
			panic(err)
		}
		out = append(out, Entry(uid, n))
	}
	return out
}

// scripted serves one list for US in March 2026.
func scripted(t *testing.T, c Config, notation string) (caller, *Simulator, *Script) {
	script := new(Script)
	script.Set(Key{Region: "US", Period: march}, List{Rows: rows(notation)})
	c.Source = script
	if c.Now == nil {
		c.Now = fixed(april)
	}
	s := New(c)
	return serve(t, s), s, script
}

const inMarch = `"region":"US","date_info":{"type":"month","value":"2026-03"}`

func sameBytes(t *testing.T, what string, a, b []byte) {
	t.Helper()
	if !bytes.Equal(a, b) {
		t.Errorf("%s differ:\n%s\n%s", what, a, b)
	}
}
