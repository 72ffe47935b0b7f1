package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/service"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// The secrets of all URLs below begin with this.
const token = "T0kenS3cret"

// words has a line for each change and one for the rest, as a real one does.
type words struct{ name string }

func (words) Subject(m *digest.Message) string { return "us-beauty: news — " + m.Route }

func (w words) Body(m *digest.Message) (string, error) {
	var b strings.Builder
	for i := range m.Sections {
		for _, c := range m.Sections[i].Shown {
			fmt.Fprintf(&b, "%s %s %s\n", c.Kind, w.name, c.Creator.UID)
		}
		if more := m.Sections[i].More; more != (event.Counts{}) {
			fmt.Fprintf(&b, "and %d more\n", more.Entered+more.Moved+more.Dropped+more.Index)
		}
	}
	return b.String(), nil
}

func message(n int) *digest.Message {
	r := &digest.Reading{ID: "us-beauty/42"}
	for i := range n {
		c := event.Change{Watchlist: "us-beauty", Creator: event.Creator{UID: fmt.Sprintf("uid%04d", i)}, After: &event.Place{Rank: i + 1}}
		r.Changes = append(r.Changes, text.Change{Kind: event.Entered, Change: c})
	}
	return &digest.Message{ID: r.ID, Route: "changes", Sections: []digest.Section{{Reading: r, Shown: r.Changes}}}
}

// A world is a server that plays every service.
type world struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string // host, path and body
	heads []http.Header
}

func newWorld(t *testing.T, secure bool, answer http.HandlerFunc) *world {
	t.Helper()
	w := &world{}
	h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.calls, w.heads = append(w.calls, r.Host+r.URL.Path+" "+string(b)), append(w.heads, r.Header)
		w.mu.Unlock()
		answer(rw, r)
	})
	if w.Server = httptest.NewUnstartedServer(h); secure {
		w.StartTLS()
	} else {
		w.Start()
	}
	t.Cleanup(w.Close)
	return w
}

func (w *world) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.calls...)
}

func (w *world) addr() string { return w.Listener.Addr().String() }

func sender(t *testing.T, url, world string, c outgoing.Config) *service.Sender {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	s, err := service.New(service.Config{URL: url, Text: words{"creator"}, Outgoing: c, Helper: []string{exe, service.Verb, world}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	discord  = "discord://" + token + "abc@123456789"
	telegram = "telegram://110201543:" + token + "AAHdqTcvCH1vGWJxfSeofSAs0K5PALD@telegram?chats=@ranks"
	teams    = "teams://11111111-4444-4444-8444-cccccccccccc@22222222-4444-4444-8444-cccccccccccc/33333333012222222222333333333344/44444444-4444-4444-8444-cccccccccccc/V2ESyij_gAljSoUQHvZoZYzlpAoAXExyOl26dlf1xHEx05?host=acme.webhook.office.com"
)

func json200(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

func TestServicesGetTheMessage(t *testing.T) {
	t.Parallel()
	for url, c := range map[string]struct{ answer, at string }{
		discord:  {"", "discord.com/api/webhooks/123456789/"},
		telegram: {`{"ok":true,"result":{"message_id":1}}`, "api.telegram.org/bot110201543:"},
		teams:    {"1", "acme.webhook.office.com/webhookb2/"},
		"ntfy://u:" + token + "@ntfy.example/topic":                  {`{"id":"x"}`, "ntfy.example/topic"},
		"gotify://gotify.example/A" + token + ".zz":                  {`{"id":1}`, "gotify.example/message"},
		"generic+https://hook.example/in?key=" + token:               {"thanks", "hook.example/in"},
		"generic://hook.example/j?template=json&key=" + token:        {"thanks", "hook.example/j"},
		"mattermost://u@mm.example/" + token:                         {"ok", "mm.example/hooks/"},
		"rocketchat://rocket.example/" + token + "/" + token + "b":   {`{"success":true}`, "rocket.example/hooks/"},
		"pushover://shoutrrr:" + token + "@user" + "/?devices=phone": {`{"status":1}`, "api.pushover.net/1/messages.json"},
	} {
		name, _, _ := strings.Cut(url, ":")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, true, json200(c.answer))
			if err := sender(t, url, w.addr(), outgoing.Config{}).Send(t.Context(), message(3)); err != nil {
				t.Fatal(err)
			}
			calls := w.seen()
			if len(calls) != 1 || !strings.HasPrefix(calls[0], c.at) || !strings.Contains(calls[0], "uid0002") {
				t.Fatalf("got %q", calls)
			}
			if all := calls[0] + fmt.Sprint(w.heads[0]); !strings.Contains(all, "us-beauty: news") && !strings.Contains(all, "us-beauty%3A+news") {
				t.Errorf("no subject in %s", all)
			}
		})
	}
}

// Twice the library is wrong: for Telegram it calls a broken connection a
// success, and on Discord it goes on for minutes by itself.
func TestWhatBecomesOfAnswers(t *testing.T) {
	t.Parallel()
	say := func(code int, kind, retry string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			if retry != "" {
				w.Header().Set("Retry-After", retry)
			}
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, `{"ok":false,"error_code":%d,"description":"at %s"}`, code, r.URL)
		}
	}
	other := newWorld(t, true, json200(`{"ok":true}`))
	cases := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"unknown":    {say(404, "application/json", ""), "plain"},
		"denied":     {say(401, "application/json", ""), "plain"},
		"gone":       {say(410, "text/plain", ""), "refused gone"},
		"busy":       {say(429, "application/json", "0.4"), "later 400ms"},
		"down":       {say(503, "text/html", "30"), "later 30s"},
		"broken":     {say(500, "text/plain", ""), "plain"},
		"a web page": {say(200, "text/html; charset=utf-8", ""), "plain"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/"+token, http.StatusTemporaryRedirect)
		}, "plain"},
		"turned":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, "plain"},
		"reset":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "plain"},
		"hung":        {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "plain"},
		"no such API": {say(400, "application/json", ""), "refused http_400"},
	}
	for _, url := range []string{discord, telegram, teams, "ntfy://u:" + token + "@ntfy.example/topic", "matrix://:" + token + "@matrix.example/?rooms=!a:b"} {
		scheme, _, _ := strings.Cut(url, ":")
		for name, c := range cases {
			t.Run(scheme+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, true, c.answer)
				timeout := 20 * time.Second
				if name == "hung" {
					timeout = time.Second
				}
				err := sender(t, url, w.addr(), outgoing.Config{Timeout: timeout}).Send(t.Context(), message(1))
				if got := verdict(err); got != c.want {
					t.Errorf("got %s (%v), want %s", got, err, c.want)
				}
				if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "webhooks")) {
					t.Errorf("a secret is in %v", err)
				}
				if n := len(w.seen()); n != 1 && name != "reset" { // net/http may repeat one that nothing was answered to
					t.Errorf("%d calls", n)
				}
			})
		}
	}
	t.Cleanup(func() {
		if calls := other.seen(); len(calls) > 0 {
			t.Errorf("the other host was called: %q", calls)
		}
	})
}

func verdict(err error) string {
	var later *digest.LaterError
	var refused *digest.RefusedError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &later):
		return "later " + later.After.String()
	case errors.As(err, &refused):
		return "refused " + refused.Reason
	}
	return "plain"
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, json200(`{"id":"x"}`))
	for _, url := range []string{
		"ntfy://" + w.addr() + "/" + token + "?scheme=http", "generic+http://" + w.addr() + "/" + token, "gotify://" + w.addr() + "/A" + token + ".zz?disabletls=yes",
		"mattermost://u@" + w.addr() + "/" + token + "?disabletls=yes", "smtp://" + w.addr() + "/?from=a@b.example&to=c@d.example",
	} {
		err := sender(t, url, "-", outgoing.Config{}).Send(t.Context(), message(1))
		if verdict(err) != "plain" || !errors.Is(err, outgoing.ErrAddress) && !strings.Contains(err.Error(), "not a public address") || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if len(w.seen()) > 0 {
		t.Error("the server was called")
	}
	if err := sender(t, "ntfy://"+w.addr()+"/"+token+"?scheme=http", "-", outgoing.Config{AllowPrivate: true}).Send(t.Context(), message(1)); err != nil || len(w.seen()) != 1 {
		t.Errorf("allowed: %v", err)
	}
}

func TestTheHelperEndsWithItsContextAndItsParent(t *testing.T) {
	t.Parallel()
	asked, left := make(chan struct{}, 2), make(chan struct{}, 2)
	w := newWorld(t, true, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := sender(t, discord, w.addr(), outgoing.Config{Timeout: time.Hour})
	go func() { done <- s.Send(ctx, message(1)) }()
	<-asked
	if runtime.GOOS == "linux" {
		nobodySeesTheToken(t)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-left

	cmd := exec.Command(os.Args[0], service.Verb, w.addr())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(in, `{"url":%q,"text":"x","timeout":%d}`+"\n", discord, time.Hour); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := in.Close(); err != nil { // as when the parent dies
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the helper said that it was done")
	}
}

// nobodySeesTheToken looks at what the system shows of this process' children.
func nobodySeesTheToken(t *testing.T) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that is gone
		}
		for _, pid := range strings.Fields(string(pids)) {
			for _, file := range []string{"cmdline", "environ"} {
				b, err := os.ReadFile("/proc/" + pid + "/" + file)
				if err != nil {
					continue // a child that is gone
				}
				looked++
				if strings.Contains(string(b), token) {
					t.Errorf("the token is in %s", file)
				}
			}
		}
	}
	if looked == 0 {
		t.Error("no child was looked at")
	}
}

func TestAHelperThatDiesIsAnErrorAndNoSuccess(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{exe, "-test.run=^$"}, {exe, "-no-such-flag-" + "x"}, {filepath.Join(t.TempDir(), "nothing")}} {
		s, err := service.New(service.Config{URL: discord, Text: words{}, Helper: argv, Outgoing: outgoing.Config{Timeout: 10 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), message(1)); verdict(err) != "plain" || strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", argv[1:], err)
		}
	}
}

func TestWhichURLsAreTaken(t *testing.T) {
	t.Parallel()
	for _, url := range []string{discord, telegram, teams, "ntfy://ntfy.sh/topic", "generic://hook.example/x", "smtp://u:p@mail.example:587/?from=a@b.example&to=c@d.example,e@f.example",
		"matrix://:" + token + "@matrix.example", "ntfy://h/t?disabletlsverification=no"} {
		if err := service.Check(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{
		"", token, "%" + token, "https://discord.com/api/webhooks/" + token, "logger://" + token, "what://" + token, "slack://" + token,
		"discord://" + token, "discord://:" + token, "telegram://" + token, "telegram://1:" + token + "@telegram", "teams://" + token, "ntfy://" + token,
		"ntfy://host/t?no=" + token, "ntfy://host/t?disabletlsverification=yes&x=" + token, "telegram://110201543:" + token + "AAHdqTcvCH1vGWJxfSeofSAs0K5PALD@telegram?chats=1,2",
		"smtp://u:" + token + "@mail.example/", "smtp://u:" + token + "@mail.example/?from=x&to=y", "smtp://u:" + token + "@/?from=a@b.example&to=c@d.example", "smtp://u:" + token + "@h:port/?from=a@b.example&to=c@d.example",
		"smtp://u:" + token + "@h/?from=a@b.example&to=c@d.example&skiptlsverify=yes", "smtp://u:" + token + "@h/?from=a@b.example&to=c@d.example&usehtml=yes",
		"smtp://u:" + token + "@h/?from=a@b.example&to=c@d.example&encryption=None", "smtp://u:" + token + "@h/?from=a@b.example&to=c@d.example&starttls=no",
		"matrix://" + token, "pushover://" + token, "generic+ftp://" + token, "zulip://" + token, "opsgenie://" + token,
	} {
		err := service.Check(url)
		if err == nil {
			t.Errorf("%s was taken", url)
		} else if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(token)) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
