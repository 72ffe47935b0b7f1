package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A world is a made-up ranking that changes by turns: half of it tied, with
// newcomers, leavers, climbers, ties in another order every turn, and ids that
// need escapes.
type world struct {
	random     *rand.Rand
	region     string
	generation int
	levels     int
	born       int
	people     []*person
}

type person struct {
	uid   string
	index int64
	twice bool // the source lists it a second time
}

func newWorld(random *rand.Rand, people, levels int) *world {
	w := &world{random: random, region: "US", levels: levels}
	for range people {
		w.people = append(w.people, w.birth())
	}
	return w
}

var spellings = []string{"67875806887977%05d", "%d", "owner/repo.%d", "50%% of %d", "*%d>", "tab\t%d", "ünïcode-%d", "%d.", "7%018d"}

func (w *world) birth() *person {
	w.born++
	return &person{uid: fmt.Sprintf(spellings[w.born%len(spellings)], w.born), index: w.level()}
}

// level is an index: half of the places are alone, half share few levels.
func (w *world) level() int64 {
	if w.random.IntN(2) == 0 {
		return int64(1000 + w.random.IntN(100000))
	}
	return int64(100 + w.random.IntN(w.levels))
}

// turn makes the next generation.
func (w *world) turn() {
	w.generation++
	for i, p := range w.people {
		switch w.random.IntN(40) {
		case 0:
			w.people[i] = w.birth()
		case 1:
			p.index = w.level()
		case 2, 3:
			p.index += int64(w.random.IntN(7) - 3)
		}
	}
}

// reading is the list down to a depth; total is what the source claims. Ids
// listed twice come again some places further down, on the same page or
// another, with the index that stands there; never as the last row, which decides
// about the edge.
func (w *world) reading(depth, total int) reading {
	w.random.Shuffle(len(w.people), func(i, j int) { w.people[i], w.people[j] = w.people[j], w.people[i] })
	slices.SortStableFunc(w.people, func(a, b *person) int { return cmp.Compare(b.index, a.index) })
	var rows []item
	for _, p := range w.people {
		rows = append(rows, made(p.uid, p.index, w.generation, w.region))
	}
	for i, p := range w.people {
		if p.twice {
			at := min(i+1+int(hash(p.uid)%150), depth-10, len(rows)-1)
			again := rows[slices.IndexFunc(rows, func(it item) bool { return it.UID == p.uid })]
			again.Index = rows[at].Index
			rows = slices.Insert(rows, at, again)
		}
	}
	rows = rows[:min(depth, len(rows))]
	return reading{rows: rows, total: max(total, len(rows)), period: period{Type: "month", Value: "2026-03"}}
}
