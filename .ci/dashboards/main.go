// Dashboards checks that every query of the Grafana dashboard and of the alerts
// can be parsed, and names only metrics and labels that a worker has. It has a
// module of its own so that Prometheus is none of rankwatch's dependencies.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"
)

// standard are metrics of Prometheus itself and of the client library that are
// used. They have no labels of their own.
var standard = []string{
	"up", "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
	"process_max_fds", "go_goroutines", "go_memstats_heap_inuse_bytes",
}

// everywhere are the labels that Prometheus, or its operator, adds to a target's
// series.
var everywhere = []string{"job", "instance", "pod", labels.MetricName}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: dashboards METRICS.TXT DASHBOARD.JSON RULES.YAML")
		os.Exit(2)
	}
	n, err := check(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d queries name what there is\n", n)
}

func check(metrics, dashboard, rules string) (int, error) {
	c, err := load(metrics)
	if err != nil {
		return 0, err
	}
	queries, err := panels(dashboard)
	if err != nil {
		return 0, err
	}
	alerts, err := expressions(rules)
	if err != nil {
		return 0, err
	}
	if len(queries) == 0 || len(alerts) == 0 {
		return 0, fmt.Errorf("%d queries in the dashboard and %d alerts: found none to check", len(queries), len(alerts))
	}
	var all []error
	for _, q := range append(queries, alerts...) {
		for _, e := range c.query(q.expr) {
			all = append(all, fmt.Errorf("%s: %w\n  %s", q.where, e, q.expr))
		}
	}
	return len(queries) + len(alerts), errors.Join(append(all, c.forgotten()...)...)
}

// A catalog has the labels of each metric, without the standard ones of a target.
type catalog struct {
	labels map[string][]string
	types  map[string]string
	used   map[string]bool
}

func load(path string) (*catalog, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &catalog{labels: map[string][]string{}, types: map[string]string{}, used: map[string]bool{}}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("%s: not name, type, labels and help: %q", path, line)
		}
		var own []string
		if f[2] != "" {
			own = strings.Split(f[2], ",")
		}
		c.types[f[0]] = f[1]
		if f[1] != "histogram" {
			c.labels[f[0]] = own
			continue
		}
		for suffix, more := range map[string][]string{"_bucket": {"le"}, "_sum": nil, "_count": nil} {
			c.labels[f[0]+suffix] = append(slices.Clone(own), more...)
		}
	}
	for _, name := range standard {
		c.labels[name] = nil
	}
	return c, nil
}

// forgotten are metrics of the worker that neither a panel nor an alert shows.
func (c *catalog) forgotten() []error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(c.types)) {
		if !c.used[name] && !c.used[name+"_bucket"] {
			all = append(all, fmt.Errorf("%s: no query uses it", name))
		}
	}
	return all
}

func (c *catalog) query(text string) []error {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(replaceVariables(text))
	if err != nil {
		return []error{err}
	}
	var all []error
	parser.Inspect(expr, func(n parser.Node, path []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			all = append(all, c.selector(n)...)
			all = append(all, c.function(n, path)...)
		case *parser.AggregateExpr:
			all = append(all, c.group(n.Expr, n.Grouping)...)
		case *parser.BinaryExpr:
			if m := n.VectorMatching; m != nil {
				all = append(all, c.group(n, slices.Concat(m.MatchingLabels, m.Include))...)
			}
		}
		return nil
	})
	return all
}

func (c *catalog) selector(n *parser.VectorSelector) []error {
	own, known := c.labels[n.Name]
	if !known {
		return []error{fmt.Errorf("there is no metric %q", n.Name)}
	}
	c.used[n.Name] = true
	var all []error
	for _, m := range n.LabelMatchers {
		if !slices.Contains(own, m.Name) && !slices.Contains(everywhere, m.Name) {
			all = append(all, fmt.Errorf("%s has no label %q", n.Name, m.Name))
		}
	}
	return all
}

// function holds rates against types: a rate of a gauge is a mistake.
func (c *catalog) function(n *parser.VectorSelector, path []parser.Node) []error {
	for _, p := range slices.Backward(path) {
		call, ok := p.(*parser.Call)
		if !ok {
			continue
		}
		if slices.Contains([]string{"rate", "increase", "irate"}, call.Func.Name) && c.types[n.Name] == "gauge" {
			return []error{fmt.Errorf("%s of the gauge %s", call.Func.Name, n.Name)}
		}
		return nil
	}
	return nil
}

// group checks labels that several series are brought together by: one of those
// below has to have each.
func (c *catalog) group(below parser.Node, names []string) []error {
	have := slices.Clone(everywhere)
	parser.Inspect(below, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			have = append(have, c.labels[v.Name]...)
		}
		return nil
	})
	var all []error
	for _, name := range names {
		if !slices.Contains(have, name) {
			all = append(all, fmt.Errorf("grouped by %q, which no series has", name))
		}
	}
	return all
}

// Grafana's variables, as what a browser would put there.
var (
	interval = regexp.MustCompile(`\$(__rate_interval|__interval|__range)\b`)
	number   = regexp.MustCompile(`\$price\b`)
)

func replaceVariables(q string) string {
	return number.ReplaceAllString(interval.ReplaceAllString(q, "5m"), "0.14")
}

type query struct{ where, expr string }

type panel struct {
	Title   string
	Type    string
	Targets []struct{ Expr string }
	Panels  []panel
}

// panels are the queries of a dashboard's panels and variables.
func panels(path string) ([]query, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d struct {
		UID        string
		Panels     []panel
		Templating struct {
			List []struct {
				Name, Type string
				Definition string
			}
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if d.UID == "" {
		return nil, fmt.Errorf("%s: no uid", path)
	}
	var out []query
	var bad []error
	var walk func([]panel)
	walk = func(all []panel) {
		for _, p := range all {
			walk(p.Panels)
			if len(p.Targets) == 0 && p.Type != "row" && p.Type != "text" {
				bad = append(bad, fmt.Errorf("panel %q has no query", p.Title))
			}
			for _, t := range p.Targets {
				out = append(out, query{"panel " + p.Title, t.Expr})
			}
		}
	}
	walk(d.Panels)
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			expr, err := labelValues(v.Definition)
			bad = append(bad, err)
			out = append(out, query{"variable " + v.Name, expr})
		}
	}
	return out, errors.Join(bad...)
}

var values = regexp.MustCompile(`^label_values\((.+), *([a-z_]+)\)$`)

// labelValues writes Grafana's function as PromQL.
func labelValues(s string) (string, error) {
	m := values.FindStringSubmatch(s)
	if m == nil {
		return "", fmt.Errorf("not label_values(series, label): %q", s)
	}
	return fmt.Sprintf("count by (%s) (%s)", m[2], m[1]), nil
}

func expressions(path string) ([]query, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f struct {
		Groups []struct {
			Rules []struct{ Alert, Record, Expr string }
		}
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []query
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			out = append(out, query{"rule " + r.Alert + r.Record, r.Expr})
		}
	}
	return out, nil
}
