package fastmoss

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rankwatch/rankwatch/publisher/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "tok-5f3a9c"

// dial gives a client of a real server with the given handler.
func dial(t *testing.T, h http.HandlerFunc, change ...func(*Config)) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	cfg := Config{BaseURL: srv.URL, Token: StaticToken(secret), Rate: 1e6, Backoff: time.Microsecond, MaxBackoff: time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answers plays status, header and body to every call and counts them.
func answers(status int, body string, header ...string) (http.HandlerFunc, *atomic.Int64) {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}, &n
}

func coded(code int) string {
	return fmt.Sprintf(`{"code":%d,"data":"","message":"because","request_id":"r7"}`, code)
}

func TestEveryAnswerHasItsKind(t *testing.T) {
	page, html := listOf(vendorItem), "<!DOCTYPE html><html>blocked</html>"
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   Kind // 0: a page
		calls  int64
	}{
		{"success", 200, page, 0, 1},
		{"success, code as string", 200, strings.Replace(page, `"code":0`, `"code":"0"`, 1), 0, 1},
		{"parameter", 200, coded(10001), ErrParameter, 1},
		{"parameter in 400", 400, coded(10001), ErrParameter, 1},
		{"400 without a known code", 400, `{"error":"x"}`, ErrParameter, 1},
		{"400 page", 400, html, ErrUnavailable, 6},
		{"not found", 200, coded(20001), ErrNotFound, 1},
		{"not found in 404", 404, coded(20001), ErrNotFound, 1},
		{"a wrong path is not an unpublished period", 404, `{"error":"no route"}`, ErrUnavailable, 6},
		{"denied", 200, coded(30001), ErrDenied, 1},
		{"denied, old code", 200, coded(1002), ErrDenied, 1},
		{"denied in 401", 401, coded(30001), ErrDenied, 1},
		{"401 JSON", 401, `{}`, ErrDenied, 1},
		{"401 without a body", 401, ``, ErrDenied, 1},
		{"403 JSON", 403, `{"code":403}`, ErrDenied, 1},
		{"403 firewall", 403, html, ErrUnavailable, 6},
		{"567 firewall", 567, html, ErrUnavailable, 6},
		{"quota", 200, coded(30002), ErrQuota, 1},
		{"quota in 429", 429, coded(30002), ErrQuota, 1},
		{"throttled", 200, coded(30003), ErrThrottled, 6},
		{"throttled in 500", 500, coded(30003), ErrThrottled, 6},
		{"429", 429, ``, ErrThrottled, 6},
		{"429 page", 429, html, ErrThrottled, 6},
		{"service error", 200, coded(40001), ErrUnavailable, 6},
		{"service error in 500", 500, coded(40001), ErrUnavailable, 6},
		{"denied in 500", 500, coded(30001), ErrDenied, 1},
		{"500 although code 0", 500, page, ErrUnavailable, 6},
		{"502", 502, `bad gateway`, ErrUnavailable, 6},
		{"504", 504, html, ErrUnavailable, 6},
		{"undocumented code", 200, coded(77), ErrUnavailable, 6},
		{"200 page", 200, html, ErrUnavailable, 6},
		{"200 nothing", 200, ``, ErrUnavailable, 6},
		{"200 text", 200, `OK`, ErrUnavailable, 6},
		{"truncated JSON", 200, page[:len(page)-9], ErrUnavailable, 6},
		{"trailing garbage", 200, page + "}", ErrUnavailable, 6},
		{"not an object", 200, `[]`, ErrMalformed, 3},
		{"no code", 200, `{"data":{"list":[],"total":0}}`, ErrMalformed, 3},
		{"data a string", 200, envelope(`"x"`), ErrMalformed, 3},
		{"data null", 200, envelope(`null`), ErrMalformed, 3},
		{"no list", 200, envelope(`{"total":3}`), ErrMalformed, 3},
		{"no index", 200, listOf(`{"uid":"a"}`), ErrMalformed, 3},
		{"bad id", 200, listOf(`{"uid":1.5,"potential_index":3}`), ErrMalformed, 3},
		{"more than asked for", 200, listOf(strings.Repeat(`{"uid":"a","potential_index":3},`, 10) + vendorItem), ErrMalformed, 3},
		{"too long", 200, page + strings.Repeat(" ", 1<<16), ErrMalformed, 3},
		{"too long, with status", 503, page + strings.Repeat(" ", 1<<16), ErrUnavailable, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, calls := answers(c.status, c.body)
			client := dial(t, h, func(c *Config) { c.MaxBody = 1 << 16 })
			p, err := client.Page(t.Context(), Query{}, 1, 10)
			if calls.Load() != c.calls {
				t.Errorf("%d calls, want %d", calls.Load(), c.calls)
			}
			if c.want == 0 {
				if err != nil || len(p.Items) != 1 || p.At.IsZero() || p.At.Location() != time.UTC {
					t.Fatalf("%+v, %v", p, err)
				}
				return
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != c.want || !errors.Is(err, c.want) || e.HTTPStatus != c.status {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if strings.Contains(c.body, `"r7"`) && (e.RequestID != "r7" || e.Message != "because") {
				t.Errorf("the source's words are lost: %+v", e)
			}
			if n := client.Stats().Calls[c.want.Word()]; int64(n) != c.calls {
				t.Errorf("%d %s counted, want %d", n, c.want.Word(), c.calls)
			}
		})
	}
}

func TestBrokenConnectionsAreUnavailable(t *testing.T) {
	hijack := func(w http.ResponseWriter, text string) {
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err == nil {
			buf.WriteString(text)
			buf.Flush()
			conn.Close()
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"reset": func(w http.ResponseWriter, r *http.Request) { hijack(w, "") },
		"cut short": func(w http.ResponseWriter, r *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"code\":0,")
		},
		"no HTTP": func(w http.ResponseWriter, r *http.Request) { hijack(w, "SSH-2.0\r\n\r\n") },
		"hung":    func(w http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body); <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, h, func(c *Config) { c.Attempts, c.Timeout = 2, 50*time.Millisecond })
			if _, err := c.Page(t.Context(), Query{}, 1, 10); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("got %v", err)
			}
			if s := c.Stats(); s.Calls["unavailable"] != 2 || s.Retries != 1 {
				t.Fatalf("%+v", s)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		srv := httptest.NewServer(nil)
		srv.Close()
		c := dial(t, nil, func(c *Config) { c.BaseURL, c.Attempts = srv.URL, 2 })
		if _, err := c.Page(t.Context(), Query{}, 1, 10); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestWhatPassesIsRetried(t *testing.T) {
	var n atomic.Int64
	bad := []string{coded(40001), coded(30003), envelope(`null`), "<html>"}
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		if i := n.Add(1); i <= int64(len(bad)) {
			io.WriteString(w, bad[i-1])
			return
		}
		io.WriteString(w, listOf(vendorItem))
	})
	if p, err := c.Page(t.Context(), Query{}, 1, 10); err != nil || len(p.Items) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if s := c.Stats(); s.Retries != 4 || s.Calls["ok"] != 1 {
		t.Fatalf("%+v", s)
	}
}

func TestRequestIsTheDocumentedOne(t *testing.T) {
	var got struct {
		method, path, body string
		header             http.Header
	}
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got.method, got.path, got.body, got.header = r.Method, r.URL.Path, string(b), r.Header
		io.WriteString(w, listOf(vendorItem))
	}, func(c *Config) { c.BaseURL += "/sub/" })
	q := Query{Filter: Filter{Region: "US"}, Period: event.Period{Type: "month", Value: "2026-03"}}
	if _, err := c.Page(t.Context(), q, 2, 100); err != nil {
		t.Fatal(err)
	}
	want := `{"filter":{"region":"US","date_info":{"type":"month","value":"2026-03"}},"orderby":[{"field":"potential_index","order":"desc"}],"page":2,"pagesize":100}`
	if got.method != "POST" || got.path != "/sub/creator/v1/rank/topPotential" || got.body != want {
		t.Errorf("%+v", got)
	}
	if got.header.Get("Authorization") != "Bearer "+secret || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", got.header)
	}
}

func TestRequestBodyHoldsSetFieldsOnly(t *testing.T) {
	tail := `,"orderby":[{"field":"potential_index","order":"desc"}],"page":1,"pagesize":5}`
	for want, q := range map[string]Query{
		`{}`:                   {},
		`{"region":"US"}`:      {Filter: Filter{Region: "US"}},
		`{"region":"\"\n"}`:    {Filter: Filter{Region: "\"\n"}},
		`{"ecommerce_type":0}`: {Filter: Filter{EcommerceType: Some[int64](0)}},
		`{"follower_count_range":{"min":500000}}`:           {Filter: Filter{FollowerCountRange: Range{Min: Some[int64](500000)}}},
		`{"follower_count_range":{"max":7}}`:                {Filter: Filter{FollowerCountRange: Range{Max: Some[int64](7)}}},
		`{"date_info":{"type":"day","value":"2026-03-01"}}`: {Period: event.Period{Type: "day", Value: "2026-03-01"}},
		`{"region":"GB","creator_category_id":1,"product_category_l1_id":2,"product_category_l2_id":3,"product_category_l3_id":4,"ecommerce_type":1,"follower_count_range":{"min":1,"max":2},"follower_age_type":3,"follower_gender_type":0,"date_info":{"type":"week","value":"2026-08"}}`: {
			Filter: Filter{
				Region: "GB", CreatorCategoryID: Some[int64](1), ProductCategoryL1ID: Some[int64](2), ProductCategoryL2ID: Some[int64](3),
				ProductCategoryL3ID: Some[int64](4), EcommerceType: Some[int64](1), FollowerCountRange: Range{Some[int64](1), Some[int64](2)},
				FollowerAgeType: Some[int64](3), FollowerGenderType: Some[int64](0),
			},
			Period: event.Period{Type: "week", Value: "2026-08"},
		},
	} {
		got := string(q.AppendJSON(nil, 1, 5))
		if got != `{"filter":`+want+tail || !json.Valid([]byte(got)) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestPagesPastTheDepthCostNoCall(t *testing.T) {
	h, calls := answers(200, listOf())
	c := dial(t, h)
	for _, p := range [][2]int{{0, 10}, {-1, 10}, {1, 0}, {1, 101}, {11, 100}, {1001, 1}, {335, 3}, {1 << 62, 4}} {
		if _, err := c.Page(t.Context(), Query{}, p[0], p[1]); !errors.Is(err, ErrParameter) {
			t.Errorf("page %d of %d: %v", p[0], p[1], err)
		}
	}
	for _, p := range [][2]int{{1, 1}, {10, 100}, {1000, 1}, {333, 3}} {
		if _, err := c.Page(t.Context(), Query{}, p[0], p[1]); err != nil {
			t.Errorf("page %d of %d: %v", p[0], p[1], err)
		}
	}
	if calls.Load() != 4 {
		t.Errorf("%d calls, want 4", calls.Load())
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var leaked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { leaked.Add(1) }))
	defer other.Close()
	for _, given := range []*http.Client{nil, {Transport: &http.Transport{DisableKeepAlives: true}}} {
		h, _ := answers(307, "", "Location", other.URL+"/x?t="+secret)
		c := dial(t, h, func(c *Config) { c.HTTP, c.Attempts = given, 1 })
		_, err := c.Page(t.Context(), Query{}, 1, 10)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "redirect to") || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v", err)
		}
	}
	if leaked.Load() != 0 {
		t.Error("the token went to another host")
	}
}

func TestGzipIsUnpackedAndCappedUnpacked(t *testing.T) {
	zip := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, body)
			z.Close()
		}
	}
	if p, err := dial(t, zip(listOf(vendorItem))).Page(t.Context(), Query{}, 1, 10); err != nil || p.Rows != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	bomb := zip(strings.Repeat(" ", 1<<20))
	_, err := dial(t, bomb, func(c *Config) { c.MaxBody = 1 << 12 }).Page(t.Context(), Query{}, 1, 10)
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "4096 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsNeverShowTheToken(t *testing.T) {
	for name, body := range map[string]string{
		"plain":       `{"code":30001,"message":"bad token ` + secret + `!","request_id":"` + secret + `"}`,
		"at the cut":  `{"code":30001,"message":"` + strings.Repeat("x", maxText-4) + secret + `"}`,
		"interrupted": `{"code":30001,"message":"tok-\u00015f\u200b3a9c"}`,
		"not JSON":    secret,
	} {
		h, _ := answers(200, body)
		c := dial(t, h, func(c *Config) { c.Attempts = 1 })
		_, err := c.Page(t.Context(), Query{}, 1, 10)
		e, _ := errors.AsType[*Error](err)
		if s := fmt.Sprintf("%v %+v %#v %q", err, e, e, e.Message); strings.Contains(s, secret) || strings.Contains(s, "tok-") || len(e.Message) > maxText+3 {
			t.Errorf("%s: %s", name, s)
		}
		if s := fmt.Sprintf("%v %+v %#v %+v", c, c, c, c.cfg); strings.Contains(s, secret) {
			t.Errorf("client shows the token: %s", s)
		}
	}
}

func TestForeignTextIsCutOnARune(t *testing.T) {
	for in, want := range map[string]string{
		"  a\tb\r\n\x1b[31mc\u202e ":   "a b  [31mc",
		strings.Repeat("é", maxText):   strings.Repeat("é", maxText/2) + "…",
		"x" + strings.Repeat("é", 200): "x" + strings.Repeat("é", (maxText-1)/2) + "…",
	} {
		if got := clean(in, secret); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestCancelEndsACallAndSaysWhatWasHeard(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			io.WriteString(w, coded(40001))
			return
		}
		io.ReadAll(r.Body)
		cancel()
		<-r.Context().Done()
	})
	_, err := c.Page(ctx, Query{}, 1, 10)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if s := c.Stats(); s.Calls["cancelled"] != 1 || s.Calls["unavailable"] != 1 {
		t.Fatalf("%+v", s)
	}
}

func TestManyCallersShareAClient(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		var req struct{ Page int }
		json.NewDecoder(r.Body).Decode(&req)
		io.WriteString(w, listOf(fmt.Sprintf(`{"uid":"u%d","potential_index":%d}`, req.Page, req.Page)))
	})
	var wg sync.WaitGroup
	for i := 1; i <= 40; i++ {
		wg.Go(func() {
			p, err := c.Page(t.Context(), Query{}, i, 10)
			if want := []Item{{UID: fmt.Sprintf("u%d", i), PotentialIndex: int64(i)}}; err != nil || !reflect.DeepEqual(p.Items, want) {
				t.Errorf("page %d: %+v, %v", i, p.Items, err)
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Calls["ok"] != 40 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNewNamesAllMistakesAtOnce(t *testing.T) {
	_, err := New(Config{BaseURL: "ftp://h", Rate: -1, Timeout: -1, Attempts: -2, Backoff: time.Minute, MaxBackoff: time.Second})
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"scheme", "no token", "rate", "timeout", "attempts", "longest backoff"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not named in %v", part, err)
		}
	}
	for _, base := range []string{"", "openapi.fastmoss.com", "https://", "https://u:pass@h", "https://h?x=1", "https://h#x", "ht tp://u:pass@h", "http://h:port"} {
		_, err := New(Config{BaseURL: base, Token: StaticToken("x"), Rate: 1})
		if !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: %v", base, err)
		}
	}
	if _, err := New(Config{BaseURL: "https://openapi.fastmoss.com", Token: StaticToken(" x\n"), Rate: 0.01}); err != nil {
		t.Error(err)
	}
}
