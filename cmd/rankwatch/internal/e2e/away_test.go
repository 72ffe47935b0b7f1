package e2e

import (
	"cmp"
	"fmt"
	"testing"
)

// external points a setup at a server of its own.
func (s *setup) external(url, stream, prefix string) *setup {
	s.env["RANKWATCH_NATS_URL"], s.env["RANKWATCH_STREAM"], s.env["RANKWATCH_SUBJECT_PREFIX"] = url, stream, prefix
	return s
}

// An installation is one worker on a shared bus with all that watches it.
type installation struct {
	stream, prefix string
	source         *api
	setup          *setup
	worker         *worker
	observer       *observer
	watch          *watch
}

// markerCategory is where a second watchlist reads, which tells by its reading
// that a changed file is in force.
const markerCategory = 20

func install(t *testing.T, b *bus, stream, prefix string, lists []reading, r rules) *installation {
	t.Helper()
	in := &installation{stream: stream, prefix: prefix, source: newAPI(t)}
	f := in.source.feed("US", 1, r.depth())
	for _, l := range lists {
		f.add(l)
	}
	in.source.feed("US", markerCategory, 100).add(lists[0])
	in.setup = newSetup(t, in.source.URL, file(entry("list", "US", 1, r), entry("marker", "US", markerCategory, r))).external(b.url(), stream, prefix)
	in.watch = &watch{name: "list", feed: f, oracle: newOracle(r), checker: newChecker(prefix, "list", "US")}
	return in
}

func (in *installation) start(t *testing.T, b *bus) {
	t.Helper()
	in.worker = in.setup.start(t)
	in.observer = observe(t, b.url(), in.stream, in.prefix)
	in.watch.got = in.observer.messages("list")
	in.source.open()
}

// Two installations on one server, each under its own prefix and stream, hear
// only themselves.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	b := newBus(t, nil)
	one := install(t, b, "ONE", "one", lively(31, 6, 130), defaultRules(80))
	two := install(t, b, "TWO", "two", lively(32, 6, 130), defaultRules(80))
	one.start(t, b)
	two.start(t, b)
	done := make(chan error, 2)
	for _, in := range []*installation{one, two} {
		go func() { done <- in.watch.run() }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, in := range []*installation{one, two} {
		in.observer.agree(t)
		in.worker.stop(t)
	}
}

// The bus goes away; meanwhile lists, region, rules, top and the watchlist
// itself change. Once it is back all readings arrive in order, of two
// installations that share the server.
func TestBusAway(t *testing.T) {
	t.Parallel()
	b := newBus(t, nil)
	lists := lively(33, 14, 130)
	r := defaultRules(60)
	one := install(t, b, "ONE", "one", lists, r)
	two := install(t, b, "TWO", "two", lively(34, 10, 130), r)
	one.start(t, b)
	two.start(t, b)
	if err := one.watch.show(0); err != nil {
		t.Fatal(err)
	}
	if err := two.watch.show(0); err != nil {
		t.Fatal(err)
	}
	b.stop()
	a := &absence{t: t, in: one, lists: lists, rules: r}
	a.spend()
	var others []want
	for n := 1; n < 10; n++ {
		others = append(others, collect(t, two.watch, n)...)
	}
	b.start(t)

	one.watch.checker.exact = false
	if err := one.watch.expect(a.before); err != nil {
		t.Error(err)
	}
	one.watch.checker.region = "GB"
	if err := one.watch.expect(a.after); err != nil {
		t.Error(err)
	}
	if err := one.watch.resume(a.rules); err != nil {
		t.Fatal(err)
	}
	if err := one.watch.expect(one.watch.oracle.step(one.watch.feed.list(a.last))); err != nil {
		t.Error(err)
	}
	if err := two.watch.expect(others); err != nil {
		t.Error(err)
	}
	for _, in := range []*installation{one, two} {
		if err := in.watch.rest(); err != nil {
			t.Error(err)
		}
		in.coreSubset(t)
		in.worker.stop(t)
	}
}

// collect shows list n and returns what is to come of it, later. It waits for
// a second scan of it: a scan that was served may still be dropped by a change
// of the file, one that another has followed is committed.
func collect(t *testing.T, w *watch, n int) []want {
	t.Helper()
	var out []want
	w.feed.set(n)
	for scans := 0; scans < 2; {
		served, err := w.scan()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, w.oracle.step(w.feed.list(served))...)
		if served == n {
			scans++
		}
	}
	return out
}

// An absence is what happens to a watchlist while the bus is away.
type absence struct {
	t             *testing.T
	in            *installation
	lists         []reading
	rules         rules
	before, after []want // the change of region
	last          int
}

func (a *absence) spend() {
	w, s, t := a.in.watch, a.in.setup, a.t
	for n := 1; n < 5; n++ {
		a.before = append(a.before, collect(t, w, n)...)
	}
	gb := a.in.source.feed("GB", 1, 100)
	for _, l := range a.lists {
		gb.add(in("GB", l))
	}
	category := markerCategory
	reload := func(entries ...string) {
		// A changed filter is read at once: then the file is in force.
		category++
		f := a.in.source.feed("US", category, 100)
		f.add(a.lists[0])
		s.write(t, file(append(entries, entry("marker", "US", category, a.rules))...))
		if _, err := (&watch{name: "marker", feed: f}).scan(); err != nil {
			t.Fatal(err)
		}
	}
	w.oracle.configure(a.rules, "config")
	w.feed = gb
	gb.set(5)
	reload(entry("list", "GB", 1, a.rules))
	for n := 5; n < 8; n++ {
		a.after = append(a.after, collect(t, w, n)...)
	}
	a.rules.minPlaces, a.rules.minChange = 2, 2
	reload(entry("list", "GB", 1, a.rules))
	w.oracle.configure(a.rules, "")
	for n := 8; n < 11; n++ {
		a.after = append(a.after, collect(t, w, n)...)
	}
	reload()    // removed, its outbox is not empty
	a.last = 12 // 11 differs from 10 only in figures
	gb.set(a.last)
	reload(entry("list", "GB", 1, a.rules))
	if err := cmp.Or(w.first(a.last), w.first(a.last)); err != nil {
		t.Fatal(err)
	}
}

// coreSubset checks that a core subscriber whose server was away saw nothing
// that is not stored, nothing twice, and all of it in order.
func (in *installation) coreSubset(t *testing.T) {
	t.Helper()
	o := in.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := subset(o.core, o.stored); err != nil {
		t.Error(err)
	}
}

func subset(core, stored []sent) error {
	i := 0
	for _, m := range core {
		for i < len(stored) && same([]sent{m}, stored[i:i+1]) != nil {
			i++
		}
		if i == len(stored) {
			return fmt.Errorf("a core subscriber saw %s, which is not stored after what it saw before", m.subject)
		}
		i++
	}
	return nil
}
