package simulator

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// WorldConfig says how a World lives.
type WorldConfig struct {
	Seed     uint64
	Start    time.Time      // when it begins to change
	Step     time.Duration  // between two changes; 0 is 30 s, less stands still
	Lag      time.Duration  // from a period's end to its publication
	Location *time.Location // of the periods; nil is UTC
	// Sizes replaces the numbers of creators by region, 0 to 20,000. By default
	// US has about 1400 and ID 1150, GB always 1000, the others fewer.
	Sizes map[string]int
}

const (
	defaultStep = 30 * time.Second
	maxRegion   = 20_000
	// keep is for how long a period can be had after its end.
	keep = 2 * 365 * 24 * time.Hour
	// maxSnapshots bounds what is remembered of past periods. A period that is
	// older than all of them shows the oldest.
	maxSnapshots = 64
	// maxLists bounds the lists kept ready between two calls.
	maxLists = 64
)

// A World is a Source of made-up creators. In each step some gain and some
// lose, a few come and a few go; most gain what another loses, so that a board
// changes in a handful of places. The newest period of each type shows each step
// as a revision of its values; when the next period comes out it stays as it is.
//
// What it shows depends on its configuration and the time alone, not on when it
// was asked. Catching up takes some 10 µs per step.
type World struct {
	cfg WorldConfig

	mu        sync.Mutex
	cells     []*cell
	step      int64
	nextMark  int64 // the step at whose end a snapshot is due
	snapshots []snapshot
	lists     map[Query]List // of the present step
}

// A snapshot is what all cells held at the end of a step.
type snapshot struct {
	step  int64
	cells []holding
}

// NewWorld returns a world at its first step.
func NewWorld(c WorldConfig) *World {
	if c.Step == 0 {
		c.Step = defaultStep
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	w := &World{cfg: c, lists: make(map[Query]List)}
	for i, region := range regions() {
		size, ok := c.Sizes[region]
		if !ok {
			size = defaultSize(region)
		}
		pace := min(1, max(0.5, float64(size)/1000))
		left := size
		for j, kind := range cellKinds() {
			n := int(float64(size) * kind.share)
			if j == len(cellKinds())-1 {
				n = left
			}
			left -= n
			seed := mix(c.Seed, uint64(i), uint64(j))
			w.cells = append(w.cells, newCell(seed, region, kind, n, pace))
		}
	}
	w.mark()
	w.nextMark = w.markAfter(0)
	return w
}

func defaultSize(region string) int {
	sizes := map[string]int{
		"US": 1400, "GB": fixedSize, "MX": 390, "ES": 310, "DE": 280, "IT": 220, "FR": 260, "ID": 1150,
		"VN": 860, "MY": 540, "TH": 720, "PH": 610, "BR": 480, "JP": 180, "SG": 120,
	}
	return sizes[region]
}

// List implements Source. Its rows end with the tie that goes past MaxDepth.
func (w *World) List(q Query, now time.Time) (List, bool) {
	if q.Period == (Period{}) {
		q.Period = lastCompleted(defaultPeriodType, now.Add(-w.cfg.Lag), w.cfg.Location)
	}
	from, to, ok := q.Period.span(w.cfg.Location)
	if !ok || to.Add(w.cfg.Lag).After(now) || from.Before(now.Add(-keep)) {
		return List{}, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.catchUp(w.stepAt(now))
	if l, ok := w.lists[q]; ok {
		return l, true
	}
	l := w.build(q)
	if len(w.lists) >= maxLists {
		clear(w.lists)
	}
	w.lists[q] = l
	return l, true
}

func (w *World) stepAt(t time.Time) int64 {
	if w.cfg.Step < 0 || t.Before(w.cfg.Start) {
		return 0
	}
	return int64(t.Sub(w.cfg.Start) / w.cfg.Step)
}

func (w *World) catchUp(target int64) {
	if target > w.step {
		clear(w.lists)
	}
	for w.step < target {
		if w.step == w.nextMark {
			w.mark()
			w.nextMark = w.markAfter(w.step + 1)
		}
		for _, c := range w.cells {
			c.tick()
		}
		w.step++
	}
}

func (w *World) mark() {
	s := snapshot{step: w.step}
	for _, c := range w.cells {
		s.cells = append(s.cells, c.holding.clone())
	}
	if len(w.snapshots) == maxSnapshots {
		w.snapshots = slices.Delete(w.snapshots, 0, 1)
	}
	w.snapshots = append(w.snapshots, s)
}

// markAfter returns the first step, not before the given one, that is the last
// of some period's newest time.
func (w *World) markAfter(step int64) int64 {
	if w.cfg.Step < 0 {
		return math.MaxInt64
	}
	t := w.cfg.Start.Add(time.Duration(step) * w.cfg.Step)
	next := int64(math.MaxInt64)
	for _, typ := range []string{Day, Week, Month} {
		p := lastCompleted(typ, t.Add(-w.cfg.Lag), w.cfg.Location)
		next = min(next, w.lastStep(p))
	}
	return max(next, step)
}

// lastStep is the step that p shows for good once its successor is out.
func (w *World) lastStep(p Period) int64 {
	_, end, _ := p.span(w.cfg.Location)
	_, end, _ = periodAt(p.Type, end, w.cfg.Location).span(w.cfg.Location)
	return w.stepAt(end.Add(w.cfg.Lag - 1))
}

// holdings returns what the cells held when p was last revised.
func (w *World) holdings(p Period) []holding {
	if last := w.lastStep(p); last < w.step {
		i, _ := slices.BinarySearchFunc(w.snapshots, last, func(s snapshot, step int64) int { return cmp.Compare(s.step, step) })
		if i < len(w.snapshots) {
			return w.snapshots[i].cells
		}
	}
	now := make([]holding, len(w.cells))
	for i, c := range w.cells {
		now[i] = c.holding
	}
	return now
}

// A candidate is an entry of a list before its details are made up.
type candidate struct {
	index int64
	order uint64 // within a tie
	cell  *cell
	who   member
}

func (w *World) build(q Query) List {
	held := w.holdings(q.Period)
	period := hashString(q.Period.Type + q.Period.Value)
	var found []candidate
	for i, c := range w.cells {
		if !c.matches(q.Filter) {
			continue
		}
		for j, m := range held[i].members {
			// Periods differ by place, not by creator: so two who change places
			// leave all others where they are, in each period.
			noise := mix(c.seed, uint64(j), period)
			key := c.key(m)
			if !c.fixed && noise%64 == 0 || !c.accepts(q.Filter, key, m) {
				continue
			}
			index := int64(held[i].values[j])
			switch noise >> 8 % 24 {
			case 0:
				index = min(index+1, maxIndex)
			case 1:
				index = max(index-1, 1)
			}
			found = append(found, candidate{index, key, c, m})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.index, a.index), cmp.Compare(a.order, b.order))
	})
	l := List{Total: len(found), Period: q.Period}
	end := min(len(found), MaxDepth)
	for end > 0 && end < len(found) && found[end].index == found[end-1].index {
		end++
	}
	l.Rows = make([]Row, 0, end)
	for _, c := range found[:end] {
		l.Rows = append(l.Rows, c.row(period))
	}
	return l
}

// maxIndex is the highest potential_index there is.
const maxIndex = 99

// fixedSize is that of a region where whoever comes takes the place of one who
// goes.
const fixedSize = 1000

// A member is a creator of a cell: which one, and how often its name and its
// figures have changed.
type member struct {
	id                uint32
	renames, editions uint16
}

// A holding is who holds which place of a cell. Values fall from place to place.
type holding struct {
	values  []int16
	members []member
}

func (h holding) clone() holding {
	return holding{slices.Clone(h.values), slices.Clone(h.members)}
}

// A cell holds the creators of one region and one creator category. Its changes
// depend on its own seed only.
type cell struct {
	holding
	seed    uint64
	region  string
	kind    cellKind
	nominal int
	fixed   bool
	pace    float64 // changes per step
	rng     *rand.Rand
	next    uint32
	bench   []member // who left last, and may come back
}

func newCell(seed uint64, region string, kind cellKind, n int, pace float64) *cell {
	c := &cell{
		seed: seed, region: region, kind: kind, nominal: n, fixed: region == fixedRegion,
		pace: kind.pace * pace, rng: rand.New(rand.NewPCG(seed, 1)),
	}
	for i := range n {
		c.values = append(c.values, c.usual(i))
		c.members = append(c.members, c.newcomer())
	}
	return c
}

// fixedRegion is the region whose size is always the same.
const fixedRegion = "GB"

// usual is the index that place i tends to: few at the top, many in the middle.
func (c *cell) usual(i int) int16 {
	f := (float64(i) + 0.5) / float64(max(c.nominal, 1))
	return int16(max(1, math.Round(maxIndex-75*math.Pow(f, 0.6))))
}

func (c *cell) newcomer() member {
	c.next++
	return member{id: c.next}
}

func (c *cell) tick() {
	for range int(c.pace + c.rng.Float64()) {
		c.change()
	}
}

func (c *cell) change() {
	n := len(c.members)
	if n < 2 {
		return
	}
	// Squared, so that what is watched most changes most.
	u := c.rng.Float64()
	i := int(u * u * float64(n))
	switch kind := c.rng.IntN(100); {
	case kind < 64:
		c.swap(i, 1+int(c.rng.ExpFloat64()*4))
	case kind < 70:
		c.swap(i, 10+c.rng.IntN(30))
	case kind < 89:
		c.replace(i)
	case kind < 94:
		c.drift(i)
	case kind < 97:
		c.resize()
	default:
		c.members[i].renames++
	}
}

// swap exchanges the creator of place i with one about d places below that has
// another index.
func (c *cell) swap(i, d int) {
	j := min(i+d, len(c.values)-1)
	for j < len(c.values)-1 && c.values[j] == c.values[i] {
		j++
	}
	if c.values[j] == c.values[i] {
		return
	}
	c.members[i], c.members[j] = c.members[j], c.members[i]
	c.members[i].editions++
	c.members[j].editions++
}

// replace lets a newcomer, or one who was here before, take place i.
func (c *cell) replace(i int) {
	leaver := c.members[i]
	if len(c.bench) > 0 && c.rng.IntN(10) < 3 {
		k := c.rng.IntN(len(c.bench))
		c.members[i] = c.bench[k]
		c.bench[k] = leaver
		return
	}
	c.members[i] = c.newcomer()
	c.dismiss(leaver)
}

func (c *cell) dismiss(m member) {
	if len(c.bench) == 12 {
		c.bench = slices.Delete(c.bench, 0, 1)
	}
	c.bench = append(c.bench, m)
}

// drift moves one place's index by a point, rather towards what is usual there.
// All of its tie below it, or above, feel that.
func (c *cell) drift(i int) {
	up := c.values[i] < c.usual(i)
	if c.values[i] == c.usual(i) {
		up = c.rng.IntN(2) == 0
	}
	v := c.values[i]
	if up {
		for i > 0 && c.values[i-1] == v {
			i--
		}
		c.values[i] = min(v+1, maxIndex)
	} else {
		for i < len(c.values)-1 && c.values[i+1] == v {
			i++
		}
		c.values[i] = max(v-1, 1)
	}
	c.members[i].editions++
}

// resize lets one come or go at the bottom.
func (c *cell) resize() {
	last := len(c.members) - 1
	room := c.nominal / 32
	switch grow := c.rng.IntN(2) == 0; {
	case c.fixed:
	case grow && last < c.nominal+room:
		c.values = append(c.values, max(1, c.values[last]-int16(c.rng.IntN(2))))
		c.members = append(c.members, c.newcomer())
	case !grow && last > c.nominal-room:
		c.dismiss(c.members[last])
		c.values, c.members = c.values[:last], c.members[:last]
	}
}
