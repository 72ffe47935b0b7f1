package state

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
)

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.Custom(func(t *rapid.T) event.Message {
			return event.Message{
				Subject: rapid.String().Draw(t, "subject"), Role: event.Role(rapid.IntRange(0, 255).Draw(t, "role")),
				Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
			}
		})
		ms := rapid.SliceOfN(message, 0, 200).Draw(t, "messages")
		b := appendMessages(nil, ms)
		got, err := parseMessages(b)
		if err != nil || !reflect.DeepEqual(got, ms) {
			t.Fatalf("got %v, %v; want %v", got, err, ms)
		}
		n := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := parseMessages(b[:n]); err == nil {
			t.Fatalf("took %d of %d bytes", n, len(b))
		}
	})
}

func TestTimesComeBackAsTheyWere(t *testing.T) {
	for _, w := range []time.Time{{}, noon, noon.Add(123456789), time.Unix(-1, 999), time.Unix(1<<40, 0)} {
		r := reader{b: appendTime(nil, w)}
		got := r.time()
		if err := r.done(); err != nil || !got.Equal(w) || got.IsZero() != w.IsZero() {
			t.Errorf("got %v, %v; want %v", got, err, w)
		}
	}
}

func TestValueOfAnotherKeyIsNotTaken(t *testing.T) {
	tx := &txn{}
	v := tx.sealed(bucketLists, []byte("a"), func(b []byte) []byte { return append(b, "body"...) })
	body, err := unseal(bucketLists, []byte("a"), v)
	ok(t, err)
	want(t, "body", string(body), "body")
	for _, other := range [][2]string{{bucketLists, "b"}, {bucketBoards, "a"}, {"list", "s\x00a"}} {
		_, err = unseal(other[0], []byte(other[1]), v)
		wantErr(t, err, ErrDamaged)
	}
	for i := range v {
		b := bytes.Clone(v)
		b[i] ^= 1
		_, err = unseal(bucketLists, []byte("a"), b)
		wantErr(t, err, ErrDamaged)
	}
	_, err = unseal(bucketLists, []byte("a"), v[:3])
	wantErr(t, err, ErrDamaged)
}

// What passes its checksum may still be nonsense, from another version say.
func FuzzParse(f *testing.F) {
	f.Add(appendMessages(nil, batch(boards, 1, 100).Messages))
	f.Add(list{version: 3, has: hasRecord, record: []byte("r")}.append(nil))
	f.Add(chain{last: 3, acked: Ack{Chain: boards, Revision: 1}}.append(nil))
	f.Add(Info{Order: 1, Chain: boards, Revision: 7, At: noon}.append(nil))
	f.Add(Departure{UID: "u", At: noon, PeakRank: 9}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ms, err := parseMessages(b); err == nil && len(appendMessages(nil, ms)) > len(b) {
			t.Errorf("%q has messages of more than its size", b)
		}
		if l, err := parseList(b); err == nil && l.version == 0 {
			t.Error("version 0")
		}
		if i, err := parseInfo(1, b); err == nil && checkChain(i.Chain) != nil && len(i.Chain.Watchlist) <= maxName && !bytes.Contains(b, []byte{0}) {
			t.Errorf("%q is of no chain: %v", b, i.Chain)
		}
		// These must only not panic: any bytes of the right length are one.
		_, _ = parseChain(boards, b)
		_, _ = parseDeparture("u", b)
	})
}
