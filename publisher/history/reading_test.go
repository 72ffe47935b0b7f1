package history

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// name gives what was published of a reading its name, counts included.
func (b *bus) named(list string, revision uint64, name string, uids ...string) (board *Message, events []stored) {
	b.t.Helper()
	o, id := event.Origin{Prefix: prefix, Region: "US", Watchlist: list}, event.ReadingID(list, revision, 1)
	at := len(b.stored)
	for _, u := range uids {
		c := event.Change{Watchlist: list, Reading: name, Creator: event.Creator{UID: u}}
		b.put(must(o.Change(event.Moved, id, time.Now(), &c)), stored{list: list, kind: event.Moved, uid: u})
	}
	events = slices.Clone(b.stored[at:])
	return b.board(list, revision, name, len(uids)), events
}

func (b *bus) board(list string, revision uint64, name string, events int) *Message {
	b.t.Helper()
	o := event.Origin{Prefix: prefix, Region: "US", Watchlist: list}
	s := event.Snapshot{Watchlist: list, Revision: revision, Reading: name, Counts: event.Counts{Moved: events}}
	b.head(list)
	b.put(must(o.Board(event.ReadingID(list, revision, 1), time.Now(), &s)), stored{list: list, kind: event.Board})
	last := b.stored[len(b.stored)-1]
	return &Message{Subject: last.subject, Sequence: last.sequence, Data: last.data}
}

func TestAReadingIsWhatItsBoardCloses(t *testing.T) {
	t.Parallel()
	for name, mod := range map[string]func(*jetstream.StreamConfig){"as published": func(*jetstream.StreamConfig) {}, "without heads": func(c *jetstream.StreamConfig) { byHand(c); c.AllowDirect = true }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBus(t, mod)
			b.plain = name == "without heads"
			r := b.reader()
			rng := rand.New(rand.NewPCG(1, 2))
			for n := range 60 {
				uids := make([]string, rng.IntN(30))
				for i := range uids {
					uids[i] = "u" + string(rune('a'+i))
				}
				board, want := b.named([]string{"a", "b"}[n%2], uint64(n/2+1), "R"+time.Duration(n).String(), uids...)
				got, err := r.Reading(t.Context(), board)
				if err != nil {
					t.Fatal(err)
				}
				if d := differ(got, want); d != "" {
					t.Fatalf("reading %d: %s", n, d)
				}
			}
		})
	}
}

// Direct reads are answered by any replica, also by one that lags. A mirror answers
// them too, and this one has nothing but the board.
func TestAReadingIsWholeWhereAReplicaLags(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	board, want := b.named("a", 1, "ONE", "u1", "u2", "u3")
	_, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LAGS", AllowDirect: true, MirrorDirect: true,
		Mirror: &jetstream.StreamSource{Name: streamName, OptStartSeq: board.Sequence}})
	if err != nil {
		t.Fatal(err)
	}
	r := b.reader()
	lagged := func() bool {
		m, err := b.js.Stream(t.Context(), streamName)
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.GetMsg(t.Context(), want[0].sequence)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	}
	for !lagged() {
		<-time.After(time.Millisecond)
	}
	for range 50 {
		got, err := r.Reading(t.Context(), board)
		if err != nil {
			t.Fatal(err)
		}
		if d := differ(got, want); d != "" {
			t.Fatal(d)
		}
	}
}

// Parts of it lie apart, with messages of others and of an attempt that was
// given up between them.
func TestAReadingInPartsIsFound(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.named("a", 1, "ONE", "u1", "u2")
	o := event.Origin{Prefix: prefix, Region: "US", Watchlist: "a"}
	var want []stored
	for i := range 3 * chunk {
		name, c := "TWO", event.Change{Watchlist: "a", Creator: event.Creator{UID: "u"}}
		switch i % 7 {
		case 3:
			name = "GIVEN-UP"
		case 5:
			b.status("b", time.Now())
		}
		c.Reading = name
		b.put(must(o.Change(event.Entered, event.ReadingID("a", 2, 1), time.Now(), &c)), stored{})
		if name == "TWO" {
			want = append(want, b.stored[len(b.stored)-1])
		}
	}
	board := b.board("a", 2, "TWO", len(want))
	r := b.reader()
	got, err := r.Reading(t.Context(), board)
	if err != nil {
		t.Fatal(err)
	}
	if d := differ(got, want); d != "" {
		t.Fatal(d)
	}
	s := must(b.js.Stream(t.Context(), streamName))
	if err := s.DeleteMsg(t.Context(), want[1].sequence); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reading(t.Context(), board); !errors.Is(err, ErrNotFound) {
		t.Errorf("of a reading that is not whole: %v", err)
	}
	if _, err := r.Get(t.Context(), want[1].sequence); !errors.Is(err, ErrNotFound) {
		t.Errorf("a message that was deleted: %v", err)
	}
	if m, err := r.Get(t.Context(), board.Sequence); err != nil || string(m.Data) != string(board.Data) {
		t.Errorf("the board at its sequence: %v", err)
	}
}

func TestFromAndRecentFindWhatALookAtAllFinds(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.world(rand.New(rand.NewPCG(3, 4)), 3, 300)
	r := b.reader()
	filters := []string{prefix + ".*.*.board", prefix + ".*.*.status"}
	var want []stored
	for _, s := range b.stored {
		if s.kind == event.Board || s.kind == event.Status {
			want = append(want, s)
		}
	}
	for _, from := range []int{0, 1, len(want) / 2, len(want) - 1} {
		var got []Message
		err := r.From(t.Context(), want[from].sequence, filters, func(m *Message) error {
			got = append(got, *m)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := differ(got, want[from:]); d != "" {
			t.Errorf("from %d: %s", from, d)
		}
	}
	for _, n := range []int{1, 2, 50, len(want), len(want) + 10} {
		got, err := r.Recent(t.Context(), n, filters...)
		if err != nil {
			t.Fatal(err)
		}
		last := want[max(0, len(want)-n):]
		if len(got) != len(last) || got[0] != last[0].sequence || got[len(got)-1] != last[len(last)-1].sequence {
			t.Errorf("the last %d: %v", n, got)
		}
	}
	if err := r.From(t.Context(), 1, filters, func(*Message) error { return errTest }); !errors.Is(err, errTest) {
		t.Errorf("fn's error: %v", err)
	}
}
