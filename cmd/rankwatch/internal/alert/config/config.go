// Package config reads the configuration of alerts: which changes go to whom,
// when, and how many at once.
//
// It is strict as watchlist files are: an unknown key is a mistake, and all
// mistakes are told at once, each with its place. Secrets are read once, when
// the configuration is; no error and no way of printing a Config shows one.
package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

// What a configuration has when it says nothing else.
const (
	DefaultName     = "default"
	DefaultRetryFor = time.Hour
)

// Limits of what a configuration may say. A window or a pause longer than that
// is a mistake in the unit.
const (
	minDuration = time.Second
	maxDigest   = 7 * 24 * time.Hour
	maxCooldown = 366 * 24 * time.Hour
	maxRetry    = 30 * 24 * time.Hour
	maxCap      = 1000
)

// A Config is a whole configuration. Name names its durable consumers: those who
// share it share the work. A target may fail for RetryFor before a message is
// parked. AllowPrivate permits private, loopback and link-local addresses.
type Config struct {
	Name         string
	Targets      []Target
	Routes       []digest.Route
	AllowPrivate bool
	RetryFor     time.Duration
}

// Default is the configuration of one target without a file: digest's default
// routes.
func Default(t Target) *Config {
	return &Config{Name: DefaultName, Targets: []Target{t}, Routes: digest.DefaultRoutes(t.Name), RetryFor: DefaultRetryFor}
}

// Target finds a target by its name.
func (c *Config) Target(name string) (Target, bool) {
	i := slices.IndexFunc(c.Targets, func(t Target) bool { return t.Name == name })
	if i < 0 {
		return Target{}, false
	}
	return c.Targets[i], true
}

// RouteName names the digest.Route that brings a configured route to one of its
// targets. It is the same however many targets the route has, so that another
// one does not make the first forget what it was told. Durable consumers and
// keys of JetStream's key-value store may have it.
func RouteName(route, target string) string { return route + "_" + target }

const (
	emptyFile      = "there is nothing in it; write at least one target and one route"
	secondDocument = "a second YAML document begins here; an alert configuration is one, put everything into it"
)

func fileKeys() []string {
	return []string{"name", "targets", "defaults", "routes", "allow_private", "retries"}
}

func defaultKeys() []string { return []string{"digest", "quiet", "cooldown", "cap", "template"} }

func routeKeys() []string {
	return append([]string{"name", "target", "targets", "match"}, defaultKeys()...)
}

func matchKeys() []string {
	return []string{
		"region", "watchlist", "kind", "top", "min_places", "min_index_change", "displaced", "reentry", "uids", "uids_file", "status",
	}
}

func quietKeys() []string   { return []string{"from", "to", "timezone", "days"} }
func retryKeys() []string   { return []string{"for"} }
func targetKeys() []string  { return []string{"slack", "webhook", "service"} }
func slackKeys() []string   { return []string{"webhook", "token", "channel", "api"} }
func webhookKeys() []string { return []string{"url", "secret", "previous_secret", "headers"} }
func serviceKeys() []string { return []string{"url"} }

func terms() strictyaml.Terms {
	return strictyaml.Terms{
		Empty: emptyFile, Second: secondDocument, Secret: secretPlace,
		Homes: map[string][]string{
			"the file": fileKeys(), "a route": routeKeys(), "a route's match": matchKeys(), "quiet": quietKeys(), "retries": retryKeys(),
			"a target": targetKeys(), "a target's slack": slackKeys(), "a target's webhook": webhookKeys(), "a target's service": serviceKeys(),
		},
	}
}

// Parse reads a configuration; name is its path, which its errors name and to
// which paths in it are relative. The error is a *strictyaml.FileError with
// every mistake in the file, and then there is no Config.
func Parse(name string, data []byte, l Lookup) (*Config, error) {
	d := strictyaml.New(terms())
	p := &parser{d: d, lookup: l.relativeTo(name), targets: map[string]bool{}}
	var c *Config
	if root, ok := d.Document(data); ok {
		c = p.file(root)
	}
	if err := d.Err(name); err != nil {
		return nil, err
	}
	return c, nil
}

type parser struct {
	d       *strictyaml.Decoder
	lookup  Lookup
	private bool
	targets map[string]bool // names, also of those with mistakes
}

func (p *parser) file(root strictyaml.Value) *Config {
	l := p.d.Layer(root, fileKeys())
	if l == nil {
		return nil
	}
	o := p.d.Object(l)
	c := &Config{Name: DefaultName, RetryFor: DefaultRetryFor}
	if s, v, ok := o.Text("name", "sales"); ok {
		if !configName.MatchString(s) {
			v.Add("the name is %s; use 1 to 32 of a-z, 0-9 and -, not beginning with -", v.Quote())
		}
		c.Name = s
	}
	p.private, _ = o.Boolean("allow_private")
	c.AllowPrivate = p.private
	if r, ok := o.Sub("retries", retryKeys()); ok {
		if d, ok := r.Duration("for", minDuration, maxRetry); ok {
			c.RetryFor = d
		}
	}
	c.Targets = p.allTargets(o)
	c.Routes = p.allRoutes(o)
	return c
}

var (
	configName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	plainName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// texts reads a text or a list of texts.
func texts(o strictyaml.Object, key string) []strictyaml.Value {
	v, ok := o.Get(key)
	if !ok {
		return nil
	}
	list, ok := v.List()
	if !ok {
		list = []strictyaml.Value{v}
	}
	if len(list) == 0 {
		v.Add("the list is empty, so that nothing would match; write an entry, or remove the key")
	}
	var out []strictyaml.Value
	for _, e := range list {
		switch _, ok := e.Digits(); {
		case e.Said():
		case !ok:
			e.Add("this is %s; write text, or a list of texts", e.Words())
		default:
			out = append(out, e)
		}
	}
	return out
}

// picks reads one or several of the given words.
func picks(o strictyaml.Object, key string, words []string) []string {
	var out []string
	for _, v := range texts(o, key) {
		s, _ := v.Digits()
		switch {
		case !slices.Contains(words, s):
			v.Add("this is %s; use one of %s%s", v.Words(), strings.Join(words, ", "), meant(s, words))
		case slices.Contains(out, s):
			v.Add("%s is here twice; keep one of them", v.Quote())
		default:
			out = append(out, s)
		}
	}
	return out
}

// meant does not guess between words of two letters, which are all alike.
func meant(s string, words []string) string {
	if strings.EqualFold(s, "UK") {
		s = "GB"
	}
	if i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(s, w) }); i >= 0 {
		return fmt.Sprintf("; did you mean %q?", words[i])
	}
	if len(s) < 3 {
		return ""
	}
	return strictyaml.DidYouMean(s, words)
}

// unique notes a name that was met before.
func unique(names map[string]strictyaml.Value, name string, at strictyaml.Value) {
	if first, ok := names[name]; ok {
		at.Add("the name %q is taken by %s in line %d; names are unique", name, strings.TrimSuffix(first.Path(), ".name"), first.Line())
		return
	}
	names[name] = at
}

// String tells what the configuration has, as `check` reports it.
func (c *Config) String() string {
	routes := map[string]bool{}
	for _, r := range c.Routes {
		routes[strings.TrimSuffix(r.Name, "_"+r.Target)] = true
	}
	return fmt.Sprintf("%s to %s", some(len(routes), "route"), some(len(c.Targets), "target"))
}

func some(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
