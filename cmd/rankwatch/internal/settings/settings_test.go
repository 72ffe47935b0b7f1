package settings_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
)

// clean removes every setting from the environment for the test's duration.
func clean(t *testing.T) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "RANKWATCH_") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// env sets variables written as `NAME=value` without the common prefix.
func env(t *testing.T, vars ...string) {
	t.Helper()
	clean(t)
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv("RANKWATCH_"+name, value)
	}
}

func TestDefaultsAreTheContracts(t *testing.T) {
	clean(t)
	got, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		Watchlists: "watchlists.yaml", DataDir: "data",
		NATS:   settings.NATS{Listen: "127.0.0.1:4222"},
		Stream: "RANKWATCH", Prefix: "rankwatch", Replicas: 1,
		Retention: 2160 * time.Hour, Backlog: 1 << 30, HTTP: settings.HTTP{Listen: "127.0.0.1:8080"},
		FastMoss: settings.FastMoss{URL: "https://openapi.fastmoss.com", Rate: 2, Concurrency: 4, Timeout: 20 * time.Second},
		Log:      settings.Log{Level: slog.LevelInfo},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEmptyVariablesMeanTheDefault(t *testing.T) {
	env(t, "STREAM=", "RETENTION= ", "BACKLOG=", "NATS_LISTEN=", "CLUSTER=")
	got, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	if got.Stream != "RANKWATCH" || got.Retention != 2160*time.Hour || got.Backlog != 1<<30 || got.NATS.Listen != "127.0.0.1:4222" {
		t.Errorf("got %+v", got)
	}
}

func TestEveryVariableIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	env(t, "WATCHLISTS=w.yaml", "DATA_DIR=/d", "NATS_URL=nats://a:1, tls://b:2", "NATS_CREDS="+file,
		"NATS_TLS_CA="+file, "NATS_TLS_CERT="+file, "NATS_TLS_KEY="+file, "NATS_LISTEN=off", "STREAM=S-1", "SUBJECT_PREFIX=p_2",
		"REPLICAS=3", "RETENTION=20m", "BACKLOG=512MiB", "HTTP_LISTEN=OFF", "FASTMOSS_URL=http://127.0.0.1:9", "FASTMOSS_TOKEN= t ",
		"FASTMOSS_RATE=0.5", "FASTMOSS_CONCURRENCY=7", "FASTMOSS_TIMEOUT=3s", "CLUSTER=false", "LOG_LEVEL=warn", "LOG_FORMAT=json",
		"ALERTS=a.yaml", "ALERT_SLACK_WEBHOOK=1", "ALERT_SLACK_TOKEN= 2 ", "ALERT_SLACK_CHANNEL=C3", "ALERT_WEBHOOK_URL=4", "ALERT_WEBHOOK_SECRET=5",
		"ALERT_SERVICE_URL=6", "ALERT_ALLOW_PRIVATE=true")
	got, err := settings.LoadWithToken()
	if err != nil {
		t.Fatal(err)
	}
	if got.FastMoss.Token.Reveal() != "t" {
		t.Error("token was not read, or not trimmed")
	}
	got.FastMoss.Token = settings.Secret{}
	want := settings.Settings{
		Watchlists: "w.yaml", DataDir: "/d",
		NATS:   settings.NATS{URLs: []string{"nats://a:1", "tls://b:2"}, Creds: file, TLSCA: file, TLSCert: file, TLSKey: file},
		Stream: "S-1", Prefix: "p_2", Replicas: 3, Retention: 20 * time.Minute, Backlog: 512 << 20,
		FastMoss: settings.FastMoss{URL: "http://127.0.0.1:9", Rate: 0.5, Concurrency: 7, Timeout: 3 * time.Second},
		Alert: settings.Alert{
			File: "a.yaml", SlackWebhook: settings.NewSecret("1"), SlackToken: settings.NewSecret("2"), SlackChannel: "C3",
			WebhookURL: settings.NewSecret("4"), WebhookSecret: settings.NewSecret("5"), ServiceURL: settings.NewSecret("6"), AllowPrivate: true,
		},
		Log: settings.Log{Level: slog.LevelWarn, Format: "json"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Each row is a variable, a bad value, and what the message must contain.
func TestBadValuesAreNamed(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ vars, variable, text string }{
		{"STREAM=a.b", "STREAM", `"a.b"`},
		{"STREAM=" + strings.Repeat("x", 65), "STREAM", "at most 64"},
		{"SUBJECT_PREFIX=_in", "SUBJECT_PREFIX", `"_in"`},
		{"SUBJECT_PREFIX=a..b", "SUBJECT_PREFIX", "a dot between"},
		{"SUBJECT_PREFIX=a.*", "SUBJECT_PREFIX", `"a.*"`},
		{"SUBJECT_PREFIX=a b", "SUBJECT_PREFIX", `"a b"`},
		{"SUBJECT_PREFIX=$JS", "SUBJECT_PREFIX", `"$JS"`},
		{"REPLICAS=0", "REPLICAS", "1 to 5"},
		{"REPLICAS=three", "REPLICAS", `"three"`},
		{"REPLICAS=3", "REPLICAS", "RANKWATCH_NATS_URL"},
		{"RETENTION=90", "RETENTION", `"90"`},
		{"RETENTION=-1h", "RETENTION", "at least 1s"},
		{"BACKLOG=1XB", "BACKLOG", `"1XB"`},
		{"BACKLOG=1", "BACKLOG", "at least 64 KiB"},
		{"BACKLOG=99EiB", "BACKLOG", "at least 64 KiB"},
		{"HTTP_LISTEN=8080", "HTTP_LISTEN", "such as 127.0.0.1:8080"},
		{"NATS_LISTEN=:70000", "NATS_LISTEN", "65535, such as 127.0.0.1:4222"},
		{"NATS_URL=http://a", "NATS_URL", `scheme "http"`},
		{"NATS_URL=nats://", "NATS_URL", "URL 1"},
		{"NATS_URL=a:1,,b:2", "NATS_URL", "URL 2"},
		{"NATS_CREDS=" + dir, "NATS_CREDS", "directory"},
		{"NATS_TLS_CA=/nowhere/ca.pem", "NATS_TLS_CA", "no such file"},
		{"FASTMOSS_URL=openapi.fastmoss.com", "FASTMOSS_URL", "https://host"},
		{"FASTMOSS_URL=https://u:p@host", "FASTMOSS_URL", "must not hold a user"},
		{"FASTMOSS_RATE=0", "FASTMOSS_RATE", `"0"`},
		{"FASTMOSS_RATE=NaN", "FASTMOSS_RATE", `"NaN"`},
		{"FASTMOSS_RATE=Inf", "FASTMOSS_RATE", `"Inf"`},
		{"FASTMOSS_CONCURRENCY=0", "FASTMOSS_CONCURRENCY", "1 to 1024"},
		{"FASTMOSS_TIMEOUT=20", "FASTMOSS_TIMEOUT", `"20"`},
		{"FASTMOSS_TOKEN_FILE=/nowhere/token", "FASTMOSS_TOKEN_FILE", "no such file"},
		{"CLUSTER=true", "CLUSTER", "set RANKWATCH_NATS_URL"},
		{"CLUSTER=perhaps", "CLUSTER", "true nor false"},
		{"ALERT_ALLOW_PRIVATE=perhaps", "ALERT_ALLOW_PRIVATE", "true nor false"},
		{"LOG_LEVEL=loud", "LOG_LEVEL", "debug, info, warn and error"},
		{"LOG_FORMAT=xml", "LOG_FORMAT", "text and json"},
	} {
		t.Run(tt.vars, func(t *testing.T) {
			env(t, tt.vars)
			_, err := settings.Load()
			var e *settings.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a *settings.Error", err)
			}
			for _, p := range e.Problems {
				if p.Variable == "RANKWATCH_"+tt.variable && strings.Contains(p.Text, tt.text) {
					return
				}
			}
			t.Errorf("no problem of %s contains %q:\n%v", tt.variable, tt.text, err)
		})
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	env(t, "STREAM=a b", "RETENTION=x", "BACKLOG=x", "FASTMOSS_RATE=x", "LOG_LEVEL=x", "NATS_TLS_CERT=/nowhere")
	_, err := settings.LoadWithToken()
	var e *settings.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	for _, v := range []string{"STREAM", "RETENTION", "BACKLOG", "FASTMOSS_RATE", "LOG_LEVEL", "NATS_TLS_CERT", "FASTMOSS_TOKEN"} {
		if !strings.Contains(err.Error(), "RANKWATCH_"+v+":") {
			t.Errorf("%s is missing in\n%v", v, err)
		}
	}
}

func TestExactlyOneTokenIsNeeded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		vars []string
		text string // empty: no mistake
	}{
		{nil, "no token"},
		{[]string{"FASTMOSS_TOKEN= "}, "no token"},
		{[]string{"FASTMOSS_TOKEN=hush"}, ""},
		{[]string{"FASTMOSS_TOKEN_FILE=" + file}, ""},
		{[]string{"FASTMOSS_TOKEN=hush", "FASTMOSS_TOKEN_FILE=" + file}, "not both"},
	} {
		env(t, tt.vars...)
		_, err := settings.LoadWithToken()
		if tt.text == "" && err != nil || tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%q: got %v, want %q", tt.vars, err, tt.text)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("the token is in the message: %v", err)
		}
	}
}

func TestSecretsStayOutOfMessages(t *testing.T) {
	env(t, "FASTMOSS_TOKEN=hush", "NATS_URL=nats://joe:hush@%zz,ftp://joe:hush@b", "FASTMOSS_URL=https://joe:hush@host", "LOG_LEVEL=x")
	s, err := settings.LoadWithToken()
	if err == nil {
		t.Fatal("bad URLs were accepted")
	}
	text := err.Error() + fmt.Sprintf("%v %+v %#v %s", s.FastMoss, s.FastMoss, s.FastMoss, s.FastMoss.Token)
	// FastMoss.URL is printed with the struct but was refused above.
	text = strings.ReplaceAll(text, s.FastMoss.URL, "")
	if strings.Contains(text, "hush") {
		t.Errorf("a secret shows in %s", text)
	}
}

// A verb that makes up all else is told by two variables where to listen, and
// stumbles over no other.
func TestListenersAreReadAlone(t *testing.T) {
	env(t, "REPLICAS=many", "HTTP_LISTEN=127.0.0.1:8080", "NATS_LISTEN=")
	var asked []string
	elsewhere := func(address string) string {
		asked = append(asked, address)
		return "127.0.0.1:0"
	}
	got, err := settings.LoadListeners(elsewhere)
	want := settings.Settings{HTTP: settings.HTTP{Listen: "127.0.0.1:8080"}, NATS: settings.NATS{Listen: "127.0.0.1:0"}}
	if err != nil || !reflect.DeepEqual(got, want) || !slices.Equal(asked, []string{"127.0.0.1:4222"}) {
		t.Errorf("got %+v, %v, after asking for %v", got, err, asked)
	}
	env(t, "HTTP_LISTEN=off", "NATS_LISTEN=here")
	var bad *settings.Error
	if got, err = settings.LoadListeners(elsewhere); got.HTTP.Listen != "" || !errors.As(err, &bad) || bad.Problems[0].Variable != "RANKWATCH_NATS_LISTEN" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestUnknownVariablesAreFound(t *testing.T) {
	got := settings.Unknown([]string{"RANKWATCH_WATCHLIST=x", "RANKWATCH_STREAM=x", "PATH=x", "RANKWATCH_SERVICE_HOST=x", "RANKWATCH_PORT_4222_TCP=x"})
	if want := []string{"RANKWATCH_WATCHLIST"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestASecretPrintsNowhere(t *testing.T) {
	type holder struct {
		S settings.Secret
		P *settings.Secret
	}
	s := settings.NewSecret("hush")
	for _, v := range []any{s, &s, holder{s, &s}, []settings.Secret{s}, map[string]settings.Secret{"a": s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%08b", "%U"} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, "hush") || strings.Contains(strings.ToLower(text), "68757368") {
				t.Errorf("%s of %T: %s", verb, v, text)
			}
		}
		data, err := json.Marshal(v)
		if err != nil || strings.Contains(string(data), "hush") || !strings.Contains(string(data), "[redacted]") {
			t.Errorf("JSON of %T: %s, %v", v, data, err)
		}
	}
}
