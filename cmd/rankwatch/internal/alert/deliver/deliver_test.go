package deliver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// world publishes readings and statuses of some watchlists, some without events.
func (b *bus) world(n int) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	revision := map[string]uint64{}
	for i := range n {
		list := []string{"us", "gb", "jp"}[rng.IntN(3)]
		if rng.IntN(5) == 0 {
			b.status(list, time.Now().Add(time.Duration(i)*time.Second))
			continue
		}
		revision[list]++
		var words []string
		for k := range rng.IntN(6) {
			words = append(words, fmt.Sprintf("entered:u%d", k))
		}
		b.reading(list, revision[list], words...)
		if len(words) == 0 {
			b.ids = b.ids[:len(b.ids)-1] // nothing to tell
		}
	}
}

func TestEveryReadingIsDeliveredOnceAndInOrder(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.world(60)
	to := newTarget()
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	b.world(40)
	b.settled("all")
	equal(t, "took", to.wait(t, len(b.ids)), b.ids)
	p.stop(t)
	// Another process goes on where it stopped.
	b.reading("us", 99, "dropped:u1")
	b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	b.settled("all")
	equal(t, "took", to.wait(t, len(b.ids)), b.ids)
}

func TestARouteTakesItsOwn(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	b.run(b.config(b.connect(), to,
		digest.Route{Name: "far", Match: digest.Match{Kinds: []event.Kind{event.Moved}, MinPlaces: 5}},
		digest.Route{Name: "gb", Match: digest.Match{Watchlists: []string{"gb"}}},
		digest.Route{Name: "g", Match: digest.Match{Watchlists: []string{"g*"}, Kinds: []event.Kind{event.Status}}},
		digest.Route{Name: "who", Match: digest.Match{UIDs: map[string]bool{"u7": true}}}))
	b.reading("us", 1, "moved:u1:4", "entered:u2")
	b.reading("us", 2, "moved:u1:5", "entered:u7")
	b.reading("gb", 1, "index:u1")
	b.status("gb", time.Unix(1, 0))
	b.settled("far", "gb", "g", "who")
	got := map[string][]string{}
	for _, m := range to.messages {
		got[m.Route] = append(got[m.Route], m.ID)
	}
	stale := "gb/status/stale/1970-01-01T00:00:01.000Z"
	equal(t, "far", got["far"], []string{"us/2"})
	equal(t, "gb", got["gb"], []string{"gb/1", stale})
	equal(t, "g", got["g"], []string{stale})
	equal(t, "who", got["who"], []string{"us/2"})
}

// Both halves of a fault: the target did not take the message, and took it but
// that was not heard. The latter repeats it under the same id.
func TestATargetThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	to.before = func(n int, _ *digest.Message) error {
		if n%5 == 1 {
			return errDown
		}
		if n%5 == 2 {
			return &digest.LaterError{After: time.Millisecond, Err: errDown}
		}
		return nil
	}
	to.after = func(n int, _ *digest.Message) error {
		if n%5 == 4 {
			return errDown
		}
		return nil
	}
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	b.world(40)
	b.settled("all")
	equal(t, "took, repeats left out", slices.Compact(to.wait(t, len(b.ids))), b.ids)
	if len(to.took) == len(b.ids) {
		t.Error("nothing was repeated")
	}
	if strings.Contains(p.log.String(), "level=ERROR") {
		t.Errorf("a target that stumbles is told as one that is down:\n%s", p.log)
	}
}

func TestARouteStandsStillAndSaysSoOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to, up := newTarget(), make(chan struct{})
	to.before = func(int, *digest.Message) error {
		select {
		case <-up:
			return nil
		default:
			return errDown
		}
	}
	other := newTarget()
	c := b.config(b.connect(), to, digest.Route{Name: "all"}, digest.Route{Name: "other"})
	c.Targets["other"], c.Routes[1].Target = other, "other"
	p := b.run(c)
	b.world(10)
	b.settled("other")
	equal(t, "another route", other.wait(t, len(b.ids)), b.ids)
	p.log.wait(t, "stands still")
	close(up)
	b.settled("all")
	equal(t, "took", to.wait(t, len(b.ids)), b.ids)
	if n := strings.Count(p.log.String(), "stands still"); n != 1 {
		t.Errorf("told %d times:\n%s", n, p.log)
	}
	p.log.wait(t, "takes messages again")
}

func TestARefusedMessageIsParkedOnceAndTheRouteGoesOn(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	to.before = func(_ int, m *digest.Message) error {
		if m.ID == "us/2" {
			return refuse("too_large")
		}
		return nil
	}
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	for i := range uint64(3) {
		b.reading("us", i+1, "entered:u1", "dropped:u2")
	}
	b.settled("all")
	equal(t, "took", to.wait(t, 2), []string{"us/1", "us/3"})
	records := must(p.parked.List(t.Context()))
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	r := records[0]
	if r.Message != "us/2" || r.Reason != "too_large" || r.Route != "all" || r.Target != "t" || r.Attempts != 1 || r.Detail == "" ||
		len(r.Items) != 1 || r.Items[0] != (ParkedItem{ID: "us/2", Watchlist: "us", Revision: 2, Sequence: 6}) {
		t.Errorf("the record: %+v", r)
	}
	// A crash between the record and the mark parks it again.
	again := r
	if stored := must(p.parked.put(t.Context(), p.cfg.Reader.Stream().Created, &again)); stored || again.ID != r.ID {
		t.Errorf("parked twice, as %s and %s", r.ID, again.ID)
	}
	if n := len(must(p.parked.List(t.Context()))); n != 1 {
		t.Errorf("%d records", n)
	}
	if n := strings.Count(p.log.String(), "message parked"); n != 1 {
		t.Errorf("told %d times:\n%s", n, p.log)
	}
	m, expired, err := r.Remake(t.Context(), p.cfg.Reader, &p.cfg.Routes[0])
	if err != nil || len(expired) > 0 || m.ID != "us/2" || len(m.Sections[0].Shown) != 2 {
		t.Errorf("made again: %+v, %q, %v", m, expired, err)
	}
	s := must(b.js.Stream(t.Context(), "RANKWATCH"))
	if err := s.DeleteMsg(t.Context(), 5); err != nil { // an event of it
		t.Fatal(err)
	}
	if m, expired, err := r.Remake(t.Context(), p.cfg.Reader, &p.cfg.Routes[0]); err != nil || m != nil || !slices.Equal(expired, []string{"us/2"}) {
		t.Errorf("of a reading that is not whole: %+v, %q, %v", m, expired, err)
	}
	if err := p.parked.Remove(t.Context(), &r); err != nil || len(must(p.parked.List(t.Context()))) != 0 {
		t.Errorf("remove: %v", err)
	}
}

func TestAMessageIsParkedAfterTryingForTooLong(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	to.before = func(_ int, m *digest.Message) error {
		if m.ID == "us/1" {
			return errDown
		}
		return nil
	}
	c := b.config(b.connect(), to, digest.Route{Name: "all"})
	c.RetryFor = 50 * time.Millisecond
	p := b.run(c)
	b.reading("us", 1, "entered:u1")
	b.reading("us", 2, "entered:u1")
	equal(t, "took", to.wait(t, 1), []string{"us/2"})
	r := must(p.parked.List(t.Context()))
	if len(r) != 1 || r[0].Reason != ReasonTooLong || r[0].Attempts < 2 || r[0].LastTry.Before(r[0].FirstTry) {
		t.Errorf("records: %+v", r)
	}
}

// What a person has to mend parks nothing, however long it takes, and is told at
// once.
func TestABlockedTargetParksNothing(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	to.before = func(n int, _ *digest.Message) error {
		if n <= 4 {
			return &digest.LaterError{After: 40 * time.Millisecond, Blocked: true, Err: errDown}
		}
		return nil
	}
	c := b.config(b.connect(), to, digest.Route{Name: "all"})
	c.RetryFor = 50 * time.Millisecond
	p := b.run(c)
	b.reading("us", 1, "entered:u1")
	equal(t, "took", to.wait(t, 1), []string{"us/1"})
	if r := must(p.parked.List(t.Context())); len(r) != 0 {
		t.Errorf("records: %+v", r)
	}
	if log := p.log.String(); strings.Count(log, "stands still") != 1 || !strings.Contains(log, "attempt=1") {
		t.Errorf("told otherwise than once and at once:\n%s", log)
	}
}

func TestAnUnreadableMessageIsParked(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	b.put(event.Message{Subject: "rankwatch.US.us.board", Data: []byte(`{"id":"us/1/board","data":7}`)})
	b.reading("us", 2, "entered:u1")
	equal(t, "took", to.wait(t, 1), []string{"us/2"})
	if r := must(p.parked.List(t.Context())); len(r) != 1 || r[0].Reason != ReasonUnreadable || r[0].Items[0].Sequence != 1 {
		t.Errorf("records: %+v", r)
	}
}

func TestAWindowBecomesOneMessage(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	route := digest.Route{Name: "all", Digest: 2 * time.Second}
	b.reading("us", 1, "entered:u1")
	b.reading("gb", 1, "entered:u1", "entered:u2")
	b.reading("us", 2)
	b.status("us", time.Unix(1, 0))
	p := b.run(b.config(b.connect(), to, route))
	stale := "us/status/stale/1970-01-01T00:00:01.000Z"
	equal(t, "took", to.wait(t, 1), []string{"us/1.." + stale})
	b.settled("all")
	if m := to.messages[0]; len(m.Sections) != 2 || len(m.Notices) != 1 || m.Sections[1].Reading.ID != "gb/1" {
		t.Errorf("the message: %+v", m)
	}
	p.stop(t)
	// What waited longer than its window makes the same messages as in time.
	late := newTarget()
	c := b.config(b.connect(), late, route)
	c.Name = "late"
	b.run(c)
	equal(t, "took late", late.wait(t, 1), []string{"us/1.." + stale})
}

func TestACooldownIsSpentOnDeliveryOnly(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	to.before = func(_ int, m *digest.Message) error {
		if m.ID == "us/1" {
			return refuse("no")
		}
		return nil
	}
	route := digest.Route{Name: "all", Cooldown: time.Hour}
	p := b.run(b.config(b.connect(), to, route))
	b.reading("us", 1, "entered:u1")
	b.reading("us", 2, "entered:u1", "entered:u2")
	b.reading("us", 3, "entered:u1")
	b.reading("us", 4, "entered:u1", "dropped:u1")
	b.settled("all")
	equal(t, "took", to.wait(t, 2), []string{"us/2", "us/4"})
	if s := to.messages[1].Sections[0]; len(s.Shown) != 1 || s.Shown[0].Kind != event.Dropped {
		t.Errorf("told again in the cooldown: %+v", s.Shown)
	}
	p.stop(t)
	b.reading("us", 5, "entered:u2")
	b.reading("us", 6, "entered:u3")
	b.run(b.config(b.connect(), to, route))
	b.settled("all")
	equal(t, "took after a restart", to.wait(t, 3), []string{"us/2", "us/4", "us/6"})
}

// Quiet hours hold back what is due in them, also what has waited since before.
func TestQuietHoursHoldBack(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 3600)
	r := route{Route: &digest.Route{Digest: time.Hour, Quiet: &digest.Quiet{From: 22 * 60, To: 7 * 60, Zone: zone}}}
	at := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 0, 0, 0, zone) }
	for _, tt := range []struct{ stored, now, want time.Time }{
		{at(1, 12), at(1, 12), at(1, 13)},
		{at(1, 21), at(1, 21), at(2, 7)},
		{at(1, 23), at(1, 23), at(2, 7)},
		{at(1, 6), at(1, 6), at(1, 7)},
		{at(1, 12), at(1, 23), at(2, 7)}, // nobody was there to deliver it in time
		{at(1, 12), at(3, 12), at(1, 13)},
	} {
		if got := r.due(tt.stored, tt.now); !got.Equal(tt.want) {
			t.Errorf("stored %s, now %s: due %s, want %s", tt.stored, tt.now, got, tt.want)
		}
	}
}

func TestNewRoutesBeginNow(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.world(10)
	to := newTarget()
	c := b.config(b.connect(), to, digest.Route{Name: "all"})
	c.From = Start{}
	b.run(c)
	b.reading("new", 1, "entered:u1")
	equal(t, "took", to.wait(t, 1), []string{"new/1"})
}

// A route's subjects begin at different times in the stream: those that were
// there before the start, and those that came later.
func TestARouteFromATimeOnMissesNothing(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for n := range uint64(5) {
		b.reading("us", n+1, "entered:u1")
	}
	m := must(must(b.js.Stream(t.Context(), "RANKWATCH")).GetLastMsgForSubject(t.Context(), "rankwatch.US.us.board"))
	for n := range uint64(5) {
		b.reading("us", n+6, "entered:u1")
	}
	b.status("us", time.Now())
	b.reading("gb", 1, "entered:u1")
	b.reading("us", 11, "entered:u1")
	to := newTarget()
	c := b.config(b.connect(), to, digest.Route{Name: "all"})
	c.From = Start{At: m.Time}
	b.run(c)
	equal(t, "took", to.wait(t, 9), b.ids[4:])
}

func TestFiltersAreAsNarrowAsTheMatchAllows(t *testing.T) {
	t.Parallel()
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprintf("w%d", i)
	}
	for want, m := range map[string]digest.Match{
		"p.*.*.board p.*.*.status": {},
		"p.*.*.status":             {Kinds: []event.Kind{event.Status}},
		"p.*.*.board":              {Kinds: []event.Kind{event.Moved}, Watchlists: []string{"us-*"}},
		"p.US.*.board p.US.*.status p.all._token.status":     {Regions: []string{"US"}},
		"p.*.us.board p.*.us.status p.all._token.status":     {Watchlists: []string{"us", "us"}},
		"p.all.*.board p.all.*.status":                       {Regions: []string{"all"}},
		"p.all.us.board p.all.us.status p.all._token.status": {Regions: []string{"all"}, Watchlists: []string{"us"}},
		"p.US.*.board p.US.*.status p.all._token.status ":    {Regions: []string{"US"}, Watchlists: many},
		"p.GB.us.board p.US.us.board":                        {Regions: []string{"US", "GB"}, Watchlists: []string{"us"}, Kinds: []event.Kind{event.Entered}},
		"p.*._token.status":                                  {Watchlists: []string{"_token"}, Kinds: []event.Kind{event.Status}},
	} {
		if got := strings.Join(Filters("p", &m), " "); got != strings.TrimSpace(want) {
			t.Errorf("%+v: got %s, want %s", m, got, want)
		}
	}
}

func TestAConsumerFollowsItsRoute(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	to := newTarget()
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "all", Match: digest.Match{Watchlists: []string{"gb"}}}))
	b.reading("us", 1, "entered:u1")
	b.reading("gb", 1, "entered:u1")
	b.settled("all")
	p.stop(t)
	b.reading("us", 2, "entered:u1")
	p = b.run(b.config(b.connect(), to, digest.Route{Name: "all"}))
	b.settled("all")
	equal(t, "took", to.wait(t, 2), []string{"gb/1", "us/2"})
	// Removed by hand while it runs: it begins again after what was delivered.
	if err := b.js.DeleteConsumer(t.Context(), "RANKWATCH", "alert-test-all"); err != nil {
		t.Fatal(err)
	}
	b.reading("us", 3, "entered:u1")
	equal(t, "took", to.wait(t, 3), []string{"gb/1", "us/2", "us/3"})
	p.stop(t)
	var bad *SetupError
	c := b.config(b.connect(), to, digest.Route{Name: "b-c"})
	must(b.js.CreateConsumer(t.Context(), "RANKWATCH", jetstream.ConsumerConfig{Durable: "alert-test-b-c"}))
	if _, err := Open(t.Context(), withLog(c)); !errors.As(err, &bad) || !strings.Contains(err.Error(), "nats consumer rm RANKWATCH alert-test-b-c") {
		t.Errorf("a consumer of somebody else: %v", err)
	}
	c = b.config(b.connect(), to, digest.Route{Name: "all"}, digest.Route{Name: "x"})
	c.Name, c.Routes[0].Name, c.Routes[1].Target = "test-all", "x", "none"
	b.run(b.config(b.connect(), to, digest.Route{Name: "all-x"}))
	if _, err := Open(t.Context(), withLog(c)); err == nil || !strings.Contains(err.Error(), "route all-x of configuration test") || !strings.Contains(err.Error(), `no target "none"`) {
		t.Errorf("two mistakes: %v", err)
	}
}

// What is read ahead is what a look-up of each reading finds, also where a reading
// is not whole, or in parts with another's between them.
func TestABacklogIsDeliveredAsIfItCameOneByOne(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	want := map[string]int{}
	for i := range uint64(60) {
		words := []string{"moved:u1:7", "moved:u2:2", "entered:u3", "index:u4"}[:i%5]
		b.reading("us", i+1, words...)
		want[fmt.Sprintf("us/%d", i+1)] = []int{0, 1, 1, 2, 2}[i%5]
		if i%7 == 0 {
			b.status("us", time.Unix(int64(i), 0))
		}
	}
	// Two events of another list's reading, between which one of us comes whole.
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "gb"}
	for i := range 2 {
		c := event.Change{Watchlist: "gb", Reading: "GB", Creator: event.Creator{UID: fmt.Sprint(i)}}
		b.put(must(o.Change(event.Entered, "gb/1", time.Now(), &c)))
		b.reading("us", uint64(61+i), "entered:u1")
		want[fmt.Sprintf("us/%d", 61+i)] = 1
	}
	b.put(must(o.Board("gb/1", time.Now(), &event.Snapshot{Watchlist: "gb", Reading: "GB", Counts: event.Counts{Entered: 2}})))
	want["gb/1"] = 2
	s := must(b.js.Stream(t.Context(), "RANKWATCH"))
	lost := must(s.GetLastMsgForSubject(t.Context(), "rankwatch.US.us.index.u4"))
	if err := s.DeleteMsg(t.Context(), lost.Sequence); err != nil {
		t.Fatal(err)
	}
	delete(want, "us/60")
	to := newTarget()
	p := b.run(b.config(b.connect(), to, digest.Route{Name: "far", Match: digest.Match{
		Kinds: []event.Kind{event.Entered, event.Moved}, MinPlaces: 5,
	}}))
	b.settled("far")
	got := map[string]int{}
	for _, m := range to.messages {
		got[m.ID] += m.Sections[0].Changes()
	}
	for id, n := range want {
		if got[id] != n {
			t.Errorf("%s: told %d changes, want %d", id, got[id], n)
		}
	}
	if n := strings.Count(p.log.String(), "past the retention"); n != 1 || !strings.Contains(p.log.String(), "us/60") || got["us/60"] != 0 {
		t.Errorf("of a reading that is not whole:\n%s", p.log)
	}
	if to.took[len(to.took)-1] != "gb/1" {
		t.Errorf("out of order: %q", to.took)
	}
}

// A route's first message is not taken yet when somebody removes its consumer:
// what came since the route began is not skipped.
func TestAConsumerRemovedEarlyLosesNothing(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.reading("us", 1, "entered:u1")
	to := newTarget()
	to.before = func(int, *digest.Message) error { return errDown }
	c := b.config(b.connect(), to, digest.Route{Name: "all"})
	c.From = Start{}
	p := b.run(c)
	b.reading("us", 2, "entered:u2")
	p.log.wait(t, "stands still")
	p.stop(t)
	if err := b.js.DeleteConsumer(t.Context(), "RANKWATCH", "alert-test-all"); err != nil {
		t.Fatal(err)
	}
	b.reading("us", 3, "entered:u3")
	again := newTarget()
	c = b.config(b.connect(), again, digest.Route{Name: "all"})
	c.From = Start{}
	b.run(c)
	equal(t, "took", again.wait(t, 2), []string{"us/2", "us/3"})
}
