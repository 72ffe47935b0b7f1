package watcher

import (
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

// Limits of what a watchlist may say, beside those of the source. The longest
// interval keeps the arithmetic of schedules far from overflow; nobody waits
// longer for a ranking.
const (
	MinEvery = time.Second
	MaxEvery = 366 * oneDay

	maxAfter   = 1000
	maxConfirm = 100
)

const oneDay = 24 * time.Hour

func fileKeys() []string { return []string{"defaults", "watchlists"} }

func watchlistKeys() []string { return append([]string{"name"}, defaultKeys()...) }

func defaultKeys() []string {
	return []string{
		"every", "cron", "timezone", "top", "margin", "filter", "period", "ties", "rules", "rollover", "baseline", "guard",
	}
}

func ruleKeys() []string    { return []string{"moved", "index", "dropped"} }
func movedKeys() []string   { return []string{"min_places", "ignore_displaced"} }
func indexKeys() []string   { return []string{"min_change"} }
func droppedKeys() []string { return []string{"after"} }
func guardKeys() []string   { return []string{"max_loss", "confirm"} }

// homes are the maps in which the keys of a watchlist file live.
func homes() map[string][]string {
	return map[string][]string{
		"the watchlist":               watchlistKeys(),
		"filter":                      filterKeys(),
		"filter.follower_count_range": rangeKeys(),
		"period":                      periodKeys(),
		"rules":                       ruleKeys(),
		"rules.moved":                 movedKeys(),
		"rules.index":                 indexKeys(),
		"rules.dropped":               droppedKeys(),
		"guard":                       guardKeys(),
	}
}

const (
	emptyFile      = "there are no watchlists; write at least one, as in `watchlists: [{name: my-board}]`"
	secondDocument = "a second YAML document begins here; a watchlist file has one, put all watchlists into it"
)

// A Problem is one mistake in a watchlist file.
type Problem = strictyaml.Problem

// A FileError lists all mistakes of a watchlist file, in the order of the file.
// Nothing of such a file is used.
type FileError = strictyaml.FileError

// ParseWatchlists reads a watchlist file; name is how its errors call it. The
// error is a *FileError with every mistake in the file, and then there are no
// watchlists.
//
// The file's defaults hold for each watchlist, key by key, through nested maps,
// and an explicit null takes a default back. Every and cron replace each other;
// a period value is inherited only together with its type. What neither says is
// an hourly reading of the 100 best of the latest month: rules that report
// every change, shared ties, compared rollovers, a silent first baseline, and a
// guard of one half, confirmed once.
func ParseWatchlists(name string, data []byte) ([]Watchlist, error) {
	d := strictyaml.New(strictyaml.Terms{Empty: emptyFile, Second: secondDocument, Homes: homes()})
	var lists []Watchlist
	if root, ok := d.Document(data); ok {
		lists = parseFile(d, root)
	}
	if err := d.Err(name); err != nil {
		return nil, err
	}
	return lists, nil
}

// ParseDuration reads a Go duration such as 90s or 6h30m, which may begin with
// days, as in 7d or 1d12h. A day is 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	d, err := strictyaml.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("watcher: %w", err)
	}
	return d, nil
}

func parseFile(d *strictyaml.Decoder, root strictyaml.Value) []Watchlist {
	l := d.Layer(root, fileKeys())
	if l == nil {
		return nil
	}
	o := d.Object(l)
	var defaults *strictyaml.Layer
	if v, ok := o.Get("defaults"); ok {
		if defaults = d.Layer(v, defaultKeys()); defaults != nil {
			// On their own first, so that their mistakes have their own names, also
			// when every watchlist overrides them.
			fields{d.Object(defaults)}.watchlist()
		}
	}
	if o.Has("watchlists") < 0 {
		o.Add(emptyFile)
		return nil
	}
	v, ok := o.Get("watchlists")
	if !ok {
		if !v.Said() {
			v.Add(emptyFile)
		}
		return nil
	}
	entries, ok := v.List()
	if !ok {
		v.Add("this is %s; write a list, each entry beginning with `- name:`", v.Words())
		return nil
	}
	if len(entries) == 0 {
		v.Add(emptyFile)
	}
	return parseEntries(d, entries, defaults)
}

func parseEntries(d *strictyaml.Decoder, entries []strictyaml.Value, defaults *strictyaml.Layer) []Watchlist {
	lists := make([]Watchlist, 0, len(entries))
	type taken struct {
		path string
		line int
	}
	names := make(map[string]taken, len(entries))
	for _, e := range entries {
		l := d.Layer(e, watchlistKeys())
		if l == nil {
			continue
		}
		name, at := fields{d.Object(l)}.name()
		if first, ok := names[name]; ok && name != "" {
			at.Add("the name %q is taken by %s in line %d; names are unique", name, first.path, first.line)
		} else if name != "" {
			names[name] = taken{e.Path(), at.Line()}
		}
		w := fields{d.Object(l, defaults)}.watchlist()
		w.Name = name
		lists = append(lists, w)
	}
	return lists
}

// Fields are what a map of a watchlist file says: a watchlist, the defaults, or
// a part of one.
type fields struct{ strictyaml.Object }

func (o fields) sub(key string, keys []string) (fields, bool) {
	s, ok := o.Sub(key, keys)
	return fields{s}, ok
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// IsName says that a text can be the name of a watchlist.
func IsName(s string) bool { return namePattern.MatchString(s) }

func (o fields) name() (string, strictyaml.Value) {
	s, v, ok := o.Text("name", `"us-beauty"`)
	if v.Null() || o.Has("name") < 0 {
		o.Add("the name is missing; add one, as in `name: us-beauty`")
	}
	if !ok {
		return "", v
	}
	if !IsName(s) {
		v.Add("the name is %s; use 1 to 63 of a-z, 0-9 and -, not beginning with -", strictyaml.Quoted(s))
		return "", v
	}
	return s, v
}

func (o fields) watchlist() Watchlist {
	w := Watchlist{Top: DefaultTop}
	w.Timezone, _ = o.Zone("timezone")
	o.when(&w)
	top, topOK := o.Integer("top", 1, fastmoss.MaxDepth)
	if topOK {
		w.Top = int(top)
	}
	margin, _ := o.Integer("margin", 0, fastmoss.MaxDepth-1)
	w.Margin = int(margin)
	if w.Top+w.Margin > fastmoss.MaxDepth {
		// The mistake is in the upper layer: what it says does not go with what the
		// lower one says.
		key := "margin"
		if topOK && o.Has("top") < o.Has("margin") {
			key = "top"
		}
		v, _ := o.Get(key)
		v.Add("top %d and margin %d make %d; the source shows %d places at most, so lower one of them",
			w.Top, w.Margin, w.Top+w.Margin, fastmoss.MaxDepth)
	}
	w.Filter = o.filter()
	w.Period = o.period()
	w.Rules = o.rules()
	w.Rules.Top, w.Rules.Margin = int32(w.Top), int32(w.Margin)
	if s, _ := o.Choice("rollover", RolloverCompare.String(), RolloverReset.String()); s == RolloverReset.String() {
		w.Rollover = RolloverReset
	}
	s, _ := o.Choice("baseline", "silent", "announce")
	w.Announce = s == "announce"
	w.Guard = o.guard()
	return w
}

// when reads every and cron, of which the upper layer's replaces the lower's.
func (o fields) when(w *Watchlist) {
	w.Every = DefaultEvery
	_, hasEvery := o.Get("every")
	cron, hasCron := o.Get("cron")
	switch {
	case hasEvery && hasCron && o.Has("every") == o.Has("cron"):
		cron.Add("every and cron are both set; keep one of them")
	case hasCron && (!hasEvery || o.Has("cron") < o.Has("every")):
		o.cron(w)
	case hasEvery:
		if e, ok := o.Duration("every", MinEvery, MaxEvery); ok {
			w.Every = e
		}
	}
}

func (o fields) cron(w *Watchlist) {
	s, v, ok := o.Text("cron", `"0 9 * * *"`)
	if !ok {
		return
	}
	schedule, err := parseCron(s)
	if err != nil {
		v.Add("%s is not a cron schedule: %s; write five fields: minute, hour, day of month, month, day of week, as in \"0 9 * * 1-5\"",
			strictyaml.Quoted(s), err)
		return
	}
	w.Every, w.Cron, w.schedule = 0, s, schedule
}

func (o fields) rules() diff.Rules {
	r := diff.Rules{MinPlaces: 1, MinChange: 1, DropAfter: 1}
	if s, _ := o.Choice("ties", diff.Shared.String(), diff.Ordinal.String()); s == diff.Ordinal.String() {
		r.Ties = diff.Ordinal
	}
	o, ok := o.sub("rules", ruleKeys())
	if !ok {
		return r
	}
	if m, ok := o.sub("moved", movedKeys()); ok {
		if n, ok := m.Integer("min_places", 1, fastmoss.MaxDepth); ok {
			r.MinPlaces = int32(n)
		}
		r.IgnoreDisplaced, _ = m.Boolean("ignore_displaced")
	}
	if m, ok := o.sub("index", indexKeys()); ok {
		if n, ok := m.Integer("min_change", 1, math.MaxInt64); ok {
			r.MinChange = n
		}
	}
	if m, ok := o.sub("dropped", droppedKeys()); ok {
		if n, ok := m.Integer("after", 1, maxAfter); ok {
			r.DropAfter = int32(n)
		}
	}
	return r
}

func (o fields) guard() Guard {
	g := Guard{MaxLoss: DefaultMaxLoss, Confirm: DefaultConfirm}
	o, ok := o.sub("guard", guardKeys())
	if !ok {
		return g
	}
	if f, v, ok := o.Number("max_loss"); ok {
		if f > 0 && f <= 1 {
			g.MaxLoss = f
		} else {
			v.Add("this is %s; use a share above 0 and up to 1, such as 0.5", v.Words())
		}
	}
	if n, ok := o.Integer("confirm", 1, maxConfirm); ok {
		g.Confirm = int(n)
	}
	return g
}
