package e2e

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// A plan is one watchlist of a lockstep test: every list is shown until its
// messages are checked, then the next.
type plan struct {
	name  string
	rules rules
	lists []reading
	twice bool // lists with repeated ids, which a reading may scan again
	extra []string

	sample map[string]sample // see watch
}

// shortLists is how many lists of a plan are shown under the race detector.
const shortLists = 3

// lockstep runs a worker with an embedded server over all plans at once. Then
// its history is read: from the running worker, and from the data dir at rest.
func lockstep(t *testing.T, plans []plan) {
	t.Helper()
	source := newAPI(t)
	var watches []*watch
	var entries []string
	for i, p := range plans {
		f := source.feed("US", i+1, p.rules.depth())
		lists := p.lists
		if underRace {
			lists = lists[:min(len(lists), shortLists)]
		}
		for _, l := range lists {
			f.add(l)
		}
		if p.twice {
			f.calm = calm
		}
		w := &watch{name: p.name, feed: f, oracle: newOracle(p.rules), checker: newChecker("rankwatch", p.name, "US"), sample: p.sample}
		w.checker.exact = !p.twice
		watches = append(watches, w)
		entries = append(entries, entry(p.name, "US", i+1, p.rules, p.extra...))
	}
	s := newSetup(t, source.URL, file(entries...))
	worker := s.start(t)
	o := observe(t, worker.listening(t), "RANKWATCH", "rankwatch")
	source.open()
	var all sync.WaitGroup
	for _, w := range watches {
		w.got = o.messages(w.name)
		all.Go(func() {
			if err := w.run(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, w := range watches {
		t.Logf("%s: %d messages of %d revisions compared", w.name, w.compared, w.oracle.revision)
		if w.compared < len(w.feed.lists) {
			t.Errorf("%s: only %d messages for %d lists", w.name, w.compared, len(w.feed.lists))
		}
	}
	o.agree(t)
	s.proven(t, "live", o.stored)
	for i, w := range watches {
		if plain := defaultRules(plans[i].rules.top); plans[i].rules == plain && !plans[i].twice {
			s.net(t, w)
		}
	}
	worker.stop(t)
	s.proven(t, "at rest", o.stored)
	s.tampered(t, o.stored)
	s.cutOff(t, plans[0].name, plans[1].name)
}

// Real rankings, one day per reading, ids with / and . in them; read whole and
// cut off at the edge.
func TestRealRankings(t *testing.T) {
	t.Parallel()
	boards, err := rankings("../../../../../shared/data/github-go-rust-2026.csv.gz")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the real rankings are not here: ../shared/data/github-go-rust-2026.csv.gz beside the project")
	}
	if err != nil {
		t.Fatal(err)
	}
	cut := func(lists []reading) []reading {
		lists = slices.Clone(lists)
		for i := range lists {
			lists[i].total = 40000
		}
		return lists
	}
	keeping := defaultRules(60)
	keeping.margin, keeping.minPlaces, keeping.after, keeping.minChange = 20, 2, 2, 500
	ordinal := defaultRules(100)
	ordinal.ordinal = true
	lockstep(t, []plan{
		{name: "go", rules: defaultRules(100), lists: boards["Go"]},
		{name: "rust", rules: defaultRules(50), lists: boards["Rust"]},
		{name: "go-cut", rules: ordinal, lists: cut(boards["Go"])},
		{name: "rust-keeping", rules: keeping, lists: cut(boards["Rust"])},
	})
}

// rankings reads the lists of each board, by day.
func rankings(path string) (map[string][]reading, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	days := map[string]map[string][]item{}
	rows := csv.NewReader(z)
	for line := 1; ; line++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if line == 1 {
			continue // names of columns
		}
		score, err := strconv.ParseInt(row[4], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if days[row[0]] == nil {
			days[row[0]] = map[string][]item{}
		}
		days[row[0]][row[1]] = append(days[row[0]][row[1]], made(row[3], score, len(days[row[0]]), "US"))
	}
	out := map[string][]reading{}
	for board, lists := range days {
		for _, day := range slices.Sorted(maps.Keys(lists)) {
			rows := lists[day]
			out[board] = append(out[board], reading{rows: rows, total: len(rows), period: period{Type: "month", Value: "2026-03"}})
		}
	}
	return out, nil
}

// evolve makes lists of a made-up ranking. Some ids stand in it twice, for all
// of its generations.
func evolve(seed uint64, lists, people, depth, total, twice int) []reading {
	random := rand.New(rand.NewPCG(seed, 7))
	w := newWorld(random, people, people/20)
	for range twice {
		w.people[random.IntN(len(w.people))].twice = true
	}
	var out []reading
	for range lists {
		out = append(out, w.reading(depth, total))
		w.turn()
	}
	return out
}

// Boards of a thousand places, half of them tied, ids listed twice for weeks,
// the end in the middle of a tie.
func TestThousandPlaces(t *testing.T) {
	t.Parallel()
	margin := defaultRules(850)
	margin.margin, margin.after = 150, 2
	ordinal := defaultRules(1000)
	ordinal.ordinal = true
	n := 8
	if underRace {
		n = 2 // one change of a thousand places
	}
	lockstep(t, []plan{
		{name: "whole", rules: defaultRules(1000), lists: evolve(1, n, 990, 1000, 0, 0)},
		{name: "cut-off", rules: margin, lists: evolve(2, n, 1200, 1000, 5000, 0)},
		{name: "ordinal", rules: ordinal, lists: evolve(3, n, 900, 1000, 0, 0)},
		{name: "twice", rules: defaultRules(1000), lists: evolve(4, n, 960, 1000, 0, 30), twice: true},
		{name: "twice-cut-off", rules: defaultRules(800), lists: evolve(5, n, 1200, 1000, 3000, 30), twice: true},
	})
}
