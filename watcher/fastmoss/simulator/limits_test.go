package simulator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestOnlyAKnownBearerTokenIsServed(t *testing.T) {
	for _, code := range []int{0, codeNoPermission, codeUnknownToken} {
		c, s, _ := scripted(t, Config{Tokens: []string{"one", "two"}, BadToken: code}, "a:9")
		want := code
		if code == 0 {
			want = codeNoPermission
		}
		for token, code := range map[string]int{"one": 0, "two": 0, "three": want, "": want, DefaultToken: want, "one ": 0} {
			c.token = token
			if a := c.page(inMarch, 1, 10); a.Code != code {
				t.Errorf("token %q: code %d, want %d", token, a.Code, code)
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, strings.NewReader(call(inMarch, 1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "one")
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || strings.Contains(string(body), `"code":0`) {
			t.Errorf("a token without Bearer: %s, %v", body, err)
		}
		if got := s.Refused(); got != 4 {
			t.Errorf("%d refused, want 4", got)
		}
	}
}

func TestATokenCanBeRotated(t *testing.T) {
	c, s, _ := scripted(t, Config{}, "a:9 b:8")
	c.page(inMarch, 1, 10)
	s.SetTokens("new")
	if a := c.page(inMarch, 1, 10); a.Code != codeNoPermission {
		t.Errorf("the old token: %s", a.raw)
	}
	c.token = "new"
	if a := c.page(inMarch, 1, 1); a.Code != 0 {
		t.Errorf("the new token: %s", a.raw)
	}
	s.SetTokens()
	if a := c.page(inMarch, 1, 10); a.Code != codeNoPermission {
		t.Errorf("a revoked token: %s", a.raw)
	}
	used := s.Calls()
	if got, want := used[DefaultToken], (Usage{Calls: 1, Charged: 1, Rows: 2}); got != want {
		t.Errorf("old token used %+v, want %+v", got, want)
	}
	if got, want := used["new"], (Usage{Calls: 1, Charged: 1, Rows: 1}); got != want {
		t.Errorf("new token used %+v, want %+v", got, want)
	}
	s.SetTokens(DefaultToken)
	c.token = DefaultToken
	c.page(inMarch, 1, 10)
	if got := s.Calls()[DefaultToken].Calls; got != 2 {
		t.Errorf("a token that is back has %d calls, want 2", got)
	}
}

func TestTheQuotaCountsSuccessfulCallsOfEachToken(t *testing.T) {
	c, s, _ := scripted(t, Config{Quota: 2, Tokens: []string{DefaultToken, "other"}}, "a:9")
	codes := func(bodies ...string) (out []int) {
		for _, b := range bodies {
			out = append(out, c.ask(b).Code)
		}
		return out
	}
	good, bad := call(inMarch, 1, 1), call(inMarch, 0, 1)
	got := codes(good, bad, good, good, bad)
	want := []int{0, codeBadParameter, 0, codeQuota, codeBadParameter}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("codes %v, want %v", got, want)
		}
	}
	s.SetQuota(3)
	if got := codes(good, good); got[0] != 0 || got[1] != codeQuota {
		t.Errorf("with one more: %v", got)
	}
	s.SetQuota(0)
	if got := codes(good); got[0] != 0 {
		t.Errorf("with the quota lifted: %v", got)
	}
	c.token = "other"
	if got := codes(good); got[0] != 0 {
		t.Errorf("another token: %v", got)
	}
}

func TestTheRateIsOfTheSimulatorsClock(t *testing.T) {
	c, s, _ := scripted(t, Config{Rate: 2}, "a:9")
	ask := func() int { return c.page(inMarch, 1, 1).Code }
	for i, want := range []int{0, 0, codeThrottled, codeThrottled} {
		if got := ask(); got != want {
			t.Fatalf("call %d: code %d, want %d", i, got, want)
		}
	}
	s.Advance(500 * time.Millisecond)
	if got := ask(); got != 0 {
		t.Errorf("after half a second: code %d", got)
	}
	if got := ask(); got != codeThrottled {
		t.Errorf("and once more: code %d", got)
	}
}

func TestServeEndsCleanlyWithCallsThatHang(t *testing.T) {
	s := New(Config{Faults: []Fault{{Kind: Hung, Rate: 1}}})
	arrived := make(chan struct{})
	s.cfg.OnCall = func(Call) { close(arrived) }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served, asked := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	c := caller{t, "http://" + ln.Addr().String() + Path, DefaultToken}
	go func() {
		_, err := c.do(call(`"region":"US"`, 1, 1))
		asked <- err
	}()
	<-arrived
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-asked; err == nil {
		t.Error("a call that hangs was answered")
	}
	if _, err := c.do("{}"); !errors.As(err, new(net.Error)) {
		t.Errorf("after the end: %v, want a refused connection", err)
	}
}

func TestServeFailsOnADeadListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := New(Config{}).Serve(t.Context(), ln); err == nil {
		t.Error("no error")
	}
}

func TestValidateNamesEachMistake(t *testing.T) {
	err := Config{
		Ties: "wild", IDs: "roman", Totals: "none", Message: "text", Unpublished: "maybe", BadToken: 7, Quota: -1, Rate: -1,
		World:  WorldConfig{Lag: -1, Sizes: map[string]int{"XX": 1}},
		Faults: []Fault{{Kind: "typo", Rate: 1}, {Kind: Reset}},
	}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"ties", "ids", "totals", "message", "unpublished", "bad token", "quota", "rate -1", "lag", `"XX"`, `"typo"`, "fault reset"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in:\n%v", want, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("New takes what Validate refuses")
		}
	}()
	New(Config{Ties: "wild"})
}
