package watcher

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/recount"
)

// A past is what a watchlist published, made by the worker's own steps, and the
// watchlist as it was for each message.
type past struct {
	store    *memory
	list     Watchlist
	at       time.Time
	messages []recount.Message
}

// read makes one reading of a scan and publishes it.
func (p *past) read(t interface{ Fatal(...any) }, sc *Scan) {
	l, err := p.store.Load(p.list.Name)
	if err != nil {
		t.Fatal(err)
	}
	sc.At = p.at
	p.at = p.at.Add(time.Hour)
	s := &step{
		watchlist: p.list, scan: sc, loaded: l, prefix: "p", writer: "w", maxPayload: 1 << 20, comparer: new(diff.Comparer),
		departed: func(uids []string) (map[string]Departure, error) { return p.store.Departed(p.list.Name, uids) },
	}
	out, err := s.compute()
	if err == nil {
		err = p.store.Commit(out.commit)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range out.commit.Batches {
		for _, m := range b.Messages {
			if m.Role != event.Head {
				p.messages = append(p.messages, recount.Message{Subject: m.Subject, Sequence: uint64(len(p.messages) + 1), Stored: sc.At, Data: m.Data})
			}
		}
	}
}

// genScan draws a list with heavy ties, cut or whole, some of it hidden.
func genScan(t *rapid.T, depth int) *Scan {
	uids := rapid.SliceOfNDistinct(rapid.SampledFrom(strings.Split("abcdefghijklmnopqrst", "")), 1, 18, rapid.ID).Draw(t, "uids")
	items := make([]fastmoss.Item, len(uids))
	for i, u := range uids {
		items[i] = fastmoss.Item{UID: u + ".", PotentialIndex: rapid.Int64Range(1, 6).Draw(t, "index"), Nickname: "name of " + u, UniqueID: u}
	}
	slices.SortStableFunc(items, func(a, b fastmoss.Item) int { return int(b.PotentialIndex - a.PotentialIndex) })
	sc := &Scan{Total: len(items), Depth: depth}
	if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
		sc.Total, sc.Cut = depth+1, true
	}
	torn := rapid.IntRange(0, 3).Draw(t, "torn") == 0
	for i := range items {
		if torn && i > 0 && i < len(items)-1 && rapid.IntRange(0, 4).Draw(t, "hide") == 0 {
			sc.Holes = append(sc.Holes, diff.Hole{Index: items[i].PotentialIndex, Position: int32(i + 1)})
			continue
		}
		sc.Items = append(sc.Items, items[i])
		sc.Positions = append(sc.Positions, int32(i+1))
	}
	return sc
}

func genList(t *rapid.T) Watchlist {
	r := diff.Rules{
		Top: rapid.Int32Range(1, 14).Draw(t, "top"), Margin: rapid.Int32Range(0, 4).Draw(t, "margin"),
		Ties: diff.Ties(rapid.IntRange(0, 1).Draw(t, "ties")), MinPlaces: 1, MinChange: 1, DropAfter: 1,
	}
	if rapid.Bool().Draw(t, "bands") {
		r.MinPlaces, r.MinChange = rapid.Int32Range(1, 4).Draw(t, "min_places"), rapid.Int64Range(1, 4).Draw(t, "min_change")
		r.IgnoreDisplaced, r.DropAfter = rapid.Bool().Draw(t, "ignore_displaced"), rapid.Int32Range(1, 3).Draw(t, "after")
	}
	return Watchlist{
		Name: "w", Top: int(r.Top), Margin: int(r.Margin), Rules: r, Filter: fastmoss.Filter{Region: "US"}, Period: PeriodSpec{Type: "day", Value: PeriodLatest},
		Rollover: Rollover(rapid.IntRange(0, 1).Draw(t, "rollover")), Announce: rapid.Bool().Draw(t, "announce"),
		Guard: Guard{MaxLoss: 1, Confirm: 1},
	}
}

// genPast draws some readings, with lists that come again, new periods, and
// settings that change.
func genPast(t *rapid.T, settle bool) *past { return genPastEach(t, settle, func(*past) {}) }

// genPastEach calls each after every reading.
func genPastEach(t *rapid.T, settle bool, each func(*past)) *past {
	p := &past{store: newMemory(), list: genList(t), at: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
	sc := genScan(t, 20)
	day := 1
	for range rapid.IntRange(2, 14).Draw(t, "readings") {
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		case 0:
			day++
		case 1:
			if !settle {
				p.list = genList(t)
			}
		case 2, 3: // the same again
		default:
			sc = genScan(t, 20)
		}
		again := *sc
		again.Period = event.Period{Type: "day", Value: fmt.Sprintf("2026-04-%02d", day)}
		p.read(t, &again)
		each(p)
	}
	return p
}

// A view is what verify is given: messages, and what is known beside them.
type view struct {
	messages []recount.Message
	cut      func(*recount.Message) bool // nil: nothing is missing
	head     []byte                      // the last board, as it was published; nil if that is not known
}

func (p *past) view(messages []recount.Message, cut func(*recount.Message) bool) view {
	v := view{messages: messages, cut: cut}
	for _, m := range p.messages {
		if strings.HasSuffix(m.Subject, ".board") {
			v.head = m.Data
		}
	}
	return v
}

func (v view) ledger() *recount.Ledger {
	return recount.NewLedger(recount.LedgerConfig{Prefix: "p", Cut: v.cut, Kept: true, Whole: v.cut == nil})
}

// check goes over messages as verify does.
func check(v view) (recount.Summary, *recount.Fault) {
	l := v.ledger()
	track := recount.NewTrack()
	for _, m := range v.messages {
		r, f := l.Take(m)
		if f == nil && r != nil {
			f = track.Next(r)
		}
		if f != nil {
			return track.Summary(), f
		}
	}
	if v.head == nil {
		return track.Summary(), nil
	}
	e, err := event.Decode[event.Snapshot](v.head)
	if err != nil {
		panic(err)
	}
	return track.Summary(), track.Seal(recount.Head{Watchlist: "w", Revision: e.Data.Revision, Digest: event.Digest(v.head)})
}

func TestWhatTheWorkerPublishesAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := genPast(t, false)
		sum, f := check(p.view(p.messages, nil))
		if f != nil {
			t.Fatal(f)
		}
		if sum.First != 1 || sum.Begins != "" || int(sum.Last) != sum.Readings {
			t.Fatalf("%+v", sum)
		}
	})
}

// Retention cuts history anywhere, also in the middle of a reading, and leaves
// boards whose events are gone.
func TestHistoryThatBeginsInTheMiddleAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := genPast(t, false)
		from := rapid.IntRange(0, len(p.messages)-1).Draw(t, "from")
		if _, f := check(p.view(p.messages[from:], cut(p, from))); f != nil {
			t.Fatal(f)
		}
		horizon := p.messages[from].Stored
		var kept []recount.Message
		for i, m := range p.messages {
			if i >= from || strings.HasSuffix(m.Subject, ".board") {
				kept = append(kept, m)
			}
		}
		old := func(m *recount.Message) bool { return !m.Stored.After(horizon) }
		if _, f := check(p.view(kept, old)); f != nil {
			t.Fatal(f)
		}
	})
}

// cut says what may be missing when all before a message has been deleted.
func cut(p *past, from int) func(*recount.Message) bool {
	if from == 0 {
		return nil
	}
	horizon := p.messages[from-1].Stored
	return func(m *recount.Message) bool { return !m.Stored.After(horizon) }
}

// Whatever is changed, removed or doubled is found, and in its place.
func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := genPast(t, false)
		at := rapid.IntRange(0, len(p.messages)-1).Draw(t, "message")
		m := p.messages[at]
		revision := revisionOf(t, m.Data)
		board := strings.HasSuffix(m.Subject, ".board")
		var bad []recount.Message
		switch rapid.SampledFrom([]string{"change", "remove", "double", "double at the end"}).Draw(t, "how") {
		case "change":
			m.Data = alter(t, m.Data)
			bad = slices.Concat(p.messages[:at], []recount.Message{m}, p.messages[at+1:])
		case "remove":
			bad = slices.Delete(slices.Clone(p.messages), at, at+1)
		case "double":
			bad = slices.Concat(p.messages[:at], []recount.Message{m}, p.messages[at:])
		default:
			bad = append(slices.Clone(p.messages), m)
		}
		_, f := check(p.view(bad, nil))
		if f == nil {
			t.Fatalf("%s %s: not found", m.Subject, m.Data)
		}
		// A board is sealed by the next one: either of the two may be the liar.
		near := f.Revision == revision || board && (f.Revision == revision+1 || f.Revision+1 == revision)
		if f.Revision != 0 && !near {
			t.Fatalf("revision %d: found as %v", revision, f)
		}
	})
}

func revisionOf(t *rapid.T, data []byte) uint64 {
	e, err := event.Decode[struct {
		Revision uint64 `json:"revision"`
	}](data)
	if err != nil {
		t.Fatal(err)
	}
	return e.Data.Revision
}

// alter changes one letter or digit within a value of the message.
func alter(t *rapid.T, data []byte) []byte {
	out := slices.Clone(data)
	for {
		i := rapid.IntRange(0, len(out)-1).Draw(t, "byte")
		switch c := out[i]; {
		case c >= '0' && c < '9', c >= 'a' && c < 'z':
			out[i] = c + 1
			return out
		}
	}
}

func TestATrialOfTheRulesInForceTellsNothingNew(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := genPast(t, true)
		from := rapid.IntRange(0, len(p.messages)-1).Draw(t, "from")
		if rapid.Bool().Draw(t, "whole") {
			from = 0
		}
		verdicts := try(t, p.view(p.messages[from:], cut(p, from)), p.list)
		for _, v := range verdicts {
			if v.Differ() || v.Published != v.Trial {
				t.Fatalf("%+v", v)
			}
		}
	})
}

func try(t interface{ Fatal(...any) }, past view, w Watchlist) []recount.Verdict {
	l := past.ledger()
	trial := recount.NewTrial(recount.TrialConfig{Rules: w.Rules, Reset: w.Rollover == RolloverReset, Announce: w.Announce})
	var out []recount.Verdict
	for _, m := range past.messages {
		r, f := l.Take(m)
		if f != nil {
			t.Fatal(f)
		}
		if r == nil {
			continue
		}
		v, err := trial.Next(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// A trial of other rules tells what a worker with those rules would have
// published of the same lists.
func TestATrialOfOtherRulesIsWhatAWorkerWithThemPublishes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// In force is what publishes every change, so that no list is missing.
		list, other := genList(t), genList(t)
		list.Rules = diff.Rules{Top: 20, MinPlaces: 1, MinChange: 1, DropAfter: 1}
		list.Top, list.Margin, list.Rollover = 20, 0, RolloverCompare
		a := &past{store: newMemory(), list: list, at: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
		b := &past{store: newMemory(), list: other, at: a.at}
		sc := genScan(t, 20)
		for range rapid.IntRange(2, 10).Draw(t, "readings") {
			if rapid.IntRange(0, 3).Draw(t, "again") > 0 {
				sc = genScan(t, 20)
			}
			sc.Holes, sc.Cut, sc.Total = nil, false, len(sc.Items)
			for i := range sc.Positions {
				sc.Positions[i] = int32(i + 1)
			}
			for _, p := range []*past{a, b} {
				again := *sc
				again.Period = event.Period{Type: "day", Value: "2026-04-01"}
				p.read(t, &again)
			}
		}
		// What comes after the last published list is not in the stored boards.
		var want, got event.Counts
		end := a.messages[len(a.messages)-1].Stored
		for _, m := range b.messages {
			if s, err := event.ParseSubject("p", m.Subject); err == nil && s.Kind == event.Board && !m.Stored.After(end) {
				c := mustSnapshot(t, m.Data).Counts
				want = plus(want, c)
			}
		}
		for _, v := range try(t, a.view(a.messages, nil), other) {
			got = plus(got, v.Trial)
		}
		if got != want {
			t.Fatalf("the trial tells %+v, a worker %+v", got, want)
		}
	})
}

func mustSnapshot(t *rapid.T, data []byte) event.Snapshot {
	e, err := event.Decode[event.Snapshot](data)
	if err != nil {
		t.Fatal(err)
	}
	return e.Data
}

func plus(a, b event.Counts) event.Counts {
	return event.Counts{Entered: a.Entered + b.Entered, Moved: a.Moved + b.Moved, Dropped: a.Dropped + b.Dropped, Index: a.Index + b.Index}
}

// BenchmarkRecount goes over readings of 1000 places with about 100 changes
// each, as verify does, decoding included.
func BenchmarkRecount(b *testing.B) {
	messages, events := long(b, 40)
	b.ReportAllocs()
	for b.Loop() {
		if _, f := check(view{messages: messages}); f != nil {
			b.Fatal(f)
		}
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// long makes a long past of a board of 1000 places.
func long(t interface{ Fatal(...any) }, readings int) (messages []recount.Message, events int) {
	random := rand.New(rand.NewPCG(1, 2))
	p := &past{store: newMemory(), at: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), list: Watchlist{
		Name: "w", Top: 1000, Rules: diff.Rules{Top: 1000, MinPlaces: 1, MinChange: 1, DropAfter: 1}, Filter: fastmoss.Filter{Region: "US"},
		Period: PeriodSpec{Type: "day", Value: PeriodLatest}, Guard: Guard{MaxLoss: 1, Confirm: 1},
	}}
	items := make([]fastmoss.Item, 1000)
	for i := range items {
		items[i] = fastmoss.Item{
			UID: fmt.Sprintf("67875806887977%05d", i), PotentialIndex: int64(100000 - 90*i), Nickname: fmt.Sprintf("name %d ✨", i), UniqueID: fmt.Sprintf("handle%d", i),
			Avatar: "https://p16-sign.example.com/avatar/1yaqdbmpjuy3k~c5_300x300.webp", Region: "US", USDGMV: fastmoss.Some(244052.07), UnitsSold: fastmoss.Some(int64(6138)),
		}
	}
	for range readings {
		for range 20 {
			items[random.IntN(len(items))].PotentialIndex += int64(random.IntN(1000) - 500)
		}
		slices.SortStableFunc(items, func(a, b fastmoss.Item) int { return int(b.PotentialIndex - a.PotentialIndex) })
		sc := &Scan{Total: len(items), Depth: 1000, Items: slices.Clone(items), Period: event.Period{Type: "day", Value: "2026-04-01"}}
		for i := range items {
			sc.Positions = append(sc.Positions, int32(i+1))
		}
		p.read(t, sc)
	}
	for _, m := range p.messages {
		if !strings.HasSuffix(m.Subject, ".board") {
			events++
		}
	}
	return p.messages, events
}
