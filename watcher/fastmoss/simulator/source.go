package simulator

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// MaxDepth is how far a list can be read: page times page size stays within it.
const MaxDepth = 1000

// MaxPageSize is the largest page.
const MaxPageSize = 100

// A Source knows the lists. List returns false for a period that is not
// published. It may be called from many goroutines at once; nobody changes the
// rows that it returned.
type Source interface {
	List(q Query, now time.Time) (List, bool)
}

// A Query is what a call asked for, without its page. A zero Period asks for
// the newest published one.
type Query struct {
	Filter Filter
	Period Period
}

// An Int is an integer that may be missing.
type Int struct {
	Value int64
	Set   bool
}

// A Filter holds the known filters of a call. Its zero value selects all.
type Filter struct {
	Region             string
	CreatorCategory    Int
	ProductCategoryL1  Int
	ProductCategoryL2  Int
	ProductCategoryL3  Int
	EcommerceType      Int // 1 video, 2 live
	FollowersMin       Int // inclusive
	FollowersMax       Int // inclusive
	FollowerAgeType    Int // 1 to 3
	FollowerGenderType Int // 0 female, 1 male
}

// A List is one whole board in its order. Total is what the answer says of its
// length, 0 means as many as there are Rows; a list that is longer than MaxDepth
// needs no rows past it. Period is what the answer says it is about, zero means
// what was asked.
type List struct {
	Rows   []Row
	Total  int
	Period Period
}

func (l List) total() int {
	if l.Total == 0 {
		return len(l.Rows)
	}
	return l.Total
}

// A Category is one node of a category tree.
type Category struct {
	ID   int64
	Name string
}

// A Share is the part of a creator's followers that a group makes up, 0 to 1.
type Share struct {
	Key   string
	Value float64
}

// A Row is one entry of a list. A nil Category is written as null. Raw, if set,
// is written instead of everything else; what it holds may be as dirty as a test
// likes.
type Row struct {
	UID            string
	Index          int64 // potential_index
	UniqueID       string
	Nickname       string
	Avatar         string
	Region         string
	Category       *Category
	Followers      int64
	LifetimeVideos int64 // the creator's video_count
	Genders, Ages  []Share
	Videos         int64 // the period's video_count
	EcommerceType  int64 // 1 video, 2 live, 3 both
	GMV            float64
	USDGMV         float64
	Units          int64
	AvgPlays       int64
	LiveUnits      int64
	VideoUnits     int64
	Products       int64
	Sales          []Category // sales_category_l3
	Raw            json.RawMessage
}

// Entry returns a row with that uid and index and plausible, unchanging details.
func Entry(uid string, index int64) Row {
	h := mix(hashString(uid))
	units := 100 + index*10
	return Row{
		UID: uid, Index: index,
		UniqueID: "user_" + uid, Nickname: "Creator " + uid,
		Avatar:    "https://p16.example.com/avatar/" + strconv.FormatUint(h, 36) + ".webp",
		Category:  &Category{4, "Beauty"},
		Followers: int64(10_000 + h%900_000), LifetimeVideos: 800, Videos: 30, EcommerceType: 3,
		Genders: []Share{{"female", 0.6319}, {"male", 0.3681}}, Ages: []Share{{"35-44", 0.3406}},
		GMV: float64(units) * 20, USDGMV: float64(units) * 20,
		Units: units, LiveUnits: units / 4, VideoUnits: units - units/4, AvgPlays: 77_007, Products: 12,
		Sales: []Category{{601554, "Concealer & Foundation"}},
	}
}

// regions are the markets that the API knows.
func regions() []string {
	return []string{"US", "GB", "MX", "ES", "DE", "IT", "FR", "ID", "VN", "MY", "TH", "PH", "BR", "JP", "SG"}
}

func knownRegion(r string) bool { return slices.Contains(regions(), r) }
