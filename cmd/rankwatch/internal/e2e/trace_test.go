package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// traced makes a worker send its spans to the collector, soon.
func (s *setup) traced(c *collection) {
	s.env["RANKWATCH_OTLP_ENDPOINT"] = c.url
	s.env["OTEL_BSP_SCHEDULE_DELAY"] = "50"
}

// Each reading is one trace, from its calls to its publishing, and all that it
// publishes carries it. History reads, proves and repeats such messages.
func TestReadingsAreTraced(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	b := newBus(t, nil)
	in := install(t, b, "RANKWATCH", "rankwatch", evolve(71, 5, 190, 200, 0, 0), defaultRules(180))
	in.setup.traced(c)
	in.start(t, b)
	if err := in.watch.run(); err != nil {
		t.Fatal(err)
	}
	in.observer.agree(t)
	in.worker.stop(t) // which exports the last ones

	traces := c.traces(t)
	stored := history(t, in.observer.nc, in.stream, in.prefix)
	readings := map[string]bool{}
	for _, m := range stored {
		d, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if !readings[m.trace] {
			readings[m.trace] = true
			checkTrace(t, traces, m, d)
		}
	}
	for _, h := range heads(t, in, "list", "marker") {
		if !readings[h] {
			t.Errorf("a head carries %q, which no board does", h)
		}
	}
	if len(readings) < 6 {
		t.Errorf("only %d readings were compared", len(readings))
	}
	for id, spans := range traces {
		if roots := named(spans, "reading", ""); len(roots) != 1 {
			t.Errorf("trace %s has %d roots: %v", id, len(roots), spans)
		}
	}
	if !c.services["service.name=rankwatch service.version=devel "] {
		t.Errorf("services are %v", c.services)
	}
	in.setup.proven(t, "traced", stored)
	in.setup.verb(t, nil, "replay", "--publish", "again").want(t, 0, "replay --publish")
}

// checkTrace holds the trace of a reading against one of its messages.
func checkTrace(t *testing.T, traces map[string][]span, m sent, d message) {
	t.Helper()
	parts := strings.Split(m.trace, "-")
	if len(parts) != 4 {
		t.Errorf("%s carries trace %q", m.subject, m.trace)
		return
	}
	spans := traces[parts[1]]
	var told []string
	tell := func(indent string, of []span, attributes ...string) {
		for _, s := range of {
			line := indent + s.name
			for _, a := range attributes {
				line += " " + s.attributes[a]
			}
			told = append(told, line)
		}
	}
	tree := func(name, parent string) span {
		found := named(spans, name, parent)
		if len(found) != 1 {
			t.Errorf("%s: %d spans %s below %q in %v", m.subject, len(found), name, parent, spans)
			return span{}
		}
		return found[0]
	}
	root := tree("reading", "")
	scan := tree("scan", root.id)
	commit := tree("commit", root.id)
	publish := tree("publish", commit.id)
	if commit.header() != m.trace {
		t.Errorf("%s carries %s, its commit is %s", m.subject, m.trace, commit.header())
	}
	tell("", []span{root}, "watchlists", "revision")
	calls := named(spans, "call", scan.id)
	tell("  ", calls, "page", "attempt", "outcome", "http.response.status_code")
	tell("  ", []span{commit}, "watchlist", "revision")
	tell("    ", []span{publish}, "watchlist", "kind", "revision")
	name, revision := d.Data.Watchlist, d.Data.Revision
	wanted := []string{fmt.Sprintf("reading %s %d", name, revision)}
	for _, p := range []int{1, 2, 1} {
		wanted = append(wanted, fmt.Sprintf("  call %d 1 ok 200", p))
	}
	wanted = append(wanted, fmt.Sprintf("  commit %s %d", name, revision), fmt.Sprintf("    publish %s board %d", name, revision))
	if fmt.Sprint(told) != fmt.Sprint(wanted) {
		t.Errorf("%s: trace is\n%s\nwant\n%s", m.subject, strings.Join(told, "\n"), strings.Join(wanted, "\n"))
	}
	if publish.kind != tracepb.Span_SPAN_KIND_PRODUCER || len(calls) > 0 && calls[0].kind != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("%s: the kinds are %v and %v", m.subject, publish.kind, calls[0].kind)
	}
	if root.attributes["events"] != commit.attributes["events"] || root.attributes["outcome"] != commit.attributes["outcome"] {
		t.Errorf("%s: root %v, commit %v", m.subject, root, commit)
	}
	if len(spans) != 4+len(calls) {
		t.Errorf("%s: more spans than these: %v", m.subject, spans)
	}
}

// heads are the traces of the watchlists' heads.
func heads(t *testing.T, in *installation, watchlists ...string) []string {
	t.Helper()
	js, err := jetstream.New(in.observer.nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), in.stream)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range watchlists {
		m, err := s.GetLastMsgForSubject(t.Context(), "_rw."+in.prefix+".head."+name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, traceOf(m.Header))
	}
	return out
}

// What was committed before a kill, while the bus was away, is published by the
// next process in the trace that it came about in.
func TestTraceSurvivesAKill(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	b := newBus(t, nil)
	in := install(t, b, "RANKWATCH", "rankwatch", lively(72, 4, 130), defaultRules(80))
	in.setup.traced(c)
	in.start(t, b)
	if err := in.watch.show(0); err != nil {
		t.Fatal(err)
	}
	b.stop()
	in.watch.feed.set(1)
	committed := c.await(t, "a commit without a bus", func(s span) bool {
		return s.name == "commit" && s.attributes["watchlist"] == "list" && s.attributes["revision"] == "2"
	})
	in.worker.kill(t)
	b.start(t)
	in.worker = in.setup.start(t)
	published := c.await(t, "its publishing", func(s span) bool {
		return s.name == "publish" && s.parent == committed.id && !s.failed
	})
	if published.trace != committed.trace {
		t.Errorf("published in trace %s, committed in %s", published.trace, committed.trace)
	}
	of := 0
	for _, m := range history(t, in.observer.nc, in.stream, in.prefix) {
		d, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if d.Data.Watchlist == "list" && d.Data.Revision == 2 {
			of++
			if m.trace != committed.header() {
				t.Errorf("%s carries %q, want %s", m.subject, m.trace, committed.header())
			}
		}
	}
	if of < 2 {
		t.Errorf("%d messages of that reading", of)
	}
	in.worker.stop(t)
}

// A worker that dies between the server's commit and its own record of it finds
// the batch delivered, with the trace that it had.
func TestTraceSurvivesALostAcknowledgement(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	v := newVictim(t, 73)
	v.setup.traced(c)
	v.setup.env["RANKWATCH_FAILPOINT"] = "after-commit:2"
	w := v.setup.start(t)
	if w.wait(t); !killed(w) {
		t.Fatal("the failpoint did not kill the worker")
	}
	delete(v.setup.env, "RANKWATCH_FAILPOINT")
	w = v.setup.start(t)
	o := observe(t, w.listening(t), "RANKWATCH", "rankwatch")
	v.settle(o)
	stored := history(t, o.nc, "RANKWATCH", "rankwatch")
	of := map[string]string{} // reading → trace
	for _, m := range stored {
		d, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		reading := fmt.Sprint(d.Data.Watchlist, " ", d.Data.Revision)
		if was, known := of[reading]; m.trace == "" || known && was != m.trace {
			t.Errorf("%s of %s carries %q, others %q", m.subject, reading, m.trace, was)
		}
		of[reading] = m.trace
	}
	t.Log(strings.TrimSpace(v.setup.does(t, 0, "backup", "copy")))
	w.stop(t)
	again := v.setup.in("again")
	t.Log(strings.TrimSpace(again.does(t, 0, "restore", "copy")))
	w = again.start(t)
	back := history(t, connect(t, w.listening(t)), "RANKWATCH", "rankwatch")
	if len(back) < len(stored) || !slices.EqualFunc(back[:len(stored)], stored, func(a, b sent) bool { return a.trace == b.trace && a.subject == b.subject }) {
		t.Error("the traces did not come back from the backup")
	}
	w.stop(t)
	v.judge(stored)
}

// Without a collector nothing of traces is sent or stored.
func TestWithoutACollectorThereAreNoTraces(t *testing.T) {
	t.Parallel()
	b := newBus(t, nil)
	in := install(t, b, "RANKWATCH", "rankwatch", lively(74, 3, 130), defaultRules(80))
	in.start(t, b)
	if err := in.watch.run(); err != nil {
		t.Fatal(err)
	}
	in.observer.agree(t)
	in.worker.stop(t)
	stored := history(t, in.observer.nc, in.stream, in.prefix)
	for _, m := range stored {
		if m.trace != "" {
			t.Errorf("%s carries trace %q", m.subject, m.trace)
		}
	}
	if h := heads(t, in, "list"); h[0] != "" {
		t.Errorf("a head carries trace %q", h[0])
	}
	db, err := state.OpenReadOnly(filepath.Join(in.setup.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	kept, err := db.Kept(event.Chain{Watchlist: "list", Kind: event.Board})
	if err != nil || len(kept) == 0 {
		t.Fatalf("%d batches are kept, %v", len(kept), err)
	}
	for _, i := range kept {
		if b, err := db.Batch(i.Order); err != nil || b.TraceParent != "" {
			t.Errorf("batch %d has trace %q, %v", i.Order, b.TraceParent, err)
		}
	}
}

// A collector that is not there, and headers that nobody understands, disturb
// nothing and are said once, without the secret in them.
func TestUnreachableCollectorDisturbsNothing(t *testing.T) {
	t.Parallel()
	b := newBus(t, nil)
	in := install(t, b, "RANKWATCH", "rankwatch", lively(75, 4, 130), defaultRules(80))
	const secret = "s3cret-of-the-collector"
	in.setup.env["RANKWATCH_OTLP_ENDPOINT"] = "http://" + free(t)
	in.setup.env["OTEL_BSP_SCHEDULE_DELAY"] = "50"
	in.setup.env["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=Bearer%20" + secret + "," + secret + ",a=%zz" + secret
	in.start(t, b)
	if err := in.watch.run(); err != nil {
		t.Error(err)
	}
	in.observer.agree(t)
	in.worker.stop(t)
	out := in.worker.logged.tail(1 << 30)
	if n := strings.Count(out, "traces not exported"); n != 1 {
		t.Errorf("said %d times that traces are not exported", n)
	}
	if strings.Contains(out, secret) {
		t.Error("the collector's secret is in the log")
	}
}
