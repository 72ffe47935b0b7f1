package history

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

// A board found by time or revision is the one that a look at all of them
// finds, or there is none: with gaps, changes of region, boards stored long
// after they were made, and a history whose beginning is gone.
func TestBoardsAreFoundAsByLookingAtAll(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	s := must(b.js.Stream(t.Context(), streamName))
	rapid.Check(t, func(t *rapid.T) {
		if err := s.Purge(b.t.Context()); err != nil {
			t.Fatal(err)
		}
		b.stored = nil
		b.drawBoards(t)
		from := uint64(0)
		if n := rapid.IntRange(0, 5).Draw(t, "purged"); n > 0 && n < len(b.stored) {
			from = b.stored[n].sequence
			if err := s.Purge(b.t.Context(), jetstream.WithPurgeSequence(from)); err != nil {
				t.Fatal(err)
			}
		}
		var boards []stored
		for _, s := range b.naive(Query{Watchlists: []string{"a"}}, from) {
			if s.kind == "board" {
				boards = append(boards, s)
			}
		}
		b.compareBoards(t, boards)
	})
}

func (b *bus) drawBoards(t *rapid.T) {
	n := rapid.IntRange(0, 14).Draw(t, "boards")
	revision := rapid.Uint64Range(1, 5).Draw(t, "first revision")
	made := time.Now().Add(-100 * time.Hour)
	for range n {
		made = made.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "pause")) * time.Minute)
		if now := time.Now(); rapid.Bool().Draw(t, "at once") && made.Before(now) {
			made = now
		}
		// By a clock that runs ahead of the server's.
		if rapid.IntRange(0, 5).Draw(t, "ahead") == 0 {
			made = made.Add(time.Hour)
		}
		g := reading{list: "a", revision: revision, at: made, region: rapid.SampledFrom([]string{"US", "GB"}).Draw(t, "region"), uids: make([]string, 0, 4)}
		for range rapid.IntRange(0, 3).Draw(t, "events") {
			g.uids = append(g.uids, "u")
		}
		b.reading(g)
		if rapid.Bool().Draw(t, "another") {
			b.reading(reading{list: "b", revision: revision, at: made})
		}
		revision += rapid.Uint64Range(1, 3).Draw(t, "step")
	}
}

func (b *bus) compareBoards(t *rapid.T, boards []stored) {
	r := b.reader()
	check := func(what string, m *Message, err error, want *stored) {
		t.Helper()
		switch {
		case want == nil && !errors.Is(err, ErrNotFound):
			t.Fatalf("%s: %v, want ErrNotFound", what, err)
		case want != nil && err != nil:
			t.Fatalf("%s: %v, want revision %d", what, err, want.revision)
		case want != nil && (m.Sequence != want.sequence || m.Subject != want.subject || string(m.Data) != string(want.data)):
			n, _ := m.Revision()
			t.Fatalf("%s: revision %d at %d, want %d at %d", what, n, m.Sequence, want.revision, want.sequence)
		}
	}
	pick := func(ok func(stored) bool) (last *stored) {
		for i := range boards {
			if ok(boards[i]) {
				last = &boards[i]
			}
		}
		return last
	}
	ctx := b.t.Context()
	var first *stored
	if len(boards) > 0 {
		first = &boards[0]
	}
	m, err := r.FirstBoard(ctx, "a")
	check("first", m, err, first)
	m, err = r.LastBoard(ctx, "a")
	check("last", m, err, pick(func(stored) bool { return true }))
	top := uint64(2)
	for _, s := range boards {
		top = s.revision + 2
		for _, at := range []time.Time{s.time, s.time.Add(-time.Millisecond), s.time.Add(time.Millisecond), s.published} {
			m, err = r.BoardAt(ctx, "a", at)
			check("at "+at.String(), m, err, pick(func(s stored) bool { return !s.time.After(at) }))
		}
	}
	for n := range top {
		m, err = r.BoardAtRevision(ctx, "a", n)
		check("revision", m, err, pick(func(s stored) bool { return s.revision == n }))
		m, err = r.BoardUpToRevision(ctx, "a", n)
		check("up to revision", m, err, pick(func(s stored) bool { return s.revision <= n }))
	}
	m, err = r.BoardAt(ctx, "a", time.Now().Add(200*time.Hour))
	check("in the future", m, err, pick(func(stored) bool { return true }))
	_, err = r.BoardAt(ctx, "nobody", time.Now())
	check("of nobody", nil, err, nil)
}

// requests counts what fn asks of the server.
func (b *bus) requests(fn func()) uint64 {
	before := b.nc.Stats().OutMsgs
	fn()
	return b.nc.Stats().OutMsgs - before
}

// A board is a few look-ups away, however many there are.
func TestABoardIsAFewLookUpsAway(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	const boards = 3000
	start := time.Now().Add(-boards * time.Hour)
	for i := range boards {
		g := reading{list: "a", revision: uint64(i + 1), at: start.Add(time.Duration(i) * time.Hour)}
		if i%100 < 7 { // not spread evenly
			g.uids = []string{"u1", "u2", "u3", "u4"}
		}
		if i >= boards-4 { // made when they are stored, one after the other
			<-time.After(100 * time.Millisecond)
			g.at = time.Now()
		}
		b.reading(g)
	}
	r := b.reader()
	look := func(what string, most uint64, fn func() error) {
		t.Helper()
		if n := b.requests(func() {
			if err := fn(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}); n > most || n == 0 {
			t.Errorf("%s: %d look-ups, want at most %d", what, n, most)
		}
	}
	for _, i := range []int{1, 17, 1234, 2500, 2998, 2999, 3000} {
		look("revision", 16, func() error { _, err := r.BoardAtRevision(t.Context(), "a", uint64(i)); return err })
		s := b.naive(Query{FromRevision: uint64(i), ToRevision: uint64(i)}, 0)[0]
		most := uint64(3)
		if i <= boards-4 {
			most = 16 // stored long after it was made
		}
		look("time", most, func() error { _, err := r.BoardAt(t.Context(), "a", s.time); return err })
		if i > boards-4 {
			look("before", 2, func() error { _, err := r.BoardAt(t.Context(), "a", s.time.Add(-time.Millisecond)); return err })
		}
	}
	look("first", 1, func() error { _, err := r.FirstBoard(t.Context(), "a"); return err })
	look("last", 1, func() error { _, err := r.LastBoard(t.Context(), "a"); return err })
	look("no revision", 3, func() error {
		if _, err := r.BoardAtRevision(t.Context(), "a", boards+1); !errors.Is(err, ErrNotFound) {
			return err
		}
		return nil
	})
}

func TestBoardsNeedDirectReads(t *testing.T) {
	t.Parallel()
	b := startBus(t, noDirect)
	b.reading(reading{list: "a", revision: 1, at: time.Now()})
	if _, err := b.reader().LastBoard(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "--allow-direct") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}
