package simulator

import (
	"encoding/json"
	"strconv"
)

func (s *Simulator) appendData(a admission, rows []Row, total int, p Period) []byte {
	b := append(make([]byte, 0, 64+1000*len(rows)), `{"list":[`...)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.appendRow(b, &rows[i])
	}
	b = append(b, `],"total":`...)
	quoted := s.cfg.Totals == TotalsString || a.fault == TotalString
	b = appendNumber(b, int64(total), quoted)
	b = appendString(append(b, `,"date_type":`...), p.Type)
	b = appendString(append(b, `,"date_value":`...), p.Value)
	return append(b, '}')
}

func (s *Simulator) appendRow(b []byte, r *Row) []byte {
	if r.Raw != nil {
		return append(b, r.Raw...)
	}
	b = s.appendUID(append(b, `{"creator":{"uid":`...), r.UID)
	b = appendString(append(b, `,"nickname":`...), r.Nickname)
	b = appendString(append(b, `,"unique_id":`...), r.UniqueID)
	b = appendString(append(b, `,"avatar":`...), r.Avatar)
	b = appendString(append(b, `,"region":`...), r.Region)
	b = append(b, `,"category":`...)
	if r.Category == nil {
		b = append(b, "null"...)
	} else {
		b = appendCategory(b, *r.Category)
	}
	b = appendField(b, "follower_count", r.Followers)
	b = appendField(b, "video_count", r.LifetimeVideos)
	b = appendShares(append(b, `,"follower_genders":`...), r.Genders)
	b = appendShares(append(b, `,"follower_ages":`...), r.Ages)
	b = s.appendUID(append(b, `},"uid":`...), r.UID)
	b = appendField(b, "video_count", r.Videos)
	b = appendField(b, "ecommerce_type", r.EcommerceType)
	b = appendField(b, "potential_index", r.Index)
	b = appendMoney(b, "gmv", r.GMV)
	b = appendMoney(b, "usd_gmv", r.USDGMV)
	b = appendField(b, "units_sold", r.Units)
	b = appendField(b, "avg_play_count", r.AvgPlays)
	b = appendField(b, "live_units_sold", r.LiveUnits)
	b = appendField(b, "video_units_sold", r.VideoUnits)
	b = append(b, `,"sales_category_l3":[`...)
	for i, c := range r.Sales {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendCategory(b, c)
	}
	b = append(b, ']')
	if s.cfg.TableFields {
		b = appendTableFields(b, r)
	}
	return append(b, '}')
}

// appendTableFields writes the fields of the documented table, which belongs to
// another board.
func appendTableFields(b []byte, r *Row) []byte {
	b = appendField(b, "follower_count", r.Followers)
	b = appendField(b, "product_count", r.Products)
	b = appendMoney(b, "creator_gmv", r.GMV)
	b = appendMoney(b, "creator_usd_gmv", r.USDGMV)
	b = appendMoney(b, "video_gmv", r.GMV/2)
	b = appendMoney(b, "video_usd_gmv", r.USDGMV/2)
	b = appendField(b, "live_count", r.LiveUnits/10)
	b = appendMoney(b, "live_gmv", r.GMV/2)
	return appendMoney(b, "live_usd_gmv", r.USDGMV/2)
}

// appendUID writes uid as a number only if that reads back as the same uid.
func (s *Simulator) appendUID(b []byte, uid string) []byte {
	if s.cfg.IDs == IDsNumber || s.cfg.IDs == IDsMixed && hashString(uid)&1 == 0 {
		if v, err := strconv.ParseInt(uid, 10, 64); err == nil && strconv.FormatInt(v, 10) == uid {
			return append(b, uid...)
		}
	}
	return appendString(b, uid)
}

func appendCategory(b []byte, c Category) []byte {
	b = strconv.AppendInt(append(b, `{"id":`...), c.ID, 10)
	return append(appendString(append(b, `,"name":`...), c.Name), '}')
}

func appendShares(b []byte, shares []Share) []byte {
	b = append(b, '[')
	for i, sh := range shares {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"key":`...), sh.Key)
		b = strconv.AppendFloat(append(b, `,"value":"`...), sh.Value, 'f', 4, 64)
		b = append(b, `"}`...)
	}
	return append(b, ']')
}

func appendField(b []byte, name string, v int64) []byte {
	b = append(append(append(b, `,"`...), name...), `":`...)
	return strconv.AppendInt(b, v, 10)
}

func appendMoney(b []byte, name string, v float64) []byte {
	b = append(append(append(b, `,"`...), name...), `":`...)
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

func appendNumber(b []byte, v int64, quoted bool) []byte {
	if !quoted {
		return strconv.AppendInt(b, v, 10)
	}
	return append(strconv.AppendInt(append(b, '"'), v, 10), '"')
}

// appendString writes a JSON string; plain ASCII, nearly all there is, without
// a detour.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7E || c == '"' || c == '\\' {
			q, err := json.Marshal(s)
			if err != nil {
				panic(err) // json.Marshal takes every string
			}
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
