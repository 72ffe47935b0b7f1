package fastmoss

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// The states of a number field.
const (
	missing = iota // absent, null or ""
	bad            // there, but not a number that fits
	good
)

// A number is an integer field as it was found. It is exact unless it had a
// fraction that was rounded away.
type number struct {
	value int64
	state uint8
	exact bool
}

// number reads an integer that may be quoted or written as a float.
func (d *decoder) number() (number, error) {
	text, state, err := d.digits()
	if err != nil || state != good {
		return number{state: state}, err
	}
	return parseInt(text), nil
}

// int reads an integer that may be missing; what cannot be understood is
// missing too. Averages come with fractions and are rounded.
func (d *decoder) int() (Opt[int64], error) {
	n, err := d.number()
	if err != nil || n.state != good {
		return Opt[int64]{}, err
	}
	return Some(n.value), nil
}

// float reads a number that may be missing; what cannot be understood is
// missing too.
func (d *decoder) float() (Opt[float64], error) {
	text, state, err := d.digits()
	if err != nil || state != good {
		return Opt[float64]{}, err
	}
	if f, err := strconv.ParseFloat(string(text), 64); err == nil {
		return Some(f), nil
	}
	return Opt[float64]{}, nil
}

// digits reads a value and gives the number in it, quoted or not, in JSON's
// grammar. It is valid until the next read.
func (d *decoder) digits() ([]byte, uint8, error) {
	v, err := d.dec.ReadValue()
	if err != nil {
		return nil, missing, err
	}
	switch v.Kind() {
	case '0':
		return v, good, nil
	case 'n':
		return nil, missing, nil
	case '"':
	default:
		return nil, bad, nil
	}
	in := []byte(v[1 : len(v)-1])
	if bytes.IndexByte(in, '\\') >= 0 {
		d.tmp, _ = jsontext.AppendUnquote(d.tmp[:0], v)
		in = d.tmp
	}
	in = bytes.Trim(in, " ")
	if len(in) == 0 {
		return nil, missing, nil
	}
	if isNumber(in) {
		return in, good, nil
	}
	return nil, bad, nil
}

func isNumber(b []byte) bool {
	last := b[len(b)-1]
	// A number ends in a digit, which also keeps trailing space out.
	return '0' <= last && last <= '9' && jsontext.Value(b).Kind() == '0' && b[0] > ' ' && jsontext.Value(b).IsValid()
}

// maxExact is the first float64 past the range of int64.
const maxExact = float64(1 << 63)

// parseInt reads a number in JSON's grammar.
func parseInt(b []byte) number {
	if len(b) <= 18 {
		var n int64
		for i := range b {
			c := b[i] - '0'
			if c > 9 {
				return parseSlow(b)
			}
			n = n*10 + int64(c)
		}
		return number{value: n, state: good, exact: true}
	}
	return parseSlow(b)
}

func parseSlow(b []byte) number {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err == nil {
		return number{value: n, state: good, exact: true}
	}
	if errors.Is(err, strconv.ErrRange) {
		return number{state: bad}
	}
	f, err := strconv.ParseFloat(string(b), 64)
	r := math.Round(f)
	if err != nil || r >= maxExact || r < -maxExact {
		return number{state: bad}
	}
	return number{value: int64(r), state: good, exact: r == f}
}
