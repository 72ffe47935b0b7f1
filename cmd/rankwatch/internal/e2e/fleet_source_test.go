package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// A fleetSource serves lists that change, and remembers every call. What a list
// looks like depends on nothing but its category and its version, so that many
// of them take no room.
type fleetSource struct {
	*httptest.Server
	mu     sync.Mutex
	random *rand.Rand
	frozen bool
	lists  map[int]*fleetList // by category
	calls  []time.Time
	more   chan struct{} // closed at the next call
	wrong  []string
}

type fleetList struct {
	category int
	long     bool // takes two pages
	version  int
	last     time.Time
	reads    []time.Time // of page 1
	shown    []time.Time // first, by version
}

// resting is how long a list of several pages rests before it changes: a scan must
// not see two.
const resting = time.Second

// changes is how many of a hundred readings find another list.
const changes = 40

func newFleetSource(t *testing.T, seed uint64) *fleetSource {
	t.Helper()
	s := &fleetSource{random: rand.New(rand.NewPCG(seed, 9)), lists: map[int]*fleetList{}, more: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		for _, w := range s.wrong {
			t.Errorf("source: %s", w)
		}
	})
	return s
}

func (s *fleetSource) add(category int, long bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists[category] = &fleetList{category: category, long: long}
}

// versions is how far apart categories' clocks are.
const versions = 1_000_000

// shows is a list as it is served: its clock says of which category and version
// it is.
func shows(category, version int, long bool) reading {
	n := 14
	if long {
		n = 115
	}
	rows := []item{made(clock, int64(clockStart+category*versions+version), version, "US")}
	for k := range n {
		seed := func(what int) uint64 { return hash(category, k, what) }
		if hash(category, k, version/5)%17 == 0 {
			continue // not listed for a while
		}
		pace := 1 + int(seed(0)%7)
		index := int64(100+seed(1)%30) + int64(hash(category, k, "index", version/pace)%9)
		rows = append(rows, made(fmt.Sprintf(spellings[k%len(spellings)], 10+k), index, version, "US"))
	}
	slices.SortStableFunc(rows, func(a, b item) int { return cmp.Compare(b.Index, a.Index) })
	return reading{rows: rows, total: len(rows), period: period{Type: "month", Value: "2026-03"}}
}

func (s *fleetSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var q apiRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Header.Get("Authorization") != "Bearer "+token {
		answer(w, 30001, nil)
		return
	}
	s.mu.Lock()
	s.calls = append(s.calls, at)
	l := s.lists[q.Filter.Category]
	if l == nil {
		s.wrong = append(s.wrong, fmt.Sprintf("category %d", q.Filter.Category))
		s.mu.Unlock()
		answer(w, 20001, nil)
		return
	}
	l.turn(s, q.Page, at)
	show := shows(l.category, l.version, l.long)
	close(s.more)
	s.more = make(chan struct{})
	s.mu.Unlock()
	rows := []any{}
	for i := (q.Page - 1) * q.PageSize; i < min(q.Page*q.PageSize, len(show.rows)); i++ {
		rows = append(rows, show.rows[i].row())
	}
	answer(w, 0, map[string]any{"list": rows, "total": show.total, "date_type": show.period.Type, "date_value": show.period.Value})
}

// turn notes a call, and may change the list before it.
func (l *fleetList) turn(s *fleetSource, page int, at time.Time) {
	rested := at.Sub(l.last) >= resting || !l.long
	if page == 1 {
		if rested && !s.frozen && len(l.reads) > 0 && s.random.IntN(100) < changes {
			l.version++
		}
		if l.version == len(l.shown) {
			l.shown = append(l.shown, at)
		}
		if rested {
			l.reads = append(l.reads, at)
		}
	}
	l.last = at
}

// freeze ends all changes.
func (s *fleetSource) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = true
}

func (s *fleetSource) version(category int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists[category].version
}

// read waits until every list has been read after a time. It returns how long
// after that the last one was.
func (s *fleetSource) read(after time.Time, within time.Duration, categories []int) (worst time.Duration, err error) {
	end := time.After(within)
	for {
		s.mu.Lock()
		more := s.more
		missing := 0
		var example int
		worst = 0
		for _, c := range categories {
			reads := s.lists[c].reads
			i, _ := slices.BinarySearchFunc(reads, after, time.Time.Compare)
			if i == len(reads) {
				missing++
				example = c
				continue
			}
			worst = max(worst, reads[i].Sub(after))
		}
		s.mu.Unlock()
		if missing == 0 {
			return worst, nil
		}
		select {
		case <-more:
		case <-end:
			return within, fmt.Errorf("%d of %d lists not read, such as %d", missing, len(categories), example)
		}
	}
}

// called waits for so many more calls.
func (s *fleetSource) called(n int, within time.Duration) error {
	end := time.After(within)
	s.mu.Lock()
	upTo := len(s.calls) + n
	for len(s.calls) < upTo {
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-end:
			return fmt.Errorf("no %d calls within %v", n, within)
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return nil
}

// gap is the longest time that one of the lists went without a reading since a
// time.
func (s *fleetSource) gap(since time.Time, categories []int) (worst time.Duration, category int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range categories {
		reads := s.lists[c].reads
		for i := 1; i < len(reads); i++ {
			if d := reads[i].Sub(reads[i-1]); reads[i].After(since) && d > worst {
				worst, category = d, c
			}
		}
	}
	return worst, category
}

// busiest is the most calls within any second since a time, and when it ends.
func (s *fleetSource) busiest(since time.Time) (most int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := slices.SortedFunc(slices.Values(s.calls), time.Time.Compare)
	from := 0
	for i, c := range calls {
		for c.Sub(calls[from]) >= time.Second {
			from++
		}
		if i-from+1 > most && c.After(since) {
			most, at = i-from+1, c
		}
	}
	return most, at
}

func (s *fleetSource) count() (calls, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lists {
		reads += len(l.reads)
	}
	return len(s.calls), reads
}
