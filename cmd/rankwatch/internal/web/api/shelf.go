package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// maxShelves bounds what all shelves hold, in bytes: a board of 1000 places takes
// 16 kB, and a creator some 150 bytes.
const maxShelves = 32 << 20

// A spot is one row of a board: who stands there is in the shelf's people.
type spot struct {
	index          int64
	who            uint32
	rank, position uint16
}

// isMember is the bit of a rank that says that the creator is on the board.
const isMember = 1 << 15

// A thin board is all that a history needs of one. Boards never change once they
// are published.
type thin struct {
	revision Revision
	region   string
	spots    []spot
}

const (
	spotSize   = 16
	thinSize   = 400
	personSize = 150
)

// A person is a creator that boards of the shelf name. The names are those of the
// newest of these boards.
type person struct {
	uid, uniqueID, nickname string
	named                   uint64 // the revision
}

// A shelf holds boards of one watchlist. Whoever has its turn may use it.
type shelf struct {
	turn   chan struct{}
	boards map[uint64]*thin // by revision
	people []person
	ids    map[string]uint32 // by uid as boards write it
	bytes  int
	used   time.Time
}

// shelves are the watchlists that were asked for last. They hold what one stream
// published, and are emptied when it is another one.
type shelves struct {
	most int // bytes

	mu     sync.Mutex
	of     map[string]*shelf
	stream time.Time // when it was made
	last   uint64    // the last sequence that it was known to have
}

func newShelves(most int) *shelves { return &shelves{most: most, of: map[string]*shelf{}} }

// use gives fn the watchlist's shelf, alone.
func (s *shelves) use(ctx context.Context, r *history.Reader, watchlist string, fn func(*shelf) error) error {
	before := s.known()
	info, err := r.State(ctx)
	if err != nil {
		return err
	}
	sh := s.take(watchlist, info.Created, before, info.State.LastSeq)
	select {
	case sh.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-sh.turn }()
	err = fn(sh)
	s.settle(watchlist, sh)
	return err
}

// known is a sequence that the stream has reached.
func (s *shelves) known() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// take finds or makes a shelf. The stream stood at last after it had been known to
// have reached before.
func (s *shelves) take(watchlist string, stream time.Time, before, last uint64) *shelf {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !stream.Equal(s.stream) || last < before {
		s.of, s.stream, s.last = map[string]*shelf{}, stream, last
	}
	s.last = max(s.last, last)
	sh := s.of[watchlist]
	if sh == nil {
		sh = &shelf{turn: make(chan struct{}, 1), boards: map[uint64]*thin{}, ids: map[string]uint32{}}
		s.of[watchlist] = sh
	}
	sh.used = time.Now()
	return sh
}

// settle drops the shelves that were used longest ago until the rest is small
// enough. The caller has the turn of sh.
func (s *shelves) settle(watchlist string, sh *shelf) {
	size := sh.size()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[watchlist] != sh {
		return // it was dropped meanwhile
	}
	sh.bytes = size
	sum := 0
	for _, o := range s.of {
		sum += o.bytes
	}
	for sum > s.most {
		oldest := ""
		for name, o := range s.of {
			if oldest == "" || o.used.Before(s.of[oldest].used) {
				oldest = name
			}
		}
		sum -= s.of[oldest].bytes
		delete(s.of, oldest)
	}
}

func (sh *shelf) size() int {
	n := 256 + len(sh.people)*personSize
	for _, b := range sh.boards {
		n += thinSize + len(b.spots)*spotSize
	}
	return n
}

// fill reads the boards of a range that are not on the shelf yet. What is there
// was stored before newest was, which is at hand.
func (sh *shelf) fill(ctx context.Context, r *history.Reader, newest *history.Message, span span) error {
	if n, _ := newest.Revision(); span.has(n) && sh.boards[n] == nil {
		if err := sh.put(newest); err != nil {
			return err
		}
	}
	for span.from <= span.to && sh.boards[span.from] != nil {
		span.from++
	}
	for span.from <= span.to && sh.boards[span.to] != nil {
		span.to--
	}
	if span.from > span.to {
		return nil
	}
	q := history.Query{Watchlists: []string{span.watchlist}, Kinds: []event.Kind{event.Board}, FromRevision: span.from, ToRevision: span.to}
	return r.Each(ctx, q, nil, func(m *history.Message) error {
		if n, _ := m.Revision(); sh.boards[n] != nil {
			return nil
		}
		return sh.put(m)
	})
}

// A span is a range of a watchlist's revisions, both ends included.
type span struct {
	watchlist string
	from, to  uint64
}

func (s span) has(n uint64) bool { return n >= s.from && n <= s.to }

// put reduces a board and keeps it.
func (sh *shelf) put(m *history.Message) error {
	head, err := m.Head()
	if err != nil {
		return err
	}
	b := &thin{region: head.Region, revision: Revision{
		Revision: head.Revision, Time: head.FetchedAt, Outcome: head.Outcome, Reason: head.Reason, Period: head.Period, Top: head.Rules.Top, Counts: head.Counts,
	}}
	err = m.EachRow(func(row *history.RawRow) error {
		if row.Rank <= 0 || row.Rank >= isMember || row.Position < 0 || row.Position > math.MaxUint16 {
			return fmt.Errorf("rank %d at position %d", row.Rank, row.Position)
		}
		who, err := sh.person(row, head.Revision)
		if err != nil {
			return err
		}
		s := spot{index: row.PotentialIndex, who: who, rank: uint16(row.Rank), position: uint16(row.Position)}
		if row.Member {
			s.rank |= isMember
		}
		b.spots = append(b.spots, s)
		return nil
	})
	if err != nil {
		return err
	}
	b.spots = slices.Clip(b.spots)
	sh.boards[head.Revision] = b
	return nil
}

// person finds or adds whom a row is about.
func (sh *shelf) person(row *history.RawRow, revision uint64) (uint32, error) {
	id, ok := sh.ids[string(row.UID)]
	if !ok {
		uid, err := unquote(row.UID)
		if err != nil {
			return 0, err
		}
		id = uint32(len(sh.people))
		sh.ids[string(row.UID)] = id
		sh.people = append(sh.people, person{uid: uid})
	}
	p := &sh.people[id]
	if revision < p.named {
		return id, nil
	}
	p.named = revision
	if err := rename(&p.uniqueID, row.UniqueID); err != nil {
		return 0, err
	}
	return id, rename(&p.nickname, row.Nickname)
}

// rename sets a name, if it is another one.
func rename(name *string, to jsontext.Value) error {
	if n := len(to); n >= 2 && string(to[1:n-1]) == *name {
		return nil
	}
	s, err := unquote(to)
	*name = s
	return err
}

// unquote is empty for a text that is missing.
func unquote(v jsontext.Value) (s string, err error) {
	if v == nil {
		return "", nil
	}
	err = json.Unmarshal(v, &s)
	return s, err
}

// id finds a person by uid.
func (sh *shelf) id(uid string) (uint32, bool) {
	for i := range sh.people {
		if sh.people[i].uid == uid {
			return uint32(i), true
		}
	}
	return 0, false
}
