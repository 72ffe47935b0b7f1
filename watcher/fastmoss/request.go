package fastmoss

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// AppendJSON appends the request for one page to dst: always the same bytes for
// the same query, with the fields that are set and no others. Pages count from
// 1.
func (q Query) AppendJSON(dst []byte, page, size int) []byte {
	o := object{dst: append(dst, `{"filter":{`...)}
	o.filter(q.Filter)
	if q.Period != (event.Period{}) {
		o.key("date_info")
		o.dst = append(o.dst, `{"type":`...)
		o.text(q.Period.Type)
		o.dst = append(o.dst, `,"value":`...)
		o.text(q.Period.Value)
		o.dst = append(o.dst, '}')
	}
	dst = append(o.dst, `},"orderby":[{"field":"potential_index","order":"desc"}],"page":`...)
	dst = strconv.AppendInt(dst, int64(page), 10)
	dst = append(dst, `,"pagesize":`...)
	dst = strconv.AppendInt(dst, int64(size), 10)
	return append(dst, '}')
}

// An object is a JSON object being written, after its opening brace.
type object struct {
	dst  []byte
	some bool
}

func (o *object) filter(f Filter) {
	if f.Region != "" {
		o.key("region")
		o.text(f.Region)
	}
	o.int("creator_category_id", f.CreatorCategoryID)
	o.int("product_category_l1_id", f.ProductCategoryL1ID)
	o.int("product_category_l2_id", f.ProductCategoryL2ID)
	o.int("product_category_l3_id", f.ProductCategoryL3ID)
	o.int("ecommerce_type", f.EcommerceType)
	if r := f.FollowerCountRange; r.Min.Valid || r.Max.Valid {
		o.key("follower_count_range")
		in := object{dst: append(o.dst, '{')}
		in.int("min", r.Min)
		in.int("max", r.Max)
		o.dst = append(in.dst, '}')
	}
	o.int("follower_age_type", f.FollowerAgeType)
	o.int("follower_gender_type", f.FollowerGenderType)
}

func (o *object) key(name string) {
	if o.some {
		o.dst = append(o.dst, ',')
	}
	o.some = true
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, name...)
	o.dst = append(o.dst, '"', ':')
}

func (o *object) int(name string, v Opt[int64]) {
	if !v.Valid {
		return
	}
	o.key(name)
	o.dst = strconv.AppendInt(o.dst, v.Value, 10)
}

func (o *object) text(s string) {
	// The one error there is concerns invalid UTF-8, which has then become
	// U+FFFD; the source refuses such a value by its own rules.
	o.dst, _ = jsontext.AppendQuote(o.dst, s)
}

// checkPage refuses a page that the source would refuse, before it costs a call.
func checkPage(page, size int) error {
	if size < 1 || size > MaxPageSize {
		return fault(ErrParameter, "page size %d is not within 1 to %d", size, MaxPageSize)
	}
	if page < 1 || page > MaxDepth/size {
		return fault(ErrParameter, "page %d of %d entries is not within the first %d", page, size, MaxDepth)
	}
	return nil
}
