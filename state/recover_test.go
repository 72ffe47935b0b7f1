package state

import (
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// fiveBoards has boards 1 to 3 acknowledged, 4 and 5 waiting, and one status
// waiting between them.
func fiveBoards(t *testing.T) *DB {
	t.Helper()
	db := openDB(t, Config{})
	for r := uint64(1); r <= 4; r++ {
		commit(t, db, boards, r)
	}
	ack(t, db, 3)
	commit(t, db, statuses, 1)
	commit(t, db, boards, 5)
	return db
}

func acked(t *testing.T, db *DB, c event.Chain) uint64 {
	t.Helper()
	a, found, err := db.Acked(c)
	ok(t, err)
	if found != (a.Revision > 0) || found && a.Chain != c {
		t.Fatalf("acknowledged: %t, %+v", found, a)
	}
	return a.Revision
}

func TestRewind(t *testing.T) {
	db := fiveBoards(t)
	k, err := db.Kept(boards)
	ok(t, err)
	version := load(t, db, "us").Version

	wantErr(t, db.Rewind(boards, Ack{Chain: boards, Revision: 4, Sequence: 4}), ErrRevision)
	if err := db.Rewind(boards, Ack{Chain: statuses, Revision: 1}); err == nil {
		t.Fatal("took another chain's")
	}
	ok(t, db.Rewind(boards, ackOf(k[0], 17)))
	want(t, "queue", waiting(t, db, 0), "b/us:2 b/us:3 b/us:4 s/us:1 b/us:5")
	want(t, "kept", kept(t, db, boards), "b/us:1")
	a, _, err := db.Acked(boards)
	ok(t, err)
	want(t, "acknowledged", a, ackOf(k[0], 17))

	db = reopen(t, db)
	ok(t, db.Rewind(boards, ackOf(k[0], 23))) // another sequence for the same
	a, _, err = db.Acked(boards)
	ok(t, err)
	want(t, "sequence", a.Sequence, uint64(23))
	ok(t, db.Rewind(boards, Ack{}))
	want(t, "queue", waiting(t, db, 0), "b/us:1 b/us:2 b/us:3 b/us:4 s/us:1 b/us:5")
	want(t, "acknowledged", acked(t, db, boards), uint64(0))
	want(t, "version", load(t, db, "us").Version, version)
	ack(t, db, 6)
	want(t, "kept again", kept(t, db, boards), "b/us:1 b/us:2 b/us:3 b/us:4 b/us:5")
}

func TestRewindNeedsAllBatches(t *testing.T) {
	db := openDB(t, Config{Keep: 200})
	for r := uint64(1); r <= 4; r++ {
		commit(t, db, boards, r)
	}
	ack(t, db, 4)
	want(t, "kept", kept(t, db, boards), "b/us:3 b/us:4")
	wantErr(t, db.Rewind(boards, Ack{}), ErrNotFound, "1 to 4", "2 are kept")
	wantErr(t, db.Rewind(boards, Ack{Chain: boards, Revision: 1}), ErrNotFound)
	want(t, "queue", waiting(t, db, 0), "")
	ok(t, db.Rewind(boards, Ack{Chain: boards, Revision: 2}))
	want(t, "queue", waiting(t, db, 0), "b/us:3 b/us:4")
}

func TestAdoptBoard(t *testing.T) {
	for name, tracked := range map[string]*event.Tracked{
		"tracked": {Record: []byte("theirs"), Board: []byte("their board")},
		"nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			db := fiveBoards(t)
			before := load(t, db, "us").Version
			ok(t, db.Commit(Commit{
				Watchlist: "us", Version: before, Tracked: event.Tracked{Record: []byte("r"), Board: []byte("b")},
				Departed: []Departure{{UID: "old", At: noon}, {UID: "both", At: noon}},
			}))
			stream := Ack{Chain: boards, Revision: 9, Sequence: 1234, Digest: [32]byte{1}, Lineage: 3}
			dropped, err := db.Adopt(stream, tracked, []Departure{{UID: "both", At: noon.AddDate(0, 0, 1)}, {UID: "new", At: noon}})
			ok(t, err)
			want(t, "dropped", dropped, 2)

			db = reopen(t, db)
			l := Loaded{Version: before + 2, Revision: 9, Statuses: 1, Lineage: 3}
			if tracked != nil {
				l.Tracked, l.Known = *tracked, true
			}
			want(t, "loaded", load(t, db, "us"), l)
			want(t, "queue", waiting(t, db, 0), "s/us:1")
			want(t, "kept", kept(t, db, boards), "")
			a, _, err := db.Acked(boards)
			ok(t, err)
			stream.Lineage = 0
			want(t, "acknowledged", a, stream)
			d, err := db.Departed("us", []string{"old", "both", "new"}, noon)
			ok(t, err)
			want(t, "departed", len(d), 2)
			want(t, "departed", d["both"].At, noon.AddDate(0, 0, 1))
			commit(t, db, boards, 10)
		})
	}
}

func TestAdoptMakesOlderCommitsStale(t *testing.T) {
	db := fiveBoards(t)
	l := load(t, db, "us")
	if _, err := db.Adopt(Ack{Chain: statuses, Revision: 3, Sequence: 9}, nil, nil); err != nil {
		t.Fatal(err)
	}
	want(t, "queue", waiting(t, db, 0), "b/us:4 b/us:5")
	wantErr(t, db.Commit(Commit{Watchlist: "us", Version: l.Version, Batches: []event.Batch{batch(boards, 6, 1)}}), ErrStale)
	commit(t, db, boards, 6)
	commit(t, db, statuses, 4)
	if _, err := db.Adopt(Ack{}, nil, nil); err == nil {
		t.Fatal("adopted nothing")
	}
	if _, err := db.Adopt(Ack{Chain: boards}, nil, nil); err == nil {
		t.Fatal("adopted revision 0")
	}
}

func TestBreak(t *testing.T) {
	type expect struct {
		revision, acked, stream uint64
		lineage                 int
	}
	for name, c := range map[string]struct {
		stream Ack
		want   expect
	}{
		"nothing left":    {Ack{}, expect{revision: 5, lineage: 2}},
		"an older board":  {Ack{Chain: boards, Revision: 2, Sequence: 4}, expect{revision: 5, acked: 2, stream: 2, lineage: 2}},
		"a newer board":   {Ack{Chain: boards, Revision: 8, Sequence: 4}, expect{revision: 8, acked: 8, stream: 8, lineage: 2}},
		"a later lineage": {Ack{Chain: boards, Revision: 8, Sequence: 4, Lineage: 4}, expect{revision: 8, acked: 8, stream: 8, lineage: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			db := fiveBoards(t)
			v := load(t, db, "us").Version
			ok(t, db.Commit(Commit{Watchlist: "us", Version: v, Tracked: event.Tracked{Record: []byte("r"), Board: []byte("b")}}))
			dropped, err := db.Break(boards, c.stream)
			ok(t, err)
			want(t, "dropped", dropped, 2)
			db = reopen(t, db)
			want(t, "loaded", load(t, db, "us"), Loaded{
				Tracked: event.Tracked{Record: []byte("r"), Board: []byte("b")}, Known: true, Version: v + 2,
				Revision: c.want.revision, Statuses: 1, Lineage: c.want.lineage, Broken: true, StreamRevision: c.want.stream,
			})
			want(t, "acknowledged", acked(t, db, boards), c.want.acked)
			want(t, "queue", waiting(t, db, 0), "s/us:1")
			want(t, "kept", kept(t, db, boards), "")

			commit(t, db, statuses, 2)
			want(t, "broken until the next board", load(t, db, "us").Broken, true)
			commit(t, db, boards, c.want.revision+1)
			l := load(t, db, "us")
			want(t, "mended", []any{l.Broken, l.StreamRevision, l.Lineage}, []any{false, uint64(0), c.want.lineage})
			ack(t, db, 3)
			want(t, "acknowledged", acked(t, db, boards), c.want.revision+1)
			if c.want.acked < c.want.revision {
				wantErr(t, db.Rewind(boards, Ack{}), ErrNotFound)
			}
		})
	}
}

func TestBreakOfStatuses(t *testing.T) {
	db := fiveBoards(t)
	dropped, err := db.Break(statuses, Ack{})
	ok(t, err)
	want(t, "dropped", dropped, 1)
	l := load(t, db, "us")
	want(t, "loaded", []any{l.Broken, l.Lineage, l.Statuses}, []any{false, 1, uint64(1)})
	commit(t, db, statuses, 2)
	want(t, "queue", waiting(t, db, 0), "b/us:4 b/us:5 s/us:2")
}

func TestDroppingEndsFull(t *testing.T) {
	for name, drop := range map[string]func(*DB) error{
		"break": func(db *DB) error { _, err := db.Break(boards, Ack{}); return err },
		"adopt": func(db *DB) error { _, err := db.Adopt(Ack{Chain: boards, Revision: 1}, nil, nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			db := openDB(t, Config{Backlog: 250})
			commit(t, db, boards, 1)
			commit(t, db, boards, 2)
			wantErr(t, tryCommit(db, batch(boards, 3, 100)), ErrFull)
			want(t, "full", db.Backlog().Full, true)
			ok(t, drop(db))
			want(t, "backlog", db.Backlog(), Depth{})
		})
	}
}
