package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/config"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Two keys in base64, and what the environment holds. Every secret has hush in
// it, or is a key.
const (
	key    = "aHVzaGh1c2hodXNoaHVzaGh1c2hodXNoaHVzaA=="
	oldKey = "d2hzaGh1c2hodXNoaHVzaGh1c2hodXNoaHVzaA=="
)

func environment() map[string]string {
	return map[string]string{
		"HOOK": "https://hooks.slack.com/services/T0/B0/hush", "TOKEN": "xoxb-hush", "NTFY": "ntfy://hush@ntfy.sh/x", "KEY": key, "OLD_KEY": "whsec_" + oldKey,
		"BLANK": "  ", "AUTH": "Bearer hush",
	}
}

func files() map[string]string {
	return map[string]string{
		"lines.txt": "https://a\nhush\n", "token.txt": "xoxb-hush\n", "vip.txt": "\uFEFF# the ones that matter\n678\n\n 679 # again\n",
		"empty.txt": "\n# nobody\n", "blank.tmpl": "\n\t\n", "columns.txt": "678\n679 680\n",
		"good.tmpl":   "{{range .Sections}}{{.Reading.Board.Watchlist}}:{{range .Shown}}\n{{arrow .}} {{name .}} {{rank .}} {{why .}}{{end}}{{end}}",
		"syntax.tmpl": "one\n{{range .Sections}", "fields.tmpl": "{{.Section}}", "nil.tmpl": "{{range .Sections}}{{range .Shown}}{{.Before.Rank}}{{end}}{{end}}",
		"endless.tmpl": "{{range 1000000000}}x{{end}}",
	}
}

// lookup knows the environment and the files above, these relative to
// testdata/bad.
func lookup() config.Lookup {
	return config.Lookup{
		Env: func(name string) (string, bool) { s, ok := environment()[name]; return s, ok },
		File: func(path string) ([]byte, error) {
			rel, err := filepath.Rel("conf", path)
			if s, ok := files()[rel]; ok && err == nil {
				return []byte(s), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
		Service: func(url string) string {
			if strings.HasPrefix(url, "refused://") {
				return "the library has no service of this name"
			}
			return ""
		},
	}
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("conf/alerts.yaml", []byte(text), lookup())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBadConfigurationsSayEverythingAtOnce(t *testing.T) {
	t.Parallel()
	bad, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(bad) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, file := range bad {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := config.Parse("conf/"+filepath.Base(file), data, lookup())
			var e *strictyaml.FileError
			if !errors.As(err, &e) || c != nil {
				t.Fatalf("accepted, or no *FileError: %v", err)
			}
			if secret := shows(err.Error()); secret != "" {
				t.Errorf("%s shows in\n%v", secret, err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, rerr := os.ReadFile(golden)
			if rerr != nil || err.Error()+"\n" != string(want) {
				t.Errorf("%v (run with -update to accept)\ngot:\n%v\nwant:\n%s", rerr, err, want)
			}
		})
	}
}

// shows returns a secret that text has.
func shows(text string) string {
	lower := strings.ToLower(text)
	for _, s := range []string{"hush", key, oldKey, "87654321", "x hush"} {
		if strings.Contains(lower, strings.ToLower(s)) {
			return s
		}
	}
	return ""
}

const whole = `
name: sales-team
targets:
  sales: {slack: {webhook: "env:HOOK"}}
  ops:   {slack: {token: "file:token.txt", channel: C0123456, api: "https://slack-gov.com/api/"}}
  crm:   {webhook: {url: "http://10.0.0.1/hush", secret: "env:KEY", previous_secret: "env:OLD_KEY", headers: {X-Team: sales, Authorization: "env:AUTH"}}}
  phone: {service: {url: "env:NTFY"}}
defaults: {cap: 7, cooldown: 6h, quiet: {from: 22:00, to: "7:00", timezone: Europe/Berlin}}
routes:
  - name: us-newcomers
    targets: [sales, ops]
    match:
      region: US
      watchlist: [us-beauty, "us-*"]
      kind: [entered, moved, dropped, index, status]
      top: 50
      min_places: 5
      min_index_change: 3
      displaced: false
      reentry: true
      uids: ["1.a", 6787580688797713413]
      uids_file: vip.txt
      status: [stale, recovered]
    digest: 30m
    quiet: {days: [mon, sun], to: "24:00"}
    cooldown: 1d
    cap: 30
    template: good.tmpl
  - {name: all, target: crm, cooldown: null, quiet: null}
allow_private: true
retries: {for: 90m}
`

func TestEveryKeyIsRead(t *testing.T) {
	t.Parallel()
	c := parse(t, whole)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	secret := settings.NewSecret
	yes := true
	first := digest.Route{
		Name: "us-newcomers_sales", Target: "sales", Digest: 30 * time.Minute, Cooldown: 24 * time.Hour, Cap: 30, Template: files()["good.tmpl"],
		Quiet: &digest.Quiet{From: 22 * 60, To: 24 * 60, Zone: berlin, Days: []time.Weekday{time.Monday, time.Sunday}},
		Match: digest.Match{
			Regions: []string{"US"}, Watchlists: []string{"us-beauty", "us-*"}, Top: 50, MinPlaces: 5, MinIndexChange: 3, SkipDisplaced: true, Reentry: &yes,
			Kinds:    []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index, event.Status},
			UIDs:     map[string]bool{"1.a": true, "6787580688797713413": true, "678": true, "679": true},
			Statuses: []string{event.StatusStale, event.StatusRecovered},
		},
	}
	second := first
	second.Name, second.Target = "us-newcomers_ops", "ops"
	want := &config.Config{
		Name: "sales-team", AllowPrivate: true, RetryFor: 90 * time.Minute,
		Targets: []config.Target{
			{Name: "crm", To: config.Webhook{
				URL: secret("http://10.0.0.1/hush"), Secret: secret(key), Previous: secret("whsec_" + oldKey),
				Headers: map[string]settings.Secret{"X-Team": secret("sales"), "Authorization": secret("Bearer hush")},
			}},
			{Name: "ops", To: config.SlackBot{Token: secret("xoxb-hush"), Channel: "C0123456", API: secret("https://slack-gov.com/api/")}},
			{Name: "phone", To: config.Service{URL: secret("ntfy://hush@ntfy.sh/x")}},
			{Name: "sales", To: config.SlackWebhook{URL: secret("https://hooks.slack.com/services/T0/B0/hush")}},
		},
		Routes: []digest.Route{first, second, {Name: "all_crm", Target: "crm", Cap: 7}},
	}
	// DeepEqual sees the secrets, which no text shows.
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if got := c.String(); got != "2 routes to 4 targets" {
		t.Errorf("counts: %s", got)
	}
	if to, ok := c.Target("phone"); !ok || to.String() != "phone (ntfy service)" {
		t.Errorf("found %v, %v", to, ok)
	}
}

func TestWhatARouteIsWithoutWords(t *testing.T) {
	t.Parallel()
	c := parse(t, `{targets: {a: {slack: {webhook: "env:HOOK"}}}, routes: [{name: r, target: a}]}`)
	want := []digest.Route{{Name: "r_a", Target: "a", Cap: digest.DefaultCap}}
	if c.Name != "default" || c.RetryFor != time.Hour || c.AllowPrivate || !reflect.DeepEqual(c.Routes, want) {
		t.Errorf("got %+v", c)
	}
}

func TestSecretsShowNowhere(t *testing.T) {
	t.Parallel()
	c := parse(t, whole)
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, v := range []any{c, *c, c.Targets, c.Targets[0].To, c.Targets[1].To, c.Targets[2].To, c.Targets[3].To} {
		text += fmt.Sprintf("\n%v\n%+v\n%#v\n%s\n%q\n%x\n%d", v, v, v, v, v, v, v)
	}
	if s := shows(text); s != "" || !strings.Contains(text, "[redacted]") {
		t.Errorf("%q shows in %s", s, text)
	}
	if strings.Contains(text, fmt.Sprintf("%x", "hush")) {
		t.Errorf("a secret shows in hex: %s", text)
	}
}

func TestNotesTellWhatHasNoEffect(t *testing.T) {
	t.Parallel()
	lists, err := watcher.ParseWatchlists("w", []byte("watchlists: [{name: us-a, filter: {region: US}}]"))
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, `
targets: {a: {slack: {webhook: "env:HOOK"}}, b: {service: {url: "env:NTFY"}}}
routes: [{name: r, target: a, match: {watchlist: ["us-*", gb-x], region: [US, GB]}}]`)
	want := []string{"route r_a: no watchlist is called gb-x", "route r_a: no watchlist has the region GB", "no route goes to target b"}
	if got := c.Notes(lists); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestSettingsNameOneTarget(t *testing.T) {
	t.Parallel()
	s := settings.NewSecret
	for name, tt := range map[string]struct {
		a    settings.Alert
		want config.Destination
		text string // of the error
	}{
		"webhook of Slack":   {a: settings.Alert{SlackWebhook: s("env:HOOK")}, want: config.SlackWebhook{URL: s(environment()["HOOK"])}},
		"bot":                {a: settings.Alert{SlackToken: s("xoxb-hush"), SlackChannel: "#a"}, want: config.SlackBot{Token: s("xoxb-hush"), Channel: "#a"}},
		"webhook":            {a: settings.Alert{WebhookURL: s("https://x.example/hush"), WebhookSecret: s(key)}, want: config.Webhook{URL: s("https://x.example/hush"), Secret: s(key)}},
		"service":            {a: settings.Alert{ServiceURL: s("env:NTFY")}, want: config.Service{URL: s(environment()["NTFY"])}},
		"none":               {text: "RANKWATCH_ALERTS"},
		"two":                {a: settings.Alert{SlackWebhook: s("env:HOOK"), ServiceURL: s("env:NTFY")}, text: "2 targets"},
		"unset":              {a: settings.Alert{SlackWebhook: s("env:NOTHING")}, text: "RANKWATCH_ALERT_SLACK_WEBHOOK: the variable NOTHING is not set"},
		"no channel":         {a: settings.Alert{SlackToken: s("xoxb-hush")}, text: "RANKWATCH_ALERT_SLACK_CHANNEL: is not a channel"},
		"no token":           {a: settings.Alert{SlackChannel: "#a"}, text: "RANKWATCH_ALERT_SLACK_TOKEN too"},
		"secret without url": {a: settings.Alert{WebhookSecret: s(key)}, text: "RANKWATCH_ALERT_WEBHOOK_URL too"},
		"private":            {a: settings.Alert{WebhookURL: s("http://127.0.0.1/hush")}, text: "RANKWATCH_ALERT_WEBHOOK_URL: http://"},
		"no file":            {a: settings.Alert{File: "nowhere.yaml"}, text: "deploy/alerts.yaml"},
	} {
		c, err := config.Load(tt.a, lookup())
		switch {
		case tt.want == nil && (err == nil || !strings.Contains(err.Error(), tt.text) || shows(err.Error()) != ""):
			t.Errorf("%s: got %v, want an error with %q and without a secret", name, err, tt.text)
		case tt.want != nil && (err != nil || !reflect.DeepEqual(c.Targets, []config.Target{{Name: "default", To: tt.want}}) || len(c.Routes) != 2):
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
}

func TestTheExampleIsGood(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../../../deploy/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := lookup()
	env := map[string]string{"SLACK_WEBHOOK": "HOOK", "SLACK_TOKEN": "TOKEN", "CRM_SECRET": "KEY", "NTFY_URL": "NTFY"}
	l.Env = func(name string) (string, bool) { s, ok := environment()[env[name]]; return s, ok }
	c, err := config.Parse("deploy/alerts.yaml", data, l)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Targets) != 4 || len(c.Routes) != 5 {
		t.Errorf("got %+v", c)
	}
}
