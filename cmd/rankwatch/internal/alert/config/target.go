package config

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/webhook"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

// A Target is somebody who takes messages. To says how: it is a SlackWebhook, a
// SlackBot, a Webhook or a Service.
type Target struct {
	Name string
	To   Destination
}

// A Destination is one of this package's; Kind is its name for people.
type Destination interface{ Kind() string }

// SlackWebhook is an incoming webhook of Slack.
type SlackWebhook struct{ URL settings.Secret }

// SlackBot posts to a channel with a bot's token. Channel is an id, C0123456, or
// a name, #sales. API is the URL of another Web API than slack.com's, such as
// https://slack-gov.com/api/, or empty.
type SlackBot struct {
	Token   settings.Secret
	Channel string
	API     settings.Secret
}

// Webhook is a receiver of Standard Webhooks. Secret is empty for messages
// without a signature; Previous, if set, signs too while receivers change over.
// Both are base64, with or without whsec_ before it.
type Webhook struct {
	URL, Secret, Previous settings.Secret
	Headers               map[string]settings.Secret
}

// Service is a service of the notifier library, named by the library's URL.
type Service struct{ URL settings.Secret }

// Kind is what people call it.
func (SlackWebhook) Kind() string { return "Slack webhook" }

// Kind is what people call it.
func (SlackBot) Kind() string { return "Slack bot" }

// Kind is what people call it.
func (Webhook) Kind() string { return "webhook" }

// Kind is what people call it, with the service's name.
func (s Service) Kind() string {
	scheme, _, _ := strings.Cut(s.URL.Reveal(), ":")
	return scheme + " service"
}

// String is for logs; it holds no secret.
func (t Target) String() string {
	if t.To == nil {
		return t.Name
	}
	return t.Name + " (" + t.To.Kind() + ")"
}

func (p *parser) allTargets(o strictyaml.Object) []Target {
	v, ok := o.Get("targets")
	if !ok {
		if o.Has("targets") < 0 || v.Null() {
			o.Add("there are no targets; write at least one, as in `targets: {sales: {slack: {webhook: \"env:SLACK_WEBHOOK\"}}}`")
		}
		return nil
	}
	l := p.d.Layer(v, nil)
	if l == nil {
		return nil
	}
	all := p.d.Object(l)
	names := all.Keys()
	if len(names) == 0 {
		v.Add("there are no targets; write at least one, as in {sales: {slack: {webhook: \"env:SLACK_WEBHOOK\"}}}")
	}
	var targets []Target
	for _, name := range names {
		if !plainName.MatchString(name) {
			all.AddKey(name, "this is no name for a target; use 1 to 63 of a-z, 0-9 and -, not beginning with -")
			continue
		}
		p.targets[name] = true
		targets = append(targets, Target{Name: name, To: p.target(all, name)})
	}
	return targets
}

func (p *parser) target(all strictyaml.Object, name string) Destination {
	v, ok := all.Get(name)
	if !ok {
		if v.Null() {
			v.Add("the target is empty; use one of slack, webhook and service")
		}
		return nil
	}
	l := p.d.Layer(v, targetKeys())
	if l == nil {
		return nil
	}
	o := p.d.Object(l)
	kinds := o.Keys()
	if len(kinds) != 1 {
		o.Add("a target has one of slack, webhook and service; make a target for each")
		return nil
	}
	switch kinds[0] {
	case "slack":
		if s, ok := o.Sub("slack", slackKeys()); ok {
			return p.slack(s)
		}
	case "webhook":
		if w, ok := o.Sub("webhook", webhookKeys()); ok {
			return p.webhook(w)
		}
	case "service":
		if s, ok := o.Sub("service", serviceKeys()); ok {
			return p.service(s)
		}
	}
	if v, _ := o.Get(kinds[0]); v.Null() {
		v.Add("this is nothing; write a map")
	}
	return nil
}

// slackChannel is an id, or a name with its #.
var slackChannel = regexp.MustCompile(`^([CDG][A-Z0-9]{5,20}|#[^\s#,A-Z]{1,80})$`)

func (p *parser) slack(o strictyaml.Object) Destination {
	webhook, bot := o.Has("webhook") >= 0, o.Has("token") >= 0 || o.Has("channel") >= 0 || o.Has("api") >= 0
	switch {
	case webhook == bot:
		o.Add("write either the webhook, or a bot's token and its channel")
		return nil
	case webhook:
		return SlackWebhook{URL: p.secret(o, "webhook", p.httpURL)}
	}
	b := SlackBot{Token: p.secret(o, "token", slackToken)}
	s, v, ok := o.Text("channel", "C0123456789")
	switch {
	case o.Has("channel") < 0 || v.Null():
		o.Add("the channel is missing; add one, as in `channel: C0123456789`")
	case ok && !slackChannel.MatchString(s):
		v.Add("this is not a channel of Slack; write its id, such as C0123456789, or its name, such as \"#sales\"")
	}
	b.Channel = s
	if o.Has("api") >= 0 {
		b.API = p.secret(o, "api", p.httpURL)
	}
	return b
}

func slackToken(s string) string {
	if !strings.HasPrefix(s, "xox") {
		return "this is not a token of Slack; a bot's begins with xoxb-"
	}
	return ""
}

func (p *parser) webhook(o strictyaml.Object) Destination {
	w := Webhook{URL: p.secret(o, "url", p.httpURL)}
	if v, _ := o.Get("secret"); o.Has("secret") >= 0 && !v.Null() {
		w.Secret = p.secret(o, "secret", signingSecret)
	}
	if v, ok := o.Get("previous_secret"); ok {
		w.Previous = p.secret(o, "previous_secret", signingSecret)
		switch {
		case o.Has("secret") < 0:
			v.Add("there is no secret for this to be the previous one of; rename the key to secret")
		case w.Previous.Set() && w.Previous.Reveal() == w.Secret.Reveal():
			v.Add("this is the same as secret; remove it until there is a new one")
		}
	}
	if v, ok := o.Get("headers"); ok {
		if l := p.d.Layer(v, nil); l != nil {
			w.Headers = p.headers(p.d.Object(l))
		}
	}
	return w
}

// signingSecret checks the form that Standard Webhooks gives a secret.
func signingSecret(s string) string {
	if err := webhook.CheckSecret(s); err != nil {
		return err.Error() + "; make one by `openssl rand -base64 32`"
	}
	return ""
}

func (p *parser) headers(o strictyaml.Object) map[string]settings.Secret {
	headers, seen := map[string]settings.Secret{}, map[string]bool{}
	for _, name := range o.Keys() {
		lower := strings.ToLower(name)
		if !httpguts.ValidHeaderFieldName(name) {
			o.AddKey(name, "this is not the name of a header")
		} else if err := webhook.CheckHeader(name, ""); err != nil {
			o.AddKey(name, "%v; remove it", err)
		} else if seen[lower] {
			o.AddKey(name, "the header is there twice; remove one")
		} else {
			headers[name] = p.secret(o, name, func(value string) string {
				if err := webhook.CheckHeader(name, value); err != nil {
					return err.Error()
				}
				return ""
			})
		}
		seen[lower] = true
	}
	return headers
}

func (p *parser) service(o strictyaml.Object) Destination {
	return Service{URL: p.secret(o, "url", p.serviceURL)}
}

var serviceScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://.`)

func (p *parser) serviceURL(s string) string {
	switch {
	case !serviceScheme.MatchString(s):
		return "this is not a service's URL, such as ntfy://ntfy.sh/topic or discord://token@id"
	case p.lookup.Service != nil:
		return p.lookup.Service(s)
	}
	return ""
}

// secret reads a key that must be there, and resolves it.
func (p *parser) secret(o strictyaml.Object, key string, check func(string) string) settings.Secret {
	text, v, ok := o.Text(key, `"env:NAME"`)
	switch {
	case o.Has(key) < 0:
		o.Add("%s is missing; add it, as in `%s: \"env:NAME\"`", key, key)
		return settings.Secret{}
	case v.Null():
		v.Add("this is nothing; write \"env:NAME\", \"file:PATH\" or the value itself")
		return settings.Secret{}
	case !ok:
		return settings.Secret{}
	}
	s, mistake := p.lookup.secret(text)
	if mistake == "" && check != nil {
		mistake = check(s.Reveal())
	}
	if mistake != "" {
		v.Add("%s", mistake)
	}
	return s
}

// httpURL says what is wrong with the URL of a target, empty if nothing. What
// addresses its name has is seen when it is called.
func (p *parser) httpURL(s string) string { return checkURL(s, p.private) }

func checkURL(s string, private bool) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return "this is not a URL of the form https://host/path"
	case u.Fragment != "":
		return "the URL has a fragment (#), which is never sent; remove it"
	case private:
		return ""
	case u.Scheme == "http":
		return "http:// would send it in the clear; use https://, or set allow_private for a host of your own network"
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if ip, err := netip.ParseAddr(host); err == nil && outgoing.Check(ip) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return "the address is a private one; set allow_private if it is meant"
	}
	return ""
}
