package diff_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rankwatch/rankwatch/diff"
)

// walk returns a board of n places, index falling with ties, and the next
// reading with one move for every ten places.
func walk(n int) (diff.Board, diff.Reading, diff.Rules) {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	rules := diff.Rules{Top: int32(n), MinPlaces: 1, MinChange: 1, DropAfter: 1}
	entries := make([]diff.Entry, n)
	for i := range entries {
		entries[i] = diff.Entry{UID: fmt.Sprintf("%019d", rng.Uint64N(1e18)), Index: int64(4 * (n - i)), Position: int32(i + 1)}
	}
	b := diff.Baseline(diff.Reading{Entries: entries, Revision: 1}, rules, false).Board
	next := append([]diff.Entry(nil), entries...)
	// A neighbour changes places, so that one move is two creators' step.
	for m := 0; m < n/20; m++ {
		i := rng.IntN(n - 1)
		next[i], next[i+1] = next[i+1], next[i]
	}
	for i := range next {
		next[i].Index, next[i].Position = int64(4*(n-i)), int32(i+1)
	}
	return b, diff.Reading{Entries: next, Revision: 2}, rules
}

func BenchmarkCompare(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("places=%d", n), func(b *testing.B) {
			board, reading, rules := walk(n)
			b.ReportAllocs()
			var c diff.Comparer
			for b.Loop() {
				if got := c.Compare(board, reading, rules); len(got.Changes) == 0 {
					b.Fatal("no change")
				}
			}
		})
	}
}

// far moves creators over long distances.
func far(n int) (diff.Board, diff.Reading, diff.Rules) {
	board, reading, rules := walk(n)
	rng := rand.New(rand.NewPCG(2, uint64(n)))
	next := make([]diff.Entry, len(board.Rows))
	for i := range board.Rows {
		next[i] = diff.Entry{UID: board.Rows[i].UID}
	}
	for m := 0; m < n/10; m++ {
		i, j := rng.IntN(n), rng.IntN(n)
		next[i], next[j] = next[j], next[i]
	}
	for i := range next {
		next[i].Index, next[i].Position = int64(4*(n-i)), int32(i+1)
	}
	reading.Entries = next
	return board, reading, rules
}

func BenchmarkCompareFar(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("places=%d", n), func(b *testing.B) {
			board, reading, rules := far(n)
			b.ReportAllocs()
			var c diff.Comparer
			for b.Loop() {
				if got := c.Compare(board, reading, rules); len(got.Changes) == 0 {
					b.Fatal("no change")
				}
			}
		})
	}
}
