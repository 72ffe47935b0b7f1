package slacktest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/slack/slacktest"
)

func section(n int) string {
	return `{"type":"section","text":{"type":"mrkdwn","text":"` + strings.Repeat("x", n) + `"}}`
}

func times(n int, s string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + "]"
}

func TestLimits(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return times(1, `{"type":"mrkdwn","text":"`+strings.Repeat("x", n)+`"}`) }
	for name, c := range map[string]struct{ text, blocks, word, why string }{
		"text only":            {"a", "", "", ""},
		"nothing":              {"", "", "no_text", ""},
		"no fallback":          {"", times(1, section(1)), "no_text", ""},
		"long text":            {strings.Repeat("x", 40_001), "", "msg_too_long", ""},
		"50 blocks":            {"a", times(50, section(9)), "", ""},
		"51 blocks":            {"a", times(51, section(9)), "invalid_blocks", "no more than 50"},
		"section of 3000":      {"a", times(1, section(3000)), "", ""},
		"section of 3001":      {"a", times(1, section(3001)), "invalid_blocks", "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"},
		"3000 outside of it":   {"a", times(1, `{"type":"section","text":{"type":"mrkdwn","text":"`+strings.Repeat("🌸", 1501)+`"}}`), "invalid_blocks", "3001"},
		"empty section":        {"a", times(1, `{"type":"section"}`), "invalid_blocks", "missing required field"},
		"empty text":           {"a", times(1, section(0)), "invalid_blocks", "more than 0"},
		"fields":               {"a", times(1, `{"type":"section","fields":`+text(2000)+`}`), "", ""},
		"long field":           {"a", times(1, `{"type":"section","fields":`+text(2001)+`}`), "invalid_blocks", "2001"},
		"11 fields":            {"a", times(1, `{"type":"section","fields":`+times(11, `{"type":"mrkdwn","text":"x"}`)+`}`), "invalid_blocks", "no more than 10"},
		"header":               {"a", times(1, `{"type":"header","text":{"type":"plain_text","text":"x","emoji":true}}`), "", ""},
		"header without text":  {"a", times(1, `{"type":"header"}`), "invalid_blocks", "missing required field"},
		"header in mrkdwn":     {"a", times(1, `{"type":"header","text":{"type":"mrkdwn","text":"x"}}`), "invalid_blocks", "plain_text"},
		"long header":          {"a", times(1, `{"type":"header","text":{"type":"plain_text","text":"`+strings.Repeat("x", 151)+`"}}`), "invalid_blocks", "151"},
		"context":              {"a", times(1, `{"type":"context","elements":`+text(9)+`}`), "", ""},
		"context of 11":        {"a", times(1, `{"type":"context","elements":`+times(11, `{"type":"mrkdwn","text":"x"}`)+`}`), "invalid_blocks", "1 to 10"},
		"context of nothing":   {"a", times(1, `{"type":"context","elements":[]}`), "invalid_blocks", "1 to 10"},
		"divider":              {"a", times(1, `{"type":"divider"}`), "", ""},
		"unknown type":         {"a", times(1, `{"type":"sektion"}`), "invalid_blocks", "unsupported type"},
		"unknown property":     {"a", times(1, `{"type":"divider","color":"red"}`), "invalid_blocks", "color"},
		"emoji in mrkdwn":      {"a", times(1, `{"type":"section","text":{"type":"mrkdwn","text":"x","emoji":true}}`), "invalid_blocks", "not allowed"},
		"verbatim plain text":  {"a", times(1, `{"type":"section","text":{"type":"plain_text","text":"x","verbatim":true}}`), "invalid_blocks", "not allowed"},
		"the same id twice":    {"a", times(2, `{"type":"divider","block_id":"x"}`), "invalid_blocks", "not unique"},
		"too much together":    {"a", times(5, section(2700)), "msg_blocks_too_long", ""},
		"blocks that are none": {"a", "{", "invalid_blocks_format", ""},
	} {
		word, why := slacktest.Violations(c.text, []byte(c.blocks))
		if word != c.word || !strings.Contains(strings.Join(why, " "), c.why) {
			t.Errorf("%s: %s %v", name, word, why)
		}
	}
}

func post(t *testing.T, url, contentType, body string) (status int, answer string, h http.Header) {
	t.Helper()
	resp, err := http.Post(url, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestTheWebhook(t *testing.T) {
	t.Parallel()
	s := slacktest.New(slacktest.Config{Every: time.Hour, Burst: 3})
	defer s.Close()
	hook := func(url, body, want string, status int) http.Header {
		t.Helper()
		code, got, h := post(t, url, "application/json", body)
		if got != want || code != status {
			t.Errorf("%s: got %d %s, want %d %s", body, code, got, status, want)
		}
		return h
	}
	hook(s.WebhookURL(), `{"text":"hello"}`, "ok", 200)
	hook(s.URL()+"/services/T/B/wrong", `{"text":"hello"}`, "no_service", 404)
	hook(s.WebhookURL(), `{`, "invalid_payload", 400)
	hook(s.WebhookURL(), `{"text":"a","blocks":`+times(51, section(1))+`}`, "invalid_blocks", 400)
	s.Fail(slacktest.Fault{Word: "channel_is_archived"}, slacktest.Fault{Status: 502, HTML: true})
	hook(s.WebhookURL(), `{"text":"hello"}`, "channel_is_archived", 410)
	hook(s.WebhookURL(), `{"text":"hello"}`, "<html><body><h1>Server Error</h1></body></html>", 502)
	hook(s.WebhookURL(), `{"text":"again"}`, "ok", 200)
	if h := hook(s.WebhookURL(), `{"text":"too fast"}`, "rate_limited", 429); h.Get("Retry-After") != "3600" {
		t.Error(h)
	}
	if got := s.Accepted(); len(got) != 2 || got[1].Text != "again" || !got[1].Webhook {
		t.Errorf("%+v", got)
	}
}

func TestTheWebAPI(t *testing.T) {
	t.Parallel()
	s := slacktest.New(slacktest.Config{Every: time.Hour, Burst: 4})
	defer s.Close()
	type answer struct {
		OK       bool
		Error    string
		TS       string
		Message  struct{ Thread_ts string }  //nolint:revive // the field of the wire
		Metadata struct{ Messages []string } `json:"response_metadata"`
	}
	call := func(form url.Values) (a answer, status int) {
		t.Helper()
		code, body, _ := post(t, s.APIURL()+"chat.postMessage", "application/x-www-form-urlencoded", form.Encode())
		if err := json.NewDecoder(bytes.NewReader([]byte(body))).Decode(&a); err != nil {
			t.Fatal(err)
		}
		return a, code
	}
	form := func(kv ...string) url.Values {
		v := url.Values{"token": {slacktest.Token}, "channel": {slacktest.Channel}, "text": {"hello"}}
		for i := 0; i < len(kv); i += 2 {
			v.Set(kv[i], kv[i+1])
		}
		return v
	}
	for want, f := range map[string]url.Values{
		"not_authed": form("token", ""), "invalid_auth": form("token", "xoxb-no"), "channel_not_found": form("channel", "C9"),
	} {
		if a, status := call(f); a.OK || a.Error != want || status != 200 {
			t.Errorf("%s: %+v", want, a)
		}
	}
	parent, _ := call(form())
	reply, _ := call(form("thread_ts", parent.TS))
	s.Delete(parent.TS)
	orphan, _ := call(form("thread_ts", parent.TS))
	if !reply.OK || reply.Message.Thread_ts != parent.TS || !orphan.OK || orphan.Message.Thread_ts != "" || parent.TS == reply.TS {
		t.Errorf("%+v %+v %+v", parent, reply, orphan)
	}
	if a, _ := call(form("blocks", times(1, section(3001)))); a.Error != "invalid_blocks" || len(a.Metadata.Messages) != 1 {
		t.Errorf("%+v", a)
	}
	if a, status := call(form()); a.Error != "ratelimited" || status != 429 {
		t.Errorf("%d %+v", status, a)
	}
	if n := len(s.Accepted()); n != 3 {
		t.Errorf("%d were taken", n)
	}
}

func TestMessagesReadAsPeopleSeeThem(t *testing.T) {
	t.Parallel()
	m := slacktest.Message{Text: "fallback", Blocks: []byte(`[{"type":"header","text":{"type":"plain_text","text":"Top"}},{"type":"section","text":{"type":"mrkdwn","text":"<https://x.test|A &amp; B>"}}]`)}
	if got := m.Plain(); got != "Top\nA & B" {
		t.Error(got)
	}
	if got := (slacktest.Message{Text: "fallback"}).Plain(); got != "fallback" {
		t.Error(got)
	}
}

func TestFaultsAreTheSameForASeed(t *testing.T) {
	t.Parallel()
	run := func() string {
		s := slacktest.New(slacktest.Config{FaultRate: 0.5, Seed: 9, Every: -1})
		defer s.Close()
		var out strings.Builder
		for range 100 {
			resp, err := http.Post(s.WebhookURL(), "application/json", strings.NewReader(`{"text":"hello"}`))
			if err != nil {
				out.WriteString("reset ")
				continue
			}
			fmt.Fprintf(&out, "%d ", resp.StatusCode)
			resp.Body.Close()
		}
		return out.String()
	}
	if a, b := run(), run(); a != b || !strings.Contains(a, "200") || !strings.Contains(a, "reset") || !strings.Contains(a, "429") {
		t.Errorf("%s\n%s", a, b)
	}
}
