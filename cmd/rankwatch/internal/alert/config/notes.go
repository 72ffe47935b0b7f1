package config

import (
	"fmt"
	"path"
	"slices"

	"github.com/rankwatch/rankwatch/watcher"
)

// Notes tell what is no mistake and may surprise: routes that none of the
// watchlists can bring anything, and targets without a route.
func (c *Config) Notes(lists []watcher.Watchlist) []string {
	var notes []string
	add := func(format string, args ...any) {
		if n := fmt.Sprintf(format, args...); !slices.Contains(notes, n) {
			notes = append(notes, n)
		}
	}
	used := map[string]bool{}
	for i := range c.Routes {
		r := &c.Routes[i]
		used[r.Target] = true
		for _, pattern := range r.Match.Watchlists {
			if !slices.ContainsFunc(lists, func(w watcher.Watchlist) bool { ok, err := path.Match(pattern, w.Name); return ok && err == nil }) {
				add("route %s: no watchlist is called %s", r.Name, pattern)
			}
		}
		for _, region := range r.Match.Regions {
			if !slices.ContainsFunc(lists, func(w watcher.Watchlist) bool { return w.Region() == region }) {
				add("route %s: no watchlist has the region %s", r.Name, region)
			}
		}
	}
	for _, t := range c.Targets {
		if !used[t.Name] {
			add("no route goes to target %s", t.Name)
		}
	}
	return notes
}
