package history

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// rows reads all rows, their texts decoded.
func rows(m *Message) ([]event.Row, error) {
	out := []event.Row{}
	return out, m.EachRow(func(r *RawRow) error {
		row := event.Row{Rank: r.Rank, Position: r.Position, PotentialIndex: r.PotentialIndex, Member: r.Member, Edge: r.Edge}
		for _, f := range []struct {
			raw []byte
			to  *string
		}{{r.UID, &row.UID}, {r.UniqueID, &row.UniqueID}, {r.Nickname, &row.Nickname}} {
			if err := json.Unmarshal(f.raw, f.to); err != nil {
				return err
			}
		}
		out = append(out, row)
		return nil
	})
}

func TestEachRowGivesWhatSnapshotGives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`"board":[`, `}`, `\`, `,"uid":"x"`, "\u2028", "]}}"}))
		s := event.Snapshot{Watchlist: "w", Board: []event.Row{}}
		for range rapid.IntRange(0, 12).Draw(t, "rows") {
			s.Board = append(s.Board, event.Row{
				UID: words.Draw(t, "uid"), UniqueID: words.Draw(t, "unique_id"), Nickname: words.Draw(t, "nickname"),
				Rank: rapid.Int().Draw(t, "rank"), Position: rapid.Int().Draw(t, "position"), PotentialIndex: rapid.Int64().Draw(t, "index"),
				Member: rapid.Bool().Draw(t, "member"), Edge: rapid.Bool().Draw(t, "edge"),
			})
		}
		o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "w"}
		m := Message{Data: must(o.Board("w/1", time.Unix(0, 0), &s)).Data}
		want := must(m.Snapshot()).Board
		got, err := rows(&m)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d rows, want %d: %v", len(got), len(want), err)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("row %d is %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}

func TestEachRowReadsLaterVersions(t *testing.T) {
	t.Parallel()
	m := Message{Data: []byte(`{"data":{"board":[ { "later" : {"uid":"no"}, "rank":3 , "uid": "a" ,"list":[1,2]} ,{"uid":"b"}]}}`)}
	got, err := rows(&m)
	if err == nil || !strings.Contains(err.Error(), "unexpected end") {
		t.Fatalf("%v: rows without names: %v", got, err)
	}
	var uids []string
	if err := m.EachRow(func(r *RawRow) error { uids = append(uids, string(r.UID)); return nil }); err != nil || strings.Join(uids, "") != `"a""b"` {
		t.Errorf("%v: %v", uids, err)
	}
}

func TestEachRowRefusesWhatIsTornOrNoBoard(t *testing.T) {
	t.Parallel()
	for _, data := range []string{``, `{"data":{}}`, `{"data":{"board":[{"uid":"a"`, `{"data":{"board":[{"uid":"a"}`, `{"data":{"board":[{"rank":"a"}]}}`, `{"data":{"board":[{"rank":1.5}]}}`} {
		if err := (&Message{Data: []byte(data)}).EachRow(func(*RawRow) error { return nil }); err == nil {
			t.Errorf("%s: no error", data)
		}
	}
}
