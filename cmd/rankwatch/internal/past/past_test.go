package past

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheNameThatWasMeantComesFirst(t *testing.T) {
	t.Parallel()
	all := func() []string { return []string{"gb", "us-beauty", "br-all", "us-food", "jp-all"} }
	for meant, want := range map[string]string{
		"us-beuty":   "us-beauty, br-all, gb, jp-all, us-food",
		"us":         "gb, us-food, us-beauty, br-all, jp-all",
		"jpall":      "jp-all, br-all, gb, us-beauty, us-food",
		"something":  "br-all, gb, jp-all, us-beauty, us-food",
		"US-BEAUTY.": "br-all, gb, jp-all, us-beauty, us-food",
	} {
		if got := list(all(), meant); got != want {
			t.Errorf("%s: %s, want %s", meant, got, want)
		}
	}
	if got := list(nil, "x"); got != "none" {
		t.Errorf("of no watchlists: %s", got)
	}
}

func TestALongListIsCut(t *testing.T) {
	t.Parallel()
	var all []string
	for i := range 25 {
		all = append(all, fmt.Sprintf("list-%02d", i))
	}
	if got := list(all, "zzz"); !strings.HasSuffix(got, "list-19 and 5 more") {
		t.Error(got)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]int{{"", ""}: 0, {"", "abc"}: 3, {"abc", ""}: 3, {"kitten", "sitting"}: 3, {"us-beauty", "us-beuaty"}: 2, {"a", "a"}: 0} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("%q: %d, want %d", pair, got, want)
		}
	}
}
