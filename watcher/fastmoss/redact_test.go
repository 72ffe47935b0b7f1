package fastmoss

import (
	"strings"
	"testing"
)

func TestTheTokenIsHiddenInEveryForm(t *testing.T) {
	t.Parallel()
	const token = `aB+/="x\y`
	for _, text := range []string{
		"bad token " + token, "https://h/?t=aB%2B%2F%3D%22x%5Cy", `{"token":"aB+/=\"x\\y"}`, "AB+/=\"X\\Y",
	} {
		got := clean(text, token)
		if !strings.Contains(got, redacted) || strings.Contains(strings.ToLower(got), "ab+") || strings.Contains(got, "aB%2B") {
			t.Errorf("%s became %s", text, got)
		}
	}
}
