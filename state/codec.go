package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// The buckets. Boards and payloads are large: each has a bucket of its own
// inside theirs, because bbolt rewrites all that shares a page with a change.
const (
	bucketMeta     = "meta"     // see meta.go
	bucketLists    = "lists"    // watchlist → list; the rest of it is checked against this
	bucketBoards   = "boards"   // watchlist → bucket{large → Tracked.Board}
	bucketChains   = "chains"   // chain key → chain
	bucketWaiting  = "waiting"  // order → Info
	bucketKept     = "kept"     // order → Info
	bucketPayloads = "payloads" // order → bucket{large → messages, trace → TraceParent if there is one}
	bucketDeparted = "departed" // watchlist 0x00 uid → Departure

	keyLarge = "v"
	// Versions that know of no traces pass over this key, and publish the batch
	// without: so it needed no new format.
	keyTrace = "t"
)

func bucketNames() []string {
	return []string{
		bucketMeta, bucketLists, bucketBoards, bucketChains,
		bucketWaiting, bucketKept, bucketPayloads, bucketDeparted,
	}
}

var errMalformed = errors.New("malformed value")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers the place of a value too, so that a value under a damaged
// key is not taken for another's.
func checksum(bucket string, key, body []byte) uint32 {
	var place [64]byte
	p := append(append(append(place[:0], bucket...), 0), key...)
	return crc32.Update(crc32.Checksum(p, castagnoli), castagnoli, body)
}

// unseal returns the body of a value that ends in its checksum, sharing its
// memory.
func unseal(bucket string, key, value []byte) ([]byte, error) {
	n := len(value) - 4
	if n < 0 || binary.BigEndian.Uint32(value[n:]) != checksum(bucket, key, value[:n]) {
		return nil, fmt.Errorf("%w: %s %q does not match its checksum", ErrDamaged, bucket, key)
	}
	return value[:n:n], nil
}

// A reader takes values off the front of a body. After the first that does not
// fit, all are zero and ok is false.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number that fits an int.
func (r *reader) count() int {
	v := r.uint()
	if v > math.MaxInt32 {
		r.b, r.bad = nil, true
		return 0
	}
	return int(v)
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) time() time.Time {
	sec, nsec := r.int(), r.int()
	return time.Unix(sec, nsec).UTC()
}

func (r *reader) done() error {
	if r.bad || len(r.b) > 0 {
		return errMalformed
	}
	return nil
}

// appendTime writes any time, the zero one too, which has no UnixNano.
func appendTime(b []byte, t time.Time) []byte {
	return binary.AppendVarint(binary.AppendVarint(b, t.Unix()), int64(t.Nanosecond()))
}

// A list is a watchlist without its board. has tells what else must exist of
// it, so that a lost key is noticed.
type list struct {
	version uint64
	has     byte
	record  []byte
}

const (
	hasRecord = 1 << iota
	hasBoard
	hasBoards   // the chain
	hasStatuses // the chain
)

func hasChain(k event.Kind) byte {
	if k == event.Board {
		return hasBoards
	}
	return hasStatuses
}

func (l list) append(b []byte) []byte {
	b = binary.AppendUvarint(b, l.version)
	return append(append(b, l.has), l.record...)
}

func parseList(b []byte) (list, error) {
	r := reader{b: b}
	l := list{version: r.uint()}
	has := r.bytes(1)
	if r.bad || l.version == 0 || has[0]&hasRecord == 0 && len(r.b) > 0 {
		return list{}, errMalformed
	}
	l.has, l.record = has[0], r.b
	return l, nil
}

// A chain is how far a chain of batches has come. Only board chains have a
// lineage and break.
type chain struct {
	last           uint64 // revision of the last batch committed
	lineage        int    // less 1
	broken         bool
	streamRevision uint64
	acked          Ack // Revision 0: none
}

func (c chain) append(b []byte) []byte {
	var broken uint64
	if c.broken {
		broken = 1
	}
	for _, v := range [...]uint64{c.last, uint64(c.lineage), broken, c.streamRevision, c.acked.Order, c.acked.Revision, c.acked.Sequence} {
		b = binary.AppendUvarint(b, v)
	}
	return append(b, c.acked.Digest[:]...)
}

func parseChain(id event.Chain, b []byte) (chain, error) {
	r := reader{b: b}
	c := chain{last: r.uint(), lineage: r.count(), broken: r.uint() == 1, streamRevision: r.uint()}
	c.acked = Ack{Order: r.uint(), Revision: r.uint(), Sequence: r.uint()}
	copy(c.acked.Digest[:], r.bytes(len(c.acked.Digest)))
	if c.acked.Revision > 0 {
		c.acked.Chain = id
	}
	return c, r.done()
}

func (i Info) append(b []byte) []byte {
	b = binary.AppendUvarint(b, i.Revision)
	b = binary.AppendUvarint(b, uint64(i.Messages))
	b = binary.AppendUvarint(b, uint64(i.Bytes))
	b = appendTime(b, i.At)
	return appendChainKey(b, i.Chain)
}

func parseInfo(order uint64, b []byte) (Info, error) {
	r := reader{b: b}
	i := Info{Order: order, Revision: r.uint(), Messages: r.count(), Bytes: r.count(), At: r.time()}
	if r.bad {
		return Info{}, errMalformed
	}
	var err error
	i.Chain, err = parseChainKey(r.b)
	return i, err
}

func (d Departure) append(b []byte) []byte {
	return binary.AppendVarint(appendTime(appendTime(b, d.At), d.FirstSeen), int64(d.PeakRank))
}

func parseDeparture(uid string, b []byte) (Departure, error) {
	r := reader{b: b}
	d := Departure{UID: uid, At: r.time(), FirstSeen: r.time(), PeakRank: int(r.int())}
	return d, r.done()
}

// appendMessages writes the messages' sizes, then their subjects, then their
// data, so that reading them takes one string and one buffer.
func appendMessages(b []byte, ms []event.Message) []byte {
	b = binary.AppendUvarint(b, uint64(len(ms)))
	for _, m := range ms {
		b = append(b, byte(m.Role))
		b = binary.AppendUvarint(b, uint64(len(m.Subject)))
		b = binary.AppendUvarint(b, uint64(len(m.Data)))
	}
	for _, m := range ms {
		b = append(b, m.Subject...)
	}
	for _, m := range ms {
		b = append(b, m.Data...)
	}
	return b
}

// parseMessages shares the memory of b.
func parseMessages(b []byte) ([]event.Message, error) {
	r := reader{b: b}
	n := r.count()
	if n > len(r.b) { // a message takes three bytes at least
		return nil, errMalformed
	}
	ms := make([]event.Message, n)
	sizes := r
	subjects := 0
	for range ms {
		r.bytes(1)
		s := r.count()
		r.count()
		if subjects += s; subjects > len(b) {
			return nil, errMalformed
		}
	}
	rest := string(r.bytes(subjects))
	for i := range ms {
		role := sizes.bytes(1)
		s, d := sizes.count(), sizes.count()
		if r.bad || sizes.bad {
			return nil, errMalformed
		}
		ms[i] = event.Message{Subject: rest[:s], Role: event.Role(role[0]), Data: r.bytes(d)}
		rest = rest[s:]
	}
	return ms, r.done()
}

func orderKey(order uint64) []byte { return binary.BigEndian.AppendUint64(nil, order) }

func parseOrderKey(k []byte) (uint64, error) {
	if len(k) != 8 {
		return 0, errMalformed
	}
	return binary.BigEndian.Uint64(k), nil
}

// maxName is far above what a watchlist file allows and below bbolt's limit
// for keys, a uid included.
const maxName = 1024

func checkName(watchlist string) error {
	if watchlist == "" || len(watchlist) > maxName || strings.IndexByte(watchlist, 0) >= 0 {
		return fmt.Errorf("state: bad watchlist name %q", watchlist)
	}
	return nil
}

func checkChain(c event.Chain) error {
	if c.Kind != event.Board && c.Kind != event.Status {
		return fmt.Errorf("state: chain of %q: no chain is of kind %q", c.Watchlist, c.Kind)
	}
	return checkName(c.Watchlist)
}

func appendChainKey(b []byte, c event.Chain) []byte {
	if c.Kind == event.Board {
		return append(append(b, "b/"...), c.Watchlist...)
	}
	return append(append(b, "s/"...), c.Watchlist...)
}

func chainKey(c event.Chain) []byte { return appendChainKey(nil, c) }

func parseChainKey(k []byte) (event.Chain, error) {
	if len(k) < 3 || k[1] != '/' {
		return event.Chain{}, errMalformed
	}
	c := event.Chain{Watchlist: string(k[2:])}
	switch k[0] {
	case 'b':
		c.Kind = event.Board
	case 's':
		c.Kind = event.Status
	default:
		return event.Chain{}, errMalformed
	}
	return c, nil
}

func departedKey(watchlist, uid string) []byte {
	return append(append([]byte(watchlist), 0), uid...)
}
