package e2e

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// calm is how long a feed whose readings scan it several times is left alone
// before it changes: far above the pause between scans, below that between
// readings.
const calm = 500 * time.Millisecond

// Each rule alone and some together, over the same small but lively list.
func TestRules(t *testing.T) {
	t.Parallel()
	variants := map[string]func(*rules){
		"plain":         func(*rules) {},
		"announce":      func(r *rules) { r.announce = true },
		"ordinal":       func(r *rules) { r.ordinal = true },
		"margin":        func(r *rules) { r.margin = 10 },
		"after-two":     func(r *rules) { r.after = 2 },
		"after-three":   func(r *rules) { r.after, r.margin = 3, 5 },
		"places":        func(r *rules) { r.minPlaces = 4 },
		"displaced":     func(r *rules) { r.ignoreDisplaced = true },
		"points":        func(r *rules) { r.minChange = 3 },
		"quiet":         func(r *rules) { r.minPlaces, r.minChange, r.ignoreDisplaced, r.after, r.margin = 3, 1000, true, 2, 10 },
		"quiet-ordinal": func(r *rules) { r.minPlaces, r.minChange, r.ordinal, r.margin = 2, 2, true, 10 },
	}
	var plans []plan
	samples := map[string]sample{}
	for name, change := range variants {
		r := defaultRules(80)
		change(&r)
		p := plan{name: name, rules: r, lists: lively(hash(name), 14, 130)}
		if name == "plain" {
			p.sample = samples
		}
		plans = append(plans, p)
	}
	lockstep(t, plans)
	for _, kind := range append([]string{"board"}, kindOrder...) {
		s, ok := samples[kind]
		if !ok {
			t.Errorf("no %s was published", kind)
			continue
		}
		s.corrupt(t)
	}
}

// lively lists change much: creators gone for one to three readings, lists of
// which only the figures and the order of ties change, lists that go on past
// what is read.
func lively(seed uint64, lists, people int) []reading {
	type absence struct {
		who   *person
		until int
	}
	random := rand.New(rand.NewPCG(seed, 3))
	w := newWorld(random, people, 12)
	var away []absence
	var out []reading
	for n := range lists {
		total := 0
		if n%5 == 3 {
			total = 500
		}
		out = append(out, w.reading(100, total))
		if n%4 == 2 {
			w.generation++
			continue
		}
		w.turn()
		away = slices.DeleteFunc(away, func(a absence) bool {
			if a.until <= n {
				w.people = append(w.people, a.who)
			}
			return a.until <= n
		})
		for range 3 {
			i := random.IntN(len(w.people))
			away = append(away, absence{who: w.people[i], until: n + 1 + random.IntN(3)})
			w.people = slices.Delete(w.people, i, i+1)
		}
	}
	return out
}
