package simulator

import (
	"testing"
	"time"
)

func BenchmarkWorldList(b *testing.B) {
	now := time.Date(2026, 4, 14, 17, 0, 0, 0, time.UTC)
	w := NewWorld(WorldConfig{Seed: 7, Start: now, Step: time.Second})
	q := Query{Filter: Filter{Region: "US"}}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		if l, ok := w.List(q, now); !ok || len(l.Rows) < MaxDepth {
			b.Fatal("no list")
		}
	}
}
