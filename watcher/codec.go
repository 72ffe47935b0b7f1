package watcher

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// A record is what is remembered of a watchlist besides its board: small, and
// written with every reading.
type record struct {
	Fingerprint string       `json:"fingerprint"`
	Region      string       `json:"region"`
	Period      event.Period `json:"period"`
	Read        time.Time    `json:"read"`             // last good reading
	Tick        time.Time    `json:"tick"`             // last attempt
	Attempts    uint64       `json:"attempts"`         // by all workers, as far as they came to something
	Unchanged   int          `json:"unchanged"`        // good readings since the last published one
	Digest      string       `json:"digest,omitempty"` // of the last board's message
	Condition   *condition   `json:"condition,omitempty"`
	Guard       *waiting     `json:"guard,omitempty"`
}

// condition is what the last status said, unless it said that all is well.
type condition struct {
	Status string    `json:"status"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// waiting is an implausible loss that a further reading is to confirm.
type waiting struct {
	Lost     []string `json:"lost"`
	Readings int      `json:"readings"`
}

func decodeRecord(data []byte) (record, error) {
	var r record
	if len(data) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("decode record: %w", err)
	}
	return r, nil
}

// A board as it is stored: what diff tracks, and what is known of each creator,
// so that a drop can name who it was. Profiles run beside Rows.
type board struct {
	diff.Board
	profiles []profile
}

// profile is a creator's details in their stored form.
type profile string

const boardVersion = 1

var errBoard = errors.New("watcher: stored board is not readable")

// flags of a stored row.
const (
	flagListed = 1 << iota
	flagEdge
	flagMember
	flagCause
	flagInterim
)

// encodeBoard writes b; details appends the profile of a row. The form is binary
// and compressed, because it is written with every published reading: version,
// holes, rows.
func encodeBoard(b *diff.Board, details func(buf []byte, row int) []byte) []byte {
	buf := make([]byte, 0, 64+448*len(b.Rows))
	buf = binary.AppendUvarint(buf, uint64(len(b.Holes)))
	for _, h := range b.Holes {
		buf = binary.AppendVarint(buf, h.Index)
		buf = binary.AppendVarint(buf, int64(h.Position))
	}
	buf = binary.AppendUvarint(buf, uint64(len(b.Rows)))
	var own []byte
	for i := range b.Rows {
		buf = appendRow(buf, &b.Rows[i])
		own = details(own[:0], i)
		buf = binary.AppendUvarint(buf, uint64(len(own)))
		buf = append(buf, own...)
	}
	out := make([]byte, 1+s2.MaxEncodedLen(len(buf)))
	out[0] = boardVersion
	return out[:1+len(s2.Encode(out[1:], buf))]
}

func appendRow(buf []byte, r *diff.Row) []byte {
	var flags byte
	for _, f := range []struct {
		set bool
		bit byte
	}{{r.Listed, flagListed}, {r.Edge, flagEdge}, {r.Member, flagMember}, {r.CauseKnown, flagCause}, {r.Interim, flagInterim}} {
		if f.set {
			flags |= f.bit
		}
	}
	buf = append(buf, flags)
	buf = appendString(buf, r.UID)
	buf = binary.AppendVarint(buf, r.Index)
	for _, v := range [...]int32{r.Rank, r.Position, r.Unseen, r.Misses} {
		buf = binary.AppendVarint(buf, int64(v))
	}
	if !r.Member {
		return buf
	}
	for _, v := range [...]int32{
		r.Reported.Rank, r.Reported.Position, r.Peak,
		r.Cause.Passed, r.Cause.PassedBy, r.Cause.EnteredAbove, r.Cause.DroppedAbove,
	} {
		buf = binary.AppendVarint(buf, int64(v))
	}
	buf = binary.AppendVarint(buf, r.Reported.Index)
	buf = binary.AppendUvarint(buf, r.Since)
	return binary.AppendVarint(buf, r.FirstSeen)
}

func appendString(buf []byte, s string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}

// decodeBoard reads what encodeBoard wrote. Strings share its memory.
func decodeBoard(data []byte) (*board, error) {
	if len(data) == 0 {
		return &board{}, nil
	}
	if data[0] != boardVersion {
		return nil, fmt.Errorf("%w: version %d is not known here", errBoard, data[0])
	}
	plain, err := s2.Decode(nil, data[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBoard, err)
	}
	d := &unpacker{text: string(plain)}
	b := &board{}
	for range d.count() {
		b.Holes = append(b.Holes, diff.Hole{Index: d.int(), Position: d.int32()})
	}
	n := d.count()
	b.Rows = make([]diff.Row, n)
	b.profiles = make([]profile, n)
	for i := range n {
		d.row(&b.Rows[i])
		b.profiles[i] = profile(d.string())
	}
	if d.bad || d.text != "" {
		return nil, errBoard
	}
	return b, nil
}

// unpacker takes values off the front of text. After a fault it yields zeros.
type unpacker struct {
	text string
	bad  bool
}

func (d *unpacker) fail() { d.bad, d.text = true, "" }

func (d *unpacker) uint() uint64 {
	var v uint64
	for i := range len(d.text) {
		c := d.text[i]
		if i == binary.MaxVarintLen64 {
			break
		}
		v |= uint64(c&0x7F) << (7 * i)
		if c < 0x80 {
			d.text = d.text[i+1:]
			return v
		}
	}
	d.fail()
	return 0
}

func (d *unpacker) int() int64 {
	u := d.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *unpacker) int32() int32 { return int32(d.int()) }

// count reads a number of things of at least one byte each.
func (d *unpacker) count() int {
	n := d.uint()
	if n > uint64(len(d.text)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *unpacker) string() string {
	n := d.count()
	s := d.text[:n]
	d.text = d.text[n:]
	return s
}

func (d *unpacker) byte() byte {
	if d.text == "" {
		d.fail()
		return 0
	}
	c := d.text[0]
	d.text = d.text[1:]
	return c
}

func (d *unpacker) row(r *diff.Row) {
	flags := d.byte()
	r.Listed, r.Edge = flags&flagListed != 0, flags&flagEdge != 0
	r.Member, r.CauseKnown, r.Interim = flags&flagMember != 0, flags&flagCause != 0, flags&flagInterim != 0
	r.UID = d.string()
	r.Index = d.int()
	r.Rank, r.Position, r.Unseen, r.Misses = d.int32(), d.int32(), d.int32(), d.int32()
	if !r.Member {
		return
	}
	r.Reported.Rank, r.Reported.Position, r.Peak = d.int32(), d.int32(), d.int32()
	r.Cause = diff.Cause{Passed: d.int32(), PassedBy: d.int32(), EnteredAbove: d.int32(), DroppedAbove: d.int32()}
	r.Reported.Index = d.int()
	r.Since = d.uint()
	r.FirstSeen = d.int()
}

// Bits that say which numbers a profile has.
const (
	hasCategory = 1 << iota
	hasFollowers
	hasGMV
	hasUnits
	hasVideoUnits
	hasLiveUnits
	hasPlays
	hasVideos
	hasEcommerce
	hasSales
)

// encodeProfile stores what the source says of a creator, uid and index aside.
func encodeProfile(buf []byte, it *fastmoss.Item) []byte {
	var has uint64
	for _, f := range [...]struct {
		valid bool
		bit   uint64
	}{
		{it.Category.Valid, hasCategory}, {it.FollowerCount.Valid, hasFollowers}, {it.USDGMV.Valid, hasGMV},
		{it.UnitsSold.Valid, hasUnits}, {it.VideoUnitsSold.Valid, hasVideoUnits}, {it.LiveUnitsSold.Valid, hasLiveUnits},
		{it.AvgPlayCount.Valid, hasPlays}, {it.VideoCount.Valid, hasVideos}, {it.EcommerceType.Valid, hasEcommerce},
		{it.SalesCategoryL3 != nil, hasSales},
	} {
		if f.valid {
			has |= f.bit
		}
	}
	buf = binary.AppendUvarint(buf, has)
	for _, s := range [...]string{it.UniqueID, it.Nickname, it.Avatar, it.Region} {
		buf = appendString(buf, s)
	}
	if it.Category.Valid {
		buf = appendCategory(buf, it.Category.Value)
	}
	for _, n := range [...]fastmoss.Opt[int64]{
		it.FollowerCount, it.UnitsSold, it.VideoUnitsSold, it.LiveUnitsSold, it.AvgPlayCount, it.VideoCount, it.EcommerceType,
	} {
		if n.Valid {
			buf = binary.AppendVarint(buf, n.Value)
		}
	}
	if it.USDGMV.Valid {
		buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(it.USDGMV.Value))
	}
	if it.SalesCategoryL3 != nil {
		buf = binary.AppendUvarint(buf, uint64(len(it.SalesCategoryL3)))
		for _, c := range it.SalesCategoryL3 {
			buf = appendCategory(buf, c)
		}
	}
	return buf
}

func appendCategory(buf []byte, c event.Category) []byte {
	return appendString(binary.AppendVarint(buf, c.ID), c.Name)
}

func (d *unpacker) category() event.Category { return event.Category{ID: d.int(), Name: d.string()} }

// item reads what encodeProfile wrote. UID and index are the row's, and all that
// is known where the board was stored without profiles.
func (p profile) item(r *diff.Row) (fastmoss.Item, error) {
	d := &unpacker{text: string(p)}
	it := fastmoss.Item{UID: r.UID, PotentialIndex: r.Index}
	if p == "" {
		return it, nil
	}
	has := d.uint()
	it.UniqueID, it.Nickname, it.Avatar, it.Region = d.string(), d.string(), d.string(), d.string()
	if has&hasCategory != 0 {
		it.Category = fastmoss.Some(d.category())
	}
	for _, n := range [...]struct {
		bit uint64
		to  *fastmoss.Opt[int64]
	}{
		{hasFollowers, &it.FollowerCount}, {hasUnits, &it.UnitsSold}, {hasVideoUnits, &it.VideoUnitsSold},
		{hasLiveUnits, &it.LiveUnitsSold}, {hasPlays, &it.AvgPlayCount}, {hasVideos, &it.VideoCount}, {hasEcommerce, &it.EcommerceType},
	} {
		if has&n.bit != 0 {
			*n.to = fastmoss.Some(d.int())
		}
	}
	if has&hasGMV != 0 {
		var raw [8]byte
		for i := range raw {
			raw[i] = d.byte()
		}
		it.USDGMV = fastmoss.Some(math.Float64frombits(binary.LittleEndian.Uint64(raw[:])))
	}
	if has&hasSales != 0 {
		n := d.count()
		it.SalesCategoryL3 = make([]event.Category, n)
		for i := range n {
			it.SalesCategoryL3[i] = d.category()
		}
	}
	if d.bad {
		return it, errBoard
	}
	return it, nil
}
