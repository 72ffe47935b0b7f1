package config

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/words"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

func (p *parser) allRoutes(o strictyaml.Object) []digest.Route {
	var defaults *strictyaml.Layer
	if v, ok := o.Get("defaults"); ok {
		if defaults = p.d.Layer(v, defaultKeys()); defaults != nil {
			// On their own first, so that their mistakes have their own names.
			p.manner(p.d.Object(defaults))
		}
	}
	const none = "there are no routes; write at least one, as in `routes: [{name: all, target: sales}]`"
	v, ok := o.Get("routes")
	if !ok {
		if o.Has("routes") < 0 || v.Null() {
			o.Add(none)
		}
		return nil
	}
	entries, ok := v.List()
	if !ok {
		v.Add("this is %s; write a list, each entry beginning with `- name:`", v.Words())
		return nil
	}
	if len(entries) == 0 {
		v.Add(none)
	}
	var routes []digest.Route
	names := map[string]strictyaml.Value{}
	for _, e := range entries {
		if l := p.d.Layer(e, routeKeys()); l != nil {
			routes = append(routes, p.route(p.d.Object(l), p.d.Object(l, defaults), names)...)
		}
	}
	return routes
}

// route reads one entry, own without the defaults and full with them, and makes
// a route for each of its targets.
func (p *parser) route(own, full strictyaml.Object, names map[string]strictyaml.Value) []digest.Route {
	name, at, ok := own.Text("name", "us-newcomers")
	switch {
	case own.Has("name") < 0 || at.Null():
		own.Add("the name is missing; add one, as in `name: us-newcomers`")
	case !ok:
	case !plainName.MatchString(name):
		at.Add("the name is %s; use 1 to 63 of a-z, 0-9 and -, not beginning with -", at.Quote())
	default:
		unique(names, name, at)
	}
	r := p.manner(full)
	if m, ok := own.Sub("match", matchKeys()); ok {
		r.Match = p.match(m)
	}
	var routes []digest.Route
	for _, target := range p.routeTargets(own) {
		r.Name, r.Target = RouteName(name, target), target
		routes = append(routes, r)
	}
	return routes
}

func (p *parser) routeTargets(o strictyaml.Object) []string {
	key := "target"
	switch one, many := o.Has("target") >= 0, o.Has("targets") >= 0; {
	case one && many:
		o.Add("target and targets are both set; keep one of them")
		return nil
	case many:
		key = "targets"
	}
	if v, ok := o.Get(key); !ok && (o.Has(key) < 0 || v.Null()) {
		o.Add("the target is missing; add one, as in `target: sales`")
		return nil
	}
	var names []string
	for _, v := range texts(o, key) {
		s, _ := v.Digits()
		switch {
		case slices.Contains(names, s):
			v.Add("this target is here twice; keep one of them")
		case p.targets[s]:
			names = append(names, s)
		default:
			all := make([]string, 0, len(p.targets))
			for t := range p.targets {
				all = append(all, t)
			}
			slices.Sort(all)
			hint := strictyaml.DidYouMean(s, all)
			if hint == "" && len(all) > 0 {
				hint = "; use one of " + strings.Join(all, ", ")
			}
			v.Add("there is no such target%s", hint)
		}
	}
	return names
}

// manner reads what routes and defaults both may say: when and how to send.
func (p *parser) manner(o strictyaml.Object) digest.Route {
	var r digest.Route
	r.Digest, _ = o.Duration("digest", minDuration, maxDigest)
	r.Cooldown, _ = o.Duration("cooldown", minDuration, maxCooldown)
	r.Cap = digest.DefaultCap
	if n, ok := o.Integer("cap", 1, maxCap); ok {
		r.Cap = int(n)
	}
	r.Quiet = p.quiet(o)
	r.Template = p.template(o)
	return r
}

func (p *parser) template(o strictyaml.Object) string {
	file, v, ok := o.Text("template", "alerts/newcomers.tmpl")
	if !ok {
		return ""
	}
	data, err := p.lookup.File(file)
	if err != nil && strings.Contains(file, "{{") {
		v.Add("this is a template; write it to a file, and the file's path here")
		return ""
	}
	if err != nil {
		v.Add("the file of the template cannot be read: %s", unreadable(err))
		return ""
	}
	source := string(data)
	if strings.TrimSpace(source) == "" {
		v.Add("the template is empty")
		return ""
	}
	if err := words.Check(source); err != nil {
		v.Add("the template does not work: %v", err)
	}
	return source
}

func (p *parser) quiet(o strictyaml.Object) *digest.Quiet {
	o, ok := o.Sub("quiet", quietKeys())
	if !ok {
		return nil
	}
	q := &digest.Quiet{}
	var from, to bool
	q.From, from = clock(o, "from", "22:00", 24*60-1)
	q.To, to = clock(o, "to", "07:00", 24*60)
	q.Zone, _ = o.Zone("timezone")
	week := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	for _, day := range picks(o, "days", week) {
		q.Days = append(q.Days, time.Weekday(slices.Index(week, day)))
	}
	if from && to && q.Always() {
		o.Add("these quiet hours never end; leave an hour in which something may be sent")
	}
	return q
}

var timeOfDay = regexp.MustCompile(`^([01]?[0-9]|2[0-4]):([0-5][0-9])$`)

// clock reads a time of day, in minutes since midnight.
func clock(o strictyaml.Object, key, example string, most int) (minutes int, ok bool) {
	s, v, ok := o.Text(key, `"`+example+`"`)
	if !ok {
		if o.Has(key) < 0 || v.Null() {
			o.Add("%s is missing; add it, as in `%s: \"%s\"`", key, key, example)
		}
		return 0, false
	}
	if m := timeOfDay.FindStringSubmatch(s); m != nil {
		var h, min int
		if _, err := fmt.Sscanf(s, "%d:%d", &h, &min); err == nil && h*60+min <= most {
			return h*60 + min, true
		}
	}
	v.Add("this is %s; write a time of day, such as \"%s\"", v.Words(), example)
	return 0, false
}

func kinds() []string {
	var s []string
	for _, k := range []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index, event.Status} {
		s = append(s, string(k))
	}
	return s
}

func statuses() []string {
	return []string{
		event.StatusStale, event.StatusRecovered, event.StatusRejected, event.StatusWaiting, event.StatusQuota, event.StatusDenied,
		event.StatusFenced, event.StatusRetired,
	}
}

func (p *parser) match(o strictyaml.Object) digest.Match {
	m := digest.Match{
		Regions:  picks(o, "region", append(watcher.Regions(), event.RegionAll)),
		Statuses: picks(o, "status", statuses()),
	}
	for _, k := range picks(o, "kind", kinds()) {
		m.Kinds = append(m.Kinds, event.Kind(k))
	}
	m.Watchlists = patterns(o)
	m.UIDs = p.uids(o)
	top, _ := o.Integer("top", 1, fastmoss.MaxDepth)
	places, _ := o.Integer("min_places", 1, fastmoss.MaxDepth)
	m.Top, m.MinPlaces = int(top), int(places)
	m.MinIndexChange, _ = o.Integer("min_index_change", 1, math.MaxInt64)
	if shown, ok := o.Boolean("displaced"); ok {
		m.SkipDisplaced = !shown
	}
	if again, ok := o.Boolean("reentry"); ok {
		m.Reentry = &again
	}
	vain(o, m)
	return m
}

// vain notes conditions on kinds that the match leaves out: somebody thinks that
// they do something.
func vain(o strictyaml.Object, m digest.Match) {
	if len(m.Kinds) == 0 {
		return
	}
	for _, c := range []struct {
		key  string
		kind event.Kind
	}{
		{"min_places", event.Moved}, {"displaced", event.Moved}, {"min_index_change", event.Index}, {"reentry", event.Entered}, {"status", event.Status},
	} {
		if v, ok := o.Get(c.key); ok && !slices.Contains(m.Kinds, c.kind) {
			v.Add("this is about %s events, which kind leaves out; add %s to kind, or remove it", c.kind, c.kind)
		}
	}
	if v, ok := o.Get("kind"); ok && m.UIDs != nil && len(m.Kinds) == 1 && m.Kinds[0] == event.Status {
		v.Add("a status is about no uid, so that nothing would match; add another kind, or remove the uids")
	}
}

var watchlistPattern = regexp.MustCompile(`^[]a-z0-9*?[^\\-]+$`)

func patterns(o strictyaml.Object) []string {
	var out []string
	for _, v := range texts(o, "watchlist") {
		s, _ := v.Digits()
		_, err := path.Match(s, "a")
		switch {
		case err != nil:
			v.Add("%s is not a pattern; use * for any text, ? for a letter, [a-z] for one of several", v.Quote())
		case !watchlistPattern.MatchString(s):
			v.Add("%s can match no watchlist, whose names have only a-z, 0-9 and -", v.Quote())
		default:
			out = append(out, s)
		}
	}
	return out
}

// uids reads both lists into one, nil if there is neither.
func (p *parser) uids(o strictyaml.Object) map[string]bool {
	var uids map[string]bool
	add := func(uid string) {
		if uids == nil {
			uids = map[string]bool{}
		}
		uids[uid] = true
	}
	for _, v := range texts(o, "uids") {
		s, _ := v.Digits()
		if s == "" || len(s) > event.MaxUID {
			v.Add("this is not a uid, which has 1 to %d bytes", event.MaxUID)
			continue
		}
		add(s)
	}
	file, v, ok := o.Text("uids_file", "vip.txt")
	if !ok {
		return uids
	}
	data, err := p.lookup.File(file)
	if err != nil {
		v.Add("the file cannot be read: %s", unreadable(err))
		return uids
	}
	found := false
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\uFEFF"))))
	lines.Buffer(nil, maxFile)
	for n := 1; lines.Scan(); n++ {
		uid, _, _ := strings.Cut(lines.Text(), "#")
		switch uid = strings.TrimSpace(uid); {
		case uid == "":
		case len(uid) > event.MaxUID || strings.ContainsAny(uid, " \t,;"):
			v.Add("line %d of the file is not one uid; write one a line, comments after #", n)
			return uids
		default:
			found = true
			add(uid)
		}
	}
	if err := lines.Err(); err != nil {
		v.Add("the file cannot be read: %v", err)
	} else if !found {
		v.Add("the file has no uids, so that nothing would match; write one a line")
	}
	return uids
}
