package fastmoss

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A row is one entry of a list while it is being read: what its Item will hold,
// with spans for strings, and what decides whether it is one. It has no
// pointers, so that reusing rows costs the garbage collector nothing.
type row struct {
	slot     int
	uid      ident
	index    number
	nested   nested
	gmv      Opt[float64]
	units    Opt[int64]
	byVideo  Opt[int64]
	byLive   Opt[int64]
	plays    Opt[int64]
	videos   Opt[int64]
	commerce Opt[int64]
	sales    [2]int // in decoder.cats
}

// nested is what the row's creator object says.
type nested struct {
	uid                                ident
	uniqueID, nickname, avatar, region span
	category                           Opt[category]
	followers                          Opt[int64]
}

// An ident is a uid as the source wrote it. Null and "" are no uid.
type ident struct {
	span
	bad bool
}

func (d *decoder) readRow() error {
	d.rows = append(d.rows, row{})
	r := &d.rows[len(d.rows)-1]
	r.slot = d.list.rows
	opened, err := d.open('{')
	if err != nil {
		return err
	}
	if opened == '{' {
		if err := d.rowFields(r); err != nil {
			return err
		}
	}
	if err := d.checkRow(r); err != nil && d.list.fault == nil {
		d.list.fault = err
	}
	if n := r.uid.to - r.uid.from; n == 0 || n > event.MaxUID {
		d.list.skipped++
		d.rows = d.rows[:len(d.rows)-1]
	}
	return nil
}

func (d *decoder) rowFields(r *row) error {
	for {
		name, ok, err := d.name()
		if err != nil || !ok {
			return err
		}
		switch string(name) {
		case "uid":
			r.uid, err = d.ident()
		case "creator":
			r.nested = nested{}
			err = d.creator(&r.nested)
		case "potential_index":
			r.index, err = d.number()
		case "usd_gmv":
			r.gmv, err = d.float()
		case "units_sold":
			r.units, err = d.int()
		case "video_units_sold":
			r.byVideo, err = d.int()
		case "live_units_sold":
			r.byLive, err = d.int()
		case "avg_play_count":
			r.plays, err = d.int()
		case "video_count":
			r.videos, err = d.int()
		case "ecommerce_type":
			r.commerce, err = d.int()
		case "sales_category_l3":
			err = d.sales(r)
		default:
			err = d.skip()
		}
		if err != nil {
			return err
		}
	}
}

func (d *decoder) creator(c *nested) error {
	if opened, err := d.open('{'); err != nil || opened != '{' {
		return err
	}
	for {
		name, ok, err := d.name()
		if err != nil || !ok {
			return err
		}
		switch string(name) {
		case "uid":
			c.uid, err = d.ident()
		case "unique_id":
			c.uniqueID, err = d.string()
		case "nickname":
			c.nickname, err = d.string()
		case "avatar":
			c.avatar, err = d.string()
		case "region":
			c.region, err = d.string()
		case "category":
			c.category, err = d.category()
		case "follower_count":
			c.followers, err = d.int()
		default:
			err = d.skip()
		}
		if err != nil {
			return err
		}
	}
}

// category reads a node of the category tree; without an id it is none.
func (d *decoder) category() (c Opt[category], err error) {
	if opened, err := d.open('{'); err != nil || opened != '{' {
		return c, err
	}
	for {
		name, ok, err := d.name()
		if err != nil || !ok {
			return c, err
		}
		switch string(name) {
		case "id":
			var n number
			n, err = d.number()
			c.Value.id, c.Valid = n.value, n.state == good && n.exact
		case "name":
			c.Value.name, err = d.string()
		default:
			err = d.skip()
		}
		if err != nil {
			return c, err
		}
	}
}

func (d *decoder) sales(r *row) error {
	r.sales = [2]int{len(d.cats), len(d.cats)}
	if opened, err := d.open('['); err != nil || opened != '[' {
		return err
	}
	for d.dec.PeekKind() != ']' {
		c, err := d.category()
		if err != nil {
			return err
		}
		if c.Valid {
			d.cats = append(d.cats, c.Value)
		}
	}
	r.sales[1] = len(d.cats)
	_, err := d.dec.ReadToken()
	return err
}

// checkRow settles the row's uid and says why the row cannot be used. A row
// whose uid is merely missing is not its business.
func (d *decoder) checkRow(r *row) error {
	at := r.slot + 1
	if r.index.state != good || !r.index.exact {
		return fmt.Errorf("row %d has no integer potential_index", at)
	}
	own, inner := r.uid, r.nested.uid
	if own.bad || inner.bad {
		return fmt.Errorf("row %d has a uid that is neither a string nor an integer", at)
	}
	switch a, b := d.text[own.from:own.to], d.text[inner.from:inner.to]; {
	case len(a) == 0:
		r.uid = inner
	case len(b) > 0 && !bytes.Equal(a, b):
		return fmt.Errorf("row %d has two different uids", at)
	}
	return nil
}

// fill makes the Item, with the page's text for its strings.
func (r *row) fill(it *Item, text string, cats []event.Category) {
	n := &r.nested
	it.UID, it.PotentialIndex = r.uid.in(text), r.index.value
	it.UniqueID, it.Nickname = n.uniqueID.in(text), n.nickname.in(text)
	it.Avatar, it.Region = n.avatar.in(text), n.region.in(text)
	it.FollowerCount, it.USDGMV = n.followers, r.gmv
	it.UnitsSold, it.VideoUnitsSold, it.LiveUnitsSold = r.units, r.byVideo, r.byLive
	it.AvgPlayCount, it.VideoCount, it.EcommerceType = r.plays, r.videos, r.commerce
	if n.category.Valid {
		it.Category = Some(event.Category{ID: n.category.Value.id, Name: n.category.Value.name.in(text)})
	}
	if from, to := r.sales[0], r.sales[1]; from < to {
		it.SalesCategoryL3 = cats[from:to:to]
	}
}

// ident reads a uid: a string, or an integer of any length, digit for digit.
func (d *decoder) ident() (ident, error) {
	v, err := d.dec.ReadValue()
	if err != nil {
		return ident{}, err
	}
	switch v.Kind() {
	case 'n':
		return ident{}, nil
	case '"':
		return ident{span: d.keep(v)}, nil
	case '0':
		if bytes.ContainsAny(v, ".eE") {
			return ident{bad: true}, nil
		}
		return ident{span: d.keep(v)}, nil
	}
	return ident{bad: true}, nil
}

// string reads text; what is no text, nor a number, counts as missing.
func (d *decoder) string() (span, error) {
	v, err := d.dec.ReadValue()
	if err != nil || (v.Kind() != '"' && v.Kind() != '0') {
		return span{}, err
	}
	return d.keep(v), nil
}

// keep copies a string, or the digits of a number, to the page's text.
func (d *decoder) keep(v jsontext.Value) span {
	from := len(d.text)
	if v[0] == '"' {
		// Invalid UTF-8 and half surrogates become U+FFFD, and are reported too;
		// a broken nickname is no reason to refuse a board.
		d.text, _ = jsontext.AppendUnquote(d.text, v)
	} else {
		d.text = append(d.text, v...)
	}
	return span{from, len(d.text)}
}
