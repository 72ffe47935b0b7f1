package verify

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
	"github.com/rankwatch/rankwatch/publisher/event"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most int
		want string
	}{
		{1, "a|b|c|d"}, {4, "a b|c|d"}, {5, "a b|c|d"}, {10, "a b|c|d"}, {15, "a b c|d"}, {100, "a b c d"},
	} {
		var got []string
		for _, g := range grouped(map[string]int{"d": 7, "b": 2, "a": 2, "c": 9}, c.most) {
			got = append(got, strings.Join(g, " "))
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("at most %d: %s, want %s", c.most, s, c.want)
		}
	}
	if g := grouped(nil, 1); len(g) != 0 {
		t.Errorf("nothing makes %v", g)
	}
}

// What is found does not depend on how many watchlists are held at once.
func TestManyPassesFindWhatOneFinds(t *testing.T) {
	t.Parallel()
	bus := webtest.StartBus(t)
	reason := "first"
	first := func(name string) event.Snapshot {
		return event.Snapshot{Watchlist: name, Region: "US", Revision: 1, Outcome: event.OutcomeBaseline, Reason: &reason, Board: webtest.Rows(2, webtest.UIDs(2, 0)...)}
	}
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		s := first(name)
		s.Rules = event.Rules{Top: 2, Ties: "shared", Moved: event.Moves{MinPlaces: 1}, Index: event.Steps{MinChange: 1}, Dropped: event.Misses{After: 1}}
		bus.Board(s)
	}
	check := func(most int, names ...string) (text string, passes int) {
		t.Helper()
		r, err := bus.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a, err := checkAll(t.Context(), r, names, most, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err = a.report(&out)
		return fmt.Sprintf("%s%v", out.String(), err), a.read
	}
	compare := func(want ...string) {
		t.Helper()
		one, read := check(1 << 30)
		many, again := check(1)
		if one != many {
			t.Errorf("in one pass\n%s\nin many\n%s", one, many)
		}
		if again <= read {
			t.Errorf("%d messages were read in many passes, %d in one", again, read)
		}
		for _, w := range want {
			if !strings.Contains(one, w) {
				t.Errorf("%q is not in\n%s", w, one)
			}
		}
		some, _ := check(1, "b", "d")
		if strings.Contains(some, "\na ") || !strings.Contains(some, "\nb ") {
			t.Errorf("of two\n%s", some)
		}
	}
	compare("4 watchlists", "adds up")
	// A reading whose events are not what its board says, in a later group, and a
	// message under the name of a watchlist that has no board.
	s := first("c")
	s.Outcome, s.Reason, s.Revision = "", nil, 2
	bus.Board(s, webtest.Moved(webtest.UIDs(1, 0)[0], 1, 2))
	bus.Put(event.Message{Subject: event.Filter(event.Subject{Prefix: webtest.Prefix, Region: "us", Watchlist: "stray", Kind: event.Moved, UID: "7"}), Data: []byte("{}")})
	compare("does not add up", "c revision 2", "specversion")
}
