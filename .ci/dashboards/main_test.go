package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const metrics = "m_total\tcounter\tkind\tCounts.\nm_now\tgauge\t\tIs.\nm_seconds\thistogram\t\tTook.\n"

// What would show nothing, or nonsense, is found.
func TestMistakesInQueriesAreFound(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		`sum by (kind) (rate(m_total{job="x"}[$__rate_interval])) * $price`:              "",
		`histogram_quantile(.9, sum by (le) (rate(m_seconds_bucket{instance="x"}[5m])))`: "",
		`up == 0 or on (instance) m_now`:                                                 "",
		`m_totals`:                                                                       `no metric "m_totals"`,
		`m_seconds`:                                                                      `no metric "m_seconds"`,
		`{__name__="m_now"}`:                                                             `no metric ""`,
		`m_now{kind="x"}`:                                                                `no label "kind"`,
		`sum by (knid) (m_total)`:                                                        `grouped by "knid"`,
		`m_now / on (reason) m_now`:                                                      `grouped by "reason"`,
		`rate(m_now[5m])`:                                                                "rate of the gauge",
		`sum(`:                                                                           "parse error",
		`m_now{job=~"$job"} > $other`:                                                    "parse error",
	} {
		c, err := load(write(t, metrics))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range c.query(expr) {
			got = append(got, e.Error())
		}
		text := strings.Join(got, "; ")
		if (want == "") != (text == "") || !strings.Contains(text, want) {
			t.Errorf("%s: %q, want %q", expr, text, want)
		}
	}
}

func TestMetricsWithoutAQueryAreFound(t *testing.T) {
	t.Parallel()
	c, err := load(write(t, metrics))
	if err != nil {
		t.Fatal(err)
	}
	c.query("m_total + m_seconds_bucket")
	if left := c.forgotten(); len(left) != 1 || left[0].Error() != "m_now: no query uses it" {
		t.Error(left)
	}
}

func TestDashboardsWithoutQueriesAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"panels":[]}`: "no uid",
		`{"uid":"u","panels":[{"title":"T","type":"stat"}]}`:                    `panel "T" has no query`,
		`{"uid":"u","templating":{"list":[{"type":"query","definition":"m"}]}}`: "not label_values",
	} {
		if _, err := panels(write(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
