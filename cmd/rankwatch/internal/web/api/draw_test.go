package api

import (
	"errors"
	"net/http"
	"testing"
)

// On each board of this shelf all creators are others.
func TestAHistoryOfTooManyIsRefused(t *testing.T) {
	t.Parallel()
	sh := &shelf{boards: map[uint64]*thin{}}
	for n := uint64(1); n <= 40; n++ {
		b := &thin{}
		for i := range maxTop {
			b.spots = append(b.spots, spot{who: uint32(len(sh.people)), rank: uint16(i + 1), position: uint16(i + 1)})
			sh.people = append(sh.people, person{})
		}
		sh.boards[n] = b
	}
	for _, c := range []struct {
		from uint64
		ask  choice
		want int // series; 0: refused
	}{
		{1, choice{top: maxTop}, maxTop},
		{1, choice{top: maxTop, any: true}, 0},
		{1, choice{top: 300, any: true}, 40 * 300},
		{30, choice{top: maxTop, any: true}, 11 * maxTop},
	} {
		h, err := sh.draw(c.from, 40, &c.ask)
		var f *Fault
		switch {
		case c.want == 0 && (!errors.As(err, &f) || f.Status != http.StatusBadRequest):
			t.Errorf("%+v: not refused: %v", c.ask, err)
		case c.want > 0 && (err != nil || len(h.Series) != c.want):
			t.Errorf("%+v: %v, want %d series", c.ask, err, c.want)
		}
	}
}
