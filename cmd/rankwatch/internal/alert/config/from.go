package config

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
)

// ErrNoTarget means that the settings name neither a configuration nor a target.
var ErrNoTarget = errors.New("nobody to alert: set RANKWATCH_ALERTS to the path of a configuration (deploy/alerts.yaml is an example), " +
	"or one of RANKWATCH_ALERT_SLACK_WEBHOOK, RANKWATCH_ALERT_SLACK_TOKEN, RANKWATCH_ALERT_WEBHOOK_URL and RANKWATCH_ALERT_SERVICE_URL")

// Load reads the configuration that the settings name: a file, or else one
// target with the default routes. Its error has every mistake: it is a
// *strictyaml.FileError, a *settings.Error or ErrNoTarget, unless the file
// cannot be read.
func Load(a settings.Alert, l Lookup) (*Config, error) {
	if a.File == "" {
		return fromSettings(a, l)
	}
	data, err := l.File(a.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no alert configuration: %w; write one (deploy/alerts.yaml is an example), or correct its path", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read alert configuration: %w", err)
	}
	return Parse(a.File, data, l)
}

// settingsTarget is the name of the target that the settings name.
const settingsTarget = "default"

func fromSettings(a settings.Alert, l Lookup) (*Config, error) {
	e := &environment{lookup: l}
	p := &parser{lookup: l, private: a.AllowPrivate}
	var to []Destination
	if a.SlackWebhook.Set() {
		to = append(to, SlackWebhook{URL: e.secret("SLACK_WEBHOOK", a.SlackWebhook, p.httpURL)})
	}
	if a.SlackToken.Set() || a.SlackChannel != "" {
		b := SlackBot{Channel: a.SlackChannel}
		if a.SlackToken.Set() {
			b.Token = e.secret("SLACK_TOKEN", a.SlackToken, slackToken)
		} else {
			e.add("SLACK_CHANNEL", "needs a bot's token: set RANKWATCH_ALERT_SLACK_TOKEN too")
		}
		if !slackChannel.MatchString(a.SlackChannel) {
			e.add("SLACK_CHANNEL", "is not a channel of Slack, which a bot needs: write its id, such as C0123456789, or its name, such as #sales")
		}
		to = append(to, b)
	}
	if a.WebhookURL.Set() {
		w := Webhook{URL: e.secret("WEBHOOK_URL", a.WebhookURL, p.httpURL)}
		if a.WebhookSecret.Set() {
			w.Secret = e.secret("WEBHOOK_SECRET", a.WebhookSecret, signingSecret)
		}
		to = append(to, w)
	} else if a.WebhookSecret.Set() {
		e.add("WEBHOOK_SECRET", "needs the webhook's URL: set RANKWATCH_ALERT_WEBHOOK_URL too")
	}
	if a.ServiceURL.Set() {
		to = append(to, Service{URL: e.secret("SERVICE_URL", a.ServiceURL, p.serviceURL)})
	}
	if len(to) > 1 {
		e.problems = append(e.problems, settings.Problem{
			Variable: "RANKWATCH_ALERT_*", Text: fmt.Sprintf("they name %d targets: keep one, or write a configuration and set RANKWATCH_ALERTS to its path", len(to)),
		})
	}
	switch {
	case len(e.problems) > 0:
		return nil, &settings.Error{Problems: e.problems}
	case len(to) == 0:
		return nil, ErrNoTarget
	}
	c := Default(Target{Name: settingsTarget, To: to[0]})
	c.AllowPrivate = a.AllowPrivate
	return c, nil
}

// environment resolves what variables hold.
type environment struct {
	lookup   Lookup
	problems []settings.Problem
}

func (e *environment) add(name, text string) {
	e.problems = append(e.problems, settings.Problem{Variable: "RANKWATCH_ALERT_" + name, Text: text})
}

func (e *environment) secret(name string, text settings.Secret, check func(string) string) settings.Secret {
	s, mistake := e.lookup.secret(text.Reveal())
	if mistake == "" {
		mistake = check(s.Reveal())
	}
	if mistake != "" {
		e.add(name, mistake)
	}
	return s
}
