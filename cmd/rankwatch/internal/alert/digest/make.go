package digest

import (
	"slices"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// DefaultCap is how many events a message shows unless the route says otherwise.
const DefaultCap = 20

// Make puts the items that a route takes into one message, nil if it takes
// nothing of them. Of more changes than the cap, those are shown that matter
// most, in the order in which they were published; sections share the cap
// evenly. spent is what a delivery spends of the route's cooldown, if it has
// one: the keys of all changes in the message, shown or not, each once.
func (r *Route) Make(items []Item, cool Cooldown, now time.Time) (m *Message, spent []string) {
	m = &Message{Route: r.Name, Template: r.Template}
	var ids []string
	var taken [][]text.Change
	met := map[string]bool{}
	for _, it := range items {
		if it.Notice != nil {
			if r.Notice(it.Notice).Taken {
				m.Notices = append(m.Notices, *it.Notice)
				ids = append(ids, it.ID())
			}
			continue
		}
		var changes []text.Change
		for i := range it.Reading.Changes {
			if c := &it.Reading.Changes[i]; r.Change(c, cool, now).Taken {
				changes = append(changes, *c)
				if key := CooldownKey(c); r.Cooldown > 0 && !met[key] {
					met[key] = true
					spent = append(spent, key)
				}
			}
		}
		if len(changes) > 0 {
			m.Sections = append(m.Sections, Section{Reading: it.Reading})
			taken = append(taken, changes)
			ids = append(ids, it.ID())
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if m.ID = ids[0]; len(ids) > 1 {
		m.ID += ".." + ids[len(ids)-1]
	}
	limit := r.Cap
	if limit <= 0 {
		limit = DefaultCap
	}
	for i, share := range shares(limit, taken) {
		m.Sections[i].Shown, m.Sections[i].More = choose(taken[i], share)
	}
	return m, spent
}

// shares divides a cap over sections: what one does not need goes to the
// others; each shows at least one change.
func shares(limit int, taken [][]text.Change) []int {
	out := make([]int, len(taken))
	order := make([]int, len(taken))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(taken[a]) - len(taken[b]) })
	left := limit
	for n, i := range order {
		out[i] = max(min(len(taken[i]), left/(len(order)-n)), 1)
		left = max(left-out[i], 0)
	}
	return out
}

// choose keeps the n most telling changes, in their order, and counts the rest.
func choose(changes []text.Change, n int) (shown []text.Change, more event.Counts) {
	if len(changes) <= n {
		return changes, more
	}
	order := make([]int, len(changes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return weight(&changes[b]) - weight(&changes[a]) })
	keep := order[:n]
	slices.Sort(keep)
	for _, i := range keep {
		shown = append(shown, changes[i])
	}
	for i := range changes {
		if _, ok := slices.BinarySearch(keep, i); ok {
			continue
		}
		more.Add(changes[i].Kind)
	}
	return shown, more
}

// weight says how telling a change is: who came or went, the better the rank
// the more; then who moved far; then the rest.
func weight(c *text.Change) int {
	const step = 10_000
	near := max(step-best(c), 0)
	switch c.Kind {
	case event.Entered, event.Dropped:
		return 2*step + near
	case event.Moved:
		return step + min(abs(c.Places), step-1)
	}
	return near / 2
}

// A Decision is what became of one event on one route, for people who ask.
type Decision struct {
	ID      string // of the event
	Subject string // who or what it is about
	Kind    event.Kind
	Route   string
	Verdict Verdict
}

// Explain tells what each route makes of an item.
func Explain(routes []Route, it Item, now time.Time) []Decision {
	var out []Decision
	for i := range routes {
		r := &routes[i]
		if it.Notice != nil {
			out = append(out, Decision{ID: it.ID(), Subject: it.Notice.Status, Kind: event.Status, Route: r.Name, Verdict: r.Notice(it.Notice)})
			continue
		}
		for k := range it.Reading.Changes {
			c := &it.Reading.Changes[k]
			out = append(out, Decision{
				ID: it.ID() + "/" + string(c.Kind) + "/" + event.EscapeUID(c.Creator.UID), Subject: text.Name(c.Creator),
				Kind: c.Kind, Route: r.Name, Verdict: r.Change(c, nil, now),
			})
		}
	}
	return out
}

// DefaultRoutes are those without a configuration: who came and went, who moved
// by 5 places or more by passing or being passed, and every status.
func DefaultRoutes(target string) []Route {
	return []Route{
		{Name: "changes", Target: target, Match: Match{
			Kinds: []event.Kind{event.Entered, event.Dropped, event.Moved}, MinPlaces: 5, SkipDisplaced: true,
		}},
		{Name: "statuses", Target: target, Match: Match{Kinds: []event.Kind{event.Status}}},
	}
}
