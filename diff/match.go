package diff

import "hash/maphash"

// near is how many rows ahead are looked at before the table is asked. A
// creator found among them means that those in between have left their place;
// one found further ahead has climbed, and the walk stays where it is.
const near = 8

// matcher finds the row of each entry.
type matcher struct {
	rowOf   []int32 // entry → row
	entryOf []int32 // row → entry
	slots   []int32 // open-addressing table from uid to row number plus one
	tags    []uint32
	seed    maphash.Seed
	seeded  bool
}

// match walks both lists side by side, since two readings of one list are
// mostly in the same order, and hashes only where they part: that is what keeps
// large boards cheap.
func (m *matcher) match(rows []Row, entries []Entry) {
	m.rowOf = sized(m.rowOf, len(entries))
	m.entryOf = sized(m.entryOf, len(rows))
	for i := range m.entryOf {
		m.entryOf[i] = None
	}
	hashed := false
	next := 0
	for i := range entries {
		for next < len(rows) && m.entryOf[next] != None {
			next++
		}
		if r := ahead(rows, next, entries[i].UID); r != None && m.entryOf[r] == None {
			m.rowOf[i], m.entryOf[r] = r, int32(i)
			next = int(r) + 1
			continue
		}
		if !hashed {
			m.hash(rows)
			hashed = true
		}
		r := m.find(rows, entries[i].UID)
		if m.rowOf[i] = r; r != None {
			m.entryOf[r] = int32(i)
		}
	}
}

func ahead(rows []Row, next int, uid string) int32 {
	for r := next; r < min(next+near, len(rows)); r++ {
		if rows[r].UID == uid {
			return int32(r)
		}
	}
	return None
}

func (m *matcher) hash(rows []Row) {
	if !m.seeded {
		m.seed, m.seeded = maphash.MakeSeed(), true
	}
	size := 16
	for size < 2*len(rows) {
		size *= 2
	}
	m.slots, m.tags = sized(m.slots, size), sized(m.tags, size)
	clear(m.slots)
	mask := uint32(size - 1)
	for i := range rows {
		h := uint32(maphash.String(m.seed, rows[i].UID))
		at := h & mask
		for m.slots[at] != 0 {
			at = (at + 1) & mask
		}
		m.slots[at], m.tags[at] = int32(i+1), h
	}
}

func (m *matcher) find(rows []Row, uid string) int32 {
	mask := uint32(len(m.slots) - 1)
	h := uint32(maphash.String(m.seed, uid))
	for at := h & mask; m.slots[at] != 0; at = (at + 1) & mask {
		// The tag spares a look at the row, which is rarely in the cache.
		if m.tags[at] == h && rows[m.slots[at]-1].UID == uid {
			return m.slots[at] - 1
		}
	}
	return None
}

// sized returns s with length n, reusing its memory if it can. The contents are
// whatever they were.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
