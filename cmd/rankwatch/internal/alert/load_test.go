package alert

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/config"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
)

const everyTarget = `
name: sales
targets:
  hook: {slack: {webhook: "env:HOOK"}}
  bot: {slack: {token: "env:BOT", channel: C0123456789}}
  crm: {webhook: {url: "https://crm.example.com/hook", headers: {X-Team: sales}}}
  phone: {service: {url: "ntfy://ntfy.sh/topic"}}
routes:
  - {name: all, targets: [hook, bot, crm, phone]}
  - {name: top, target: crm, match: {top: 10}}
`

func TestEveryTargetHasASender(t *testing.T) {
	t.Parallel()
	l := Lookup()
	l.Env = func(name string) (string, bool) {
		v, ok := map[string]string{"HOOK": "https://hooks.slack.com/services/T0/B0/hush", "BOT": "xoxb-hush"}[name]
		return v, ok
	}
	c, err := config.Parse("alerts.yaml", []byte(everyTarget), l)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ready(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.targets(); !slices.Equal(got, []string{"bot", "crm", "hook", "phone"}) {
		t.Errorf("targets %q", got)
	}
	if got := s.routes(); len(got) != 5 || s.Name != "sales" {
		t.Errorf("configuration %s, routes %q", s.Name, got)
	}
}

// What only shows messages needs nobody to send them to; what sends does.
func TestWithoutATargetMessagesCanBeShown(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	if s, err := shown(settings.Alert{}, "", log); err != nil || len(s.Targets) != 0 || len(s.Routes) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := load(settings.Alert{}, "", log); err == nil || !strings.Contains(err.Error(), "nobody to alert") {
		t.Error(err)
	}
}
