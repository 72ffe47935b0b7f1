package digest_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// item is a reading with the changes that the notation lists.
func item(t testing.TB, id string, changes ...string) digest.Item {
	r := &digest.Reading{ID: id, At: at}
	for _, n := range changes {
		r.Changes = append(r.Changes, change(t, n))
	}
	return digest.Item{Reading: r}
}

// shown lists the uids of each section, and how many more.
func shown(m *digest.Message) string {
	var parts []string
	for i := range m.Sections {
		s := &m.Sections[i]
		var uids []string
		for _, c := range s.Shown {
			uids = append(uids, c.Creator.UID)
		}
		part := s.Reading.ID + ":" + strings.Join(uids, ",")
		if more := s.Changes() - len(s.Shown); more > 0 {
			part += fmt.Sprintf("+%d", more)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func TestMakeTakesWhatMatchesAndNamesIt(t *testing.T) {
	t.Parallel()
	r := digest.Route{Name: "r", Template: "t", Cooldown: time.Hour, Match: digest.Match{MinPlaces: 3}}
	items := []digest.Item{
		item(t, "w/1", "moved a 2>1"),
		item(t, "w/2", "entered b ->9", "moved a 9>1", "moved c 2>1"),
		{Notice: &digest.Notice{ID: "w/status/stale/x"}},
		item(t, "w/3", "moved a 1>9"),
		item(t, "w/4", "moved c 1>2"),
	}
	m, spent := r.Make(items, nil, at)
	if m.ID != "w/2..w/3" || m.Route != "r" || m.Template != "t" || m.Sample || len(m.Notices) != 1 || shown(m) != "w/2:b,a w/3:a" {
		t.Errorf("got %+v, %s", m, shown(m))
	}
	// The same creator and kind twice in a message is one delivery.
	if want := []string{"us-beauty/entered/b", "us-beauty/moved/a"}; !reflect.DeepEqual(spent, want) {
		t.Errorf("spent %q", spent)
	}
	r.Cooldown = 0
	if _, spent := r.Make(items, nil, at); spent != nil {
		t.Errorf("without a cooldown %q are spent", spent)
	}
	if m, _ := r.Make(items[1:2], nil, at); m.ID != "w/2" {
		t.Errorf("one item's message is %s", m.ID)
	}
	if m, spent := r.Make(items[:1], nil, at); m != nil || spent != nil {
		t.Errorf("nothing taken gave %+v, %q", m, spent)
	}
	r.Cooldown = time.Hour
	if m, _ := r.Make(items, digest.Cooldown{"us-beauty/moved/a": at.Add(-time.Minute)}, at); shown(m) != "w/2:b" {
		t.Errorf("in cooldown: %s", shown(m))
	}
}

func TestACapKeepsWhatMattersMostInItsOrder(t *testing.T) {
	t.Parallel()
	r := digest.Route{Cap: 4}
	m, _ := r.Make([]digest.Item{item(t, "w/1",
		"dropped a 90>-", "dropped b 3>-", "entered c ->50", "moved d 40>10", "moved e 5>4", "index f 1>1 i9", "moved g 10>60")}, nil, at)
	if got := shown(m); got != "w/1:a,b,c,g+3" {
		t.Errorf("got %s", got)
	}
	if got := m.Sections[0].More; got != (event.Counts{Moved: 2, Index: 1}) {
		t.Errorf("more: %+v", got)
	}
}

func TestSectionsShareACap(t *testing.T) {
	t.Parallel()
	many := func(n int) []string {
		var s []string
		for i := range n {
			s = append(s, fmt.Sprintf("entered %d ->%d", i+1, i+1))
		}
		return s
	}
	for _, tt := range []struct {
		limit int
		sizes []int
		want  []int
	}{
		{10, []int{3, 4}, []int{3, 4}},
		{10, []int{100, 2}, []int{8, 2}},
		{10, []int{100, 100}, []int{5, 5}},
		{10, []int{2, 100, 100}, []int{2, 4, 4}},
		{2, []int{5, 5, 5}, []int{1, 1, 1}}, // each has its say
		{0, []int{100}, []int{digest.DefaultCap}},
		{-1, []int{100}, []int{digest.DefaultCap}},
	} {
		var items []digest.Item
		for i, n := range tt.sizes {
			items = append(items, item(t, fmt.Sprintf("w/%d", i), many(n)...))
		}
		r := digest.Route{Cap: tt.limit}
		m, _ := r.Make(items, nil, at)
		var got []int
		for _, s := range m.Sections {
			got = append(got, len(s.Shown))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("cap %d over %v: got %v, want %v", tt.limit, tt.sizes, got, tt.want)
		}
	}
}

func TestMakeLosesNothingAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := 0
		one := rapid.Custom(func(rt *rapid.T) string {
			n++
			kind := rapid.SampledFrom([]string{"entered %d ->%d", "dropped %d %d>-", "moved %d 50>%d", "index %d 7>%d"}).Draw(rt, "kind")
			return fmt.Sprintf(kind, n, rapid.IntRange(1, 100).Draw(rt, "rank"))
		})
		readings := rapid.SliceOfN(rapid.SliceOfN(one, 0, 12), 0, 6).Draw(rt, "readings")
		r := digest.Route{Cap: rapid.IntRange(1, 30).Draw(rt, "cap"), Cooldown: time.Hour}
		if rapid.Bool().Draw(rt, "some") {
			r.Match.Kinds = []event.Kind{event.Entered, event.Moved}
		}
		var items []digest.Item
		for i, c := range readings {
			items = append(items, item(t, fmt.Sprintf("w/%d", i), c...))
		}
		m, spent := r.Make(items, nil, at)
		checkMessage(rt, &r, items, m, spent)
		again, spentAgain := r.Make(items, nil, at)
		if !reflect.DeepEqual(m, again) || !slices.Equal(spent, spentAgain) {
			rt.Fatal("twice the same gave two messages")
		}
		// Once delivered, all of it cools down.
		cool := digest.Cooldown{}
		for _, key := range spent {
			cool[key] = at
		}
		if m, _ := r.Make(items, cool, at.Add(time.Minute)); m != nil {
			rt.Fatalf("delivered twice: %s", shown(m))
		}
	})
}

// checkMessage compares a message with what the route takes, change by change.
func checkMessage(t *rapid.T, r *digest.Route, items []digest.Item, m *digest.Message, spent []string) {
	var want []*digest.Reading
	taken := map[*digest.Reading][]text.Change{}
	all := 0
	for _, it := range items {
		for _, c := range it.Reading.Changes {
			if r.Change(&c, nil, at).Taken {
				taken[it.Reading] = append(taken[it.Reading], c)
				all++
			}
		}
		if len(taken[it.Reading]) > 0 {
			want = append(want, it.Reading)
		}
	}
	if m == nil {
		if all > 0 {
			t.Fatalf("%d changes gave no message", all)
		}
		return
	}
	if len(m.Sections) != len(want) || len(spent) != all {
		t.Fatalf("%d sections of %d, %d spent of %d", len(m.Sections), len(want), len(spent), all)
	}
	total := 0
	for i := range m.Sections {
		s := &m.Sections[i]
		total += len(s.Shown)
		if s.Reading != want[i] || s.Changes() != len(taken[want[i]]) || len(s.Shown) == 0 {
			t.Fatalf("section %d: %d of %d changes, %d shown", i, s.Changes(), len(taken[want[i]]), len(s.Shown))
		}
		at := 0
		for _, c := range s.Shown { // a subsequence
			k := slices.IndexFunc(taken[want[i]][at:], func(o text.Change) bool { return reflect.DeepEqual(o, c) })
			if k < 0 {
				t.Fatalf("section %d: %s is out of order, or made up", i, c.Creator.UID)
			}
			at += k + 1
		}
	}
	if total > max(r.Cap, len(want)) || total < min(r.Cap, all) {
		t.Fatalf("%d shown of %d with a cap of %d over %d sections", total, all, r.Cap, len(want))
	}
}
