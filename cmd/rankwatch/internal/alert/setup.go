package alert

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/config"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/words"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
)

// route is nil if there is none of that name. The name that the configuration
// gives a route is that of the first of its targets.
func (s *setup) route(name string) *digest.Route {
	i := slices.IndexFunc(s.Routes, func(r digest.Route) bool { return r.Name == name })
	if i < 0 {
		i = slices.IndexFunc(s.Routes, func(r digest.Route) bool { return r.Name == config.RouteName(name, r.Target) })
	}
	if i < 0 {
		return nil
	}
	return &s.Routes[i]
}

func (s *setup) routes() []string {
	return names(s.Routes)
}

func (s *setup) targets() []string { return slices.Sorted(maps.Keys(s.Targets)) }

// tryLimit bounds one attempt to send a sample or a parked message.
const tryLimit = time.Minute

// try sends a sample to a target, or to all, and says what came of it.
func try(ctx context.Context, set *setup, target string, out io.Writer) error {
	failed := 0
	names := set.targets()
	if target != "" {
		names = []string{target}
	}
	width := 0
	for _, n := range names {
		width = max(width, text.Cells(n))
	}
	for _, name := range names {
		once, cancel := context.WithTimeout(ctx, tryLimit)
		err := set.Targets[name].Send(once, sample(name))
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted at target %s", name)
		}
		said := "ok"
		if err != nil {
			failed++
			said = text.Printable(strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		if _, err := fmt.Fprintf(out, "%s  %s\n", text.Fill(name, width), said); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s took no sample", failed, text.Some(len(names), "target"))
	}
	return nil
}

// sample is a made-up message for a route or a target.
func sample(route string) *digest.Message {
	now := time.Now()
	m := words.Sample(now)
	m.ID, m.Route = fmt.Sprintf("sample/%d", now.UnixMilli()), route // receivers drop what they have seen
	return m
}
