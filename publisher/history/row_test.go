package history_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// The short ways must give what decoding the whole message gives, whatever the
// texts hold: keys, quotes and braces too.
func TestHeadAndRowAreThoseOfTheWholeMessage(t *testing.T) {
	t.Parallel()
	word := rapid.OneOf(
		rapid.SampledFrom([]string{"1", "12", `"`, `\`, `}`, `]}}`, `{"uid":"1",`, `"board":[`, `"member":true`, "<&>", "\u2028", "\x7f", "\x1b", "美", "👩‍👧"}),
		rapid.StringN(1, 12, 60))
	rapid.Check(t, func(t *rapid.T) {
		uids := rapid.SliceOfNDistinct(word, 0, 8, rapid.ID).Draw(t, "uids")
		s := &event.Snapshot{
			Watchlist: "w", Revision: 7, Outcome: event.OutcomeChanged, Writer: word.Draw(t, "writer"),
			Period: &event.Period{Type: "month", Value: word.Draw(t, "period")}, Absent: []event.Absent{{UID: word.Draw(t, "absent"), Rank: 3}}, Board: []event.Row{},
		}
		members := 0
		for i, uid := range uids {
			row := event.Row{UID: uid, UniqueID: word.Draw(t, "unique"), Nickname: word.Draw(t, "nickname"), Rank: i + 1, Position: i + 1, Member: rapid.Bool().Draw(t, "member"), Edge: rapid.Bool().Draw(t, "edge")}
			if row.Member {
				members++
			}
			s.Board = append(s.Board, row)
		}
		sent, err := event.Origin{Prefix: "p", Region: "US", Watchlist: "w"}.Board("w/7", time.Unix(0, 0), s)
		if err != nil {
			t.Fatal(err)
		}
		m := &history.Message{Data: sent.Data}
		whole, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		head, err := m.Head()
		if err != nil {
			t.Fatal(err)
		}
		bare := *whole
		bare.Board = nil
		if !reflect.DeepEqual(*head, bare) {
			t.Fatalf("head %+v, want %+v", *head, bare)
		}
		if got := m.Members(); got != members {
			t.Fatalf("%d members, want %d", got, members)
		}
		for _, uid := range append(uids, word.Draw(t, "other"), "1") {
			var want *event.Row
			for i := range whole.Board {
				if whole.Board[i].UID == uid {
					want = &whole.Board[i]
				}
			}
			got, err := m.Row(uid)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("row of %q: %+v, %v, want %+v", uid, got, err, want)
			}
		}
	})
}

func TestABoardOfAnotherVersionIsDecodedWhole(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{"id":"w/7/board","data":{"revision":7,"board":[{"rank":4,"uid":"a"},{"rank":5,"uid":"b"}]}}`,
		`{"id":"w/7/board","data":{"board" : [{"uid":"a","rank":4},{"uid":"b","rank":5}],"revision":7}}`,
	} {
		m := &history.Message{Data: []byte(data)}
		row, err := m.Row("b")
		if err != nil || row == nil || row.Rank != 5 {
			t.Errorf("%s: %+v, %v", data, row, err)
		}
		if head, err := m.Head(); err != nil || head.Revision != 7 {
			t.Errorf("%s: %+v, %v", data, head, err)
		}
	}
}
