package event_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
)

var at = time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC)

func TestUIDsAreOneToken(t *testing.T) {
	t.Parallel()
	for uid, want := range map[string]string{
		"6787580688797713413": "6787580688797713413",
		"golang/go":           "golang/go",
		"a.b*c>d%e":           "a%2Eb%2Ac%3Ed%25e",
		"a b\tc\x7f":          "a%20b%09c%7F",
		"名前":                  "名前",
	} {
		if got := event.EscapeUID(uid); got != want {
			t.Errorf("%q: got %q, want %q", uid, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		uid := rapid.String().Draw(t, "uid")
		token := event.EscapeUID(uid)
		if strings.ContainsAny(token, " .*>\t\r\n\x00") {
			t.Fatalf("%q is not a token", token)
		}
		if back, err := event.UnescapeUID(token); err != nil || back != uid {
			t.Fatalf("%q came back as %q (%v)", uid, back, err)
		}
	})
	for _, bad := range []string{"%", "%2", "%zz"} {
		if _, err := event.UnescapeUID(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	s := event.Subject{Prefix: "acme.rank", Region: "US", Watchlist: "us-beauty", Kind: event.Moved, UID: "a.b"}
	if got := s.String(); got != "acme.rank.US.us-beauty.moved.a%2Eb" {
		t.Error(got)
	}
	if back, err := event.ParseSubject("acme.rank", s.String()); err != nil || back != s {
		t.Errorf("%+v %v", back, err)
	}
	for _, bad := range []string{"other.US.x.board", "acme.rank.US", "acme.rank.US.x.moved.%"} {
		if _, err := event.ParseSubject("acme.rank", bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	for want, s := range map[string]event.Subject{
		"r.>":                 {Prefix: "r"},
		"r.US.>":              {Prefix: "r", Region: "US"},
		"r.*.us-beauty.>":     {Prefix: "r", Watchlist: "us-beauty"},
		"r.*.*.entered.*":     {Prefix: "r", Kind: event.Entered},
		"r.*.*.*.67":          {Prefix: "r", UID: "67"},
		"r.*.us-beauty.board": {Prefix: "r", Watchlist: "us-beauty", Kind: event.Board},
	} {
		if got := event.Filter(s); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	if a, b := event.ReadingID("us", 42, 1), event.ReadingID("us", 42, 2); a != "us/42" || b != "us/42~2" {
		t.Error(a, b)
	}
}

func TestRevisionAndLineageAreReadFromAnID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string][2]int{"w/42/board": {42, 1}, "w/42~2/moved/a%2Fb": {42, 2}, "w/7~13/board": {7, 13}} {
		if r, l, ok := event.ParseReadingID(id); !ok || r != uint64(want[0]) || l != want[1] {
			t.Errorf("%q: got %d, %d, %v", id, r, l, ok)
		}
	}
	for _, id := range []string{"", "w", "w/42", "w/status/stale/2026-04-14T17:07:52.000Z", "w/42~x/board"} {
		if r, _, ok := event.ParseReadingID(id); ok {
			t.Errorf("%q: got %d", id, r)
		}
	}
}

func TestNicknamesAreCutOnAGrapheme(t *testing.T) {
	t.Parallel()
	family := "👨‍👩‍👧‍👦" // 25 bytes, one grapheme
	if got := event.CutNickname(strings.Repeat(family, 3)); got != strings.Repeat(family, 2) {
		t.Errorf("%q", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "nickname")
		got := event.CutNickname(s)
		if len(got) > event.MaxNickname || !strings.HasPrefix(s, got) || len(s) <= event.MaxNickname && got != s {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

// plain encodes v as the contract means it.
func plain(t *rapid.T, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func TestBoardsAreWhatEncodingJSONWrites(t *testing.T) {
	t.Parallel()
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us"}
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\u2028", "a\"b\\c", "<&>", "\x7f", "\xff\xfe", "‘’", "名"}))
	rapid.Check(t, func(t *rapid.T) {
		s := &event.Snapshot{Watchlist: "us", Revision: 3, Board: []event.Row{}}
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			s.Board = append(s.Board, event.Row{
				UID: text.Draw(t, "uid"), UniqueID: text.Draw(t, "unique_id"), Nickname: text.Draw(t, "nickname"),
				Rank: rapid.Int().Draw(t, "rank"), Position: 2, PotentialIndex: rapid.Int64().Draw(t, "index"),
				Member: rapid.Bool().Draw(t, "member"), Edge: rapid.Bool().Draw(t, "edge"),
			})
		}
		m, err := o.Board("us/3", at, s)
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode[json.RawMessage](m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if want := plain(t, s); !bytes.Equal(e.Data, want) || !utf8.Valid(m.Data) {
			t.Fatalf("got  %s\nwant %s", e.Data, want)
		}
		if e.ID != "us/3/board" || e.Type != "rankwatch.board" || m.Role != event.Fence || m.Subject != "rankwatch.US.us.board" {
			t.Fatalf("%+v", e)
		}
	})
}

func TestChangeKeepsAllKeys(t *testing.T) {
	t.Parallel()
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us-beauty"}
	m, err := o.Change(event.Dropped, "us-beauty/42", at, &event.Change{Creator: event.Creator{UID: "a.b"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"specversion":"1.0","id":"us-beauty/42/dropped/a%2Eb","source":"/rankwatch/us-beauty","type":"rankwatch.dropped",` +
		`"subject":"a.b","time":"2026-04-14T17:07:52.000Z","datacontenttype":"application/json","dataschema":"rankwatch/v1/dropped",` +
		`"data":{"watchlist":"","region":"","revision":0,"reading":"","n":0,"of":0,"period":null,"previous_period":null,` +
		`"creator":{"uid":"a.b","unique_id":null,"nickname":null,"avatar":null,"region":null,"category":null,"follower_count":null,"url":""},` +
		`"metrics":{"usd_gmv":null,"units_sold":null,"video_units_sold":null,"live_units_sold":null,"avg_play_count":null,"video_count":null,` +
		`"ecommerce_type":null,"sales_category_l3":null},"before":null,"after":null,"places":null,"index_change":null,"cause":null,` +
		`"history":{"first_seen":"","peak_rank":0,"revisions_on_board":0,"reentry":false},"edge":false}}`
	if string(m.Data) != want {
		t.Errorf("got  %s\nwant %s", m.Data, want)
	}
}

func TestHeadsSurviveFraming(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := event.Tracked{
			Record: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "record"),
			Board:  rapid.SliceOf(rapid.Byte()).Draw(t, "board"),
		}
		data := event.PackTracked(in)
		out, err := event.UnpackTracked(data)
		if err != nil || !bytes.Equal(in.Record, out.Record) || !bytes.Equal(in.Board, out.Board) {
			t.Fatalf("%v %v", out, err)
		}
		if cut := len(data) - len(in.Board) - 1; len(in.Record) > 0 {
			if _, err := event.UnpackTracked(data[:cut]); err == nil {
				t.Fatal("a torn head was read")
			}
		}
	})
}

func BenchmarkBoard(b *testing.B) {
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us"}
	s := &event.Snapshot{}
	for i := range 1000 {
		s.Board = append(s.Board, event.Row{UID: "6787580688797713413", UniqueID: "itzesantana11", Nickname: "itz ✨", Rank: i, Position: i, Member: true})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Board("us/3", at, s); err != nil {
			b.Fatal(err)
		}
	}
}
