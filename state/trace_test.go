package state

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/rankwatch/rankwatch/publisher/event"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// fill commits a bit of everything, with the trace on every batch.
func fill(t *testing.T, db *DB, trace string) {
	t.Helper()
	for i := range 6 {
		name := fmt.Sprintf("list-%d", i%2)
		b := batch(event.Chain{Watchlist: name, Kind: event.Board}, uint64(i/2)+1, 60)
		s := batch(event.Chain{Watchlist: name, Kind: event.Status}, uint64(i/2)+1, 40)
		b.TraceParent, s.TraceParent = trace, trace
		ok(t, db.Commit(Commit{
			Watchlist: name, Version: load(t, db, name).Version, At: noon, Batches: []event.Batch{b, s},
			Tracked:  event.Tracked{Record: fmt.Appendf(nil, "record %d", i), Board: fmt.Appendf(nil, "board %d", i)},
			Departed: []Departure{{UID: fmt.Sprint(i), At: noon, FirstSeen: noon, PeakRank: i + 1}},
		}))
	}
	ack(t, db, 5)
	ok(t, db.SetStream(Stream{Name: "S", Prefix: "p", Created: noon}))
}

// dump writes all that a file holds, one value a line, without the time of its
// last transaction.
func dump(t *testing.T, db *DB) string {
	t.Helper()
	var out strings.Builder
	var walk func(path string, b *bbolt.Bucket) error
	walk = func(path string, b *bbolt.Bucket) error {
		fmt.Fprintf(&out, "%s sequence %d\n", path, b.Sequence())
		return b.ForEach(func(k, v []byte) error {
			at := path + "/" + hex.EncodeToString(k)
			switch {
			case v == nil:
				return walk(at, b.Bucket(k))
			case string(k) != keyCommitted:
				fmt.Fprintf(&out, "%s %x\n", at, v)
			}
			return nil
		})
	}
	ok(t, db.bolt.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return walk(hex.EncodeToString(name), b) })
	}))
	return out.String()
}

// build makes the file that a dump was taken of.
func build(t *testing.T, dir, dump string) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, FileName), 0o600, &bbolt.Options{NoFreelistSync: true})
	ok(t, err)
	ok(t, db.Update(func(tx *bbolt.Tx) error {
		lines := bufio.NewScanner(strings.NewReader(dump))
		for lines.Scan() {
			path, rest, _ := strings.Cut(lines.Text(), " ")
			keys := strings.Split(path, "/")
			last := unhex(t, keys[len(keys)-1])
			var in interface {
				CreateBucketIfNotExists([]byte) (*bbolt.Bucket, error)
			} = tx
			for _, k := range keys[:len(keys)-1] {
				b, err := in.CreateBucketIfNotExists(unhex(t, k))
				ok(t, err)
				in = b
			}
			if n, isBucket := strings.CutPrefix(rest, "sequence "); isBucket {
				b, err := in.CreateBucketIfNotExists(last)
				ok(t, err)
				sequence, err := strconv.ParseUint(n, 10, 64)
				ok(t, err)
				ok(t, b.SetSequence(sequence))
				continue
			}
			ok(t, in.(*bbolt.Bucket).Put(last, unhex(t, rest)))
		}
		return putMeta(tx, keyCommitted, appendTime(nil, noon.AddDate(100, 0, 0)))
	}))
	ok(t, db.Close())
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	ok(t, err)
	return b
}

// untraced was written by the last version that knew of no traces.
func untraced(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "untraced.dump"))
	ok(t, err)
	return string(b)
}

func TestWithoutTracesTheFileIsAsItWasBeforeThem(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{})
	fill(t, db, "")
	want(t, "file", dump(t, db), untraced(t))
}

func TestFileOfBeforeTracesIsReadAndWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build(t, dir, untraced(t))
	db := openDB(t, Config{Dir: dir})
	ok(t, db.Check())
	q, err := db.Queue(0)
	ok(t, err)
	want(t, "waiting", len(q), 7)
	for _, i := range q {
		b, err := db.Batch(i.Order)
		ok(t, err)
		same := batch(b.Chain, b.Revision, map[event.Kind]int{event.Board: 60, event.Status: 40}[b.Chain.Kind])
		want(t, "batch", payloads(b), payloads(same))
		want(t, "trace", b.TraceParent, "")
	}
	next := batch(event.Chain{Watchlist: "list-0", Kind: event.Board}, 4, 60)
	next.TraceParent = trace
	ok(t, tryCommit(db, next))
	q, err = db.Queue(0)
	ok(t, err)
	b, err := db.Batch(q[7].Order)
	ok(t, err)
	want(t, "trace", b.TraceParent, trace)
}

// A version that knows of no traces reads the rest as if it were all.
func TestTracesAreBesideWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{})
	fill(t, db, trace)
	var kept []string
	traces := 0
	for line := range strings.Lines(dump(t, db)) {
		if strings.Contains(line, "/"+hex.EncodeToString([]byte(keyTrace))+" ") {
			traces++
			continue
		}
		kept = append(kept, line)
	}
	want(t, "the rest", strings.Join(kept, ""), untraced(t))
	want(t, "traces", traces, 12)
}

func TestATraceStaysWithItsBatch(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{})
	traced, plain := batch(boards, 1, 100), batch(statuses, 1, 100)
	traced.TraceParent = trace
	ok(t, tryCommit(db, traced, plain))
	check := func(when string) {
		t.Helper()
		for order, wanted := range map[uint64]string{1: trace, 2: ""} {
			b, err := db.Batch(order)
			ok(t, err)
			want(t, when, b.TraceParent, wanted)
		}
	}
	check("waiting")
	db = reopen(t, db)
	check("after a restart")
	ack(t, db, 2)
	check("kept")
	ok(t, db.Rewind(boards, Ack{}))
	check("waiting again")
}

func TestDamagedTraceIsNoticed(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{Dir: t.TempDir()})
	ok(t, err)
	b := batch(boards, 1, 100)
	b.TraceParent = trace
	ok(t, tryCommit(db, b))
	ok(t, db.bolt.Update(func(tx *bbolt.Tx) error {
		in := tx.Bucket([]byte(bucketPayloads)).Bucket(orderKey(1))
		v := bytes.Clone(in.Get([]byte(keyTrace)))
		v[5] ^= 1
		return in.Put([]byte(keyTrace), v)
	}))
	_, err = db.Batch(1)
	wantErr(t, err, ErrDamaged)
	wantErr(t, db.Check(), ErrDamaged)
	ok(t, db.Close())
}
