package fastmoss

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// An answer is the envelope of every answer of the API. Fault says why its data
// is not a list page; it matters only if code says success.
type answer struct {
	code      int64
	hasCode   bool
	message   string
	requestID string
	page      Page
	fault     error
}

// A decoder reads answers in one pass, without a tree: tolerant of the shapes
// that fields come in, strict about syntax. As with encoding/json, the last of
// several equal names counts.
//
// It is reused, but what it returns is not tied to it: the strings of a page
// share one copy that belongs to the page alone. Not safe for concurrent use.
type decoder struct {
	dec  *jsontext.Decoder
	opts []jsontext.Options

	text []byte // the page's strings, end to end
	tmp  []byte
	rows []row
	cats []category
	list listing
	tot  number
	date [2]span // type, value
	out  answer
}

// A span is a piece of decoder.text.
type span struct{ from, to int }

func (s span) in(text string) string { return text[s.from:s.to] }

// A listing is what has been seen of data.
type listing struct {
	data    bool // data is an object
	present bool // and has a list, null included
	array   bool
	null    bool
	rows    int
	skipped int
	fault   error // of the first bad row
}

type category struct {
	id   int64
	name span
}

func newDecoder() *decoder {
	return &decoder{
		dec: jsontext.NewDecoder(&bytes.Buffer{}),
		// Names are not unique and text not valid by the API's promise; both are
		// settled as encoding/json does.
		opts: []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)},
	}
}

// decode reads one answer. An error means that body is not JSON.
func (d *decoder) decode(body *bytes.Buffer) (answer, error) {
	d.dec.Reset(body, d.opts...)
	d.out = answer{}
	d.text = d.text[:0]
	d.resetData()
	opened, err := d.open('{')
	if err == nil && opened == '{' {
		err = d.envelope()
	}
	if err == nil {
		if _, err = d.dec.ReadToken(); err == nil {
			err = errors.New("more than one JSON value")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return answer{}, err
	}
	d.out.fault = d.finish()
	out := d.out
	d.out = answer{}
	return out, nil
}

func (d *decoder) resetData() {
	d.list, d.tot, d.date = listing{}, number{}, [2]span{}
	d.resetList()
}

func (d *decoder) resetList() {
	d.rows, d.cats = d.rows[:0], d.cats[:0]
	d.list = listing{data: d.list.data}
}

func (d *decoder) envelope() error {
	var message, msg span
	var request span
	for {
		name, ok, err := d.name()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch string(name) {
		case "code":
			var n number
			n, err = d.number()
			d.out.code, d.out.hasCode = n.value, n.state == good && n.exact
		case "message":
			message, err = d.string()
		case "msg":
			msg, err = d.string()
		case "request_id":
			request, err = d.string()
		case "data":
			err = d.data()
		default:
			err = d.skip()
		}
		if err != nil {
			return err
		}
	}
	if message.from == message.to {
		message = msg
	}
	d.out.message = string(d.text[message.from:message.to])
	d.out.requestID = string(d.text[request.from:request.to])
	return nil
}

func (d *decoder) data() error {
	d.resetData()
	if opened, err := d.open('{'); err != nil || opened != '{' {
		return err
	}
	d.list.data = true
	for {
		name, ok, err := d.name()
		if err != nil || !ok {
			return err
		}
		switch string(name) {
		case "list":
			err = d.readList()
		case "total":
			d.tot, err = d.number()
		case "date_type":
			d.date[0], err = d.string()
		case "date_value":
			d.date[1], err = d.string()
		default:
			err = d.skip()
		}
		if err != nil {
			return err
		}
	}
}

func (d *decoder) readList() error {
	d.resetList()
	d.list.present = true
	opened, err := d.open('[')
	d.list.array, d.list.null = opened == '[', opened == 'n'
	if err != nil || !d.list.array {
		return err
	}
	for d.dec.PeekKind() != ']' {
		if err := d.readRow(); err != nil {
			return err
		}
		d.list.rows++
	}
	_, err = d.dec.ReadToken()
	return err
}

// finish makes the page out of what was read, or says why it is none.
func (d *decoder) finish() error {
	switch l := &d.list; {
	case !l.data:
		return errors.New("data is not an object")
	case !l.present:
		return errors.New("data has no list")
	case !l.array && !l.null:
		return errors.New("data.list is not an array")
	case l.fault != nil:
		return l.fault
	}
	total := int(d.tot.value)
	if d.tot.state != good || !d.tot.exact || total < 0 || int64(total) != d.tot.value {
		return errors.New("data.total is not a count")
	}
	text := string(d.text)
	p := &d.out.page
	p.Rows, p.Skipped, p.Total = d.list.rows, d.list.skipped, total
	p.Period = event.Period{Type: d.date[0].in(text), Value: d.date[1].in(text)}
	if p.Period.Type == "" || p.Period.Value == "" {
		p.Period = event.Period{}
	}
	if len(d.rows) == 0 {
		return nil
	}
	p.Items, p.Slots = make([]Item, len(d.rows)), make([]int, len(d.rows))
	var cats []event.Category
	if len(d.cats) > 0 {
		cats = make([]event.Category, len(d.cats))
	}
	for i, c := range d.cats {
		cats[i] = event.Category{ID: c.id, Name: c.name.in(text)}
	}
	for i := range d.rows {
		p.Slots[i] = d.rows[i].slot
		d.rows[i].fill(&p.Items[i], text, cats)
	}
	return nil
}

// name reads the next name of an object, without quotes, or the object's end.
func (d *decoder) name() (name []byte, ok bool, err error) {
	if d.dec.PeekKind() == '}' {
		_, err := d.dec.ReadToken()
		return nil, false, err
	}
	v, err := d.dec.ReadValue()
	if err != nil {
		return nil, false, err
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], true, nil
	}
	d.tmp, _ = jsontext.AppendUnquote(d.tmp[:0], v)
	return d.tmp, true, nil
}

// open enters the next value if it is of the wanted kind, and else reads past
// it. It returns the kind that was there.
func (d *decoder) open(want jsontext.Kind) (jsontext.Kind, error) {
	k := d.dec.PeekKind()
	if k == want {
		_, err := d.dec.ReadToken()
		return k, err
	}
	return k, d.skip()
}

func (d *decoder) skip() error {
	_, err := d.dec.ReadValue()
	return err
}
