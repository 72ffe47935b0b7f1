package slack

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/slack/slacktest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/words"
)

// direct is a transport to a handler without a network, for bubbles.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if recover() != nil {
			resp, err = nil, errors.New("connection reset by peer")
		}
	}()
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

const host = "https://slack.test"

func hookTo(t *testing.T, s *slacktest.Slack) *Sender {
	return made(t, Config{Webhook: host + s.HookPath()}, s)
}

func botTo(t *testing.T, s *slacktest.Slack, th Threads) *Sender {
	return made(t, Config{Token: slacktest.Token, Channel: slacktest.Channel, API: host + "/api", Threads: th}, s)
}

func made(t *testing.T, cfg Config, h http.Handler) *Sender {
	t.Helper()
	cfg.Client = &http.Client{Transport: direct{h}}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMessagesArriveThroughBothDoors(t *testing.T) {
	t.Parallel()
	s := slacktest.New(slacktest.Config{Every: -1})
	defer s.Close()
	for _, cfg := range []Config{{Webhook: s.WebhookURL()}, {Token: slacktest.Token, Channel: slacktest.Channel, API: s.APIURL()}} {
		cfg.Client = http.DefaultClient
		sender, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(t.Context(), words.Sample(now)); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Accepted()
	if len(got) != 2 || !got[0].Webhook || got[1].Channel != slacktest.Channel {
		t.Fatalf("%+v", got)
	}
	for _, m := range got {
		if !strings.HasPrefix(m.Text, "Sample: us-beauty (US): 3 in") || !strings.Contains(m.Plain(), "Glow & Go · index 80 → 85 · overtook 5") {
			t.Errorf("%s\n%s", m.Text, m.Plain())
		}
	}
}

func TestAboutOneMessageASecond(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T, *slacktest.Slack) *Sender{
		"webhook": hookTo, "bot": func(t *testing.T, s *slacktest.Slack) *Sender { return botTo(t, s, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fake := slacktest.NewHandler(slacktest.Config{Burst: 1})
				s := open(t, fake)
				var wg sync.WaitGroup
				start := time.Now()
				for range 10 {
					wg.Go(func() {
						if err := s.Send(t.Context(), words.Sample(now)); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if took := time.Since(start); took != 9*Every || len(fake.Accepted()) != 10 {
					t.Errorf("%d messages in %s", len(fake.Accepted()), took)
				}
			})
		})
	}
}

// outcome is what a Sender says of a message: ok, refused REASON, later TIME
// (target REASON), or again.
func outcome(err error) string {
	refused, later, target := (*digest.RefusedError)(nil), (*digest.LaterError)(nil), (*TargetError)(nil)
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refused):
		return "refused " + refused.Reason
	case errors.As(err, &later) && errors.As(err, &target):
		return fmt.Sprintf("later %s, mend %s", later.After, target.Reason)
	case errors.As(err, &later):
		return fmt.Sprintf("later %s", later.After)
	}
	return "again"
}

func TestWhatBecomesOfEachFailure(t *testing.T) {
	t.Parallel()
	type faults = map[string]slacktest.Fault
	both := faults{
		"later 7s": {Status: 429, Word: "ratelimited", RetryAfter: 7}, "again reset": {Reset: true}, "again html": {Status: 502, HTML: true},
		"again html 200": {Status: 200, HTML: true}, "again 500": {Status: 500, Word: "fatal_error"}, "again 503": {Status: 503},
		"again 404 of a proxy": {Status: 404, HTML: true}, "refused too_large": {Status: 413, HTML: true}, "again slow": {Delay: time.Minute},
		"later 30s": {Status: 429, HTML: true}, "again taken": {Reset: true, Taken: true}, "ok": {},
	}
	bot := faults{"again ok:false": {Body: `{"ok":false}`}, "again empty": {Body: `{}`}, "again cut": {Body: `{"ok":tr`}, "later 30s": {Word: "ratelimited"}}
	hook := faults{"again empty": {Status: 200, Body: " "}, "again not ok": {Status: 200, Body: "okay"}, "later 30s": {Status: 429, Body: "rate_limited"}}
	for _, w := range []string{"invalid_blocks", "msg_too_long", "msg_blocks_too_long", "no_text"} {
		bot["refused "+w] = slacktest.Fault{Word: w, Why: []string{"[ERROR] too bad"}}
	}
	for _, w := range []string{"channel_not_found", "not_in_channel", "is_archived", "invalid_auth", "account_inactive", "token_revoked", "missing_scope"} {
		bot["later 5m0s, mend "+w] = slacktest.Fault{Word: w}
	}
	for _, w := range []string{"internal_error", "fatal_error", "service_unavailable", "request_timeout", "a_word_of_tomorrow"} {
		bot["again "+w] = slacktest.Fault{Word: w}
	}
	for _, w := range []string{"invalid_payload", "too_many_attachments"} {
		hook["refused "+w] = slacktest.Fault{Word: w}
	}
	for _, w := range []string{"no_service", "channel_is_archived", "action_prohibited", "invalid_token", "no_team", "channel_not_found"} {
		hook["later 5m0s, mend "+w] = slacktest.Fault{Word: w}
	}
	hook["again rollup_error"] = slacktest.Fault{Word: "rollup_error"}
	try := func(t *testing.T, want string, f slacktest.Fault, open func(*testing.T, *slacktest.Slack) *Sender) {
		synctest.Test(t, func(t *testing.T) {
			fake := slacktest.NewHandler(slacktest.Config{})
			fake.Fail(f)
			err := open(t, fake).Send(t.Context(), words.Sample(now))
			if got := outcome(err); got != want && !(got == "again" && strings.HasPrefix(want, "again ")) {
				t.Errorf("got %s (%v), want %s", got, err, want)
			}
			noSecret(t, err)
			if n := len(fake.Accepted()); (n > 0) != (err == nil || f.Taken) {
				t.Errorf("%d messages, %v", n, err)
			}
		})
	}
	for name, open := range map[string]func(*testing.T, *slacktest.Slack) *Sender{
		"webhook": hookTo, "bot": func(t *testing.T, s *slacktest.Slack) *Sender { return botTo(t, s, nil) },
	} {
		own := map[string]faults{"webhook": hook, "bot": bot}[name]
		for _, set := range []faults{both, own} {
			for want, f := range set {
				t.Run(name+"/"+want, func(t *testing.T) {
					t.Parallel()
					try(t, want, f, open)
				})
			}
		}
	}
}

func noSecret(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, form := range []string{"%v", "%+v", "%#v"} {
			for _, secret := range []string{slacktest.Secret, slacktest.Token, "T00000000", "B00000000"} {
				if s := fmt.Sprintf(form, err); strings.Contains(s, secret) {
					t.Errorf("the secret is in %s", s)
				}
			}
		}
	}
}

func TestReasonsOfSlackAreKept(t *testing.T) {
	t.Parallel()
	fake := slacktest.NewHandler(slacktest.Config{})
	fake.Fail(slacktest.Fault{Word: "invalid_blocks", Why: []string{"[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"}})
	err := botTo(t, fake, nil).Send(t.Context(), words.Sample(now))
	if err == nil || !strings.Contains(err.Error(), "/blocks/0/text/text") {
		t.Error(err)
	}
}

func TestPatienceHoldsForAllRoutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := slacktest.NewHandler(slacktest.Config{})
		s := botTo(t, fake, nil)
		fake.Fail(slacktest.Fault{Status: 429, RetryAfter: 60})
		for _, want := range []string{"later 1m0s", "later 59s"} {
			if got := outcome(s.Send(t.Context(), words.Sample(now))); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if fake.Calls() != 1 {
			t.Errorf("%d calls while Slack wants none", fake.Calls())
		}
		time.Sleep(59 * time.Second)
		if err := s.Send(t.Context(), words.Sample(now)); err != nil {
			t.Error(err)
		}
	})
}

// What blocks one route blocks the others of the target for the same reason, so
// that none of them parks anything.
func TestABlockedTargetIsBlockedForAllRoutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := slacktest.NewHandler(slacktest.Config{})
		s := botTo(t, fake, nil)
		fake.Fail(slacktest.Fault{Word: "token_revoked"})
		for range 2 {
			err := s.Send(t.Context(), words.Sample(now))
			var later *digest.LaterError
			if !errors.As(err, &later) || !later.Blocked || !strings.Contains(err.Error(), "token_revoked") {
				t.Errorf("got %v", err)
			}
		}
		if fake.Calls() != 1 {
			t.Errorf("%d calls", fake.Calls())
		}
	})
}

func TestSecretsAreInNoError(t *testing.T) {
	t.Parallel()
	hook, token := host+"/services/T00000000/B00000000/"+slacktest.Secret, slacktest.Token
	repeat := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if text == "redirect" {
				http.Redirect(w, r, r.URL.String()+"?", http.StatusTemporaryRedirect)
				return
			}
			_, _ = fmt.Fprintf(w, text, token)
		})
	}
	for _, text := range []string{"redirect", "%s", `{"ok":false,"error":%q}`, `{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":[%q]}}`, `{"ok":%s}`} {
		for _, cfg := range []Config{{Webhook: hook}, {Token: token, Channel: "C1", API: host + "/api/"}} {
			err := made(t, cfg, repeat(text)).Send(t.Context(), words.Sample(now))
			if err == nil {
				t.Errorf("%s was taken", text)
			}
			noSecret(t, err)
		}
	}
	for _, h := range []string{"ftp://x/" + slacktest.Secret, "https://%zz/" + slacktest.Secret, slacktest.Secret, "https:///" + slacktest.Secret} {
		_, err := New(Config{Webhook: h, Client: http.DefaultClient})
		if err == nil {
			t.Errorf("%q was taken", h)
		}
		noSecret(t, err)
	}
	// A real client that fails to connect tells the URL.
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	s, err := New(Config{Webhook: dead.URL + "/services/T00000000/B00000000/" + slacktest.Secret, Client: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(t.Context(), words.Sample(now))
	if ue := (*url.Error)(nil); err == nil || errors.As(err, &ue) {
		t.Errorf("%v", err)
	}
	noSecret(t, err)
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{}, {Token: "x"}, {Channel: "C1"}, {Webhook: "https://x.test/y", Token: "x", Channel: "C1"}} {
		cfg.Client = http.DefaultClient
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	if _, err := New(Config{Webhook: "https://x.test/y"}); err == nil {
		t.Error("no client was taken")
	}
}

func TestNothingIsLostWhateverSlackDoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			fake := slacktest.NewHandler(slacktest.Config{FaultRate: 0.5, Seed: seed})
			s := botTo(t, fake, &threads{ts: map[string]string{}})
			for i := range 30 {
				for {
					err := s.Send(t.Context(), only(many(fmt.Sprintf("board-%d", i), 1)))
					if err == nil {
						break
					}
					wait := time.Second
					if later := (*digest.LaterError)(nil); errors.As(err, &later) {
						wait = later.After
					}
					time.Sleep(wait)
				}
			}
			next, failed := 0, 0
			for _, m := range fake.Accepted() {
				if !m.Reported {
					failed++
				} else if strings.Contains(m.Text, fmt.Sprintf("board-%d ", next)) {
					next++
				}
			}
			if n := len(fake.Accepted()); next != 30 || n != 30+failed {
				t.Errorf("%d in order, %d taken, %d of them reported as failed", next, n, failed)
			}
		})
	}
}
