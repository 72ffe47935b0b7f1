package watcher

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
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
	d := newYAMLDecoder()
	var lists []Watchlist
	if root, ok := d.document(data); ok {
		lists = d.file(root)
	}
	if err := d.err(name); err != nil {
		return nil, err
	}
	return lists, nil
}

func (d *yamlDecoder) file(root yamlValue) []Watchlist {
	l := d.layer(root, fileKeys())
	if l == nil {
		return nil
	}
	o := yamlObject{d: d, layers: []*yamlLayer{l}}
	var defaults *yamlLayer
	if v, ok := o.get("defaults"); ok {
		if defaults = d.layer(v, defaultKeys()); defaults != nil {
			// On their own first, so that their mistakes have their own names, also
			// when every watchlist overrides them.
			d.watchlist(yamlObject{d: d, layers: []*yamlLayer{defaults}})
		}
	}
	if o.has("watchlists") < 0 {
		d.add(l.at, "", emptyFile)
		return nil
	}
	v, ok := o.get("watchlists")
	if !ok {
		if v.node != nil {
			d.add(v.at(), v.path, emptyFile)
		}
		return nil
	}
	seq, ok := v.node.(*ast.SequenceNode)
	if !ok {
		d.add(v.at(), v.path, "this is %s; write a list, each entry beginning with `- name:`", nodeWords(v.node))
		return nil
	}
	if len(seq.Values) == 0 {
		d.add(v.at(), v.path, emptyFile)
	}
	return d.list(seq, defaults)
}

func (d *yamlDecoder) list(seq *ast.SequenceNode, defaults *yamlLayer) []Watchlist {
	lists := make([]Watchlist, 0, len(seq.Values))
	type taken struct {
		path string
		line int
	}
	names := make(map[string]taken, len(seq.Values))
	for i, n := range seq.Values {
		path := fmt.Sprintf("watchlists[%d]", i)
		l := d.layer(d.resolve(n, path), watchlistKeys())
		if l == nil {
			continue
		}
		o := yamlObject{d: d, layers: []*yamlLayer{l}}
		name, at := o.name()
		if first, ok := names[name]; ok && name != "" {
			d.add(at, path+".name", "the name %q is taken by %s in line %d; names are unique", name, first.path, first.line)
		} else if name != "" {
			names[name] = taken{path, at.Position.Line}
		}
		if defaults != nil {
			o.layers = append(o.layers, defaults)
		}
		w := d.watchlist(o)
		w.Name = name
		lists = append(lists, w)
	}
	return lists
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (o yamlObject) name() (string, *token.Token) {
	s, v, ok := o.text("name", `"us-beauty"`)
	if _, null := v.node.(*ast.NullNode); null || o.has("name") < 0 {
		o.d.add(o.at(), o.path(), "the name is missing; add one, as in `name: us-beauty`")
	}
	if !ok {
		return "", nil
	}
	if !namePattern.MatchString(s) {
		o.d.add(v.at(), v.path, "the name is %s; use 1 to 63 of a-z, 0-9 and -, not beginning with -", quoted(s))
		return "", nil
	}
	return s, v.at()
}

func (d *yamlDecoder) watchlist(o yamlObject) Watchlist {
	w := Watchlist{Top: DefaultTop}
	w.Timezone = o.timezone()
	o.when(&w)
	top, topOK := o.integer("top", 1, fastmoss.MaxDepth)
	if topOK {
		w.Top = int(top)
	}
	margin, _ := o.integer("margin", 0, fastmoss.MaxDepth-1)
	w.Margin = int(margin)
	if w.Top+w.Margin > fastmoss.MaxDepth {
		// The mistake is in the upper layer: what it says does not go with what the
		// lower one says.
		key := "margin"
		if topOK && o.has("top") < o.has("margin") {
			key = "top"
		}
		v, _ := o.get(key)
		d.add(v.at(), v.path, "top %d and margin %d make %d; the source shows %d places at most, so lower one of them",
			w.Top, w.Margin, w.Top+w.Margin, fastmoss.MaxDepth)
	}
	w.Filter = o.filter()
	w.Period = o.period()
	w.Rules = o.rules()
	w.Rules.Top, w.Rules.Margin = int32(w.Top), int32(w.Margin)
	if s, _ := o.choice("rollover", RolloverCompare.String(), RolloverReset.String()); s == RolloverReset.String() {
		w.Rollover = RolloverReset
	}
	s, _ := o.choice("baseline", "silent", "announce")
	w.Announce = s == "announce"
	w.Guard = o.guard()
	return w
}

// when reads every and cron, of which the upper layer's replaces the lower's.
func (o yamlObject) when(w *Watchlist) {
	w.Every = DefaultEvery
	every, hasEvery := o.get("every")
	cron, hasCron := o.get("cron")
	switch {
	case hasEvery && hasCron && o.has("every") == o.has("cron"):
		o.d.add(cron.at(), cron.path, "every and cron are both set; keep one of them")
	case hasCron && (!hasEvery || o.has("cron") < o.has("every")):
		o.cron(w)
	case hasEvery:
		o.every(w, every)
	}
}

func (o yamlObject) every(w *Watchlist, v yamlValue) {
	s, ok := scalarText(v.node)
	e, err := ParseDuration(s)
	switch {
	case !ok || err != nil:
		o.d.add(v.at(), v.path, "this is %s; write a number and a unit, such as 30s, 15m, 6h or 1d", nodeWords(v.node))
	case e < MinEvery || e > MaxEvery:
		o.d.add(v.at(), v.path, "%s is out of range; use 1s to 366d", quoted(s))
	default:
		w.Every = e
	}
}

func (o yamlObject) cron(w *Watchlist) {
	s, v, ok := o.text("cron", `"0 9 * * *"`)
	if !ok {
		return
	}
	schedule, err := parseCron(s)
	if err != nil {
		o.d.add(v.at(), v.path, "%s is not a cron schedule: %s; write five fields: minute, hour, day of month, month, day of week, as in \"0 9 * * 1-5\"",
			quoted(s), err)
		return
	}
	w.Every, w.Cron, w.schedule = 0, s, schedule
}

// A zone is a time zone, loaded once for all watchlists of a file; each load
// would cost some kilobytes.
type zone struct {
	loc *time.Location
	err error
}

func (o yamlObject) timezone() *time.Location {
	s, v, ok := o.text("timezone", "Asia/Shanghai")
	if !ok {
		return time.UTC
	}
	z, ok := o.d.zones[s]
	if !ok {
		if s == "" || strings.EqualFold(s, "local") {
			// Two workers would read it differently.
			z.err = errors.New("it names no place")
		} else {
			z.loc, z.err = time.LoadLocation(s)
		}
		o.d.zones[s] = z
	}
	if z.err != nil {
		o.d.add(v.at(), v.path, "%s is not a time zone; use a name of the IANA database, such as Asia/Shanghai or UTC", quoted(s))
		return time.UTC
	}
	return z.loc
}

func (o yamlObject) rules() diff.Rules {
	r := diff.Rules{MinPlaces: 1, MinChange: 1, DropAfter: 1}
	if s, _ := o.choice("ties", diff.Shared.String(), diff.Ordinal.String()); s == diff.Ordinal.String() {
		r.Ties = diff.Ordinal
	}
	o, ok := o.object("rules", ruleKeys())
	if !ok {
		return r
	}
	if m, ok := o.object("moved", movedKeys()); ok {
		if n, ok := m.integer("min_places", 1, fastmoss.MaxDepth); ok {
			r.MinPlaces = int32(n)
		}
		r.IgnoreDisplaced, _ = m.boolean("ignore_displaced")
	}
	if m, ok := o.object("index", indexKeys()); ok {
		if n, ok := m.integer("min_change", 1, math.MaxInt64); ok {
			r.MinChange = n
		}
	}
	if m, ok := o.object("dropped", droppedKeys()); ok {
		if n, ok := m.integer("after", 1, maxAfter); ok {
			r.DropAfter = int32(n)
		}
	}
	return r
}

func (o yamlObject) guard() Guard {
	g := Guard{MaxLoss: DefaultMaxLoss, Confirm: DefaultConfirm}
	o, ok := o.object("guard", guardKeys())
	if !ok {
		return g
	}
	if f, v, ok := o.number("max_loss"); ok {
		if f > 0 && f <= 1 {
			g.MaxLoss = f
		} else {
			o.d.add(v.at(), v.path, "this is %s; use a share above 0 and up to 1, such as 0.5", nodeWords(v.node))
		}
	}
	if n, ok := o.integer("confirm", 1, maxConfirm); ok {
		g.Confirm = int(n)
	}
	return g
}
