package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt trusts its file: a damaged one makes it panic in goroutines of its
// own, recurse for ever, or touch memory past the end of the file, none of
// which can be recovered from. So the tree is walked here first with plain
// reads that believe nothing. What passes, bbolt can read and write safely;
// whether the values are right is for their checksums to say.

// bbolt's file format, version 2; integers are in the machine's byte order.
const (
	boltMagic       = 0xED0CDAED
	boltVersion     = 2
	boltMetaSize    = 64
	boltHeader      = 16 // of a page, and of each element on one
	boltBucket      = 16 // header of a bucket in its parent
	boltBranch      = 1
	boltLeaf        = 2
	boltFreelist    = 16
	boltNoFreelist  = 1<<64 - 1
	boltMinPage     = 1024
	boltMaxPage     = 1024 << 14
	boltMaxDepth    = 64
	boltBucketEntry = 1
)

type boltMeta struct {
	pageSize               uint64
	root, freelist, highID uint64
	txid                   uint64
}

// parseMeta reads a meta page; ok is false unless its checksum holds.
func parseMeta(page []byte) (m boltMeta, ok bool) {
	if len(page) < boltHeader+boltMetaSize {
		return m, false
	}
	b := page[boltHeader:][:boltMetaSize]
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:56]) // never fails
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[56:]) != sum.Sum64() {
		return m, false
	}
	return boltMeta{
		pageSize: uint64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		highID:   order.Uint64(b[40:]),
		txid:     order.Uint64(b[48:]),
	}, true
}

// neverCommitted reports whether f is a file that bbolt has begun to create
// and nothing else: its first transaction goes over header 0.
func neverCommitted(f io.ReaderAt) bool {
	m, ok := metaAt(f, 0)
	return ok && m.txid == 0
}

func metaAt(f io.ReaderAt, off int64) (boltMeta, bool) {
	var b [boltHeader + boltMetaSize]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		return boltMeta{}, false
	}
	return parseMeta(b[:])
}

// readMeta finds the meta page that bbolt will go by: the newer of the valid
// ones. A torn one is normal after a power failure.
func readMeta(f io.ReaderAt, size int64) (boltMeta, error) {
	m0, ok0 := metaAt(f, 0)
	pageSize := int64(m0.pageSize)
	if !ok0 {
		for pageSize = boltMinPage; pageSize <= boltMaxPage; pageSize *= 2 {
			if m, ok := metaAt(f, pageSize); ok && int64(m.pageSize) == pageSize {
				break
			}
		}
	}
	if pageSize < boltMinPage || pageSize > boltMaxPage || pageSize&(pageSize-1) != 0 {
		return boltMeta{}, pageError("no valid header: not a state file, or cut or overwritten")
	}
	m1, ok1 := metaAt(f, pageSize)
	m := m0
	if !ok0 || ok1 && m1.txid > m0.txid {
		m = m1
	}
	switch {
	case int64(m.pageSize) != pageSize:
		return boltMeta{}, pageError("headers disagree on the page size")
	case m.highID < 3 || m.highID > uint64(size)/m.pageSize:
		return boltMeta{}, pageError("file is cut: it has %d bytes and its header speaks of %d pages of %d", size, m.highID, pageSize)
	}
	return m, nil
}

func pageError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// checkPages reports whether bbolt can safely work on f. It reads each branch
// and leaf page once, but not the large values.
func checkPages(f io.ReaderAt, size int64) error {
	m, err := readMeta(f, size)
	if err != nil {
		return err
	}
	w := walker{f: f, meta: m, used: make([]uint64, (m.highID+63)/64)}
	w.take(0)
	w.take(1)
	if err := w.walk(m.root, nil, nil, 0); err != nil {
		return err
	}
	return w.freelist()
}

// A walker visits the pages of a tree. used has a bit for each page seen, so
// that no page is reached twice, in circles or otherwise.
type walker struct {
	f    io.ReaderAt
	meta boltMeta
	used []uint64
}

func (w *walker) take(id uint64) bool {
	bit := uint64(1) << (id % 64)
	if id >= w.meta.highID || w.used[id/64]&bit != 0 {
		return false
	}
	w.used[id/64] |= bit
	return true
}

// A run is one page with its overflow pages. head has at least all elements.
type run struct {
	id    uint64
	flags uint16
	count int
	size  int64
	head  []byte
}

func (w *walker) read(id uint64) (run, error) {
	base := int64(id) * int64(w.meta.pageSize)
	if id >= w.meta.highID {
		return run{}, pageError("page %d is out of bounds", id)
	}
	head := make([]byte, w.meta.pageSize)
	if _, err := w.f.ReadAt(head, base); err != nil {
		return run{}, fmt.Errorf("read page %d: %w", id, err)
	}
	order := binary.NativeEndian
	r := run{id: id, flags: order.Uint16(head[8:]), count: int(order.Uint16(head[10:])), head: head}
	overflow := uint64(order.Uint32(head[12:]))
	if got := order.Uint64(head); got != id {
		return run{}, pageError("page %d says that it is page %d", id, got)
	}
	for i := uint64(0); i <= overflow; i++ {
		if !w.take(id + i) {
			return run{}, pageError("page %d is out of bounds or used twice", id+i)
		}
	}
	r.size = int64(overflow+1) * int64(w.meta.pageSize)
	if r.flags == boltFreelist {
		return r, nil // its elements are numbers, see freelist
	}
	want := int64(boltHeader + r.count*boltHeader)
	if want > r.size {
		return run{}, pageError("page %d has %d elements in %d bytes", id, r.count, r.size)
	}
	if have := int64(len(head)); want > have {
		r.head = append(head, make([]byte, want-have)...)
		if _, err := w.f.ReadAt(r.head[have:], base+have); err != nil {
			return run{}, fmt.Errorf("read page %d: %w", id, err)
		}
	}
	return r, nil
}

// slice returns n bytes of the run at off.
func (w *walker) slice(r run, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off+n > r.size {
		return nil, pageError("page %d: element outside of the page", r.id)
	}
	if off+n <= int64(len(r.head)) {
		return r.head[off : off+n], nil
	}
	b := make([]byte, n)
	if _, err := w.f.ReadAt(b, int64(r.id)*int64(w.meta.pageSize)+off); err != nil {
		return nil, fmt.Errorf("read page %d: %w", r.id, err)
	}
	return b, nil
}

// walk checks the tree at page id, whose keys are in [low, high); nil bounds
// are open.
func (w *walker) walk(id uint64, low, high []byte, depth int) error {
	if depth > boltMaxDepth {
		return pageError("page %d is nested too deeply", id)
	}
	r, err := w.read(id)
	if err != nil {
		return err
	}
	switch {
	case r.flags == boltLeaf:
		return w.leaf(r, low, high, depth)
	case r.flags == boltBranch && r.count > 0:
		return w.branch(r, low, high, depth)
	}
	return pageError("page %d is of an unexpected kind %#x", id, r.flags)
}

func (w *walker) branch(r run, low, high []byte, depth int) error {
	order := binary.NativeEndian
	keys := make([][]byte, r.count+1)
	keys[r.count] = high
	end := int64(boltHeader + r.count*boltHeader)
	for i := range r.count {
		at := int64(boltHeader + i*boltHeader)
		pos, ksize := int64(order.Uint32(r.head[at:])), int64(order.Uint32(r.head[at+4:]))
		k, err := w.key(r, at+pos, ksize, end)
		if err != nil {
			return err
		}
		end += ksize
		if i > 0 && bytes.Compare(keys[i-1], k) >= 0 || low != nil && bytes.Compare(k, low) < 0 || high != nil && bytes.Compare(k, high) >= 0 {
			return pageError("page %d: keys out of order", r.id)
		}
		keys[i] = k
	}
	for i := range r.count {
		child := order.Uint64(r.head[boltHeader+i*boltHeader+8:])
		if err := w.walk(child, keys[i], keys[i+1], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// key returns the key at off. bbolt packs keys and values without a gap, right
// behind the elements, so off must be where the one before ended; else an
// element is missing.
func (w *walker) key(r run, off, size, end int64) ([]byte, error) {
	if size == 0 || off != end {
		return nil, pageError("page %d: element at %d instead of %d", r.id, off, end)
	}
	return w.slice(r, off, size)
}

func (w *walker) leaf(r run, low, high []byte, depth int) error {
	if r.count == 0 {
		// Only an empty bucket has an empty page, and it is new or was cleared.
		if low != nil || high != nil || !bytes.Equal(r.head[boltHeader:2*boltHeader], make([]byte, boltHeader)) {
			return pageError("page %d has lost its elements", r.id)
		}
		return nil
	}
	order := binary.NativeEndian
	var last []byte
	end := int64(boltHeader + r.count*boltHeader)
	for i := range r.count {
		at := int64(boltHeader + i*boltHeader)
		e := r.head[at:]
		flags, pos, ksize, vsize := order.Uint32(e), int64(order.Uint32(e[4:])), int64(order.Uint32(e[8:])), int64(order.Uint32(e[12:]))
		k, err := w.key(r, at+pos, ksize, end)
		if err != nil {
			return err
		}
		if last != nil && bytes.Compare(last, k) >= 0 || low != nil && bytes.Compare(k, low) < 0 || high != nil && bytes.Compare(k, high) >= 0 {
			return pageError("page %d: keys out of order", r.id)
		}
		last = k
		value := end + ksize
		if end = value + vsize; end > r.size {
			return pageError("page %d: value outside of the page", r.id)
		}
		switch flags {
		case 0:
		case boltBucketEntry:
			if err := w.bucket(r, value, vsize, depth); err != nil {
				return err
			}
		default:
			return pageError("page %d: unknown element %#x", r.id, flags)
		}
	}
	return nil
}

// bucket checks a bucket whose header is the value at off: its tree, or the
// leaf page that a small bucket has right behind its header.
func (w *walker) bucket(r run, off, size int64, depth int) error {
	b, err := w.slice(r, off, min(size, boltBucket))
	if err != nil || len(b) < boltBucket {
		return pageError("page %d: bucket without a header", r.id)
	}
	if root := binary.NativeEndian.Uint64(b); root != 0 {
		return w.walk(root, nil, nil, depth+1)
	}
	if size > int64(w.meta.pageSize) {
		return pageError("page %d: small bucket of %d bytes", r.id, size)
	}
	if b, err = w.slice(r, off, size); err != nil {
		return err
	}
	return inlineBucket(r.id, b[boltBucket:])
}

func inlineBucket(id uint64, p []byte) error {
	order := binary.NativeEndian
	if len(p) < boltHeader || order.Uint16(p[8:]) != boltLeaf {
		return pageError("page %d: small bucket without a page", id)
	}
	count := int(order.Uint16(p[10:]))
	end := int64(boltHeader + count*boltHeader)
	if end > int64(len(p)) {
		return pageError("page %d: small bucket cut short", id)
	}
	var last []byte
	for i := range count {
		at := boltHeader + i*boltHeader
		e := p[at:]
		flags, pos, ksize, vsize := order.Uint32(e), int64(order.Uint32(e[4:])), int64(order.Uint32(e[8:])), int64(order.Uint32(e[12:]))
		if flags != 0 || ksize == 0 || int64(at)+pos != end || end+ksize+vsize > int64(len(p)) {
			return pageError("page %d: bad element in a small bucket", id)
		}
		k := p[end : end+ksize]
		end += ksize + vsize
		if last != nil && bytes.Compare(last, k) >= 0 {
			return pageError("page %d: keys of a small bucket out of order", id)
		}
		last = k
	}
	if end != int64(len(p)) {
		return pageError("page %d: small bucket has lost elements", id)
	}
	return nil
}

// freelist checks the list of free pages, if the file has one: bbolt writes
// over what it names.
func (w *walker) freelist() error {
	if w.meta.freelist == boltNoFreelist {
		return nil
	}
	r, err := w.read(w.meta.freelist)
	if err != nil {
		return err
	}
	if r.flags != boltFreelist {
		return pageError("page %d should list the free pages and is of kind %#x", r.id, r.flags)
	}
	n, at := int64(r.count), int64(boltHeader)
	if r.count == 0xFFFF { // then the first entry is the count
		b, err := w.slice(r, at, 8)
		if err != nil {
			return err
		}
		n, at = int64(min(binary.NativeEndian.Uint64(b), 1<<40)), at+8
	}
	if at+n*8 > r.size {
		return pageError("page %d lists %d free pages in %d bytes", r.id, n, r.size)
	}
	ids, err := w.slice(r, at, n*8)
	if err != nil {
		return err
	}
	for ; len(ids) > 0; ids = ids[8:] {
		if id := binary.NativeEndian.Uint64(ids); !w.take(id) {
			return pageError("page %d is listed as free and is out of bounds or in use", id)
		}
	}
	return nil
}
