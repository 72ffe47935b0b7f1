package when_test

import (
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/when"
)

func TestTimesThatPeopleWrite(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-04-14T17:07:52Z":          "2026-04-14T17:07:52Z",
		"2026-04-14T17:07:52.250+02:00": "2026-04-14T15:07:52.25Z",
		"2026-04-14":                    "2026-04-14T00:00:00Z",
		"36h":                           "2026-08-21T00:00:00Z",
		"7d":                            "2026-08-15T12:00:00Z",
		"1w1d12h30m":                    "2026-08-13T23:30:00Z",
		"90s":                           "2026-08-22T11:58:30Z",
		"0s":                            "2026-08-22T12:00:00Z",
	} {
		got, err := when.Parse(text, now)
		if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "yesterday", "7", "-7d", "d", "7 d", "2026-13-01", "2026-04-14T17:07:52", "99999w", "1h1d", "99999999999h"} {
		if got, err := when.Parse(bad, now); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}
