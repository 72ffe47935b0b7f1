package e2e

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// An item is one row of a list. Its details are made up, the same for the same
// uid and generation.
type item struct {
	UID   string
	Index int64
	details
}

// details are a row's fields that decide nothing. Nil is served as null.
type details struct {
	UniqueID, Nickname, Avatar, Region *string
	Category                           *category
	Followers                          *int64
	GMV                                *float64
	Units, VideoUnits, LiveUnits       *int64
	AvgPlay, Videos, Ecommerce         *int64
	Sales                              []category
}

type category struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// nicknames are cut on the board at 64 bytes, on a grapheme.
var nicknames = []struct{ full, cut string }{
	{"plain", "plain"},
	{`quo"te \ <b>&amp;</b>`, `quo"te \ <b>&amp;</b>`},
	{"שלום עולם", "שלום עולם"},
	{"美妆达人", "美妆达人"},
	{strings.Repeat("x", 80), strings.Repeat("x", 64)},
	// A family is one grapheme of 25 bytes: two fit.
	{strings.Repeat("👨‍👩‍👧‍👦", 3), strings.Repeat("👨‍👩‍👧‍👦", 2)},
	// e and a combining accent are one grapheme of 3 bytes: 21 fit.
	{strings.Repeat("e\u0301", 30), strings.Repeat("e\u0301", 21)},
	{"", ""},
}

func hash(parts ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprintln(h, parts...)
	return h.Sum64()
}

func ptr[T any](v T) *T { return &v }

// made returns the item of uid in a generation. Who it is stays, its figures
// change with every generation.
func made(uid string, index int64, generation int, region string) item {
	who := rand.New(rand.NewPCG(hash(uid), 1))
	now := rand.New(rand.NewPCG(hash(uid), uint64(generation)+2))
	d := details{
		UniqueID: ptr("u" + fmt.Sprint(hash(uid)%1e6)),
		Nickname: ptr(nicknames[who.IntN(len(nicknames))].full),
		Avatar:   ptr("https://img.example/" + fmt.Sprint(hash(uid)) + ".png"),
		Region:   ptr(region),
		Category: &category{ID: int64(1 + who.IntN(30)), Name: "Beauty & <Care>"},

		Followers: ptr(int64(now.IntN(9_000_000))), GMV: ptr(float64(now.IntN(1e8)) / 100),
		Units: ptr(int64(now.IntN(1e5))), VideoUnits: ptr(int64(now.IntN(1e5))), LiveUnits: ptr(int64(now.IntN(1e5))),
		AvgPlay: ptr(int64(now.IntN(1e6))), Videos: ptr(int64(now.IntN(1000))), Ecommerce: ptr(int64(1 + now.IntN(3))),
		Sales: []category{{ID: 601554, Name: "Concealer & Foundation"}, {ID: int64(now.IntN(1e6)), Name: "口红"}},
	}
	switch who.IntN(12) {
	case 0:
		d.Category, d.Avatar = nil, nil
	case 1:
		d.Nickname, d.Followers = nil, nil
	case 2:
		d.GMV, d.AvgPlay, d.Sales = nil, nil, nil
	case 3:
		d.Units, d.LiveUnits, d.Ecommerce = nil, nil, nil
	}
	return item{UID: uid, Index: index, details: d}
}

// cutNickname is what a board shows of the item's nickname.
func (it item) cutNickname() string {
	if it.Nickname == nil {
		return ""
	}
	for _, n := range nicknames {
		if n.full == *it.Nickname {
			return n.cut
		}
	}
	return "not one of ours"
}

// number says whether the source writes the uid as a JSON number.
func (it item) number() bool {
	if it.UID == "" || it.UID[0] == '0' || hash(it.UID)%2 == 0 {
		return false
	}
	return strings.Trim(it.UID, "0123456789") == ""
}

// row is the item as the API writes it.
func (it item) row() map[string]any {
	var uid any = it.UID
	if it.number() {
		uid = json.Number(it.UID)
	}
	return map[string]any{
		"creator": map[string]any{
			"uid": uid, "unique_id": it.UniqueID, "nickname": it.Nickname, "avatar": it.Avatar, "region": it.Region,
			"category": it.Category, "follower_count": it.Followers, "video_count": 879,
			"follower_genders": []any{map[string]any{"key": "female", "value": "0.6319"}}, "follower_ages": nil,
		},
		"uid": uid, "video_count": it.Videos, "ecommerce_type": it.Ecommerce, "potential_index": it.Index,
		"gmv": 1.5, "usd_gmv": it.GMV, "units_sold": it.Units, "avg_play_count": it.AvgPlay,
		"live_units_sold": it.LiveUnits, "video_units_sold": it.VideoUnits, "sales_category_l3": it.Sales,
	}
}
