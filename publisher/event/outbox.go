package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// A Role says how the publisher sends a message.
type Role uint8

// Plain messages are a reading's events. A Fence closes its batch and carries
// the expectation that nothing else was published on its chain since; it is a
// Board or a Status message. A Head replaces the watchlist's former head on a
// subject that is not republished; its Subject is empty, the publisher names it.
const (
	Plain Role = iota
	Fence
	Head
)

// A Message is ready to go out. Data is never changed after it was committed,
// so a repeated attempt sends the same bytes.
type Message struct {
	Subject string
	Role    Role
	Data    []byte
}

// A Chain is a sequence of batches of which each is published only directly
// after the one before it. Every watchlist has one for its boards and one for
// its statuses.
type Chain struct {
	Watchlist string
	Kind      Kind // Board or Status
}

// A Batch becomes visible as a whole. Its last message is the fence. Revision
// counts the chain's batches from 1, without gaps. TraceParent is the trace
// that the batch came about in, as TraceParentHeader has it; empty for none.
type Batch struct {
	Order       uint64 // place in the outbox, set by the store
	Chain       Chain
	Revision    uint64
	TraceParent string
	Messages    []Message
}

// Fence is the batch's last message.
func (b Batch) Fence() Message { return b.Messages[len(b.Messages)-1] }

// Size is the number of payload bytes.
func (b Batch) Size() int {
	n := 0
	for _, m := range b.Messages {
		n += len(m.Data)
	}
	return n
}

// Tracked is all that the next diff of a watchlist needs. Record is small and
// changes with every reading; Board is large and changes with every published
// one. Both are opaque to whoever stores or carries them.
type Tracked struct {
	Record []byte
	Board  []byte
}

// PackTracked writes t as the payload of a head message.
func PackTracked(t Tracked) []byte {
	b := make([]byte, 0, len(t.Record)+len(t.Board)+binary.MaxVarintLen64+1)
	b = append(b, headVersion)
	b = binary.AppendUvarint(b, uint64(len(t.Record)))
	b = append(b, t.Record...)
	return append(b, t.Board...)
}

// ErrHead means that a head message is not one that this version can read.
var ErrHead = errors.New("event: unreadable head")

// UnpackTracked reads the payload of a head message. The result shares its
// memory.
func UnpackTracked(data []byte) (Tracked, error) {
	if len(data) < 2 || data[0] != headVersion {
		return Tracked{}, ErrHead
	}
	n, w := binary.Uvarint(data[1:])
	rest := data[1+max(w, 0):]
	if w <= 0 || n > uint64(len(rest)) {
		return Tracked{}, ErrHead
	}
	return Tracked{Record: rest[:n:n], Board: rest[n:]}, nil
}

const headVersion = 1

// UnpackHead reads a head message: what is tracked, and the revision of the board
// that it belongs to.
func UnpackHead(header interface{ Get(string) string }, data []byte) (Tracked, uint64, error) {
	revision, err := strconv.ParseUint(header.Get(RevisionHeader), 10, 64)
	if err != nil {
		return Tracked{}, 0, fmt.Errorf("%w: revision: %w", ErrHead, err)
	}
	t, err := UnpackTracked(data)
	return t, revision, err
}
