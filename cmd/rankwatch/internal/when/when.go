// Package when reads the points in time that people write: RFC 3339, a date, or
// an age.
package when

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Form says what Parse takes, for help texts and errors.
const Form = "RFC 3339 (2026-04-14T17:00:00Z), a date (2026-04-14, its midnight in UTC), or an age (36h, 7d)"

// age is weeks and days, which time.ParseDuration does not know, and the rest.
var age = regexp.MustCompile(`^(?:(\d{1,5})w)?(?:(\d{1,6})d)?((?:\d+(?:\.\d+)?(?:h|m|s|ms))*)$`)

// Parse reads text as a point in time; ages count back from now.
func Parse(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	bad := fmt.Errorf("%q is no time: write %s", text, Form)
	m := age.FindStringSubmatch(text)
	if text == "" || m == nil {
		return time.Time{}, bad
	}
	var d time.Duration
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(m[i+1])
		if err != nil || time.Duration(n) > (1<<63-1)/unit {
			return time.Time{}, bad
		}
		d += time.Duration(n) * unit
	}
	if m[3] != "" {
		rest, err := time.ParseDuration(m[3])
		if err != nil {
			return time.Time{}, bad
		}
		d += rest
	}
	if d < 0 {
		return time.Time{}, bad
	}
	return now.Add(-d), nil
}
