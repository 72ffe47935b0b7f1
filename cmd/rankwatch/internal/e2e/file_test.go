package e2e

import (
	"fmt"
	"strings"
)

// entry writes a watchlist for the file. Extra lines are added as they are.
func entry(name, region string, category int, r rules, extra ...string) string {
	ties := "shared"
	if r.ordinal {
		ties = "ordinal"
	}
	baseline, rollover := "silent", "compare"
	if r.announce {
		baseline = "announce"
	}
	if r.reset {
		rollover = "reset"
	}
	lines := []string{
		"  - name: " + name,
		"    every: 1s",
		fmt.Sprintf("    top: %d", r.top),
		fmt.Sprintf("    margin: %d", r.margin),
		fmt.Sprintf("    filter: {region: %s, creator_category_id: %d}", region, category),
		"    ties: " + ties,
		"    baseline: " + baseline,
		"    rollover: " + rollover,
		fmt.Sprintf("    rules: {moved: {min_places: %d, ignore_displaced: %t}, index: {min_change: %d}, dropped: {after: %d}}",
			r.minPlaces, r.ignoreDisplaced, r.minChange, r.after),
	}
	if !strings.Contains(strings.Join(extra, "\n"), "period:") {
		lines = append(lines, `    period: {type: month, value: "2026-03"}`)
	}
	if !strings.Contains(strings.Join(extra, "\n"), "guard:") {
		lines = append(lines, "    guard: {max_loss: 1, confirm: 1}")
	}
	for _, e := range extra {
		lines = append(lines, "    "+e)
	}
	return strings.Join(lines, "\n") + "\n"
}

func file(entries ...string) string { return "watchlists:\n" + strings.Join(entries, "") }
