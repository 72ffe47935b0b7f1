package history

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

// One filter's first message comes before the range, the other's long after its
// start: what the first one has in between belongs to the range.
func TestSinceIsNotPutOffByAWatchlistThatBeginsLater(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for n := range uint64(300) {
		b.reading(reading{list: "old", revision: n + 1, at: time.Now(), uids: []string{"u1"}})
	}
	for n := range uint64(10) {
		b.reading(reading{list: "new", revision: n + 1, at: time.Now(), uids: []string{"u1"}})
	}
	q := Query{Watchlists: []string{"old", "new"}, Since: b.stored[200].time}
	got, err := collect(t.Context(), b.reader(), q)
	if d := differ(got, b.naive(q, 0)); err != nil || d != "" {
		t.Fatalf("%v %s", err, d)
	}
}

func TestSequenceSinceIsTheFirstStoredThen(t *testing.T) {
	t.Parallel()
	for name, mod := range map[string][]func(*jetstream.StreamConfig){"ours": nil, "without direct reads": {noDirect}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBus(t, mod...)
			r := b.reader()
			if at, err := r.SequenceSince(t.Context(), time.Now()); err != nil || at != 1 {
				t.Errorf("an empty stream: %d, %v", at, err)
			}
			b.world(rand.New(rand.NewPCG(1, 2)), 4, 150)
			s := must(b.js.Stream(t.Context(), streamName))
			if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(40)); err != nil {
				t.Fatal(err)
			}
			n := len(b.stored)
			last := b.stored[n-1].sequence
			for _, m := range slices.Concat(b.stored[n/3:n/3+5], b.stored[n/2:n/2+1], b.stored[n-1:]) {
				if err := s.DeleteMsg(t.Context(), m.sequence); err != nil {
					t.Fatal(err)
				}
			}
			all, err := collect(t.Context(), r, Query{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range all {
				m := &all[i]
				if at, err := r.SequenceSince(t.Context(), m.Stored.Add(1)); err != nil || at != m.Sequence+1 {
					t.Errorf("after %d: %d, %v", m.Sequence, at, err)
				}
				// What is between two of the public's does not count.
				var before uint64
				if i > 0 {
					before = all[i-1].Sequence
				}
				if at, err := r.SequenceSince(t.Context(), m.Stored); err != nil || at > m.Sequence || at <= before {
					t.Errorf("of %d: %d, %v", m.Sequence, at, err)
				}
			}
			if got, err := r.SequenceSince(t.Context(), time.Time{}); err != nil || got != must(r.State(t.Context())).State.FirstSeq {
				t.Errorf("of old: %d, %v", got, err)
			}
			if got, err := r.SequenceSince(t.Context(), time.Now().Add(time.Hour)); err != nil || got <= all[len(all)-1].Sequence || got > last+1 {
				t.Errorf("in the future: %d, %v", got, err)
			}
		})
	}
}

// Whatever the times are, and in whatever order: what is left out ends with a
// message from before. And it takes few look-ups.
func TestTheSearchLeavesOutOnlyWhatIsOlder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := time.Unix(1_800_000_000, 0)
		rise := rapid.Bool().Draw(t, "rise")
		var all []dated
		sequence, stored := rapid.Uint64Range(0, 1<<40).Draw(t, "first"), base
		for range rapid.IntRange(1, 400).Draw(t, "n") {
			sequence += 1 + rapid.SampledFrom([]uint64{0, 0, 0, 1, 100, 5000}).Draw(t, "hole")
			step := rapid.SampledFrom([]time.Duration{0, 1, time.Millisecond, time.Hour}).Draw(t, "step")
			if !rise && rapid.IntRange(0, 9).Draw(t, "back") == 0 {
				step = -3 * step
			}
			stored = stored.Add(step)
			all = append(all, dated{sequence, stored})
		}
		since := base.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(400*time.Hour)).Draw(t, "since")))
		if rapid.Bool().Draw(t, "exactly") {
			since = rapid.SampledFrom(all).Draw(t, "message").stored
		}
		within := rapid.SampledFrom([]uint64{1, near}).Draw(t, "within")
		looks := 0
		low, bound := dated{all[0].sequence - 1, all[0].stored}, dated{sequence + 1, stored}
		start, err := firstSince(since, low, bound, within, func(from uint64) (dated, error) {
			looks++
			i := slices.IndexFunc(all, func(m dated) bool { return m.sequence >= from })
			if i < 0 {
				return dated{}, fmt.Errorf("from %d: %w", from, ErrNotFound)
			}
			return all[i], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(all, func(m dated) bool { return m.sequence >= start-1 }); start != all[0].sequence && (i < 0 || all[i].sequence != start-1 || !all[i].stored.Before(since)) {
			t.Fatalf("starts at %d, which is not directly behind a message from before", start)
		}
		if rise {
			last := all[0].sequence // directly behind all that is older
			for _, m := range all {
				if m.stored.Before(since) {
					last = m.sequence + 1
				}
			}
			if start > last || start+within <= last {
				t.Fatalf("starts at %d, but what is older ends before %d", start, last)
			}
		}
		if most := 3 * (bits.Len64(bound.sequence-low.sequence) + 1); looks > most {
			t.Fatalf("%d look-ups among %d", looks, bound.sequence-low.sequence)
		}
	})
}

// What was found out before a look-up failed stands.
func TestASearchThatBreaksOffLeavesNothingOut(t *testing.T) {
	t.Parallel()
	base := time.Unix(1_800_000_000, 0)
	at := func(sequence uint64) time.Time { return base.Add(time.Duration(sequence) * time.Second) }
	for fail := range 12 {
		start, err := firstSince(at(70_000), dated{0, base}, dated{100_001, at(100_001)}, 1, func(from uint64) (dated, error) {
			if fail--; fail < 0 {
				return dated{}, errTest
			}
			return dated{from, at(from)}, nil
		})
		if start == 0 || start > 70_000 || err != nil && !errors.Is(err, errTest) {
			t.Errorf("starts at %d: %v", start, err)
		}
	}
}
