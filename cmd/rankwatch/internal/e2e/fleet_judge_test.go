package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// judge holds all that the stream has against the source and the oracle.
func (f *fleet) judge(stored []sent) {
	f.t.Helper()
	of := map[string][]sent{}
	statuses := map[string][]message{}
	ids := map[string]bool{}
	for _, m := range stored {
		tokens := strings.Split(m.subject, ".")
		d, err := decode(m)
		if err != nil {
			f.t.Error(err)
			continue
		}
		if ids[d.ID] {
			f.t.Errorf("id %s twice", d.ID)
		}
		ids[d.ID] = true
		if tokens[3] == "status" {
			statuses[tokens[2]] = append(statuses[tokens[2]], d)
			continue
		}
		of[tokens[2]] = append(of[tokens[2]], m)
	}
	boards, events := 0, 0
	for _, name := range slices.Sorted(maps.Keys(of)) {
		j := fleetJudge{f: f, name: name}
		if err := j.follow(of[name]); err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
		boards, events = boards+j.boards, events+j.events
		category, wanted := f.reads[name]
		if wanted && (j.category != category || j.version != f.source.version(category)) {
			f.t.Errorf("%s ends at version %d of category %d, the source is at %d of %d", name, j.version, j.category, f.source.version(category), category)
		}
		f.judgeStatuses(name, statuses[name], wanted)
		delete(statuses, name)
	}
	for name := range f.reads {
		if of[name] == nil {
			f.t.Errorf("%s: nothing published", name)
		}
	}
	for name, all := range statuses {
		for _, s := range all {
			f.t.Errorf("%s: status %s (%s)", name, s.Data.Status, s.Data.Detail)
		}
	}
	f.report = append(f.report, fmt.Sprintf("%d boards, %d events", boards, events))
}

// judgeStatuses: nothing is told of faults that are not the source's. What was
// removed is told once.
func (f *fleet) judgeStatuses(name string, all []message, wanted bool) {
	f.t.Helper()
	var told []string
	for _, s := range all {
		told = append(told, s.Data.Status)
	}
	switch {
	case wanted && len(told) > 0:
		f.t.Errorf("%s: statuses %q: %s", name, told, all[0].Data.Detail)
	case !wanted && !slices.Equal(told, []string{"retired"}):
		f.t.Errorf("%s was removed: statuses %q, want one, retired", name, told)
	}
}

// A fleetJudge follows one watchlist's messages.
type fleetJudge struct {
	f                 *fleet
	name              string
	category, version int
	boards, events    int
}

func (j *fleetJudge) follow(messages []sent) error {
	var w *watch
	last := -1
	from := 0
	for i, m := range messages {
		if !strings.HasSuffix(m.subject, ".board") {
			j.events++
			continue
		}
		j.boards++
		n, err := generation(m)
		if err != nil {
			return err
		}
		if n < last {
			return fmt.Errorf("list %d after list %d", n, last)
		}
		category := n / versions
		long := j.f.long[category]
		if w == nil {
			w = &watch{name: j.name, oracle: newOracle(fleetRules(long)), checker: newChecker("rankwatch", j.name, "US")}
			w.checker.exact = false
		} else if category != j.category {
			w.oracle.configure(fleetRules(long), "config")
		}
		if err := j.served(m, category, n%versions); err != nil {
			return err
		}
		j.category, j.version, last = category, n%versions, n
		w.got = make(chan sent, i+1-from)
		for _, m := range messages[from : i+1] {
			w.got <- m
		}
		from = i + 1
		wanted := w.oracle.step(shows(j.category, j.version, long))
		if len(wanted) != len(w.got) {
			return fmt.Errorf("list %d (%s): %d messages, want %d", n, m.subject, len(w.got), len(wanted))
		}
		if err := w.expect(wanted); err != nil {
			return fmt.Errorf("list %d: %w", n, err)
		}
	}
	if from != len(messages) {
		return fmt.Errorf("%d messages that no board closes", len(messages)-from)
	}
	return nil
}

// served holds a board against what the source had served by then.
func (j *fleetJudge) served(m sent, category, version int) error {
	d, err := decode(m)
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, d.Data.FetchedAt)
	if err != nil {
		return err
	}
	j.f.source.mu.Lock()
	defer j.f.source.mu.Unlock()
	l := j.f.source.lists[category]
	switch {
	case l == nil || version > l.version:
		return fmt.Errorf("%s: version %d of category %d was never served", d.ID, version, category)
	case at.Before(l.shown[version].Add(-time.Second)):
		return fmt.Errorf("%s: version %d fetched at %v, first served at %v", d.ID, version, at, l.shown[version])
	case version+1 < len(l.shown) && at.After(l.shown[version+1].Add(j.f.ackWait)):
		return fmt.Errorf("%s: version %d fetched at %v, the next one was served at %v", d.ID, version, at, l.shown[version+1])
	}
	return nil
}
