package state

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A model is a DB written the slow obvious way: everything in one list, looked
// through from end to end each time.
type model struct {
	backlog, keep int64
	order         uint64
	batches       []*modelBatch // by order
	lists         map[string]*modelList
	chains        map[event.Chain]*modelChain
	departed      map[[2]string]Departure
}

type modelBatch struct {
	event.Batch
	kept bool
}

type modelList struct {
	version       uint64
	record, board []byte
	blocked       bool
}

type modelChain struct {
	last, streamRevision uint64
	lineage              int
	broken               bool
	acked                Ack
}

func (m *model) list(name string) *modelList {
	if m.lists[name] == nil {
		m.lists[name] = &modelList{}
	}
	return m.lists[name]
}

func (m *model) chain(c event.Chain) *modelChain {
	if m.chains[c] == nil {
		m.chains[c] = &modelChain{lineage: 1}
	}
	return m.chains[c]
}

func (m *model) bytes(kept bool) (n int64) {
	for _, b := range m.batches {
		if b.kept == kept {
			n += int64(b.Size())
		}
	}
	return n
}

func (m *model) of(c event.Chain, kept bool) (of []*modelBatch) {
	for _, b := range m.batches {
		if b.Chain == c && b.kept == kept {
			of = append(of, b)
		}
	}
	return of
}

func (m *model) drop(c event.Chain) int {
	n := len(m.of(c, false))
	m.batches = slices.DeleteFunc(m.batches, func(b *modelBatch) bool { return b.Chain == c })
	return n
}

// A machine does the same to a DB and to a model.
type machine struct {
	t  *testing.T
	db *DB
	m  model
}

func (x *machine) name(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "ab", "b"}).Draw(t, "list")
}

func (x *machine) id(t *rapid.T) event.Chain {
	return event.Chain{Watchlist: x.name(t), Kind: rapid.SampledFrom([]event.Kind{event.Board, event.Status}).Draw(t, "kind")}
}

func (x *machine) bytes(t *rapid.T, what string) []byte {
	n := rapid.SampledFrom([]int{-1, 0, 10, 3000}).Draw(t, what)
	if n < 0 {
		return nil
	}
	return append([]byte(strconv.Itoa(rapid.IntRange(0, 99).Draw(t, "value"))), make([]byte, n)...)
}

func (x *machine) departures(t *rapid.T) (all []Departure) {
	uids := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"u", "v", "\x00", "w."}), 0, 3, rapid.ID).Draw(t, "departed")
	for _, uid := range uids {
		all = append(all, Departure{UID: uid, At: noon.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "hour")) * time.Hour), PeakRank: 1})
	}
	return all
}

func (x *machine) check(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (x *machine) same(t *rapid.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %+v, want %+v", what, got, want)
	}
}

func (x *machine) Commit(t *rapid.T) {
	name := x.name(t)
	l := x.m.list(name)
	c := Commit{
		Watchlist: name, Version: l.version, Tracked: event.Tracked{Record: x.bytes(t, "record"), Board: x.bytes(t, "board")},
		Departed: x.departures(t), At: noon,
	}
	if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		c.Version++
	}
	last := make(map[event.Chain]uint64)
	var boardBytes, all int64
	for _, kind := range rapid.SliceOfN(rapid.SampledFrom([]event.Kind{event.Board, event.Board, event.Status}), 0, 3).Draw(t, "batches") {
		id := event.Chain{Watchlist: name, Kind: kind}
		last[id]++
		b := batch(id, x.m.chain(id).last+last[id], rapid.SampledFrom([]int{20, 300, 2000}).Draw(t, "size"))
		b.TraceParent = rapid.SampledFrom([]string{"", trace}).Draw(t, "trace")
		c.Batches = append(c.Batches, b)
		all += int64(b.Size())
		if kind == event.Board {
			boardBytes += int64(b.Size())
		}
	}
	var wanted error
	waits := x.m.bytes(false)
	switch {
	case c.Version != l.version:
		wanted = ErrStale
	case l.blocked && (boardBytes > 0 || c.Tracked.Board != nil):
		wanted = ErrFenced
	case waits > 0 && (boardBytes > 0 && waits+boardBytes > x.m.backlog || waits+all > x.m.backlog+statusReserve):
		wanted = ErrFull
	}
	err := x.db.Commit(c)
	if wanted != nil {
		wantErr(x.t, err, wanted)
		return
	}
	x.check(t, err)
	l.version++
	if c.Tracked.Record != nil {
		l.record = c.Tracked.Record
	}
	if c.Tracked.Board != nil {
		l.board = c.Tracked.Board
	}
	for _, b := range c.Batches {
		x.m.order++
		b.Order = x.m.order
		x.m.batches = append(x.m.batches, &modelBatch{Batch: b})
		ch := x.m.chain(b.Chain)
		ch.last = b.Revision
		ch.broken, ch.streamRevision = false, 0
	}
	for _, d := range c.Departed {
		x.m.departed[[2]string{name, d.UID}] = d
	}
}

func (x *machine) Acknowledge(t *rapid.T) {
	q, err := x.db.Queue(0)
	x.check(t, err)
	var acks []Ack
	for _, i := range q[:rapid.IntRange(0, len(q)).Draw(t, "upto")] {
		if rapid.IntRange(0, 3).Draw(t, "skip") == 0 {
			continue // acknowledged with the next of its chain, or not at all
		}
		acks = append(acks, ackOf(i, uint64(rapid.IntRange(1, 1000).Draw(t, "sequence"))))
	}
	x.check(t, x.db.Acknowledge(acks...))
	moved := 0
	for _, a := range acks {
		for _, b := range x.m.batches {
			if b.Chain == a.Chain && b.Order <= a.Order && !b.kept {
				b.kept = true
				moved++
			}
		}
		x.m.chain(a.Chain).acked = a
	}
	if len(acks) == 0 {
		return
	}
	for limit := 2*moved + 16; limit > 0 && x.m.bytes(true) > x.m.keep; limit-- {
		first := slices.IndexFunc(x.m.batches, func(b *modelBatch) bool { return b.kept })
		x.m.batches = slices.Delete(x.m.batches, first, first+1)
	}
}

func (x *machine) Rewind(t *rapid.T) {
	id := x.id(t)
	c := x.m.chain(id)
	to := Ack{}
	if r := rapid.Uint64Range(0, c.acked.Revision).Draw(t, "to"); r > 0 {
		to = Ack{Chain: id, Revision: r, Sequence: rapid.Uint64Range(1, 1000).Draw(t, "sequence"), Digest: digestOf(id, r)}
	}
	var again []*modelBatch
	for _, b := range x.m.of(id, true) {
		if b.Revision > to.Revision {
			again = append(again, b)
		}
	}
	err := x.db.Rewind(id, to)
	if uint64(len(again)) < c.acked.Revision-to.Revision {
		wantErr(x.t, err, ErrNotFound)
		return
	}
	x.check(t, err)
	for _, b := range again {
		b.kept = false
	}
	c.acked = to
}

func (x *machine) Adopt(t *rapid.T) {
	id := x.id(t)
	a := Ack{Chain: id, Revision: rapid.Uint64Range(1, 20).Draw(t, "revision"), Sequence: rapid.Uint64Range(1, 1000).Draw(t, "sequence")}
	given := a
	given.Lineage = rapid.IntRange(0, 4).Draw(t, "lineage")
	var tracked *event.Tracked
	if rapid.Bool().Draw(t, "tracked") {
		tracked = &event.Tracked{Record: []byte("adopted"), Board: x.bytes(t, "board")}
	}
	departed := x.departures(t)
	dropped, err := x.db.Adopt(given, tracked, departed)
	x.check(t, err)
	x.same(t, "dropped", dropped, x.m.drop(id))
	c, l := x.m.chain(id), x.m.list(id.Watchlist)
	c.last, c.acked = a.Revision, a
	l.version++
	if id.Kind == event.Status {
		return
	}
	c.broken, c.streamRevision, c.lineage = false, 0, max(c.lineage, given.Lineage)
	l.record, l.board = nil, nil
	if tracked != nil {
		l.record, l.board = tracked.Record, tracked.Board
	}
	maps.DeleteFunc(x.m.departed, func(k [2]string, _ Departure) bool { return k[0] == id.Watchlist })
	for _, d := range departed {
		x.m.departed[[2]string{id.Watchlist, d.UID}] = d
	}
}

func (x *machine) Break(t *rapid.T) {
	id := x.id(t)
	a := Ack{}
	if r := rapid.Uint64Range(0, 20).Draw(t, "revision"); r > 0 {
		a = Ack{Chain: id, Revision: r, Sequence: 5}
	}
	dropped, err := x.db.Break(id, a)
	x.check(t, err)
	x.same(t, "dropped", dropped, x.m.drop(id))
	c := x.m.chain(id)
	c.last, c.acked = max(c.last, a.Revision), a
	x.m.list(id.Watchlist).version++
	if id.Kind == event.Board {
		c.lineage++
		c.broken, c.streamRevision = true, a.Revision
	}
}

func (x *machine) Block(t *rapid.T) {
	name := x.name(t)
	l := x.m.list(name)
	if l.blocked = !l.blocked; l.blocked {
		x.check(t, x.db.Block(name))
	} else {
		x.check(t, x.db.Unblock(name))
	}
}

func (x *machine) Sweep(t *rapid.T) {
	cutoff := noon.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "hour")) * time.Hour)
	x.check(t, x.db.Sweep(cutoff))
	maps.DeleteFunc(x.m.departed, func(_ [2]string, d Departure) bool { return d.At.Before(cutoff) })
}

func (x *machine) Reopen(t *rapid.T) {
	x.check(t, x.db.Check())
	x.check(t, x.db.Close())
	db, err := Open(x.db.cfg)
	x.check(t, err)
	x.db = db
	for _, l := range x.m.lists {
		l.blocked = false
	}
}

// Check compares all that can be asked.
func (x *machine) Check(t *rapid.T) {
	var wantQueue []string
	oldest := time.Time{}
	for _, b := range x.m.batches {
		got, err := x.db.Batch(b.Order)
		x.check(t, err)
		if got.Order != b.Order || got.Chain != b.Chain || got.Revision != b.Revision || got.TraceParent != b.TraceParent || !reflect.DeepEqual(payloads(got), payloads(b.Batch)) {
			t.Fatalf("batch %d is %v, want %v", b.Order, got, b.Batch)
		}
		if !b.kept {
			oldest = noon
		}
		if !b.kept && (b.Chain.Kind != event.Board || !x.m.list(b.Chain.Watchlist).blocked) {
			wantQueue = append(wantQueue, fmt.Sprint(b.Order, b.Chain, b.Revision, b.Size()))
		}
	}
	q, err := x.db.Queue(0)
	x.check(t, err)
	var gotQueue []string
	for _, i := range q {
		gotQueue = append(gotQueue, fmt.Sprint(i.Order, i.Chain, i.Revision, i.Bytes))
	}
	x.same(t, "queue", gotQueue, wantQueue)
	d := x.db.Backlog()
	x.same(t, "backlog", []any{d.Bytes, d.Oldest}, []any{x.m.bytes(false), oldest})
	var newest uint64
	for _, name := range []string{"a", "ab", "b"} {
		newest = max(newest, x.checkList(t, name))
	}
	x.checkShared(t)
	n, found, err := x.db.Newest()
	x.check(t, err)
	x.same(t, "newest", []any{n.Sequence, found}, []any{newest, newest > 0})
}

func (x *machine) checkList(t *rapid.T, name string) (newest uint64) {
	l := x.m.list(name)
	b, s := x.m.chain(event.Chain{Watchlist: name, Kind: event.Board}), x.m.chain(event.Chain{Watchlist: name, Kind: event.Status})
	got, err := x.db.Load(name)
	x.check(t, err)
	x.same(t, "loaded", got, Loaded{
		Tracked: event.Tracked{Record: l.record, Board: l.board}, Known: l.record != nil, Version: l.version,
		Revision: b.last, Statuses: s.last, Lineage: b.lineage, Broken: b.broken, StreamRevision: b.streamRevision, Fenced: l.blocked,
	})
	for kind, c := range map[event.Kind]*modelChain{event.Board: b, event.Status: s} {
		id := event.Chain{Watchlist: name, Kind: kind}
		a, found, err := x.db.Acked(id)
		x.check(t, err)
		a.Order, c.acked.Order = 0, 0
		x.same(t, "acknowledged", []any{a, found}, []any{c.acked, c.acked.Revision > 0})
		newest = max(newest, a.Sequence)
		var keptWanted []uint64
		for _, b := range x.m.of(id, true) {
			keptWanted = append(keptWanted, b.Revision)
		}
		k, err := x.db.Kept(id)
		x.check(t, err)
		var keptGot []uint64
		for _, i := range k {
			keptGot = append(keptGot, i.Revision)
		}
		x.same(t, "kept", keptGot, keptWanted)
	}
	d, err := x.db.Departed(name, []string{"u", "v", "\x00", "w."}, noon)
	x.check(t, err)
	wanted := make(map[string]Departure)
	for k, v := range x.m.departed {
		if k[0] == name {
			wanted[k[1]] = v
		}
	}
	x.same(t, "departed", d, wanted)
	return newest
}

func TestAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		cfg := Config{Dir: t.TempDir(), Backlog: 6000, Keep: 4000}
		db, err := Open(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		x := &machine{t: t, db: db, m: model{
			backlog: cfg.Backlog, keep: cfg.Keep,
			lists: make(map[string]*modelList), chains: make(map[event.Chain]*modelChain), departed: make(map[[2]string]Departure),
		}}
		defer func() {
			if err := x.db.Check(); err != nil {
				rt.Error(err)
			}
			if err := x.db.Close(); err != nil {
				rt.Error(err)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"commit": x.Commit, "commit again": x.Commit, "acknowledge": x.Acknowledge, "rewind": x.Rewind,
			"adopt": x.Adopt, "break": x.Break, "block": x.Block, "sweep": x.Sweep, "reopen": x.Reopen, "amend": x.Amend,
			"": x.Check,
		})
	})
}
