package alert

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// entered is a reading, stored at a minute, in which somebody entered.
func entered(n, minute int, uid string) (digest.Item, time.Time) {
	at := time.Date(2026, 11, 1, 12, minute, 0, 0, time.UTC)
	c := text.Change{Kind: event.Entered, Change: event.Change{Watchlist: "us", Creator: event.Creator{UID: uid}}}
	return digest.Item{Reading: &digest.Reading{ID: fmt.Sprintf("us/%d", n), Sequence: uint64(n), At: at, Changes: []text.Change{c}}}, at
}

func TestARehearsalKeepsWindowsAndCooldowns(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := rehearsal{
		set: &setup{}, out: &out,
		said: func(m *digest.Message) (string, error) { return fmt.Sprint(len(m.Sections)), nil },
	}
	for _, r := range []digest.Route{
		{Name: "each", Target: "t"}, {Name: "window", Target: "t", Digest: 10 * time.Minute}, {Name: "cool", Target: "t", Cooldown: 30 * time.Minute},
	} {
		h.routes = append(h.routes, rehearsed{Route: &r, cool: digest.Cooldown{}})
	}
	for i, x := range []struct {
		minute int
		uid    string
	}{{0, "a"}, {5, "b"}, {20, "a"}, {40, "a"}} {
		it, at := entered(i+1, x.minute, x.uid)
		if err := errors.Join(h.elapse(at), h.take(it, at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.elapse(time.Time{}); err != nil {
		t.Fatal(err)
	}
	want := `# each to t: us/1
1

# cool to t: us/1
1

# each to t: us/2
1

# cool to t: us/2
1

# window to t: us/1..us/2
2

# each to t: us/3
1

# window to t: us/3
1

# each to t: us/4
1

# cool to t: us/4
1

# window to t: us/4
1

`
	if out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}
