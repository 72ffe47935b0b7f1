package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const five = "a:9 b:8 c:7 d:6 e:5"

// TestEachKind says of each kind what the client sees on page 2 of 2 rows each.
func TestEachKind(t *testing.T) {
	refused := func(status, code int) func(*testing.T, answer, error) {
		return func(t *testing.T, a answer, err error) {
			var e struct{ Code int }
			if err != nil || a.status != status || json.Unmarshal(a.raw, &e) != nil || e.Code != code || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
				t.Errorf("want code %d", code)
			}
		}
	}
	html := func(status int) func(*testing.T, answer, error) {
		return func(t *testing.T, a answer, err error) {
			if err != nil || a.status != status || json.Valid(a.raw) || a.header.Get("Content-Type") != typeHTML || a.header.Get("Retry-After") != "" {
				t.Errorf("want HTML with HTTP %d", status)
			}
		}
	}
	board := func(uids, total, value string) func(*testing.T, answer, error) {
		return func(t *testing.T, a answer, err error) {
			if err != nil || json.Unmarshal(a.raw, &a) != nil || a.status != 200 || a.uids() != uids || string(a.Data.Total) != total || a.Data.Value != value {
				t.Errorf("want %q of %s in %s", uids, total, value)
			}
		}
	}
	holds := func(text string) func(*testing.T, answer, error) {
		return func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 200 || !json.Valid(a.raw) || !strings.Contains(string(a.raw), text) {
				t.Errorf("want %s", text)
			}
		}
	}
	want := map[Kind]func(*testing.T, answer, error){
		Throttled: refused(200, 30003), QuotaSpent: refused(200, 30002), NoPermission: refused(200, 30001),
		UnknownToken: refused(200, 1002), ServiceError: refused(200, 40001), ServerError: refused(500, 40001),
		BadParameter: refused(200, 10001), NotFound: refused(200, 20001),
		TooMany: html(429), BadGateway: html(502), GatewayTimeout: html(504), Firewall: html(567), HTML: html(200),
		TooManySeconds: func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 429 || a.header.Get("Retry-After") != "3" {
				t.Error("want 3 seconds")
			}
		},
		TooManyDate: func(t *testing.T, a answer, err error) {
			when, perr := http.ParseTime(a.header.Get("Retry-After"))
			if left := time.Until(when); err != nil || perr != nil || a.status != 429 || left < time.Second || left > 4*time.Second {
				t.Errorf("want a date in 2.5 to 3.5 seconds, got %v", when)
			}
		},
		Reset: func(t *testing.T, _ answer, err error) {
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("want a reset, got %v", err)
			}
		},
		Truncated: func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 200 || json.Valid(a.raw) || !strings.HasPrefix(string(a.raw), `{"code":0,"data":{"list":[{`) {
				t.Error("want half an answer")
			}
		},
		Cut: func(t *testing.T, a answer, err error) {
			if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(string(a.raw), `{"code":0,"data":{"list":[{`) {
				t.Errorf("want an end in the middle, got %v", err)
			}
		},
		WrongType: func(t *testing.T, a answer, err error) {
			if a.header.Get("Content-Type") != typeHTML {
				t.Error("want HTML as the type")
			}
			board("c d", "5", "2026-03")(t, a, err)
		},
		DataString: holds(`"data":"success"`), DataNull: holds(`"code":0,"data":null`), TotalString: holds(`"total":"5"`),
		DuplicateRow: board("b c", "5", "2026-03"), SkippedRow: board("d", "5", "2026-03"), BoardChange: board("d e", "4", "2026-03"),
		StalePeriod: board("c d", "5", "2026-02"), EmptyPage: board("", "5", "2026-03"), TotalChange: board("c d", "6", "2026-03"),
		WrongRegion: holds(`"region":"GB"`),
	}
	for _, kind := range Kinds() {
		if kind == Mixed || kind == Slow || kind == Hung {
			continue
		}
		t.Run(string(kind), func(t *testing.T) {
			c, s, _ := scripted(t, Config{Faults: []Fault{{Kind: kind, Rate: 1, Page: 2, Delay: 2500 * time.Millisecond}}}, five)
			if one := c.page(inMarch, 1, 2); one.uids() != "a b" || string(one.Data.Total) != "5" {
				t.Fatalf("page 1: %s", one.raw)
			}
			a, err := c.do(call(inMarch, 2, 2))
			check, ok := want[kind]
			if !ok {
				t.Fatal("a kind without a test")
			}
			check(t, a, err)
			if t.Failed() {
				t.Logf("HTTP %d %v %s, %v", a.status, a.header, a.raw, err)
			}
			if err := s.SetFaults(); err != nil {
				t.Fatal(err)
			}
			if again := c.page(inMarch, 2, 2); again.uids() != "c d" {
				t.Errorf("without faults: %s", again.raw)
			}
			if got, want := s.Strikes(), (map[Kind]int64{kind: 1}); !maps.Equal(got, want) {
				t.Errorf("strikes %v", got)
			}
			charged := int64(3)
			if kind.replacesAnswer() {
				charged = 2
			}
			if got := s.Calls()[DefaultToken]; got.Calls != 3 || got.Faults != 1 || got.Charged != charged {
				t.Errorf("usage %+v", got)
			}
		})
	}
}

func TestSlowIsOnlyLate(t *testing.T) {
	c, _, _ := scripted(t, Config{Faults: []Fault{{Kind: Slow, Rate: 1, Delay: 30 * time.Millisecond}}}, "a:9")
	began := time.Now()
	if a := c.page(inMarch, 1, 1); a.uids() != "a" || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%s after %v", a.raw, time.Since(began))
	}
}

func TestHungAnswersNothing(t *testing.T) {
	c, s, _ := scripted(t, Config{Faults: []Fault{{Kind: Hung, Rate: 1, For: 1}, {Kind: Hung, Rate: 1, Delay: 20 * time.Millisecond}}}, "a:9")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(call(inMarch, 1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+DefaultToken)
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a delay: %v, want the client's own time-out", err)
	}
	if _, err := c.do(call(inMarch, 1, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("with a delay: %v, want a broken connection", err)
	}
	if got := s.Strikes()[Hung]; got != 2 {
		t.Errorf("%d strikes", got)
	}
}

func TestFaultsOfPageOne(t *testing.T) {
	for kind, want := range map[Kind]string{
		DuplicateRow: "a b c d d of 5", SkippedRow: "b c d e of 5", BoardChange: "a b c d e of 5", TotalChange: "a b c d e of 5", EmptyPage: " of 5",
	} {
		c, _, _ := scripted(t, Config{Faults: []Fault{{Kind: kind, Rate: 1}}}, five)
		a := c.page(inMarch, 1, 10)
		if got := a.uids() + " of " + string(a.Data.Total); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}

// TestWhenFaultsStrike writes a call that met the fault as x.
func TestWhenFaultsStrike(t *testing.T) {
	for _, tt := range []struct{ fault, calls string }{
		{"502", "xxxxxxxx"},
		{"502:1:after=3", "...xxxxx"},
		{"502:1:after=3,for=2", "...xx..."},
		{"502:1:every=3", "..x..x.."},
		{"502:1:after=2,every=3,for=3", "....x..."},
		{"502:1:every=4,burst=2", "...xx..x"},
		{"502:1:every=5,sticky", "....xxxx"},
		{"502:1:for=1,burst=3", "xxx....."},
		{"502:1:page=2", "........"},
		{"502:1:region=GB", "........"},
		{"502:1:region=US,page=1", "xxxxxxxx"},
	} {
		f, err := ParseFault(tt.fault)
		if err != nil {
			t.Fatal(err)
		}
		c, _, _ := scripted(t, Config{Faults: []Fault{f}}, five)
		if got := pattern(c, 8); got != tt.calls {
			t.Errorf("%s: %s, want %s", tt.fault, got, tt.calls)
		}
	}
}

func pattern(c caller, n int) string {
	var b strings.Builder
	for range n {
		a, err := c.do(call(inMarch, 1, 1))
		if err != nil {
			c.t.Fatal(err)
		}
		if a.status == http.StatusOK {
			b.WriteByte('.')
		} else {
			b.WriteByte('x')
		}
	}
	return b.String()
}

func TestTheFirstFaultThatStrikesWinsAndTheOthersCountOn(t *testing.T) {
	c, s, _ := scripted(t, Config{Faults: []Fault{{Kind: ServiceError, Rate: 1, For: 2}, {Kind: Throttled, Rate: 1, For: 3}}}, five)
	var codes []int
	for range 4 {
		codes = append(codes, c.page(inMarch, 1, 1).Code)
	}
	if want := []int{codeService, codeService, codeThrottled, 0}; !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
	if err := s.SetFaults(Fault{Kind: ServiceError, Rate: 1, For: 1}); err != nil {
		t.Fatal(err)
	}
	if got := c.page(inMarch, 1, 1).Code; got != codeService {
		t.Errorf("new faults do not count anew: code %d", got)
	}
	if err := s.SetFaults(Fault{Kind: Reset, Rate: 2}); err == nil {
		t.Error("SetFaults takes a rate of 2")
	}
	if got := c.page(inMarch, 1, 1).Code; got != 0 {
		t.Errorf("after a refused change: code %d", got)
	}
}

func TestTheSeedDecidesWhichCallsAreStruck(t *testing.T) {
	run := func(seed uint64) string {
		c, _, _ := scripted(t, Config{Seed: seed, Faults: []Fault{{Kind: BadGateway, Rate: 0.4}}}, five)
		return pattern(c, 200)
	}
	first := run(1)
	if first != run(1) {
		t.Error("the same seed strikes other calls")
	}
	if first == run(2) {
		t.Error("another seed strikes the same calls")
	}
	if n := strings.Count(first, "x"); n < 60 || n > 100 {
		t.Errorf("%d of 200 calls struck at 40 %%", n)
	}
}

func TestMixedStrikesAsEachTransientKindAtItsRate(t *testing.T) {
	f := &faultState{Fault: Fault{Kind: Mixed, Rate: 0.4}, seed: 1}
	got := map[Kind]int{}
	const calls = 20_000
	req := request{Query: Query{Filter: Filter{Region: "US"}}, page: 2, size: 10}
	for range calls {
		if k, ok := f.strike(req); ok {
			got[k]++
		}
	}
	sum := 0
	for _, k := range Transient() {
		sum += got[k]
		if got[k] < calls*4/10/len(Transient())/2 {
			t.Errorf("%s: %d strikes in %d calls", k, got[k], calls)
		}
		delete(got, k)
	}
	if len(got) > 0 {
		t.Errorf("kinds that do not pass by themselves: %v", got)
	}
	if sum < calls*38/100 || sum > calls*42/100 {
		t.Errorf("%d of %d calls struck at 40 %%", sum, calls)
	}
	for range calls {
		if k, ok := f.strike(request{page: 1, size: 10}); ok && (k == BoardChange || k == TotalChange || k == WrongRegion) {
			t.Fatalf("%s on page 1 without a region", k)
		}
	}
}

func TestParseFault(t *testing.T) {
	for s, want := range map[string]Fault{
		"reset":      {Kind: Reset, Rate: 1},
		"reset:0.25": {Kind: Reset, Rate: 0.25},
		"30003:1:after=1,for=2,every=3,burst=4,sticky,page=5,region=US,delay=1m30s": {
			Kind: Throttled, Rate: 1, After: 1, For: 2, Every: 3, Burst: 4, Sticky: true, Page: 5, Region: "US", Delay: 90 * time.Second,
		},
	} {
		if got, err := ParseFault(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for s, says := range map[string]string{
		"": "kind", "tpyo": "must be one of", "reset:": "rate", "reset:x": "rate", "reset:0": "rate", "reset:1.1": "rate", "reset:NaN": "rate", "reset:-1": "rate",
		"reset:1:x": `"x"`, "reset:1:after": "after", "reset:1:after=-1": "after", "reset:1:sticky=no": "sticky", "reset:1:region=XX": "region",
		"reset:1:delay=5": "delay", "reset:1:delay=-5s": "delay", "total-change:1:page=1": "page", "reset:1:for=-1": "for", "reset:1:every=-1": "every", "reset:1:burst=-1": "burst",
	} {
		if got, err := ParseFault(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v; want an error about %s", s, got, err, says)
		}
	}
}

func TestConcurrentCallsAndChangesAreSafe(t *testing.T) {
	s := New(Config{Now: fixed(april), Ties: TiesCall, World: WorldConfig{Step: time.Second}})
	c := serve(t, s)
	done := make(chan error)
	for g := range 4 {
		go func() {
			for i := range 20 {
				a, err := c.do(call(`"region":"`+regions()[(g+i)%15]+`"`, 1+i%3, 20))
				if err != nil || a.status != 200 {
					done <- fmt.Errorf("HTTP %d, %w", a.status, err)
					return
				}
			}
			done <- nil
		}()
	}
	for i := range 20 {
		s.Advance(time.Second)
		s.SetTokens(DefaultToken, strconv.Itoa(i))
		s.SetQuota(int64(i + 1000))
		if err := s.SetFaults(Fault{Kind: ServiceError, Rate: 0.5}); err != nil {
			t.Error(err)
		}
		s.Calls()
		s.Strikes()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := s.Calls()[DefaultToken].Calls; got != 80 {
		t.Errorf("%d calls metered, want 80", got)
	}
}
