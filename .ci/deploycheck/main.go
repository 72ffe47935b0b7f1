// Command deploycheck holds deploy/ against what reads it: the compose file
// against Compose's own loader, and each query of dashboard and rules against
// Prometheus' parser and the metrics that there are. Run it from the top.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"
)

func main() {
	if err := errors.Join(compose(), queries()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compose() error {
	o, err := cli.NewProjectOptions([]string{"deploy/compose.yaml"}, cli.WithoutEnvironmentResolution, cli.WithProfiles([]string{"*"}))
	if err != nil {
		return err
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		return err
	}
	var bad []error
	for name, s := range p.Services {
		if s.Image == "" || !strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest") {
			bad = append(bad, fmt.Errorf("compose: %s: image %q is not pinned", name, s.Image))
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			bad = append(bad, fmt.Errorf("compose: %s is not hardened", name))
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				bad = append(bad, fmt.Errorf("compose: %s publishes %s on %q", name, port.Published, port.HostIP))
			}
		}
	}
	fmt.Printf("deploy/compose.yaml: %d services, valid\n", len(p.Services))
	return errors.Join(bad...)
}

// given are metrics of the Go client library and of Prometheus itself.
var given = map[string][]string{"up": {}, "process_start_time_seconds": {}, "process_resident_memory_bytes": {}}

// known reads deploy/metrics.txt: a metric a line, with type, labels and help
// behind it, tabs between them.
func known() (map[string][]string, error) {
	data, err := os.ReadFile("deploy/metrics.txt")
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("deploy/metrics.txt: %q has not four fields", line)
		}
		out[f[0]] = strings.Split(f[2], ",")
	}
	if len(out) == 0 {
		return nil, errors.New("deploy/metrics.txt: no metrics in it")
	}
	return out, nil
}

func queries() error {
	all, err := known()
	if err != nil {
		return err
	}
	var exprs []string
	for _, read := range []func() ([]string, error){dashboard, rules} {
		some, err := read()
		if err != nil {
			return err
		}
		exprs = append(exprs, some...)
	}
	if len(exprs) < 30 {
		return fmt.Errorf("only %d queries found", len(exprs))
	}
	var bad []error
	p := parser.NewParser(parser.Options{})
	for _, e := range exprs {
		tree, err := p.ParseExpr(strings.NewReplacer("$__rate_interval", "5m", "$price", "1").Replace(e))
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", e, err))
			continue
		}
		bad = append(bad, check(tree, all, e))
	}
	fmt.Printf("dashboard and rules: %d queries over %d metrics\n", len(exprs), len(all))
	return errors.Join(bad...)
}

func check(tree parser.Expr, all map[string][]string, text string) error {
	var bad []error
	names := map[string]bool{}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		name, has := find(v.Name, all)
		if name == "" {
			bad = append(bad, fmt.Errorf("%s: no metric %s", text, v.Name))
			return nil
		}
		for _, l := range append(has, "instance", "job", "le") {
			names[l] = true
		}
		for _, m := range v.LabelMatchers {
			if m.Name != labels.MetricName && !slices.Contains(append(has, "instance", "job"), m.Name) {
				bad = append(bad, fmt.Errorf("%s: %s has no label %s", text, v.Name, m.Name))
			}
		}
		return nil
	})
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, l := range a.Grouping {
				if !names[l] {
					bad = append(bad, fmt.Errorf("%s: nothing has the label %s", text, l))
				}
			}
		}
		return nil
	})
	return errors.Join(bad...)
}

func find(name string, all map[string][]string) (string, []string) {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		base := strings.TrimSuffix(name, suffix)
		for _, m := range []map[string][]string{all, given} {
			if has, ok := m[base]; ok {
				return base, has
			}
		}
	}
	return "", nil
}

func dashboard() ([]string, error) {
	data, err := os.ReadFile("deploy/grafana/dashboards/rankwatch.json")
	if err != nil {
		return nil, err
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	var out []string
	for _, p := range d.Panels {
		if len(p.Targets) == 0 {
			return nil, fmt.Errorf("panel %s asks for nothing", p.Title)
		}
		for _, t := range p.Targets {
			out = append(out, t.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		out = append(out, a.Expr)
	}
	return out, nil
}

func rules() ([]string, error) {
	data, err := os.ReadFile("deploy/prometheus/rules.yaml")
	if err != nil {
		return nil, err
	}
	readme, err := os.ReadFile("deploy/README.md")
	if err != nil {
		return nil, err
	}
	var f struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	var out []string
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if !strings.Contains(string(readme), "\n#### "+r.Alert+"\n") {
				return nil, fmt.Errorf("deploy/README.md has no section %s", r.Alert)
			}
			out = append(out, r.Expr)
		}
	}
	return out, nil
}
