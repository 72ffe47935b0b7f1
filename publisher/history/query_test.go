package history

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Whatever is asked for, Each gives what a filter over all messages gives, in
// the same order and to the byte.
func TestEachIsAFilter(t *testing.T) {
	t.Parallel()
	for name, mod := range map[string][]func(*jetstream.StreamConfig){
		"ours": nil, "without direct reads": {noDirect}, "put together by hand": {byHand},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBus(t, mod...)
			b.world(rand.New(rand.NewPCG(1, 2)), 4, 150)
			r := b.reader()
			// History begins in the middle of a reading.
			from := b.stored[len(b.stored)/5].sequence
			if err := must(b.js.Stream(t.Context(), streamName)).Purge(t.Context(), jetstream.WithPurgeSequence(from)); err != nil {
				t.Fatal(err)
			}
			if got, want := must(collect(t.Context(), r, Query{})), b.naive(Query{}, from); differ(got, want) != "" {
				t.Fatalf("everything: %s", differ(got, want))
			}
			rapid.Check(t, func(rt *rapid.T) {
				q := b.drawQuery(rt)
				r := *r
				r.skew = rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(rt, "skew")
				got, err := collect(t.Context(), &r, q)
				if err != nil {
					rt.Fatal(err)
				}
				if d := differ(got, b.naive(q, from)); d != "" {
					rt.Fatal(d)
				}
			})
		})
	}
}

func (b *bus) drawQuery(t *rapid.T) Query {
	some := func(name string, all ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, len(all), rapid.ID[string]).Draw(t, name)
	}
	at := func(name string) time.Time {
		s := rapid.SampledFrom(b.stored).Draw(t, name)
		switch rapid.IntRange(0, 3).Draw(t, name+" is") {
		case 0:
			return s.time
		case 1:
			return s.time.Add(time.Millisecond)
		case 2:
			return s.published
		}
		return time.Time{}
	}
	q := Query{
		Watchlists: some("lists", "w0", "w1", "w2", "w3", "none"), UIDs: some("uids", "u0", "u1", "u9", oddUID),
		Since: at("since"), Until: at("until"),
		FromRevision: rapid.Uint64Range(0, 40).Draw(t, "from"), ToRevision: rapid.Uint64Range(0, 40).Draw(t, "to"),
	}
	for _, k := range some("kinds", "entered", "moved", "dropped", "index", "board", "status") {
		q.Kinds = append(q.Kinds, event.Kind(k))
	}
	// More than the server is given filters for.
	if rapid.IntRange(0, 4).Draw(t, "many") == 0 {
		for i := range maxFilters + 1 {
			if len(q.UIDs) > 0 {
				q.UIDs = append(q.UIDs, "x"+strconv.Itoa(i))
			}
			if len(q.Watchlists) > 0 {
				q.Watchlists = append(q.Watchlists, "x"+strconv.Itoa(i))
			}
		}
	}
	return q
}

func TestEachRefusesWhatNamesNothing(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	r := b.reader()
	for _, q := range []Query{{Watchlists: []string{"*"}}, {Watchlists: []string{""}}, {Watchlists: []string{"a.b"}}, {UIDs: []string{""}}} {
		if got, err := collect(t.Context(), r, q); err == nil {
			t.Errorf("%+v: %d messages and no error", q, len(got))
		}
	}
	if got, err := collect(t.Context(), r, Query{}); err != nil || len(got) != 0 {
		t.Errorf("an empty stream: %d messages, %v", len(got), err)
	}
	if _, err := Open(t.Context(), b.nc, "NONE", prefix); !errors.Is(err, ErrNoStream) {
		t.Errorf("no stream: %v", err)
	}
}

func TestEachEndsWhereTheStreamEndedAtItsStart(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.world(rand.New(rand.NewPCG(3, 4)), 2, 40)
	want := b.naive(Query{}, 0)
	var got []Message
	err := b.reader().Each(t.Context(), Query{}, nil, func(m *Message) error {
		got = append(got, *m)
		b.status("w0", time.Now()) // one more for each that is read
		return nil
	})
	if d := differ(got, want); err != nil || d != "" {
		t.Fatalf("%v %s", err, d)
	}
}

func TestEachPassesOnErrorsAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.world(rand.New(rand.NewPCG(5, 6)), 2, 40)
	n := 0
	err := b.reader().Each(t.Context(), Query{}, nil, func(*Message) error {
		if n++; n == 3 {
			return errTest
		}
		return nil
	})
	if !errors.Is(err, errTest) || n != 3 {
		t.Errorf("after %d messages: %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	err = b.reader().Each(ctx, Query{}, nil, func(*Message) error {
		if n++; n == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || n < 3 {
		t.Errorf("after %d messages: %v", n, err)
	}
	// Nothing is left on the server.
	names := must(b.js.Stream(t.Context(), streamName)).ConsumerNames(t.Context())
	for name := range names.Name() {
		t.Errorf("consumer %s is left", name)
	}
}

// An outage stores late what was made early: until finds it, and still does not
// read on to the end of the stream.
func TestUntilFindsWhatWasStoredLate(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	day := time.Now().Add(-100 * 24 * time.Hour)
	hour := func(h int) time.Time { return day.Add(time.Duration(h) * time.Hour) }
	b.reading(reading{list: "gone", revision: 1, at: hour(0)}) // and never again
	for h := range 100 {
		b.reading(reading{list: "a", revision: uint64(h + 1), at: hour(h), uids: []string{"u1"}})
	}
	for h := range 100 { // a worker whose bus was away all the time
		b.reading(reading{list: "b", revision: uint64(h + 1), at: hour(h), uids: []string{"u1"}})
	}
	for h := 100; h < 1000; h++ {
		b.reading(reading{list: "a", revision: uint64(h + 1), at: hour(h), uids: []string{"u1"}})
		b.reading(reading{list: "b", revision: uint64(h + 1), at: hour(h), uids: []string{"u1"}})
	}
	for _, q := range []Query{{Until: hour(50)}, {Watchlists: []string{"a", "b"}, ToRevision: 51}, {Watchlists: []string{"a", "b"}, Until: hour(50), Kinds: []event.Kind{event.Board}}} {
		r := b.reader()
		r.skew = time.Minute
		var read, least uint64
		var got []Message
		err := r.Each(t.Context(), q, func(n, left uint64) {
			if read = n; read == 60 {
				least = left
			}
		}, func(m *Message) error {
			got = append(got, *m)
			return nil
		})
		if err != nil || differ(got, b.naive(q, 0)) != "" {
			t.Fatalf("%+v: %v %s", q, err, differ(got, b.naive(q, 0)))
		}
		// `gone` keeps the first one open: its last board is not an hour old.
		if len(q.Watchlists) > 0 && read > 320 {
			t.Errorf("%+v: %d messages were read", q, read)
		}
		if least > 1000 {
			t.Errorf("%+v: after 60 messages %d were said to be left", q, least)
		}
	}
}

// A reading sent in parts has events in the stream before its board is there.
func TestUntilKeepsTheEventsOfAnUnfinishedReading(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.reading(reading{list: "a", revision: 1, at: time.Now(), uids: []string{"u1"}})
	o := event.Origin{Prefix: prefix, Region: "US", Watchlist: "a"}
	for i := range 3 {
		at := time.Now()
		m := must(o.Change(event.Moved, "a/2", at, &event.Change{Creator: event.Creator{UID: "u" + strconv.Itoa(i)}}))
		b.put(m, stored{list: "a", kind: event.Moved, time: at.Truncate(time.Millisecond), revision: 2})
	}
	r := b.reader()
	r.skew = time.Hour
	q := Query{Until: time.Now().Add(time.Minute)}
	got, err := collect(t.Context(), r, q)
	if d := differ(got, b.naive(q, 0)); err != nil || d != "" {
		t.Fatalf("%v %s", err, d)
	}
}

func TestChainsEndAtTheirLastMessage(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.world(rand.New(rand.NewPCG(7, 8)), 4, 150)
	want := map[event.Chain]stored{}
	for _, s := range b.stored {
		if s.kind == event.Board || s.kind == event.Status {
			want[event.Chain{Watchlist: s.list, Kind: s.kind}] = s
		}
	}
	got, err := b.reader().Chains(t.Context())
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d chains, want %d: %v", len(got), len(want), err)
	}
	var before uint64
	for _, c := range got {
		if w := want[c.Chain]; c.Sequence != w.sequence || c.Region != w.region || c.Sequence <= before || c.Stored.IsZero() {
			t.Errorf("%+v, want %s at %d", c, w.subject, w.sequence)
		}
		before = c.Sequence
	}
	if got, err := b.reader().Chains(t.Context(), "w1"); err != nil || len(got) != 2 {
		t.Errorf("of w1: %+v, %v", got, err)
	}
}

func TestTheEnvelopeIsReadWithoutDecoding(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		uid := rapid.StringN(1, 40, event.MaxUID).Draw(t, "uid")
		lineage := rapid.IntRange(1, 3).Draw(t, "lineage")
		at := time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "at"))
		o := event.Origin{Prefix: prefix, Region: "US", Watchlist: "w"}
		m := Message{Data: must(o.Change(event.Moved, event.ReadingID("w", 42, lineage), at, &event.Change{Creator: event.Creator{UID: uid}})).Data}
		want := must(event.Decode[event.Change](m.Data))
		if m.ID() != want.ID || event.Time(m.Time()) != want.Time {
			t.Fatalf("id %q at %s, want %q at %s", m.ID(), m.Time(), want.ID, want.Time)
		}
		if n, l, ok := event.ParseReadingID(m.ID()); n != 42 || l != lineage || !ok {
			t.Fatalf("revision %d, lineage %d, %v", n, l, ok)
		}
	})
	for _, data := range []string{``, `{}`, `{"id":"`, `{"id":"a\`, `{"time":"yesterday"}`} {
		m := Message{Data: []byte(data)}
		if _, ok := m.Revision(); m.ID() != "" || !m.Time().IsZero() || ok {
			t.Errorf("%q: id %q, time %s", data, m.ID(), m.Time())
		}
	}
	if _, ok := (&Message{Data: must(event.Origin{Prefix: prefix, Watchlist: "w"}.Status(time.Now(), &event.Condition{Status: "stale", Since: "1"})).Data}).Revision(); ok {
		t.Error("a status has a revision")
	}
}
