package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A specimen is a state file with a bit of everything, and what it may say.
type specimen struct {
	file    []byte
	loaded  map[string]Loaded   // by watchlist and version
	batches map[string][][]byte // payloads, by chain and revision
}

func makeSpecimen(t *testing.T) specimen {
	t.Helper()
	dir := t.TempDir()
	db, err := Open(Config{Dir: dir, Keep: 30_000})
	ok(t, err)
	s := specimen{loaded: make(map[string]Loaded), batches: make(map[string][][]byte)}
	for i := range 60 {
		name := fmt.Sprintf("list-%d", i%20)
		c := event.Chain{Watchlist: name, Kind: event.Board}
		b := batch(c, uint64(i/20)+1, 50+i*100)
		if i%3 == 1 {
			b.TraceParent = trace
		}
		l := load(t, db, name)
		ok(t, db.Commit(Commit{
			Watchlist: name, Version: l.Version, At: noon, Batches: []event.Batch{b},
			Tracked:  event.Tracked{Record: fmt.Appendf(nil, "record %d", i), Board: bytes.Repeat([]byte{byte(i)}, 40*i*(i%2))},
			Departed: []Departure{{UID: fmt.Sprint(i), At: noon}},
		}))
		s.batches[fmt.Sprint(c, b.Revision)] = payloads(b)
		s.loaded[key(name, i/20+1)] = load(t, db, name)
		if i%3 != 0 {
			ack(t, db, 1)
		}
	}
	ok(t, db.SetStream(Stream{Name: "S", Prefix: "p", Created: noon}))
	ok(t, db.Check())
	ok(t, db.Close())
	s.file, err = os.ReadFile(filepath.Join(dir, FileName))
	ok(t, err)
	return s
}

func key(name string, version any) string { return fmt.Sprint(name, " ", version) }

func payloads(b event.Batch) [][]byte {
	var p [][]byte
	for _, m := range b.Messages {
		p = append(p, []byte(m.Subject), m.Data)
	}
	return p
}

// probe opens a damaged file and uses whatever opens. It fails the test if
// something was answered that was never stored; a panic would end it.
func (s specimen) probe(t *testing.T, dir, what string, file []byte) (opened bool) {
	t.Helper()
	ok(t, os.WriteFile(filepath.Join(dir, FileName), file, 0o600))
	db, err := Open(Config{Dir: dir, Keep: 30_000})
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Fatalf("%s: %v", what, err)
		}
		now, err := os.ReadFile(filepath.Join(dir, FileName))
		ok(t, err)
		if !bytes.Equal(now, file) {
			t.Fatalf("%s: a refused file was changed", what)
		}
		return false
	}
	defer func() { ok(t, db.Close()) }()
	damaged := func(err error) {
		t.Helper()
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	damaged(db.Records(func(name string, _ []byte) error {
		l, err := db.Load(name)
		if err == nil && !reflect.DeepEqual(l, s.loaded[key(name, l.Version)]) {
			t.Fatalf("%s: %s loads as %v", what, name, l)
		}
		return err
	}))
	q, err := db.Queue(0)
	damaged(err)
	for _, i := range q {
		b, err := db.Batch(i.Order)
		damaged(err)
		if err == nil && !reflect.DeepEqual(payloads(b), s.batches[fmt.Sprint(b.Chain, b.Revision)]) {
			t.Fatalf("%s: batch %v is not what was committed", what, b.Chain)
		}
		if err == nil && b.TraceParent != "" && b.TraceParent != trace {
			t.Fatalf("%s: batch %v has trace %q", what, b.Chain, b.TraceParent)
		}
	}
	if len(q) > 0 {
		damaged(db.Acknowledge(ackOf(q[0], 1)))
		if err := db.Rewind(q[0].Chain, Ack{}); !errors.Is(err, ErrNotFound) {
			damaged(err)
		}
		_, err = db.Break(q[0].Chain, Ack{})
		damaged(err)
	}
	_, _, err = db.Newest()
	damaged(err)
	_, _, err = db.Stream()
	damaged(err)
	damaged(db.Sweep(noon.Add(time.Hour)))
	damaged(tryCommit(db, batch(boards, 1, 20_000)))
	damaged(db.Check())
	return true
}

func TestDamagedFiles(t *testing.T) {
	s := makeSpecimen(t)
	dir := t.TempDir()
	if !s.probe(t, dir, "whole", s.file) {
		t.Fatal("the whole file is refused")
	}
	text := []byte("# not a database\n")
	for what, file := range map[string][]byte{
		"zeros":      make([]byte, len(s.file)),
		"few zeros":  make([]byte, 100),
		"one page":   s.file[:4096],
		"text":       text,
		"long text":  bytes.Repeat(text, 10_000),
		"no headers": append(make([]byte, 8192), s.file[8192:]...),
		"random":     random(len(s.file)),
	} {
		if s.probe(t, dir, what, file) {
			t.Errorf("%s: opened", what)
		}
	}
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestTruncatedFiles(t *testing.T) {
	t.Parallel()
	s := makeSpecimen(t)
	dir := t.TempDir()
	m, err := readMeta(bytes.NewReader(s.file), int64(len(s.file)))
	ok(t, err)
	used := int(m.highID * m.pageSize)
	for _, n := range []int{1, 79, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 16384, used / 2, used * 3 / 4, used - 1} {
		if s.probe(t, dir, fmt.Sprint(n, " bytes"), s.file[:n]) {
			t.Errorf("%d of %d bytes: opened", n, used)
		}
	}
	if !s.probe(t, dir, "all that is used", s.file[:used]) {
		t.Error("what bbolt added for later use is missing, and that matters")
	}
}

// TestFlippedBytes damages the file where it hurts most: in headers of the
// file, of pages and of their elements; and anywhere else.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	s := makeSpecimen(t)
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(3, 4))
	m, err := readMeta(bytes.NewReader(s.file), int64(len(s.file)))
	ok(t, err)
	page := int(m.pageSize)
	var at []int
	for i := range 80 {
		at = append(at, i, page+i)
	}
	step := 1
	if testing.Short() {
		step = 8
	}
	for p := 2; p < int(m.highID); p += step {
		at = append(at, p*page+r.IntN(16), p*page+16+r.IntN(200), p*page+r.IntN(page))
	}
	opened := 0
	for _, i := range at {
		file := bytes.Clone(s.file)
		file[i] ^= byte(1 << r.IntN(8))
		if s.probe(t, dir, fmt.Sprint("byte ", i), file) {
			opened++
		}
	}
	if opened == 0 || opened == len(at) {
		t.Errorf("%d of %d damaged files opened", opened, len(at))
	}
	for n := range 100 / step { // several at once find what one alone would not
		file := bytes.Clone(s.file)
		for range 2 + n%20 {
			p := 2 + r.IntN(int(m.highID)-2)
			file[p*page+r.IntN(300)] = byte(r.Uint32())
		}
		s.probe(t, dir, fmt.Sprint("round ", n), file)
	}
}

// A page or small bucket that claims fewer elements than it has would lose
// batches and boards without a word.
func TestLostElements(t *testing.T) {
	s := makeSpecimen(t)
	m, err := readMeta(bytes.NewReader(s.file), int64(len(s.file)))
	ok(t, err)
	tried := 0
	for at := 2 * int(m.pageSize); at < int(m.highID*m.pageSize)-12; at++ {
		// Headers of pages, and of the pages inside of small buckets, which
		// have no id.
		kind, count := int(s.file[at+8])+int(s.file[at+9])<<8, int(s.file[at+10])+int(s.file[at+11])<<8
		if kind != boltLeaf && kind != boltBranch || count == 0 || count > 200 {
			continue
		}
		if at%int(m.pageSize) != 0 && !bytes.Equal(s.file[at-16:at-8], make([]byte, 8)) {
			continue
		}
		file := bytes.Clone(s.file)
		file[at+10]--
		if neverRead(t, s.file, at) {
			continue
		}
		tried++
		wantErr(t, checkPages(bytes.NewReader(file), int64(len(file))), ErrDamaged)
	}
	if tried < 20 {
		t.Fatalf("tried only %d", tried)
	}
}

func TestKeysOutOfOrder(t *testing.T) {
	s := makeSpecimen(t)
	m, err := readMeta(bytes.NewReader(s.file), int64(len(s.file)))
	ok(t, err)
	tried := 0
	for at := 2 * int(m.pageSize); at < int(m.highID*m.pageSize); at += int(m.pageSize) {
		count, element := int(s.file[at+10]), at+boltHeader
		if s.file[at+8] != boltLeaf || count < 2 || count > 200 || neverRead(t, s.file, at) {
			continue
		}
		file := bytes.Clone(s.file)
		file[element+int(file[element+4])+int(file[element+5])<<8] = 0xFF // first of the first key
		tried++
		wantErr(t, checkPages(bytes.NewReader(file), int64(len(file))), ErrDamaged, "out of order")
	}
	if tried == 0 {
		t.Fatal("no page was tried")
	}
}

// neverRead reports whether what looks like a header at off is none, or one of
// a page that is free: then it may hold anything.
func neverRead(t *testing.T, file []byte, off int) bool {
	t.Helper()
	file = bytes.Clone(file)
	file[off+8] = 0x80 // no kind of page
	return checkPages(bytes.NewReader(file), int64(len(file))) == nil
}

// What was lost as a whole is missed by what refers to it.
func TestLostKeys(t *testing.T) {
	us := []byte("us")
	for name, lose := range map[string]func(*bbolt.Tx) error{
		"board":     func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketBoards)).DeleteBucket(us) },
		"watchlist": func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketLists)).Delete(us) },
		"boards":    func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketChains)).Delete(chainKey(boards)) },
		"statuses":  func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketChains)).Delete(chainKey(statuses)) },
	} {
		t.Run(name, func(t *testing.T) {
			db, err := Open(Config{Dir: t.TempDir()})
			ok(t, err)
			ok(t, db.Commit(Commit{
				Watchlist: "us", Tracked: event.Tracked{Record: us, Board: us},
				Batches: []event.Batch{batch(boards, 1, 1), batch(statuses, 1, 1)},
			}))
			ok(t, db.bolt.Update(lose))
			_, err = db.Load("us")
			wantErr(t, err, ErrDamaged)
			wantErr(t, db.Check(), ErrDamaged)
			ok(t, db.Close())
		})
	}
}

func TestLostSequence(t *testing.T) {
	db, err := Open(Config{Dir: t.TempDir()})
	ok(t, err)
	commit(t, db, boards, 1)
	commit(t, db, boards, 2)
	ok(t, db.bolt.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketPayloads)).SetSequence(1) }))
	ok(t, db.Close())
	_, err = Open(db.cfg) // would give order 2 again
	wantErr(t, err, ErrDamaged)
}

func TestForeignFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	b, err := bbolt.Open(path, 0o600, nil)
	ok(t, err)
	ok(t, b.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("theirs"))
		return err
	}))
	ok(t, b.Close())
	_, err = Open(Config{Dir: dir})
	wantErr(t, err, ErrDamaged, path, "another program")

	ok(t, os.Remove(path))
	ok(t, os.Mkdir(path, 0o700))
	if _, err = Open(Config{Dir: dir}); err == nil {
		t.Fatal("opened a directory")
	}
}

// A file that bbolt wrote with its list of free pages must be taken, and that
// list be checked, since bbolt writes over what it names.
func TestFileWithListOfFreePages(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(Config{Dir: dir, Keep: 1})
	ok(t, err)
	for r := uint64(1); r <= 10; r++ {
		commit(t, db, boards, r)
		ack(t, db, 1)
	}
	ok(t, tryCommit(db, batch(boards, 11, 2_000_000)))
	ack(t, db, 1)
	ok(t, db.Close())
	path := filepath.Join(dir, FileName)
	b, err := bbolt.Open(path, 0o600, nil) // writes the list
	ok(t, err)
	ok(t, b.Close())

	file, err := os.ReadFile(path)
	ok(t, err)
	m, err := readMeta(bytes.NewReader(file), int64(len(file)))
	ok(t, err)
	if m.freelist == boltNoFreelist {
		t.Fatal("no list of free pages")
	}
	ok(t, checkPages(bytes.NewReader(file), int64(len(file))))
	list := file[m.freelist*m.pageSize:]
	for name, damage := range map[string]func(){
		"page in use":   func() { list[boltHeader] = byte(m.root) },
		"out of bounds": func() { list[boltHeader+5] = 1 },
		"twice":         func() { copy(list[boltHeader:], list[boltHeader+8:][:8]) },
		"too many":      func() { list[10], list[11] = 0xFE, 0xFF },
		"far too many":  func() { list[10], list[11], list[boltHeader+6] = 0xFF, 0xFF, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			saved := bytes.Clone(file)
			damage()
			wantErr(t, checkPages(bytes.NewReader(file), int64(len(file))), ErrDamaged)
			copy(file, saved)
		})
	}
	db = openDB(t, Config{Dir: dir})
	commit(t, db, boards, 12)
}

// A page that points to itself would make bbolt recurse until the stack ends.
func TestPagesInCircles(t *testing.T) {
	s := makeSpecimen(t)
	m, err := readMeta(bytes.NewReader(s.file), int64(len(s.file)))
	ok(t, err)
	circles := 0
	for p := uint64(2); p < m.highID; p++ {
		page := s.file[p*m.pageSize:][:m.pageSize]
		if page[8] != boltBranch {
			continue
		}
		file := bytes.Clone(s.file)
		for i := range 8 {
			file[int(p*m.pageSize)+boltHeader+8+i] = byte(p >> (8 * i))
		}
		if err := checkPages(bytes.NewReader(file), int64(len(file))); err == nil {
			continue // a page that is free
		}
		circles++
		s.probe(t, t.TempDir(), fmt.Sprint("page ", p), file)
	}
	if circles == 0 {
		t.Fatal("the specimen has no branch page")
	}
}

// The map of a file that is cut while it is open faults where it was.
func TestFileCutWhileOpen(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(Config{Dir: dir})
	ok(t, err)
	for r := uint64(1); r <= 5; r++ {
		ok(t, tryCommit(db, batch(boards, r, 50_000)))
	}
	ok(t, os.Truncate(db.path, 8192))
	_, err = db.Batch(1)
	wantErr(t, err, ErrDamaged, db.path)
	_, err = db.Load("us")
	wantErr(t, err, ErrDamaged)
	wantErr(t, db.Commit(Commit{Watchlist: "us", Version: 5}), ErrDamaged)
	wantErr(t, db.Copy(&bytes.Buffer{}), ErrDamaged)
	ok(t, db.Close())
	_, err = Open(Config{Dir: dir}) // the lock is free
	wantErr(t, err, ErrDamaged)
}

func TestCommitIntoFileCutWhileOpen(t *testing.T) {
	db, err := Open(Config{Dir: t.TempDir()})
	ok(t, err)
	for r := uint64(1); r <= 5; r++ {
		ok(t, tryCommit(db, batch(boards, r, 50_000)))
	}
	ok(t, os.Truncate(db.path, 8192))
	wantErr(t, db.Commit(Commit{Watchlist: "us", Version: 5, Batches: []event.Batch{batch(boards, 6, 1)}}), ErrDamaged)
	wantErr(t, db.Acknowledge(Ack{Chain: boards, Order: 1, Revision: 1}), ErrDamaged)
	ok(t, db.Close())
}
