package publisher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// sharing makes a worker one of several. Its records end in " is " and the
// condition, if there is one.
func sharing(writer string) func(*Config) {
	return func(c *Config) {
		c.Shared, c.Writer, c.Drain = true, writer, -1
		c.Resume = func(record []byte, last event.Condition) ([]byte, error) {
			text, _, _ := strings.Cut(string(record), " is ")
			if last.Status != event.StatusRecovered {
				text += " is " + last.Status
			}
			return []byte(text), nil
		}
	}
}

// fleetOf starts n workers, called w0, w1 and so on.
func fleetOf(t *testing.T, url string, n int) []*worker {
	t.Helper()
	var all []*worker
	for i := range n {
		all = append(all, newWorker(t, url, sharing("w"+strconv.Itoa(i))).start())
	}
	return all
}

func (w *worker) sync(watchlist string, published uint64) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := w.pub.Sync(ctx, watchlist, Known{Revision: published})
	return err
}

func (w *worker) mustSync(watchlists ...string) {
	w.t.Helper()
	for _, l := range watchlists {
		if err := w.sync(l, 0); err != nil {
			w.t.Fatalf("sync %s: %v", l, err)
		}
	}
}

func (w *worker) flush(watchlist string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.pub.Flush(ctx, watchlist); err != nil {
		w.t.Fatalf("flush: %v; stats %+v", err, w.pub.Stats())
	}
}

// insist syncs again after trouble with the connection, as the next turn does.
func (w *worker) insist(watchlist string) {
	w.t.Helper()
	for limit := time.Now().Add(patience); ; {
		err := w.sync(watchlist, 0)
		if err == nil {
			return
		}
		if errors.Is(err, ErrBehind) || time.Now().After(limit) {
			w.t.Fatalf("sync %s: %v", watchlist, err)
		}
	}
}

// turn reads a watchlist as whoever has its turn does.
func (w *worker) turn(watchlist string, events int) []string {
	w.t.Helper()
	w.insist(watchlist)
	keys := w.commit(watchlist, events)
	w.flush(watchlist)
	return keys
}

// feels tells of a condition unless the record says that it was told.
func (w *worker) feels(watchlist, word string) {
	w.t.Helper()
	l := w.load(watchlist)
	text, is, _ := strings.Cut(string(l.Record), " is ")
	if is == "" {
		is = event.StatusRecovered
	}
	if is == word {
		return
	}
	if word != event.StatusRecovered {
		text += " is " + word
	}
	o := event.Origin{Prefix: w.cfg.Prefix, Region: "US", Watchlist: watchlist}
	m := must(o.Status(time.Now(), &event.Condition{Watchlist: watchlist, Status: word, Since: event.Time(time.Now()), Detail: w.cfg.Writer}))
	b := event.Batch{Chain: event.Chain{Watchlist: watchlist, Kind: event.Status}, Revision: l.Statuses + 1, Messages: []event.Message{m}}
	err := w.db.Commit(state.Commit{Watchlist: watchlist, Version: l.Version, Tracked: event.Tracked{Record: []byte(text)}, Batches: []event.Batch{b}, At: time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.pub.Notify()
}

func (w *worker) wantRecord(watchlist, want string) {
	w.t.Helper()
	if got := string(w.load(watchlist).Record); got != want {
		w.t.Errorf("%s of %s has the record %q, want %q", watchlist, w.cfg.Writer, got, want)
	}
}

// story is what the stream has of a watchlist: "3 changed w1", "stale w0".
func story(t tb, nc *nats.Conn, watchlist string) string {
	t.Helper()
	var out []string
	each(t, nc, "RANKWATCH", "rankwatch", func(m jetstream.Msg) {
		s := must(event.ParseSubject("rankwatch", m.Subject()))
		if s.Watchlist != watchlist {
			return
		}
		switch s.Kind {
		case event.Board:
			b := must(event.Decode[event.Snapshot](m.Data())).Data
			out = append(out, fmt.Sprintf("%d %s %s", b.Revision, b.Outcome, b.Writer))
		case event.Status:
			c := must(event.Decode[event.Condition](m.Data())).Data
			out = append(out, c.Status+" "+c.Detail)
		}
	})
	return strings.Join(out, ", ")
}

func wantStory(t *testing.T, nc *nats.Conn, watchlist, want string) {
	t.Helper()
	if got := story(t, nc, watchlist); got != want {
		t.Errorf("the stream's story of %s is\n%s\nwant\n%s", watchlist, got, want)
	}
}

func TestRevisionsFollowOneAnotherWhoeverWrites(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleet := fleetOf(t, e.url(), 3)
	o := observe(t, e.client(), "rankwatch")
	var want []string
	for i := range 9 {
		want = append(want, fleet[(i*i)%3].turn("x", i)...)
	}
	o.expect(want)
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
	wantStory(t, e.client(), "x", "1 changed w0, 2 changed w1, 3 changed w1, 4 changed w0, 5 changed w1, 6 changed w1, 7 changed w0, 8 changed w1, 9 changed w1")
	// w2 never read it, and begins with what the others have.
	fleet[2].mustSync("x")
	if l := fleet[2].load("x"); l.Revision != 9 || l.Broken || string(l.Board) != "board x/9" {
		t.Errorf("the third worker has %+v", l)
	}
	for _, w := range fleet {
		if len(w.fenced) > 0 || w.pub.Stats().Fenced > 0 {
			t.Errorf("%s is fenced", w.cfg.Writer)
		}
	}
}

func TestWhatAWorkerWithoutTheTurnPreparedIsDropped(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleet := fleetOf(t, e.url(), 2)
	a, b := fleet[0], fleet[1]
	want := a.turn("x", 2)
	b.mustSync("x")
	want = append(want, b.commit("x", 3)...)
	b.flush("x")
	// a does not know that it lost the turn.
	a.commit("x", 7)
	a.flush("x")
	if l, theirs := a.load("x"), b.load("x"); l.Revision != 2 || string(l.Board) != string(theirs.Board) || string(l.Record) != "record x/2" || l.Fenced || l.Broken {
		t.Errorf("after its commit was dropped: %+v", l)
	}
	ack, _, err := a.db.Acked(event.Chain{Watchlist: "x", Kind: event.Board})
	theirs, _, err2 := b.db.Acked(event.Chain{Watchlist: "x", Kind: event.Board})
	if err != nil || err2 != nil || ack.Sequence != theirs.Sequence || ack.Digest != theirs.Digest {
		t.Errorf("the outbox has %+v, the other one %+v (%v %v)", ack, theirs, err, err2)
	}
	if len(a.fenced) > 0 {
		t.Error("fenced, among workers that share")
	}
	want = append(want, a.turn("x", 1)...)
	same(t, "consumer", history(t, e.client(), "RANKWATCH", "rankwatch"), want)
}

func TestAConditionThatOneToldTheOthersTakeBack(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleet := fleetOf(t, e.url(), 3)
	a, b, c := fleet[0], fleet[1], fleet[2]
	a.turn("x", 1)
	b.mustSync("x")
	a.feels("x", "stale")
	a.flush("x")
	b.mustSync("x")
	b.wantRecord("x", "record x/1 is stale")
	b.feels("x", "stale")
	b.feels("x", event.StatusRecovered)
	b.flush("x")
	a.mustSync("x")
	a.wantRecord("x", "record x/1")
	a.feels("x", event.StatusRecovered)
	// One that comes new knows it too, with or without a board.
	a.feels("x", "quota")
	a.feels("y", "stale")
	a.flush("x")
	a.flush("y")
	c.mustSync("x", "y")
	c.wantRecord("x", "record x/1 is quota")
	c.wantRecord("y", " is stale")
	wantStory(t, e.client(), "x", "1 changed w0, stale w0, recovered w1, quota w0")
}

func TestOfTwoThatTellTheSameAtOnceOneIsHeard(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleet := fleetOf(t, e.url(), 2)
	a, b := fleet[0], fleet[1]
	a.turn("x", 1)
	for _, w := range fleet {
		w.mustSync("x")
	}
	a.feels("x", "stale")
	a.flush("x")
	b.feels("x", "stale") // it has not heard
	b.flush("x")
	wantStory(t, e.client(), "x", "1 changed w0, stale w0")
	for _, w := range fleet {
		w.mustSync("x")
		w.wantRecord("x", "record x/1 is stale")
	}
	b.feels("x", event.StatusRecovered)
	b.flush("x")
	a.mustSync("x")
	a.wantRecord("x", "record x/1")
	wantStory(t, e.client(), "x", "1 changed w0, stale w0, recovered w1")
}

func TestSyncThatIsToldOfNoNewsAsksNothing(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleet := fleetOf(t, e.url(), 2)
	big := strings.Repeat("x", 1<<16)
	w := fleet[0]
	l := w.load("x")
	batch, _, tracked := w.reading("US", "x", 3)
	tracked.Board = []byte(big)
	batch.Messages[3].Data = event.PackTracked(event.Tracked{Record: tracked.Record, Board: randomBytes(1 << 16)})
	if err := w.db.Commit(state.Commit{Watchlist: "x", Version: l.Version, Tracked: tracked, Batches: []event.Batch{batch}, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w.pub.Notify()
	w.flush("x")
	w.feels("x", big)
	w.flush("x")
	w.mustSync("x")
	known := must(w.pub.Marks("x"))
	known.Fresh = true
	for _, w := range fleet {
		w.mustSync("x")
		if is := must(w.pub.Marks("x")); is.Board != known.Board || is.Status != known.Status || is.Head != 0 {
			t.Errorf("%s knows %+v, not %+v", w.cfg.Writer, is, known)
		}
		before := w.pub.nc.Stats()
		asked, err := w.pub.Sync(t.Context(), "x", known)
		if after := w.pub.nc.Stats(); err != nil || asked || after.OutMsgs != before.OutMsgs {
			t.Errorf("%s: a Sync that is told that there is no news asked %t, %d messages: %v", w.cfg.Writer, asked, after.OutMsgs-before.OutMsgs, err)
		}
		for name, other := range map[string]Known{
			"old":    {Board: known.Board, Status: known.Status},
			"board":  {Board: known.Board + 1, Status: known.Status, Fresh: true},
			"status": {Board: known.Board, Status: known.Status - 1, Fresh: true},
		} {
			if asked, err := w.pub.Sync(t.Context(), "x", other); err != nil || !asked {
				t.Errorf("%s: what is known is %s, and asked %t: %v", w.cfg.Writer, name, asked, err)
			}
		}
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// loseStream deletes the stream and has one worker make it anew.
func loseStream(t *testing.T, nc *nats.Conn, finder *worker) {
	t.Helper()
	js := must(jetstream.New(nc))
	if err := js.DeleteStream(t.Context(), "RANKWATCH"); err != nil {
		t.Fatal(err)
	}
	before := finder.pub.backs.Load()
	finder.pub.wake(true)
	limit := time.After(patience)
	for finder.pub.backs.Load() == before || finder.pub.lost.Load() {
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			t.Fatal("nobody finds that the stream is gone")
		}
	}
}

func TestALostStreamIsNotBelievedAtOnce(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	nc := e.client()
	fleet := fleetOf(t, e.url(), 2)
	a, b := fleet[0], fleet[1]
	for range 3 {
		a.turn("x", 2)
	}
	b.mustSync("x")
	loseStream(t, nc, a)
	for range 2 {
		if err := a.sync("x", 0); !errors.Is(err, ErrBehind) {
			t.Fatalf("sync with an empty stream: %v", err)
		}
	}
	if l := a.load("x"); l.Broken || l.Revision != 3 {
		t.Fatalf("believed at once: %+v", l)
	}
	for _, w := range fleet {
		w.pub.shared.disbelief = 0
	}
	a.mustSync("x")
	if l := a.load("x"); !l.Broken || l.Revision != 3 || l.Lineage != 2 {
		t.Fatalf("a lost chain: %+v", l)
	}
	// A chain that is broken stays so, until there is a board.
	if err := a.sync("x", 3); err != nil {
		t.Fatal(err)
	}
	if l := a.load("x"); l.Lineage != 2 || a.pub.Stats().Broken != 1 {
		t.Errorf("broken again: %+v", l)
	}
	a.commit("x", 0)
	a.flush("x")
	wantStory(t, nc, "x", "4 baseline w0")
	// b was not told that the stream is another one, but what was published.
	if err := b.sync("x", 4); err != nil {
		t.Fatal(err)
	}
	if l := b.load("x"); l.Broken || l.Revision != 4 || l.Lineage != 2 {
		t.Errorf("the other worker has %+v", l)
	}
	b.commit("x", 1)
	b.flush("x")
	wantStory(t, nc, "x", "4 baseline w0, 5 changed w1")
}

// The stream is lost while another worker was further than this one, as the turn
// tells.
func TestABrokenChainGoesOnAboveAllThatWasUsed(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	nc := e.client()
	fleet := fleetOf(t, e.url(), 2)
	a, b := fleet[0], fleet[1]
	a.turn("x", 2)
	b.mustSync("x")
	for range 3 {
		a.turn("x", 2)
	}
	loseStream(t, nc, b)
	if err := b.sync("x", 4); !errors.Is(err, ErrBehind) {
		t.Fatalf("sync with an empty stream: %v", err)
	}
	b.pub.shared.disbelief = 0
	if err := b.sync("x", 4); err != nil {
		t.Fatal(err)
	}
	if l := b.load("x"); !l.Broken || l.Revision != 4 || l.Lineage != 2 {
		t.Fatalf("a lost chain: %+v", l)
	}
	b.commit("x", 0)
	b.flush("x")
	wantStory(t, nc, "x", "5 baseline w1")
	// One that never read it believes the turn.
	c := newWorker(t, e.url(), sharing("w2")).start()
	c.pub.shared.disbelief = 0
	if err := c.sync("x", 5); err != nil {
		t.Fatal(err)
	}
	if l := c.load("x"); l.Broken || l.Revision != 5 {
		t.Errorf("a new worker has %+v", l)
	}
}

// Between the two steps of giving a chain up a worker may die.
func TestAChainThatIsHalfGivenUpIsNoWholeOne(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	w := fleetOf(t, e.url(), 1)[0]
	if _, err := w.db.Adopt(state.Ack{Chain: event.Chain{Watchlist: "x", Kind: event.Board}, Revision: 4}, &event.Tracked{Record: []byte("r"), Board: []byte("b")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.sync("x", 0); !errors.Is(err, ErrBehind) {
		t.Fatalf("sync: %v", err)
	}
	w.pub.shared.disbelief = 0
	w.mustSync("x")
	if l := w.load("x"); !l.Broken || l.Revision != 4 {
		t.Fatalf("%+v", l)
	}
}

func TestDoubtsThatLieFarApartDoNotAddUp(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	nc := e.client()
	a := fleetOf(t, e.url(), 1)[0]
	a.turn("x", 1)
	loseStream(t, nc, a)
	if err := a.sync("x", 0); !errors.Is(err, ErrBehind) {
		t.Fatalf("sync: %v", err)
	}
	// A day passes, in which others read.
	a.pub.shared.mu.Lock()
	s := a.pub.shared.seen["x"]
	s.behind, s.again = s.behind.Add(-24*time.Hour), s.again.Add(-24*time.Hour)
	a.pub.shared.seen["x"] = s
	a.pub.shared.mu.Unlock()
	if err := a.sync("x", 0); !errors.Is(err, ErrBehind) {
		t.Fatalf("believed for a doubt of yesterday: %v", err)
	}
}

func TestAHeadWithoutABoardReachesWhoReadsNext(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleet := fleetOf(t, e.url(), 3)
	a, b, c := fleet[0], fleet[1], fleet[2]
	a.turn("x", 1)
	b.mustSync("x")
	put := func(w *worker, text string) error {
		tracked := event.Tracked{Record: []byte("record " + text), Board: []byte("board " + text)}
		err := w.db.Commit(state.Commit{Watchlist: "x", Version: w.load("x").Version, Tracked: tracked, At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return w.pub.PutHead(t.Context(), "x", tracked)
	}
	var left Known // what the last reader leaves for the next one
	holds := func(w *worker, text string) {
		t.Helper()
		left.Fresh = !left.Fresh
		if _, err := w.pub.Sync(t.Context(), "x", left); err != nil {
			t.Fatal(err)
		}
		if l := w.load("x"); string(l.Board) != "board "+text || string(l.Record) != "record "+text || l.Revision != 1 || l.Broken {
			t.Errorf("%s has %q %q at revision %d", w.cfg.Writer, l.Board, l.Record, l.Revision)
		}
		left = must(w.pub.Marks("x"))
	}
	if err := put(b, "one"); err != nil {
		t.Fatal(err)
	}
	holds(b, "one")
	holds(a, "one") // which published the board
	holds(c, "one") // which has nothing
	if err := put(a, "two"); err != nil {
		t.Fatal(err)
	}
	left = must(a.pub.Marks("x"))
	holds(b, "two") // which put the last one
	holds(c, "two") // which took the last one over
	holds(a, "two")
	if err := put(c, "three"); err != nil {
		t.Fatal(err)
	}
	left = Known{} // lost
	holds(b, "three")
	if err := put(b, "two"); err != nil {
		t.Fatal(err)
	}
	left = must(b.pub.Marks("x"))
	left.Fresh = true
	before := b.pub.nc.Stats()
	if asked, err := b.pub.Sync(t.Context(), "x", left); asked || err != nil || b.pub.nc.Stats().OutMsgs != before.OutMsgs {
		t.Errorf("asked for what it put there itself: %v", err)
	}
	tracked, revision, err := c.pub.Tracked(t.Context(), "x")
	if err != nil || revision != 1 || string(tracked.Board) != "board two" {
		t.Errorf("the stream's head is %v of %d (%v)", tracked, revision, err)
	}
	b.turn("x", 2)
	if err := put(a, "late"); !errors.Is(err, ErrOvertaken) {
		t.Errorf("a head after another board: %v", err)
	}
	c.mustSync("x")
	if l := c.load("x"); l.Revision != 2 || string(l.Board) != "board x/2" {
		t.Errorf("after the next board: %+v", l)
	}
	// What a later status told holds whatever the head says.
	a.mustSync("x")
	if err := put(a, "three"); err != nil {
		t.Fatal(err)
	}
	a.feels("x", "stale")
	a.flush("x")
	c.mustSync("x")
	c.wantRecord("x", "record three is stale")
	b.mustSync("x")
	b.wantRecord("x", "record three is stale")
}

// A board too large for a head is taken over without one; what was told of its
// watchlist stays told.
func TestAConditionOutlivesABoardWithoutAHead(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleet := fleetOf(t, e.url(), 2)
	a, b := fleet[0], fleet[1]
	a.turn("x", 1)
	a.feels("x", "stale")
	a.flush("x")
	b.mustSync("x")
	l := a.load("x")
	batch, _, tracked := a.reading("US", "x", 1)
	batch.Messages = append(batch.Messages[:1], batch.Messages[2]) // without its head
	if err := a.db.Commit(state.Commit{Watchlist: "x", Version: l.Version, Tracked: tracked, Batches: []event.Batch{batch}, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	a.pub.Notify()
	a.flush("x")
	b.mustSync("x")
	b.wantRecord("x", " is stale")
	if l := b.load("x"); l.Revision != 2 || len(l.Board) > 0 {
		t.Errorf("%+v", l)
	}
}

func TestDeparturesOfOthersAreFound(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleet := fleetOf(t, e.url(), 2)
	a, b := fleet[0], fleet[1]
	ask := func(w *worker, uids ...string) map[string]state.Departure {
		t.Helper()
		found, err := w.pub.Departed(t.Context(), "x", uids)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := ask(a, "u4"); len(found) > 0 {
		t.Errorf("of a watchlist that was never read: %v", found)
	}
	a.turn("x", 3) // u4 stays
	b.mustSync("x")
	if found := ask(b, "u4"); len(found) > 0 {
		t.Errorf("before anybody dropped out: %v", found)
	}
	a.turn("x", 12) // u4 and u9 drop out
	b.mustSync("x")
	many := []string{"u9"}
	for i := range 1200 {
		many = append(many, "z"+strconv.Itoa(i))
	}
	found := ask(b, append(many, "u4", "u5")...)
	if len(found) != 2 || found["u4"].PeakRank != 5 || found["u9"].UID != "u9" || found["u9"].FirstSeen.IsZero() {
		t.Errorf("found %v", found)
	}
	first := found["u4"].At
	a.turn("x", 5) // u4 again
	b.mustSync("x")
	if again := ask(b, "u4")["u4"].At; !again.After(first) {
		t.Errorf("dropped out at %v, then at %v", first, again)
	}
}

func TestWorkersThatShareGetOnWithEachOtherOnly(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	fleetOf(t, e.url(), 2)
	mustRefuse(t, newWorker(t, e.url(), func(c *Config) { c.Writer = "single" }).cfg, "RANKWATCH_CLUSTER", "w")
	other := startExternal(t)
	newWorker(t, other.url(), func(c *Config) { c.Writer = "single" }).start()
	mustRefuse(t, newWorker(t, other.url(), sharing("w0")).cfg, "RANKWATCH_CLUSTER", "single")
}

// Replicas lag behind their leader. Whoever asks one for departures must not be
// told less than what was acknowledged.
func TestDeparturesAreFoundOnAnyReplicaRightAway(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	nodes := startCluster(t)
	var fleet []*worker
	for i, n := range nodes {
		w := newWorker(t, n.url(), sharing("w"+strconv.Itoa(i)), func(c *Config) { c.Replicas = 3 })
		w.open().run()
		w.wait(w.pub.Ready(), "ready")
		fleet = append(fleet, w)
	}
	var last time.Time
	for i := range 24 {
		w, next := fleet[i%3], fleet[(i+1)%3]
		w.insist("x")
		w.commit("x", 5+i%2*5) // u4 drops out, and with it u9 each other time
		w.flush("x")
		next.insist("x")
		l := next.load("x")
		if l.Revision != uint64(i+1) || l.Broken {
			t.Fatalf("after %d turns: %+v", i+1, l)
		}
		found, err := next.pub.Departed(t.Context(), "x", []string{"u4", "u5", "u9"})
		if err != nil {
			t.Fatal(err)
		}
		at := found["u4"].At
		if !at.After(last) {
			t.Fatalf("turn %d: dropped out at %v, as of %v", i, at, last)
		}
		last = at
	}
}
