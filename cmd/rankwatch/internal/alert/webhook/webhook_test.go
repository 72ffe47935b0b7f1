package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/webhook"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDaPhFvV7KbFIxUA=="
	token     = "t0ken-of-the-path"
)

type words string

func (w words) Body(*digest.Message) (string, error) { return string(w), nil }

// message has a reading with n changes and a status.
func message(n int) *digest.Message {
	at := time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC)
	period := &event.Period{Type: "month", Value: "2026-03"}
	r := &digest.Reading{ID: "us-beauty/42", At: at, Board: event.Snapshot{
		Watchlist: "us-beauty", Region: "US", Revision: 42, Outcome: event.OutcomeChanged, Period: period, Counts: event.Counts{Moved: n},
	}}
	for i := range n {
		r.Changes = append(r.Changes, change(i, period))
	}
	since := event.Time(at.Add(time.Minute))
	stale := digest.Notice{ID: "us-beauty/status/stale/" + since, At: at.Add(time.Minute), Condition: event.Condition{
		Watchlist: "us-beauty", Region: "US", Status: event.StatusStale, Reason: "torn", Since: since,
	}}
	return &digest.Message{ID: r.ID, Route: "changes", Sections: []digest.Section{{Reading: r, Shown: r.Changes, More: event.Counts{Index: 3}}}, Notices: []digest.Notice{stale}}
}

func change(i int, period *event.Period) text.Change {
	nick, unique, region, avatar := "itz ✨ <santana> & Co", "itzesantana11", "US", "https://cdn.example/avatar/6787580688797713413.webp"
	units, video, live, plays, places, index, gmv := int64(6138), int64(5207), int64(931), int64(77007), 3, int64(3), 244052.07
	return text.Change{Kind: event.Moved, Change: event.Change{
		Watchlist: "us-beauty", Region: "US", Revision: 42, Reading: "r", N: i + 1, Of: 1000, Period: period, PreviousPeriod: period,
		Creator: event.Creator{UID: strconv.Itoa(i) + ".67", UniqueID: &unique, Nickname: &nick, Avatar: &avatar, Region: &region,
			Category: &event.Category{ID: 4, Name: "Beauty"}, FollowerCount: &units, URL: "https://www.fastmoss.com/influencer/detail/6787580688797713413"},
		Metrics: event.Metrics{USDGMV: &gmv, UnitsSold: &units, VideoUnitsSold: &video, LiveUnitsSold: &live, AvgPlayCount: &plays, VideoCount: &video,
			EcommerceType: &live, SalesCategoryL3: []event.Category{{ID: 601554, Name: "Concealer & Foundation"}}},
		Before: &event.Place{Rank: 12, Position: 12, PotentialIndex: 80}, After: &event.Place{Rank: 9, Position: 10, PotentialIndex: 83},
		Places: &places, IndexChange: &index, Cause: &event.Cause{Passed: 4, PassedBy: 1},
		History: event.History{FirstSeen: event.Time(time.Unix(0, 0)), PeakRank: 7, RevisionsOnBoard: 12},
	}}
}

// A receiver keeps what it got and answers as it is told to.
type receiver struct {
	mu     sync.Mutex
	heads  []http.Header
	bodies [][]byte
	answer http.HandlerFunc
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.heads, r.bodies = append(r.heads, req.Header), append(r.bodies, b)
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(w, req)
	}
}

func (r *receiver) got(i int) (http.Header, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heads[i], r.bodies[i]
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bodies)
}

// start returns a sender to a server that answers with answer.
func start(t *testing.T, c webhook.Config, answer http.HandlerFunc) (*webhook.Sender, *receiver) {
	t.Helper()
	r := &receiver{answer: answer}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	c.URL = s.URL + "/hooks/" + token + "?key=" + token
	if c.Client == nil {
		c.Client = outgoing.New(outgoing.Config{AllowPrivate: true, Timeout: 5 * time.Second})
	}
	t.Cleanup(c.Client.CloseIdleConnections)
	w, err := webhook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return w, r
}

func TestSignaturesVerifyWithTheSpecificationsLibrary(t *testing.T) {
	t.Parallel()
	w, r := start(t, webhook.Config{Secret: newSecret, PreviousSecret: oldSecret, Version: "1.2.3", Text: words("hello"),
		Headers: map[string]string{"x-team": "ranks", "Authorization": "Bearer x"}}, nil)
	m := message(2)
	for range 2 { // a retry
		if err := w.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	head, body := r.got(0)
	for _, secret := range []string{oldSecret, newSecret} {
		v, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(body, head); err != nil {
			t.Errorf("%s: %v", secret, err)
		}
		if err := v.Verify(append([]byte(" "), body...), head); err == nil {
			t.Error("another body verifies")
		}
	}
	other, err := standardwebhooks.NewWebhook("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Verify(body, head); err == nil {
		t.Error("another secret verifies")
	}
	// By hand, as the specification writes it.
	want := ""
	for _, secret := range []string{newSecret, oldSecret} {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, raw)
		fmt.Fprintf(mac, "%s.%s.%s", head.Get("webhook-id"), head.Get("webhook-timestamp"), body)
		want += " v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	if got := head.Get("webhook-signature"); got != want[1:] {
		t.Errorf("got %s, want %s", got, want[1:])
	}
	again, repeat := r.got(1)
	if again.Get("webhook-id") != "us-beauty/42" || string(repeat) != string(body) {
		t.Errorf("a retry has the id %q", again.Get("webhook-id"))
	}
	for k, v := range map[string]string{"Content-Type": "application/json", "User-Agent": "rankwatch/1.2.3", "X-Team": "ranks", "Authorization": "Bearer x"} {
		if head.Get(k) != v {
			t.Errorf("%s is %q", k, head.Get(k))
		}
	}
}

func TestIDsHaveNoFullStopAndTellRoutesApart(t *testing.T) {
	t.Parallel()
	w, r := start(t, webhook.Config{Shared: true, Secret: oldSecret}, nil)
	m := message(1)
	m.ID = "us/42..us/44"
	if err := w.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	head, body := r.got(0)
	if got := head.Get("webhook-id"); got != "us/42%2E%2Eus/44@changes" {
		t.Errorf("got %s", got)
	}
	v, err := standardwebhooks.NewWebhook(oldSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(body, head); err != nil {
		t.Error(err)
	}
}

func TestWithoutASecretNothingIsSigned(t *testing.T) {
	t.Parallel()
	w, r := start(t, webhook.Config{}, nil)
	if err := w.Send(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	head, body := r.got(0)
	if head.Get("webhook-signature") != "" || head.Get("webhook-id") == "" {
		t.Errorf("got %v", head)
	}
	var b webhook.Body
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatal(err)
	}
	e := b.Readings[0].Events[0]
	if e.ID != "us-beauty/42/moved/0%2E67" || e.Kind != event.Moved || *e.Creator.Nickname != "itz ✨ <santana> & Co" || b.Readings[0].More.Index != 3 ||
		b.Timestamp != "2026-04-14T17:08:52.000Z" || b.Statuses[0].Status != "stale" {
		t.Errorf("got %s", body)
	}
}

func TestWhatAnswersMean(t *testing.T) {
	t.Parallel()
	say := func(code int, retry string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if retry != "" {
				w.Header().Set("Retry-After", retry)
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "<html>"+r.URL.String()+"</html>")
		}
	}
	elsewhere := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.2:1/"+token, http.StatusTemporaryRedirect)
	}
	reset := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	quick := outgoing.New(outgoing.Config{AllowPrivate: true, Timeout: 200 * time.Millisecond})
	safe := outgoing.New(outgoing.Config{})
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		client *http.Client
		want   string
	}{
		"ok":        {say(200, ""), nil, "ok"},
		"no words":  {say(204, ""), nil, "ok"},
		"gone":      {say(410, ""), nil, "refused gone"},
		"too large": {say(413, ""), nil, "refused http_413"},
		"busy":      {say(429, "3"), nil, "later 3s"},
		"down":      {say(503, "60"), nil, "later 1m0s"},
		"broken":    {say(500, ""), nil, "plain"},
		"slow":      {say(408, ""), nil, "plain"},
		"elsewhere": {elsewhere, nil, "plain"},
		"reset":     {reset, nil, "plain"},
		"hung":      {hang, quick, "plain"},
		"private":   {say(200, ""), safe, "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := start(t, webhook.Config{Client: c.client, Secret: oldSecret, Headers: map[string]string{"X-Key": token}}, c.answer)
			err := w.Send(t.Context(), message(1))
			var later *digest.LaterError
			var refused *digest.RefusedError
			got := "plain"
			switch {
			case err == nil:
				got = "ok"
			case errors.As(err, &later):
				got = "later " + later.After.String()
			case errors.As(err, &refused):
				got = "refused " + refused.Reason
			}
			if got != c.want {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "hooks") || strings.Contains(err.Error(), oldSecret[6:])) {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestMistakesAreToldAtOnceAndWithoutSecrets(t *testing.T) {
	t.Parallel()
	_, err := webhook.New(webhook.Config{
		URL: "ftp://host/" + token, Secret: "whsec_" + token,
		Headers: map[string]string{"Webhook-Id": token, "transfer-encoding": token, "a b": token, "X-Fine": token, "X-Line": token + "\r\n"},
	})
	if err == nil {
		t.Fatal("taken")
	}
	text := err.Error()
	for _, want := range []string{"https://", "base64", "Webhook-Id", "Transfer-Encoding", `"a b"`, "X-Line"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not tell of %s", text, want)
		}
	}
	if strings.Contains(text, token) || strings.Contains(text, "X-Fine") {
		t.Error(text)
	}
	for secret, ok := range map[string]bool{
		oldSecret: true, newSecret: true, oldSecret[6:]: true, "": false, "whsec_": false, "whsec_c2hvcnQ=": false,
		"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 64)): true, "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)): false,
	} {
		if err := webhook.CheckSecret(secret); (err == nil) != ok {
			t.Errorf("%q: %v", secret, err)
		}
	}
	if _, err := webhook.New(webhook.Config{URL: "https://h", PreviousSecret: oldSecret, Client: http.DefaultClient}); err == nil {
		t.Error("a previous secret alone was taken")
	}
}

type failing struct{}

func (failing) Body(*digest.Message) (string, error) { return "", errors.New("line 3: no such field") }

func TestATemplateThatFailsIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	w, r := start(t, webhook.Config{Text: failing{}}, nil)
	var refused *digest.RefusedError
	if err := w.Send(t.Context(), message(1)); !errors.As(err, &refused) || refused.Reason != "template" || r.count() != 0 {
		t.Errorf("got %v", err)
	}
}

func TestAThousandEventsStayBelowTwoMegabytes(t *testing.T) {
	t.Parallel()
	w, r := start(t, webhook.Config{Secret: oldSecret, Text: words(strings.Repeat("a line of text about a creator\n", 1000))}, nil)
	if err := w.Send(t.Context(), message(1000)); err != nil {
		t.Fatal(err)
	}
	_, body := r.got(0)
	t.Logf("%d bytes", len(body))
	if len(body) > 2<<20 {
		t.Errorf("%d bytes", len(body))
	}
}
