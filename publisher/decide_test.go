package publisher

import (
	"crypto/sha256"
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// A case is written as L, A and what is ours:
// last is the revision on the stream (-1 none) at sequence seq, acked the
// acknowledged one at sequence 50 (0 none), ours the revision that last's
// payload has with us (0: foreign).
type decision struct {
	name     string
	last     int
	seq      uint64
	acked    uint64
	ours     uint64
	keptFrom uint64
	mod      func(*view)
	want     action
	revision uint64
}

func (d decision) view(kind event.Kind) view {
	v := view{kind: kind, ours: d.ours, keptFrom: d.keptFrom, writer: "me", known: d.acked > 0}
	if v.known {
		v.acked = state.Ack{Revision: d.acked, Sequence: 50}
	}
	if v.keptFrom == 0 {
		v.keptFrom = d.acked + 1
	}
	if d.last >= 0 {
		v.last = &stored{Sequence: d.seq, Data: []byte("payload")}
		if d.ours == d.acked && v.known {
			v.acked.Digest = sha256.Sum256(v.last.Data)
		}
		v.board = board{Revision: uint64(d.last), Writer: "other"}
	}
	if d.mod != nil {
		d.mod(&v)
	}
	return v
}

func starting(v *view) { v.starting = true }
func suspect(v *view)  { v.suspect = true }
func back(v *view)     { v.back = true }
func mine(v *view)     { v.board.Writer = "me" }

func TestDecisionsOnBoards(t *testing.T) {
	for _, d := range []decision{
		{name: "nothing anywhere", last: -1, want: stay},
		{name: "L = A", last: 7, seq: 50, acked: 7, ours: 7, want: stay, revision: 7},
		{name: "L = A elsewhere", last: 7, seq: 12, acked: 7, ours: 7, want: retake, revision: 7},
		{name: "L = H", last: 8, seq: 60, acked: 7, ours: 8, want: delivered, revision: 8},
		{name: "L = H, the first", last: 1, seq: 60, ours: 1, want: delivered, revision: 1},
		{name: "L behind H, ours", last: 9, seq: 60, acked: 7, ours: 9, want: delivered, revision: 9},
		{name: "L gone, all kept", last: -1, acked: 7, keptFrom: 1, want: rewind},
		{name: "L gone, not all kept", last: -1, acked: 7, keptFrom: 2, want: restart},
		{name: "L gone, nothing kept", last: -1, acked: 7, want: restart},
		{name: "L gone, all kept, old copy", last: -1, acked: 7, keptFrom: 1, mod: suspect, want: restart},
		{name: "L below A, ours, kept reaches", last: 5, seq: 30, acked: 7, ours: 5, keptFrom: 6, want: rewind, revision: 5},
		{name: "L below A, ours, kept reaches further", last: 5, seq: 30, acked: 7, ours: 5, keptFrom: 3, want: rewind, revision: 5},
		{name: "L below A, ours, gap", last: 5, seq: 30, acked: 7, ours: 5, keptFrom: 7, want: restart, revision: 5},
		{name: "L below A, ours, old copy", last: 5, seq: 30, acked: 7, ours: 5, keptFrom: 6, mod: suspect, want: restart, revision: 5},
		{name: "L below A, not ours", last: 5, seq: 70, acked: 7, keptFrom: 1, want: restart, revision: 5},
		{name: "L below A, not ours, starting", last: 5, seq: 70, acked: 7, keptFrom: 1, mod: starting, want: restart, revision: 5},
		{name: "L unreadable", last: 0, seq: 70, acked: 7, keptFrom: 1, want: restart},
		{name: "L, A unknown", last: 5, seq: 70, want: adopt, revision: 5},
		{name: "L ahead, starting", last: 9, seq: 70, acked: 7, mod: starting, want: adopt, revision: 9},
		{name: "L beside A, starting", last: 7, seq: 70, acked: 7, mod: starting, want: adopt, revision: 7},
		{name: "L ahead, running", last: 9, seq: 70, acked: 7, want: fence, revision: 9},
		{name: "L beside A, running", last: 7, seq: 70, acked: 7, want: fence, revision: 7},
		{name: "L ahead, running, but written by us", last: 9, seq: 70, acked: 7, mod: mine, want: adopt, revision: 9},
	} {
		got := decide(d.view(event.Board))
		if got.do != d.want || got.revision != d.revision {
			t.Errorf("%s: %s %d (%s), want %s %d", d.name, got.do, got.revision, got.reason, d.want, d.revision)
		}
		if got.reason == "" {
			t.Errorf("%s: no reason", d.name)
		}
	}
}

func TestDecisionsOnStatuses(t *testing.T) {
	for _, d := range []decision{
		{name: "nothing anywhere", last: -1, want: stay},
		{name: "L = A", last: 0, seq: 50, acked: 7, ours: 7, want: stay, revision: 7},
		{name: "L = A elsewhere", last: 0, seq: 12, acked: 7, ours: 7, want: retake, revision: 7},
		{name: "L = H", last: 0, seq: 60, acked: 7, ours: 8, want: delivered, revision: 8},
		{name: "L = H, the first", last: 0, seq: 60, ours: 1, want: delivered, revision: 1},
		{name: "L purged", last: -1, acked: 7, keptFrom: 1, want: retake, revision: 7},
		{name: "L gone with the stream, all kept", last: -1, acked: 7, keptFrom: 1, mod: back, want: rewind},
		{name: "L gone with the stream, not all kept", last: -1, acked: 7, keptFrom: 2, mod: back, want: retake, revision: 7},
		{name: "L went back", last: 0, seq: 30, acked: 7, ours: 5, keptFrom: 6, mod: back, want: rewind, revision: 5},
		{name: "L went back, gap", last: 0, seq: 30, acked: 7, ours: 5, keptFrom: 7, mod: back, want: retake, revision: 7},
		{name: "L of somebody else", last: 0, seq: 70, acked: 7, want: step, revision: 7},
		{name: "L of somebody else, starting", last: 0, seq: 70, acked: 7, mod: starting, want: step, revision: 7},
		{name: "L, A unknown", last: 0, seq: 70, want: step},
		{name: "L, A unknown, already behind it", last: 0, seq: 70, mod: func(v *view) { v.behind = 70 }, want: stay},
	} {
		got := decide(d.view(event.Status))
		if got.do != d.want || got.revision != d.revision {
			t.Errorf("%s: %s %d (%s), want %s %d", d.name, got.do, got.revision, got.reason, d.want, d.revision)
		}
	}
}

func TestKeptFrom(t *testing.T) {
	infos := func(revisions ...uint64) (out []state.Info) {
		for _, r := range revisions {
			out = append(out, state.Info{Revision: r})
		}
		return out
	}
	for _, c := range []struct {
		kept  []state.Info
		acked uint64
		want  uint64
	}{
		{nil, 7, 8}, {infos(7), 7, 7}, {infos(5, 6, 7), 7, 5}, {infos(3, 5, 6, 7), 7, 5}, {infos(5, 6), 7, 8}, {infos(1, 2), 2, 1}, {nil, 0, 1},
	} {
		if got := keptFrom(c.kept, state.Ack{Revision: c.acked}); got != c.want {
			t.Errorf("kept %v, acked %d: %d, want %d", c.kept, c.acked, got, c.want)
		}
	}
}
