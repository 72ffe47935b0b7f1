package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

var (
	boards   = event.Chain{Watchlist: "us", Kind: event.Board}
	statuses = event.Chain{Watchlist: "us", Kind: event.Status}
	noon     = time.Date(2026, 4, 14, 12, 0, 0, 0, time.UTC)
)

// openDB opens a state that is checked when the test ends.
func openDB(t *testing.T, cfg Config) *DB {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	db, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Check(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func reopen(t *testing.T, db *DB) *DB {
	t.Helper()
	if err := db.Check(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return openDB(t, db.cfg)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func wantErr(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("error %q does not say %q", err, w)
		}
	}
}

// batch makes a batch with size bytes of payload: an event, a head and the
// fence.
func batch(c event.Chain, revision uint64, size int) event.Batch {
	fence := fmt.Appendf(nil, "%s/%d.", chainKey(c), revision)
	head := bytes.Repeat([]byte{byte(revision)}, max(0, size-len(fence))/2)
	plain := bytes.Repeat([]byte{'e'}, max(0, size-len(fence)-len(head)))
	return event.Batch{Chain: c, Revision: revision, Messages: []event.Message{
		{Subject: "p.US." + c.Watchlist + ".moved.1", Data: plain},
		{Role: event.Head, Data: head},
		{Subject: "p.US." + c.Watchlist + "." + string(c.Kind), Role: event.Fence, Data: fence},
	}}
}

// commit stores one batch of 100 bytes.
func commit(t *testing.T, db *DB, c event.Chain, revision uint64) {
	t.Helper()
	ok(t, tryCommit(db, batch(c, revision, 100)))
}

func tryCommit(db *DB, bs ...event.Batch) error {
	name := bs[0].Chain.Watchlist
	l, err := db.Load(name)
	if err != nil {
		return err
	}
	return db.Commit(Commit{Watchlist: name, Version: l.Version, At: noon, Batches: bs})
}

// ack acknowledges the n first batches in the queue, with their order as
// sequence.
func ack(t *testing.T, db *DB, n int) {
	t.Helper()
	q, err := db.Queue(n)
	ok(t, err)
	var acks []Ack
	for _, i := range q {
		acks = append(acks, ackOf(i, i.Order))
	}
	ok(t, db.Acknowledge(acks...))
}

func ackOf(i Info, sequence uint64) Ack {
	return Ack{Chain: i.Chain, Order: i.Order, Revision: i.Revision, Sequence: sequence, Digest: digestOf(i.Chain, i.Revision)}
}

func digestOf(c event.Chain, revision uint64) [32]byte {
	return sha256.Sum256(batch(c, revision, 0).Fence().Data)
}

// waiting writes the queue: `b/us:3` is the third board.
func waiting(t *testing.T, db *DB, max int) string {
	t.Helper()
	q, err := db.Queue(max)
	ok(t, err)
	return notation(q)
}

func kept(t *testing.T, db *DB, c event.Chain) string {
	t.Helper()
	k, err := db.Kept(c)
	ok(t, err)
	return notation(k)
}

func notation(q []Info) string {
	var s []string
	for _, i := range q {
		s = append(s, fmt.Sprintf("%s:%d", chainKey(i.Chain), i.Revision))
	}
	return strings.Join(s, " ")
}

func load(t *testing.T, db *DB, watchlist string) Loaded {
	t.Helper()
	l, err := db.Load(watchlist)
	ok(t, err)
	return l
}

func TestLoadOfTheUnknown(t *testing.T) {
	db := openDB(t, Config{})
	want(t, "loaded", load(t, db, "us"), Loaded{Lineage: 1})
}

func TestCommitIsThereAfterReopening(t *testing.T) {
	db := openDB(t, Config{})
	b, s := batch(boards, 1, 5000), batch(statuses, 1, 0)
	left := Departure{UID: "a\x00b", At: noon, FirstSeen: noon.Add(-time.Hour), PeakRank: 7}
	ok(t, db.Commit(Commit{
		Watchlist: "us", Tracked: event.Tracked{Record: []byte("record"), Board: bytes.Repeat([]byte("board"), 5000)},
		Batches: []event.Batch{b, s}, Departed: []Departure{left}, At: noon.In(time.FixedZone("", 3600)),
	}))
	check := func(db *DB) {
		t.Helper()
		want(t, "loaded", load(t, db, "us"), Loaded{
			Tracked: event.Tracked{Record: []byte("record"), Board: bytes.Repeat([]byte("board"), 5000)},
			Known:   true, Version: 1, Revision: 1, Statuses: 1, Lineage: 1,
		})
		q, err := db.Queue(0)
		ok(t, err)
		want(t, "queue", q, []Info{
			{Order: 1, Chain: boards, Revision: 1, Messages: 3, Bytes: 5000, At: noon},
			{Order: 2, Chain: statuses, Revision: 1, Messages: 3, Bytes: 7, At: noon},
		})
		for i, w := range []event.Batch{b, s} {
			w.Order = uint64(i) + 1
			got, err := db.Batch(w.Order)
			ok(t, err)
			if fmt.Sprint(got) != fmt.Sprint(w) {
				t.Fatalf("batch %d is %v, want %v", w.Order, got, w)
			}
		}
		d, err := db.Departed("us", []string{"x", "a\x00b"}, noon)
		ok(t, err)
		want(t, "departed", d, map[string]Departure{"a\x00b": left})
		want(t, "backlog", db.Backlog(), Depth{Batches: 2, Bytes: 5007, Oldest: noon})
	}
	check(db)
	check(reopen(t, db))
}

func TestCommitLeavesWhatIsNil(t *testing.T) {
	db := openDB(t, Config{})
	for i, c := range []Commit{
		{Tracked: event.Tracked{Record: []byte("r1"), Board: []byte("b1")}},
		{Tracked: event.Tracked{Record: []byte("r2")}},
		{Tracked: event.Tracked{Board: []byte{}}},
		{Batches: []event.Batch{batch(statuses, 1, 0)}},
	} {
		c.Watchlist, c.Version = "us", uint64(i)
		ok(t, db.Commit(c))
	}
	want(t, "loaded", load(t, db, "us"), Loaded{
		Tracked: event.Tracked{Record: []byte("r2"), Board: []byte{}}, Known: true, Version: 4, Statuses: 1, Lineage: 1,
	})
	ok(t, db.Commit(Commit{Watchlist: "_token", Batches: []event.Batch{batch(event.Chain{Watchlist: "_token", Kind: event.Status}, 1, 0)}}))
	want(t, "token", load(t, db, "_token"), Loaded{Version: 1, Statuses: 1, Lineage: 1})
}

func TestRefusedCommitWritesNothing(t *testing.T) {
	db := openDB(t, Config{Backlog: 250})
	commit(t, db, boards, 1)
	commit(t, db, boards, 2)
	other := event.Chain{Watchlist: "de", Kind: event.Board}
	noFence := batch(boards, 3, 10)
	noFence.Messages = noFence.Messages[:2]
	for name, c := range map[string]struct {
		commit Commit
		err    error
	}{
		"stale":       {Commit{Version: 1, Batches: []event.Batch{batch(boards, 3, 10)}}, ErrStale},
		"future":      {Commit{Version: 3, Batches: []event.Batch{batch(boards, 3, 10)}}, ErrStale},
		"gap":         {Commit{Version: 2, Batches: []event.Batch{batch(boards, 4, 10)}}, ErrRevision},
		"repeated":    {Commit{Version: 2, Batches: []event.Batch{batch(boards, 2, 10)}}, ErrRevision},
		"second gap":  {Commit{Version: 2, Batches: []event.Batch{batch(boards, 3, 10), batch(boards, 5, 10)}}, ErrRevision},
		"full":        {Commit{Version: 2, Batches: []event.Batch{batch(boards, 3, 51)}}, ErrFull},
		"other chain": {Commit{Version: 2, Batches: []event.Batch{batch(other, 1, 10)}}, nil},
		"no fence":    {Commit{Version: 2, Batches: []event.Batch{noFence}}, nil},
		"empty":       {Commit{Version: 2, Batches: []event.Batch{{Chain: boards, Revision: 3}}}, nil},
		"no uid":      {Commit{Version: 2, Departed: []Departure{{}}}, nil},
		"no chain":    {Commit{Version: 2, Batches: []event.Batch{batch(event.Chain{Watchlist: "us", Kind: event.Moved}, 1, 1)}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.commit.Watchlist = "us"
			c.commit.Tracked = event.Tracked{Record: []byte("never"), Board: []byte("never")}
			err := db.Commit(c.commit)
			if err == nil || c.err != nil && !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			want(t, "loaded", load(t, db, "us"), Loaded{Version: 2, Revision: 2, Lineage: 1})
			want(t, "queue", waiting(t, db, 0), "b/us:1 b/us:2")
		})
	}
	for _, name := range []string{"", "a\x00b", strings.Repeat("x", maxName+1)} {
		if err := db.Commit(Commit{Watchlist: name}); err == nil {
			t.Errorf("watchlist %q was taken", name)
		}
	}
}

func TestFullBacklog(t *testing.T) {
	db := openDB(t, Config{Backlog: 250})
	ok(t, tryCommit(db, batch(boards, 1, 1000))) // nothing waits: any size
	want(t, "backlog", db.Backlog(), Depth{Batches: 1, Bytes: 1000, Oldest: noon, Full: true})
	ack(t, db, 1)
	want(t, "backlog", db.Backlog(), Depth{})

	commit(t, db, boards, 2)
	ok(t, tryCommit(db, batch(boards, 3, 100)))
	want(t, "full", db.Backlog().Full, false)
	wantErr(t, tryCommit(db, batch(boards, 4, 51)), ErrFull, "200 bytes wait", "limit of 250")
	want(t, "full", db.Backlog().Full, true)

	// That the backlog is full must still be sayable, and a reading that
	// changes nothing costs nothing.
	ok(t, tryCommit(db, batch(statuses, 1, 1<<20)))
	ok(t, db.Commit(Commit{Watchlist: "us", Version: load(t, db, "us").Version, Tracked: event.Tracked{Record: []byte("r")}}))
	wantErr(t, tryCommit(db, batch(statuses, 2, 16<<20)), ErrFull)
	wantErr(t, tryCommit(db, batch(statuses, 2, 10), batch(boards, 4, 10)), ErrFull)

	ack(t, db, 3)
	ok(t, tryCommit(db, batch(boards, 4, 51)))
	want(t, "full", db.Backlog().Full, false)
}

func TestQueueKeepsOrderAndHonoursMax(t *testing.T) {
	db := openDB(t, Config{})
	de := event.Chain{Watchlist: "de", Kind: event.Board}
	for _, b := range []event.Batch{batch(boards, 1, 1), batch(de, 1, 1), batch(statuses, 1, 1), batch(boards, 2, 1)} {
		ok(t, tryCommit(db, b))
	}
	want(t, "all", waiting(t, db, 0), "b/us:1 b/de:1 s/us:1 b/us:2")
	want(t, "two", waiting(t, db, 2), "b/us:1 b/de:1")
	ok(t, db.Block("us"))
	want(t, "blocked", waiting(t, db, 0), "b/de:1 s/us:1")
	want(t, "two of the blocked", waiting(t, db, 2), "b/de:1 s/us:1")
	ok(t, db.Unblock("us"))
	want(t, "all again", waiting(t, db, 9), "b/us:1 b/de:1 s/us:1 b/us:2")
}

func TestFenced(t *testing.T) {
	db := openDB(t, Config{})
	commit(t, db, boards, 1)
	ok(t, db.Block("us"))
	want(t, "fenced", load(t, db, "us").Fenced, true)
	wantErr(t, tryCommit(db, batch(boards, 2, 10)), ErrFenced)
	wantErr(t, db.Commit(Commit{Watchlist: "us", Version: 1, Tracked: event.Tracked{Board: []byte("b")}}), ErrFenced)
	commit(t, db, statuses, 1) // which says that it is fenced
	want(t, "queue", waiting(t, db, 0), "s/us:1")
	want(t, "waiting", db.Backlog().Batches, 2)

	db = reopen(t, db)
	want(t, "fenced after restart", load(t, db, "us").Fenced, false)
	want(t, "queue after restart", waiting(t, db, 0), "b/us:1 s/us:1")
}

func TestAcknowledge(t *testing.T) {
	db := openDB(t, Config{Keep: 250})
	for r := uint64(1); r <= 5; r++ {
		commit(t, db, boards, r)
	}
	commit(t, db, statuses, 1)
	if _, found, err := db.Acked(boards); found || err != nil {
		t.Fatal("acknowledged", found, err)
	}
	q, err := db.Queue(0)
	ok(t, err)

	wantErr(t, db.Acknowledge(Ack{Chain: boards, Order: 99, Revision: 1}), ErrNotFound)
	wantErr(t, db.Acknowledge(Ack{Chain: statuses, Order: 1, Revision: 1}), ErrNotFound)
	wantErr(t, db.Acknowledge(Ack{Chain: boards, Order: 1, Revision: 2}), ErrRevision)
	wantErr(t, db.Acknowledge(ackOf(q[0], 7), ackOf(q[0], 7)), ErrNotFound)
	want(t, "queue", waiting(t, db, 0), "b/us:1 b/us:2 b/us:3 b/us:4 b/us:5 s/us:1")

	ok(t, db.Acknowledge())
	ok(t, db.Acknowledge(ackOf(q[0], 70), ackOf(q[5], 71)))
	want(t, "kept", kept(t, db, boards)+" "+kept(t, db, statuses), "b/us:1 s/us:1")
	a, found, err := db.Acked(boards)
	ok(t, err)
	want(t, "acked", []any{a, found}, []any{ackOf(q[0], 70), true})

	// The third is in the stream only if the second is.
	ok(t, db.Acknowledge(ackOf(q[2], 90)))
	want(t, "queue", waiting(t, db, 0), "b/us:4 b/us:5")
	want(t, "kept within 250 bytes", kept(t, db, boards), "b/us:3")
	want(t, "kept within 250 bytes", kept(t, db, statuses), "s/us:1")
	if _, err := db.Batch(1); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	wantErr(t, db.Acknowledge(ackOf(q[2], 90)), ErrNotFound)

	n, found, err := db.Newest()
	ok(t, err)
	want(t, "newest", []any{n, found}, []any{ackOf(q[2], 90), true})
	db = reopen(t, db)
	want(t, "queue", waiting(t, db, 0), "b/us:4 b/us:5")
	want(t, "kept", kept(t, db, boards)+" "+kept(t, db, statuses), "b/us:3 s/us:1")
	want(t, "backlog", db.Backlog(), Depth{Batches: 2, Bytes: 200, Oldest: noon})
}

func TestKeptBatchesGoInBoundedSteps(t *testing.T) {
	db := openDB(t, Config{})
	for r := uint64(1); r <= 100; r++ {
		commit(t, db, boards, r)
	}
	ack(t, db, 99)
	cfg := db.cfg
	cfg.Keep = 1
	ok(t, db.Close())
	db = openDB(t, cfg)
	ack(t, db, 1)
	k, err := db.Kept(boards)
	ok(t, err)
	want(t, "still kept", len(k), 100-18)
}

func TestFileStopsGrowingOnceBatchesAreAcknowledged(t *testing.T) {
	db := openDB(t, Config{Keep: 1})
	round := func(from uint64) int64 {
		t.Helper()
		for r := from; r < from+10; r++ {
			ok(t, tryCommit(db, batch(boards, r, 100_000)))
		}
		ack(t, db, 10)
		return db.Size()
	}
	first := round(1)
	for r := uint64(11); r < 100; r += 10 {
		if now := round(r); now > first*5/4 {
			t.Fatalf("grew from %d to %d by revision %d", first, now, r)
		}
	}
}

func TestOrdersAreNeverUsedAgain(t *testing.T) {
	db := openDB(t, Config{Keep: 1})
	commit(t, db, boards, 1)
	ack(t, db, 1)
	want(t, "kept", kept(t, db, boards), "")
	db = reopen(t, db)
	commit(t, db, boards, 2)
	q, err := db.Queue(0)
	ok(t, err)
	want(t, "order", q[0].Order, uint64(2))
}

func TestRecords(t *testing.T) {
	db := openDB(t, Config{})
	want(t, "no record", records(t, db), map[string]string{})
	wanted := make(map[string]string)
	for i := range 5 {
		name := fmt.Sprintf("list-%d", i)
		wanted[name] = "record of " + name
		ok(t, db.Commit(Commit{Watchlist: name, Tracked: event.Tracked{Record: []byte(wanted[name]), Board: []byte("b")}}))
	}
	commit(t, db, boards, 1) // has none
	want(t, "records", records(t, db), wanted)

	ok(t, db.update("fill", "", func(tx *txn) error {
		for i := range 3 * recordsPerView {
			name := fmt.Sprintf("many-%d", i)
			wanted[name] = fmt.Sprint(i)
			if err := tx.putTracked(name, list{}, event.Tracked{Record: []byte(wanted[name])}); err != nil {
				return err
			}
		}
		return nil
	}))
	seen := 0
	ok(t, db.Records(func(string, []byte) error { seen++; return nil }))
	want(t, "records seen", seen, len(wanted))
	want(t, "records", records(t, db), wanted)

	stop := errors.New("stop")
	calls := 0
	err := db.Records(func(string, []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatal(err, calls)
	}
	// Whoever reads the records may commit.
	ok(t, db.Records(func(name string, _ []byte) error {
		if strings.HasPrefix(name, "many") {
			return nil
		}
		return db.Commit(Commit{Watchlist: name, Version: load(t, db, name).Version, Tracked: event.Tracked{Record: bytes.Repeat([]byte("r"), 100_000)}})
	}))
}

func records(t *testing.T, db *DB) map[string]string {
	t.Helper()
	found := make(map[string]string)
	ok(t, db.Records(func(name string, record []byte) error {
		found[name] = string(record)
		return nil
	}))
	return found
}
