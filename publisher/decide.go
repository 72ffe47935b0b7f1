package publisher

import (
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// view is all that a decision about one chain rests on.
type view struct {
	kind  event.Kind
	last  *stored // the chain's last fence on the stream, L; nil if there is none
	board board   // what last says, for a board chain
	acked state.Ack
	known bool // acked is not nothing
	// ours is the revision of our own batch, acknowledged or not, whose fence
	// has the payload of last; 0 if none has.
	ours uint64
	// keptFrom is the first revision from which all batches up to acked are
	// kept; the one after acked if not even that one is.
	keptFrom uint64
	// behind is the sequence after which the next status is about to follow
	// where nothing is acknowledged.
	behind uint64

	writer   string
	shared   bool // others write the watchlist too, and rightly
	starting bool // last was there before this process published anything
	back     bool // the stream is another one, or lost what was acknowledged
	suspect  bool // the outbox is an old copy
}

// action is what to do with a chain.
type action uint8

const (
	// stay: the stream holds what we think it holds. Try again.
	stay action = iota
	// retake: it does, but at another sequence.
	retake
	// delivered: our batches up to `revision` are there.
	delivered
	// rewind: the stream lost what follows `revision`; publish it again.
	rewind
	// restart: it lost what we no longer have; begin anew with a baseline.
	restart
	// adopt: the stream is ahead of us; take what it has.
	adopt
	// fence: another writer is at it; stop.
	fence
	// step: statuses of somebody else came in between; go on behind them.
	step
)

var actionNames = [...]string{"stay", "retake", "delivered", "rewind", "restart", "adopt", "fence", "step"}

func (a action) String() string { return actionNames[a] }

// verdict is an action with its named reason. Revision is where the chain
// stands on the stream after it.
type verdict struct {
	do       action
	revision uint64
	reason   string
}

// decide is the decision table of a chain that was refused, or that may have
// changed while nobody looked. It looks at payloads, never at errors.
func decide(v view) verdict {
	if v.kind == event.Status {
		return decideStatus(v)
	}
	switch {
	case v.last == nil && !v.known:
		return verdict{stay, 0, "nothing published yet"}
	case v.last == nil:
		return v.lost(0, "the stream has no board")
	case v.ours != 0:
		return v.mine()
	case !v.known:
		return verdict{adopt, v.board.Revision, "the stream has boards that are not known here"}
	case v.board.Revision < v.acked.Revision:
		return v.lost(0, "the stream's last board is older than what it had acknowledged")
	case v.starting:
		return verdict{adopt, v.board.Revision, "the stream is ahead"}
	case v.board.Writer == v.writer:
		return verdict{adopt, v.board.Revision, "an attempt that was given up arrived after all"}
	case v.shared:
		return verdict{adopt, v.board.Revision, "another worker was first"}
	}
	return verdict{fence, v.board.Revision, "another writer"}
}

// mine decides when the stream's last message is one of our own.
func (v view) mine() verdict {
	switch {
	case v.known && v.ours == v.acked.Revision && v.last.Sequence == v.acked.Sequence:
		return verdict{stay, v.ours, "the stream holds what is acknowledged"}
	case v.known && v.ours == v.acked.Revision:
		return verdict{retake, v.ours, "the stream holds what is acknowledged, at another sequence"}
	case !v.known || v.ours > v.acked.Revision:
		return verdict{delivered, v.ours, "it had arrived"}
	}
	return v.lost(v.ours, "the stream went back")
}

// lost decides when the stream's chain ends before what it had acknowledged.
// from is the revision of ours that it still has; 0 if it has none.
func (v view) lost(from uint64, reason string) verdict {
	reaches := v.keptFrom <= from+1
	if (from != 0 || v.last == nil) && reaches && !v.suspect {
		return verdict{rewind, from, reason}
	}
	return verdict{restart, v.board.Revision, reason}
}

// decideStatus is milder: statuses are single facts that do not build on one
// another, so somebody else's in between stop nothing.
func decideStatus(v view) verdict {
	reaches := !v.suspect
	switch {
	case v.last == nil && (!v.known || v.acked.Sequence == 0):
		return verdict{stay, 0, "nothing published yet"}
	case v.last != nil && !v.known && v.ours == 0 && v.behind == v.last.Sequence:
		return verdict{stay, 0, "behind statuses of somebody else"}
	case v.last == nil && v.back && reaches && v.keptFrom == 1:
		return verdict{rewind, 0, "the stream has no status"}
	case v.last == nil:
		return verdict{retake, v.acked.Revision, "the stream has no status"}
	case v.known && v.last.Sequence == v.acked.Sequence && v.last.digest() == v.acked.Digest:
		return verdict{stay, v.acked.Revision, "the stream holds what is acknowledged"}
	case v.ours == 0 && v.shared:
		return verdict{adopt, v.acked.Revision, "another worker was first"}
	case v.ours == 0:
		return verdict{step, v.acked.Revision, "statuses of somebody else"}
	case v.known && v.ours == v.acked.Revision:
		return verdict{retake, v.ours, "the stream holds what is acknowledged, at another sequence"}
	case !v.known || v.ours > v.acked.Revision:
		return verdict{delivered, v.ours, "it had arrived"}
	case v.back && reaches && v.keptFrom <= v.ours+1:
		return verdict{rewind, v.ours, "the stream went back"}
	}
	return verdict{retake, v.acked.Revision, "the stream went back"}
}
