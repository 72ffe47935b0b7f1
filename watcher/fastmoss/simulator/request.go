package simulator

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// maxBody is far more than any valid call needs.
const maxBody = 64 << 10

// defaultPageSize is what a call without pagesize gets.
const defaultPageSize = 10

// A request is a call whose parameters are in order.
type request struct {
	Query
	page, size int
}

// A mistake is what 10001 is answered for: the field and what it must be.
type mistake struct {
	field, want string
}

func (m mistake) Error() string { return m.field + ": " + m.want }

// readRequest returns a mistake for what the API calls a bad parameter.
func readRequest(r *http.Request, loc *time.Location) (request, error) {
	req := request{page: 1, size: defaultPageSize}
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		return req, mistake{"Content-Type", "must be application/json"}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return req, mistake{"body", "could not be read"}
	}
	if len(body) > maxBody {
		return req, mistake{"body", "must be at most 64 KiB"}
	}
	fields, ok := object(body)
	if !ok {
		return req, mistake{"body", "must be a JSON object"}
	}
	if err := checkOrder(fields["orderby"]); err != nil {
		return req, err
	}
	if err := readPage(&req, fields); err != nil {
		return req, err
	}
	return req, readFilter(&req.Query, fields["filter"], loc)
}

func readPage(req *request, fields map[string]json.RawMessage) error {
	for _, f := range []struct {
		name string
		max  int64
		to   *int
	}{{"page", MaxDepth, &req.page}, {"pagesize", MaxPageSize, &req.size}} {
		v, err := integer(f.name, fields[f.name])
		if err != nil {
			return err
		}
		if !v.Set {
			continue
		}
		if v.Value < 1 || v.Value > f.max {
			return mistake{f.name, "must be 1 to " + strconv.FormatInt(f.max, 10)}
		}
		*f.to = int(v.Value)
	}
	if req.page*req.size > MaxDepth {
		return mistake{"page", "page * pagesize must be at most 1000"}
	}
	return nil
}

// checkOrder accepts the only order there is, or none.
func checkOrder(raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	const want = `must be [{"field":"potential_index","order":"desc"}]`
	var items []map[string]json.RawMessage
	if json.Unmarshal(raw, &items) != nil || len(items) != 1 {
		return mistake{"orderby", want}
	}
	if field, ok := text(items[0]["field"]); !ok || field != "potential_index" {
		return mistake{"orderby[0].field", want}
	}
	if order, ok := text(items[0]["order"]); !ok || order != "desc" {
		return mistake{"orderby[0].order", want}
	}
	return nil
}

// readFilter reads the filters it knows by their exact names. Others are
// ignored, as the API does: a misspelled filter yields an unfiltered list.
func readFilter(q *Query, raw json.RawMessage, loc *time.Location) error {
	if absent(raw) {
		return nil
	}
	fields, ok := object(raw)
	if !ok {
		return mistake{"filter", "must be an object"}
	}
	if region := fields["region"]; !absent(region) {
		if q.Filter.Region, ok = text(region); !ok || !knownRegion(q.Filter.Region) {
			return mistake{"filter.region", "must be one of US GB MX ES DE IT FR ID VN MY TH PH BR JP SG"}
		}
	}
	for _, f := range []struct {
		name     string
		min, max int64
		to       *Int
	}{
		{"creator_category_id", 1, 1 << 53, &q.Filter.CreatorCategory},
		{"product_category_l1_id", 1, 1 << 53, &q.Filter.ProductCategoryL1},
		{"product_category_l2_id", 1, 1 << 53, &q.Filter.ProductCategoryL2},
		{"product_category_l3_id", 1, 1 << 53, &q.Filter.ProductCategoryL3},
		{"ecommerce_type", 1, 2, &q.Filter.EcommerceType},
		{"follower_age_type", 1, 3, &q.Filter.FollowerAgeType},
		{"follower_gender_type", 0, 1, &q.Filter.FollowerGenderType},
	} {
		v, err := code("filter."+f.name, fields[f.name])
		if err != nil {
			return err
		}
		if v.Set && (v.Value < f.min || v.Value > f.max) {
			return mistake{"filter." + f.name, "out of range"}
		}
		*f.to = v
	}
	if err := readFollowers(&q.Filter, fields["follower_count_range"]); err != nil {
		return err
	}
	return readPeriod(q, fields["date_info"], loc)
}

func readFollowers(f *Filter, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	const name = "filter.follower_count_range"
	fields, ok := object(raw)
	if !ok {
		return mistake{name, "must be an object with min and max"}
	}
	var err error
	if f.FollowersMin, err = integer(name+".min", fields["min"]); err != nil {
		return err
	}
	if f.FollowersMax, err = integer(name+".max", fields["max"]); err != nil {
		return err
	}
	if f.FollowersMin.Value < 0 || f.FollowersMax.Value < 0 ||
		f.FollowersMin.Set && f.FollowersMax.Set && f.FollowersMin.Value > f.FollowersMax.Value {
		return mistake{name, "must be 0 <= min <= max"}
	}
	return nil
}

func readPeriod(q *Query, raw json.RawMessage, loc *time.Location) error {
	if absent(raw) {
		return nil
	}
	const name = "filter.date_info"
	fields, ok := object(raw)
	if !ok {
		return mistake{name, "must be an object with type and value"}
	}
	if q.Period.Type, ok = text(fields["type"]); !ok || q.Period.Type != Day && q.Period.Type != Week && q.Period.Type != Month {
		return mistake{name + ".type", "must be day, week or month"}
	}
	if q.Period.Value, ok = text(fields["value"]); !ok {
		return mistake{name + ".value", "must be a string"}
	}
	if _, _, ok = q.Period.span(loc); !ok {
		return mistake{name + ".value", "must be a day 2026-03-01, a week 2026-08 or a month 2026-03, as type says"}
	}
	return nil
}

// code reads an integer, or an object that holds one and nothing else: the
// documents call some codes objects and never show one.
func code(name string, raw json.RawMessage) (Int, error) {
	if fields, ok := object(raw); ok && len(fields) == 1 {
		for _, inner := range fields {
			return integer(name, inner)
		}
	}
	return integer(name, raw)
}

func integer(name string, raw json.RawMessage) (Int, error) {
	if absent(raw) {
		return Int{}, nil
	}
	v, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return Int{}, mistake{name, "must be an integer"}
	}
	return Int{Value: v, Set: true}, nil
}

func text(raw json.RawMessage) (string, bool) {
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// object keeps the exact names of the fields; decoding into a struct would take
// Region for region.
func object(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	var m map[string]json.RawMessage
	return m, len(raw) > 0 && json.Unmarshal(raw, &m) == nil && m != nil
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || bytes.Equal(raw, []byte("null")) }
