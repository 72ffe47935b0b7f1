package watcher

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

func genRow(t *rapid.T) diff.Row {
	small := rapid.Int32Range(0, 2000)
	r := diff.Row{
		UID: rapid.String().Draw(t, "uid"), Index: rapid.Int64().Draw(t, "index"),
		Rank: small.Draw(t, "rank"), Position: small.Draw(t, "position"),
		Listed: rapid.Bool().Draw(t, "listed"), Edge: rapid.Bool().Draw(t, "edge"),
		Unseen: small.Draw(t, "unseen"), Misses: small.Draw(t, "misses"), Member: rapid.Bool().Draw(t, "member"),
	}
	if r.Member {
		r.CauseKnown = rapid.Bool().Draw(t, "known")
		r.Cause = diff.Cause{Passed: small.Draw(t, "p"), PassedBy: small.Draw(t, "b"), EnteredAbove: small.Draw(t, "e"), DroppedAbove: small.Draw(t, "d")}
		r.Reported = diff.Place{Rank: small.Draw(t, "rr"), Position: small.Draw(t, "rp"), Index: rapid.Int64().Draw(t, "ri")}
		r.Peak, r.Since, r.FirstSeen = small.Draw(t, "peak"), rapid.Uint64().Draw(t, "since"), rapid.Int64().Draw(t, "first")
	}
	return r
}

func genOpt(t *rapid.T, name string) fastmoss.Opt[int64] {
	if !rapid.Bool().Draw(t, "has "+name) {
		return fastmoss.Opt[int64]{}
	}
	return fastmoss.Some(rapid.Int64().Draw(t, name))
}

func genItem(t *rapid.T, r *diff.Row) fastmoss.Item {
	it := fastmoss.Item{
		UID: r.UID, PotentialIndex: r.Index,
		UniqueID: rapid.String().Draw(t, "unique_id"), Nickname: rapid.String().Draw(t, "nickname"),
		Avatar: rapid.String().Draw(t, "avatar"), Region: rapid.String().Draw(t, "region"),
		FollowerCount: genOpt(t, "followers"), UnitsSold: genOpt(t, "units"), VideoUnitsSold: genOpt(t, "video"),
		LiveUnitsSold: genOpt(t, "live"), AvgPlayCount: genOpt(t, "plays"), VideoCount: genOpt(t, "videos"),
		EcommerceType: genOpt(t, "type"),
	}
	if rapid.Bool().Draw(t, "gmv") {
		it.USDGMV = fastmoss.Some(rapid.Float64().Draw(t, "usd_gmv"))
	}
	if rapid.Bool().Draw(t, "category") {
		it.Category = fastmoss.Some(event.Category{ID: 4, Name: rapid.String().Draw(t, "name")})
	}
	if n := rapid.IntRange(-1, 3).Draw(t, "sales"); n >= 0 {
		it.SalesCategoryL3 = make([]event.Category, n)
		for i := range n {
			it.SalesCategoryL3[i] = event.Category{ID: rapid.Int64().Draw(t, "id"), Name: "n"}
		}
	}
	return it
}

func TestBoardsSurviveStorage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var b diff.Board
		var items []fastmoss.Item
		for range rapid.IntRange(0, 8).Draw(t, "rows") {
			r := genRow(t)
			b.Rows = append(b.Rows, r)
			items = append(items, genItem(t, &r))
		}
		for range rapid.IntRange(0, 2).Draw(t, "holes") {
			b.Holes = append(b.Holes, diff.Hole{Index: rapid.Int64().Draw(t, "hole"), Position: 3})
		}
		data := encodeBoard(&b, func(buf []byte, i int) []byte { return encodeProfile(buf, &items[i]) })
		got, err := decodeBoard(data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Holes, b.Holes) || len(got.Rows) != len(b.Rows) {
			t.Fatalf("got %+v, want %+v", got.Board, b)
		}
		for i := range b.Rows {
			if got.Rows[i] != b.Rows[i] {
				t.Fatalf("row %d: got %+v, want %+v", i, got.Rows[i], b.Rows[i])
			}
			it, err := got.profiles[i].item(&got.Rows[i])
			if err != nil || !reflect.DeepEqual(it, items[i]) {
				t.Fatalf("item %d: got %+v, want %+v (%v)", i, it, items[i], err)
			}
		}
	})
}

func FuzzDecodeBoard(f *testing.F) {
	b := diff.Board{Rows: []diff.Row{{UID: "a", Member: true}}, Holes: []diff.Hole{{Index: 1, Position: 2}}}
	f.Add(encodeBoard(&b, func(buf []byte, _ int) []byte { return encodeProfile(buf, &fastmoss.Item{UID: "a"}) }))
	f.Add([]byte{boardVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeBoard(data)
		if err != nil {
			return
		}
		for i := range got.Rows {
			// Either is fine; it must end.
			_, _ = got.profiles[i].item(&got.Rows[i])
		}
	})
}
