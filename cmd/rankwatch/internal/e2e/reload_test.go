package e2e

import (
	"testing"
)

// A watchlist's settings change while the worker runs, told by SIGHUP or seen
// in the file; a bad file changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	source := newAPI(t)
	us, gb, marker := source.feed("US", 1, 100), source.feed("GB", 1, 100), source.feed("US", 9, 100)
	lists := lively(21, 9, 130)
	for _, l := range lists {
		us.add(l)
		gb.add(in("GB", l))
	}
	marker.add(lists[0])
	r := defaultRules(60)
	s := newSetup(t, source.URL, file(entry("list", "US", 1, r)))
	worker := s.start(t)
	o := observe(t, worker.listening(t), "RANKWATCH", "rankwatch")
	w := &watch{name: "list", feed: us, oracle: newOracle(r), checker: newChecker("rankwatch", "list", "US"), got: o.messages("list")}
	w.checker.exact = false
	source.open()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.show(0))
	must(w.show(1))

	// Region, by SIGHUP: a new baseline under the new subject, counted on.
	s.write(t, file(entry("list", "GB", 1, r)))
	worker.hup(t)
	w.feed, w.checker.region = gb, "GB"
	w.oracle.configure(r, "config")
	must(w.show(2))
	must(w.show(3))

	// Top, by replacing the file alone.
	r.top = 80
	s.write(t, file(entry("list", "GB", 1, r)))
	w.oracle.configure(r, "config")
	must(w.expect(w.oracle.step(gb.list(3))))
	must(w.show(4))

	// Rules: no baseline. The second watchlist tells when they are in force.
	r.minPlaces = 3
	s.write(t, file(entry("list", "GB", 1, r), entry("marker", "US", 9, r)))
	_, err := next(o.messages("marker"))
	must(err)
	w.oracle.configure(r, "")
	must(w.show(5))

	s.write(t, "watchlists:\n  - name: list\n    colour: red\n")
	worker.hup(t)
	must(worker.say("colour"))
	must(w.show(6))

	// Removed, and added again.
	s.write(t, file(entry("marker", "US", 9, r)))
	if m := awaitStatus(t, o.statuses("list"), "retired"); m.Data.Region != "GB" {
		t.Errorf("retired in region %q", m.Data.Region)
	}
	gb.set(8) // 7 differs from 6 only in figures
	s.write(t, file(entry("list", "GB", 1, r), entry("marker", "US", 9, r)))
	must(w.first(8))
	must(w.resume(r))
	must(w.expect(w.oracle.step(gb.list(8))))
	must(w.rest())
	o.agree(t)
	worker.stop(t)
}

// resume takes up a watchlist that was removed and added again. Whether it
// starts with a baseline is open; that it goes on counting is not.
func (w *watch) resume(r rules) error {
	m, err := w.peek()
	if err != nil {
		return err
	}
	if m.Type == "rankwatch.board" && m.Data.Outcome == "baseline" && m.Data.Reason != nil {
		w.oracle.configure(r, *m.Data.Reason)
	}
	return nil
}

// in moves a list to another region.
func in(region string, r reading) reading {
	rows := make([]item, len(r.rows))
	for i, it := range r.rows {
		it.Region = ptr(region)
		rows[i] = it
	}
	r.rows = rows
	return r
}
