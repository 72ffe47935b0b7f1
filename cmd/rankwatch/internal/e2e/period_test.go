package e2e

import (
	"cmp"
	"fmt"
	"testing"
	"time"
)

// `latest` goes to a new period as soon as it is published: as a comparison
// with the old one, or as a new baseline.
func TestRollover(t *testing.T) {
	t.Parallel()
	day := func(back int) period {
		return period{Type: "day", Value: time.Now().UTC().AddDate(0, 0, -back).Format(time.DateOnly)}
	}
	lists := func() []reading {
		out := lively(11, 5, 130)
		for i, p := range []period{day(6), day(6), day(5), day(5), day(4)} {
			out[i].period = p
		}
		return out
	}
	reset := defaultRules(80)
	reset.reset = true
	latest := "period: {type: day, value: latest}"
	lockstep(t, []plan{
		{name: "compare", rules: defaultRules(80), lists: lists(), extra: []string{latest}},
		{name: "reset", rules: reset, lists: lists(), extra: []string{latest}},
	})
}

// A reading that loses more than half of the members waits for a second one;
// a blip leaves no trace but a status.
func TestGuard(t *testing.T) {
	t.Parallel()
	source := newAPI(t)
	r := defaultRules(80)
	f := source.feed("US", 1, r.depth())
	full := lively(5, 1, 130)[0]
	few := full
	few.rows = full.rows[60:100]
	few.total = len(few.rows)
	other := full
	other.rows = full.rows[:99]
	other.total = len(other.rows)
	for _, l := range []reading{full, few, full, few, other} {
		f.add(l)
	}
	s := newSetup(t, source.URL, file(entry("guarded", "US", 1, r, "guard: {max_loss: 0.5, confirm: 2}")))
	worker := s.start(t)
	o := observe(t, worker.listening(t), "RANKWATCH", "rankwatch")
	w := &watch{name: "guarded", feed: f, oracle: newOracle(r), checker: newChecker("rankwatch", "guarded", "US"), got: o.messages("guarded")}
	w.checker.exact = false
	source.open()
	if err := w.show(0); err != nil {
		t.Fatal(err)
	}
	waits := func(n int) {
		f.set(n)
		if err := w.first(n); err != nil {
			t.Fatal(err)
		}
	}
	waits(1)
	awaitStatus(t, o.statuses("guarded"), "waiting")
	if err := cmp.Or(w.show(1), w.show(2)); err != nil {
		t.Fatal(err)
	}
	waits(3)
	// If another scan of list 3 slipped in, it is the second one and counts.
	if err := w.show(4); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, o.statuses("guarded"), "waiting")
	if err := w.rest(); err != nil {
		t.Error(err)
	}
	o.agree(t)
	worker.stop(t)
}

// first waits for the first scan of list n, whose reading publishes nothing.
func (w *watch) first(n int) error {
	for {
		served, err := w.scan()
		if err != nil || served == n {
			return err
		}
	}
}

// awaitStatus returns the next status message of the given kind; others may
// come before it.
func awaitStatus(t *testing.T, c chan sent, status string) message {
	t.Helper()
	var seen []string
	for {
		m, err := next(c)
		if err != nil {
			t.Fatalf("status %s: %v; before it came %v", status, err, seen)
		}
		d, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if d.Data.Status == status {
			checkStatus(t, m, d)
			return d
		}
		seen = append(seen, d.Data.Status)
	}
}

func checkStatus(t *testing.T, s sent, m message) {
	t.Helper()
	var d differences
	d.field("type", m.Type, "rankwatch.status")
	d.field("dataschema", m.DataSchema, "rankwatch/v1/status")
	d.field("specversion", m.SpecVersion, "1.0")
	d.field("id", m.ID, fmt.Sprintf("%s/status/%s/%s", m.Data.Watchlist, m.Data.Status, m.Data.Since))
	d.field("content type", s.kind, "application/cloudevents+json")
	if _, err := time.Parse(time.RFC3339Nano, m.Data.Since); err != nil {
		d.add("since: %v", err)
	}
	if m.Data.Reason == nil || *m.Data.Reason == "" {
		d.add("a status without a reason")
	}
	for _, err := range d {
		t.Error(err)
	}
}
