// Package fastmoss is the client of FastMoss' ranking API.
//
// It spends a call only when the token's pace allows it, and every answer it
// returns is one that the source really gave: what is garbled, cut short or
// about something else is an error, never an empty page.
package fastmoss

import (
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Limits of the source: pages hold 1 to MaxPageSize entries, and page times
// page size stays within MaxDepth.
const (
	MaxPageSize = 100
	MaxDepth    = 1000
)

// Opt is a value that may be missing.
type Opt[T any] struct {
	Value T
	Valid bool
}

// Some returns a value that is not missing.
func Some[T any](v T) Opt[T] { return Opt[T]{Value: v, Valid: true} }

// A Range is inclusive; a missing end is open.
type Range struct {
	Min, Max Opt[int64]
}

// A Filter selects creators. Its zero value selects all. Filters are equal if
// they ask for the same.
type Filter struct {
	Region              string
	CreatorCategoryID   Opt[int64]
	ProductCategoryL1ID Opt[int64]
	ProductCategoryL2ID Opt[int64]
	ProductCategoryL3ID Opt[int64]
	EcommerceType       Opt[int64]
	FollowerCountRange  Range
	FollowerAgeType     Opt[int64]
	FollowerGenderType  Opt[int64]
}

// A Query asks for one list. A zero Period sends no date_info.
type Query struct {
	Filter Filter
	Period event.Period
}

// An Item is one entry of a list, in the source's order. UID and
// PotentialIndex are always there.
type Item struct {
	UID             string
	PotentialIndex  int64
	UniqueID        string
	Nickname        string
	Avatar          string
	Region          string
	Category        Opt[event.Category]
	FollowerCount   Opt[int64]
	USDGMV          Opt[float64]
	UnitsSold       Opt[int64]
	VideoUnitsSold  Opt[int64]
	LiveUnitsSold   Opt[int64]
	AvgPlayCount    Opt[int64]
	VideoCount      Opt[int64]
	EcommerceType   Opt[int64]
	SalesCategoryL3 []event.Category
}

// A Page is one successful answer. Rows is the number of entries the source
// listed; Items leaves out the Skipped ones, whose uid was empty or longer than
// event.MaxUID. Slots holds, for each item, its index among the rows. Period is
// what the source says the answer is about, zero if it does not say.
type Page struct {
	Items   []Item
	Slots   []int
	Rows    int
	Skipped int
	Total   int
	Period  event.Period
	At      time.Time
}
