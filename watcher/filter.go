package watcher

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/strictyaml"
)

// Regions lists the region codes that the source knows.
func Regions() []string {
	return []string{"US", "GB", "MX", "ES", "DE", "IT", "FR", "ID", "VN", "MY", "TH", "PH", "BR", "JP", "SG"}
}

func filterKeys() []string {
	return []string{
		"region", "creator_category_id", "product_category_l1_id", "product_category_l2_id", "product_category_l3_id",
		"ecommerce_type", "follower_count_range", "follower_age_type", "follower_gender_type",
	}
}

func rangeKeys() []string { return []string{"min", "max"} }

// filter reads what a watchlist says of its filter.
func (o fields) filter() fastmoss.Filter {
	var f fastmoss.Filter
	o, ok := o.sub("filter", filterKeys())
	if !ok {
		return f
	}
	f.Region = o.region()
	for _, n := range []struct {
		key    string
		lo, hi int64
		to     *fastmoss.Opt[int64]
	}{
		{"creator_category_id", 1, math.MaxInt64, &f.CreatorCategoryID},
		{"product_category_l1_id", 1, math.MaxInt64, &f.ProductCategoryL1ID},
		{"product_category_l2_id", 1, math.MaxInt64, &f.ProductCategoryL2ID},
		{"product_category_l3_id", 1, math.MaxInt64, &f.ProductCategoryL3ID},
		{"ecommerce_type", 1, 2, &f.EcommerceType},
		{"follower_age_type", 1, 3, &f.FollowerAgeType},
		{"follower_gender_type", 0, 1, &f.FollowerGenderType},
	} {
		if v, ok := o.Integer(n.key, n.lo, n.hi); ok {
			*n.to = fastmoss.Some(v)
		}
	}
	f.FollowerCountRange = o.followers()
	return f
}

func (o fields) region() string {
	s, v, ok := o.Text("region", "US")
	if !ok || slices.Contains(Regions(), s) {
		return s
	}
	v.Add("%s is not a region that the source knows; use one of %s%s",
		strictyaml.Quoted(s), strings.Join(Regions(), " "), regionMeant(s))
	return ""
}

// regionMeant does not guess between codes of two letters that differ in one:
// they are all alike, and the wrong market would be read.
func regionMeant(s string) string {
	up := strings.ToUpper(strings.TrimSpace(s))
	switch up {
	case "ALL", "*", "":
		return "; to watch all of them, leave region out"
	case "UK":
		return `; did you mean "GB"?`
	}
	if len(up) != 2 {
		if len(up) > 4 {
			return ""
		}
		return strictyaml.DidYouMean(up, Regions())
	}
	for _, r := range Regions() {
		if up == r || up[1:]+up[:1] == r {
			return "; did you mean " + strconv.Quote(r) + "?"
		}
	}
	return ""
}

func (o fields) followers() fastmoss.Range {
	var r fastmoss.Range
	const key = "follower_count_range"
	v, ok := o.Get(key)
	if !ok {
		return r
	}
	o, ok = o.sub(key, rangeKeys())
	if !ok {
		return r
	}
	if lo, ok := o.Integer("min", 0, math.MaxInt64); ok {
		r.Min = fastmoss.Some(lo)
	}
	if hi, ok := o.Integer("max", 0, math.MaxInt64); ok {
		r.Max = fastmoss.Some(hi)
	}
	switch {
	case o.Has("min") < 0 && o.Has("max") < 0:
		v.Add("the range is empty; write {min: 500000, max: 1000000}, or one end of it, or remove the key")
	case r.Min.Valid && r.Max.Valid && r.Min.Value > r.Max.Value:
		v.Add("min %d is above max %d; swap them", r.Min.Value, r.Max.Value)
	}
	return r
}

// filterText writes a filter by the source's own names, in a fixed order. Equal
// filters have equal texts, in every version of rankwatch: fingerprints and the
// phases of schedules are made of them.
func filterText(f fastmoss.Filter) string {
	var b strings.Builder
	if f.Region != "" {
		b.WriteString(" region=" + f.Region)
	}
	opt := func(key string, v fastmoss.Opt[int64]) {
		if v.Valid {
			fmt.Fprintf(&b, " %s=%d", key, v.Value)
		}
	}
	opt("creator_category_id", f.CreatorCategoryID)
	opt("product_category_l1_id", f.ProductCategoryL1ID)
	opt("product_category_l2_id", f.ProductCategoryL2ID)
	opt("product_category_l3_id", f.ProductCategoryL3ID)
	opt("ecommerce_type", f.EcommerceType)
	opt("follower_count_min", f.FollowerCountRange.Min)
	opt("follower_count_max", f.FollowerCountRange.Max)
	opt("follower_age_type", f.FollowerAgeType)
	opt("follower_gender_type", f.FollowerGenderType)
	if b.Len() == 0 {
		return "all"
	}
	return b.String()[1:]
}
