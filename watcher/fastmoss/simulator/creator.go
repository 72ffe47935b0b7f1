package simulator

import (
	"math"
	"strconv"
	"strings"
)

// A cellKind is a creator category, how many of a region's creators are in it,
// and how many of them change in a step of a large region.
type cellKind struct {
	category Category // id 0: the source does not say
	share    float64
	pace     float64
	home     int64 // the first-level product category they sell most of
}

func cellKinds() []cellKind {
	return []cellKind{
		{Category{4, "Beauty"}, 0.30, 7, 14},
		{Category{2, "Fashion"}, 0.22, 4, 2},
		{Category{7, "Food & Drink"}, 0.14, 1.5, 24},
		{Category{9, "Home & Living"}, 0.12, 1, 10},
		{Category{11, "Sports & Outdoor"}, 0.09, 0.8, 9},
		{Category{15, "Tech & Gadgets"}, 0.09, 0.8, 16},
		{Category{}, 0.04, 0.4, 0},
	}
}

// A product is a third-level product category with those that it is part of.
type product struct {
	Category
	l2, l1 int64
}

var products = []product{
	{Category{601554, "Concealer & Foundation"}, 848648, 14}, {Category{601583, "Lipstick & Lip Gloss"}, 848648, 14},
	{Category{601651, "Facial Masks"}, 849160, 14}, {Category{601671, "Serums & Essences"}, 849160, 14},
	{Category{601226, "Casual Dresses"}, 842888, 2}, {Category{601295, "T-Shirts"}, 842888, 2},
	{Category{601302, "Jackets & Coats"}, 843400, 2}, {Category{601152, "Leggings"}, 843400, 2},
	{Category{700645, "Instant Coffee"}, 914696, 24}, {Category{700701, "Chips & Crisps"}, 914696, 24},
	{Category{700437, "Herbal Tea"}, 915208, 24}, {Category{700733, "Protein Powder"}, 915208, 24},
	{Category{600154, "Storage Boxes"}, 852104, 10}, {Category{600002, "Bed Sheets"}, 852104, 10},
	{Category{600338, "Night Lights"}, 852488, 10}, {Category{600412, "Scented Candles"}, 852488, 10},
	{Category{603014, "Yoga Mats"}, 834312, 9}, {Category{603107, "Resistance Bands"}, 834312, 9},
	{Category{603263, "Camping Tents"}, 834824, 9}, {Category{603319, "Water Bottles"}, 834824, 9},
	{Category{601756, "Wireless Earphones"}, 909064, 16}, {Category{601823, "Phone Cases"}, 909064, 16},
	{Category{601890, "Smart Watches"}, 909576, 16}, {Category{601931, "Power Banks"}, 909576, 16},
}

// What a creator's key is hashed with, one for each detail.
const (
	detailUID = iota + 1
	detailFollowers
	detailSales
	detailTrade
	detailAge
	detailGender
	detailName
	detailVideos
	detailPrice
)

// key identifies a creator of any cell of this world.
func (c *cell) key(m member) uint64 { return mix(c.seed, uint64(m.id)) }

func (c *cell) matches(f Filter) bool {
	return (f.Region == "" || f.Region == c.region) && (!f.CreatorCategory.Set || f.CreatorCategory.Value == c.kind.category.ID)
}

// accepts holds a creator of a cell that matches against the other filters.
func (c *cell) accepts(f Filter, key uint64, m member) bool {
	if f.FollowersMin.Set || f.FollowersMax.Set {
		n := followers(key, m)
		if f.FollowersMin.Set && n < f.FollowersMin.Value || f.FollowersMax.Set && n > f.FollowersMax.Value {
			return false
		}
	}
	if f.EcommerceType.Set && trade(key)&f.EcommerceType.Value == 0 {
		return false
	}
	if f.FollowerAgeType.Set && ageType(key) != f.FollowerAgeType.Value {
		return false
	}
	if f.FollowerGenderType.Set && genderType(key) != f.FollowerGenderType.Value {
		return false
	}
	if f.ProductCategoryL1.Set || f.ProductCategoryL2.Set || f.ProductCategoryL3.Set {
		return sells(f, key, c.kind)
	}
	return true
}

func sells(f Filter, key uint64, kind cellKind) bool {
	for _, p := range sales(key, kind) {
		if (!f.ProductCategoryL1.Set || f.ProductCategoryL1.Value == p.l1) &&
			(!f.ProductCategoryL2.Set || f.ProductCategoryL2.Value == p.l2) &&
			(!f.ProductCategoryL3.Set || f.ProductCategoryL3.Value == p.ID) {
			return true
		}
	}
	return false
}

// followers is 10,000 to 5 million, more of the smaller ones.
func followers(key uint64, m member) int64 {
	base := 10_000 * math.Pow(500, unit(mix(key, detailFollowers)))
	return int64(base * (1 + 0.0005*float64(m.editions)))
}

// trade is the ecommerce_type: 1 video, 2 live, 3 both. As bits it tells which
// filter takes it.
func trade(key uint64) int64 { return int64(mix(key, detailTrade)%3) + 1 }

func ageType(key uint64) int64 { return int64(mix(key, detailAge)%3) + 1 }

func genderType(key uint64) int64 { return int64(mix(key, detailGender) % 2) }

// sales returns one to three products; the first is of the kind that the
// creator's category suggests, if any.
func sales(key uint64, kind cellKind) []product {
	h := mix(key, detailSales)
	first := int(h % uint64(len(products)))
	for i, p := range products {
		if p.l1 == kind.home {
			first = i + int(h>>16%4)
			break
		}
	}
	sold := append(make([]product, 0, 3), products[first])
	for i := range h >> 24 % 3 {
		other := products[mix(h, i)%uint64(len(products))]
		if other.ID != sold[0].ID && other.ID != sold[len(sold)-1].ID {
			sold = append(sold, other)
		}
	}
	return sold
}

// row makes up the details of an entry in a period. Its figures follow from the
// creator, the period and the index, so that they are revised with it.
func (c candidate) row(period uint64) Row {
	key, m := c.order, c.who
	figures := mix(key, period, uint64(c.index), uint64(m.editions))
	units := int64(math.Exp(float64(c.index)/11)*(0.8+0.4*unit(figures))) + 5
	live := int64(0)
	switch trade(key) {
	case 2:
		live = units
	case 3:
		live = int64(float64(units) * unit(mix(figures, 1)))
	}
	usd := float64(units) * (5 + 60*unit(mix(key, detailPrice)))
	videos := int64(mix(key, detailVideos) % 900)
	r := Row{
		UID: uid(key), Index: c.index,
		UniqueID: handle(key, m.renames), Nickname: nickname(c.cell.region, key, m.renames),
		Avatar:    "https://p16-sign.example.com/avatar/" + strconv.FormatUint(mix(key), 36) + "~c5_300x300.webp",
		Region:    c.cell.region,
		Followers: followers(key, m), LifetimeVideos: 200 + videos, Videos: videos/5 + 1, EcommerceType: trade(key),
		Genders: genders(key), Ages: ages(key),
		GMV: cents(usd * exchange(c.cell.region)), USDGMV: cents(usd),
		Units: units, LiveUnits: live, VideoUnits: units - live,
		AvgPlays: int64(1000 + mix(figures, 2)%200_000), Products: int64(1 + mix(figures, 3)%80),
	}
	if c.cell.kind.category.ID != 0 {
		r.Category = &c.cell.kind.category
	}
	for _, p := range sales(key, c.cell.kind) {
		r.Sales = append(r.Sales, p.Category)
	}
	return r
}

// uid has 19 digits, past what a float64 holds exactly.
func uid(key uint64) string {
	return strconv.FormatUint(6_500_000_000_000_000_000+mix(key, detailUID)%900_000_000_000_000_000, 10)
}

func cents(v float64) float64 { return math.Round(v*100) / 100 }

// exchange is what a US dollar costs, about.
func exchange(region string) float64 {
	switch region {
	case "GB", "ES", "DE", "IT", "FR":
		return 0.9
	case "MX", "TH", "PH":
		return 40
	case "ID", "VN":
		return 20_000
	case "MY", "BR":
		return 5
	case "JP":
		return 150
	case "SG":
		return 1.3
	}
	return 1
}

func genders(key uint64) []Share {
	main := 0.55 + 0.4*unit(mix(key, detailGender, 1))
	if genderType(key) == 0 {
		return []Share{{"female", main}, {"male", 1 - main}}
	}
	return []Share{{"female", 1 - main}, {"male", main}}
}

func ages(key uint64) []Share {
	main := 0.5 + 0.4*unit(mix(key, detailAge, 1))
	rest := (1 - main) / 2
	shares := []Share{{"18-24", rest}, {"25-34", rest}, {"35-44", rest}}
	shares[ageType(key)-1].Value = main
	return shares
}

var syllables = strings.Fields("ana mi ko ri lu za be to sha ni vel dra jo ka mo ren ti sol yu xi gab el ita pho dan")

// handle is a unique_id: short ASCII. A rename may change it too.
func handle(key uint64, renames uint16) string {
	h := mix(key, detailName, uint64(renames/2))
	var b strings.Builder
	for i := range 2 + h%3 {
		b.WriteString(syllables[h>>(8+8*i)%uint64(len(syllables))])
	}
	b.WriteString([]string{"", ".", "_", "_official", "tok"}[h>>48%5])
	b.WriteString(strconv.FormatUint(h>>40%1000, 10))
	return b.String()
}
