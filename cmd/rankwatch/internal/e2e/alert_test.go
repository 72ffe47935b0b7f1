package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// alertKills is how often an alert process is killed.
func alertKills(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("RANKWATCH_ALERT_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("RANKWATCH_ALERT_KILLS: %v", err)
		}
		return n
	}
	if underRace {
		return 2
	}
	return 5
}

// hookSecret is the part of a target's address that nobody may see.
const hookSecret = "s3cret-hook-path"

// signingKey is that of the same target.
const signingKey = "whsec_c2hvcnQgc2VjcmV0cyBhcmUgbm8gc2VjcmV0cyE="

// A receiver is the target of alerts: it keeps the ids of what it took, by route.
type receiver struct {
	*httptest.Server
	// fault says what goes wrong before a message is taken: a status to answer
	// with, or hang; late takes it and answers some moments later.
	fault func() int
	keys  *standardwebhooks.Webhook

	mu     sync.Mutex
	took   map[string][]string
	faults int
}

const none, hang, late = 0, -1, -2

// drawn draws faults: each of some now and then, and often late.
func drawn(seed uint64, faults ...int) func() int {
	random := rand.New(rand.NewPCG(seed, 61))
	return func() int {
		switch n := random.IntN(20 * len(faults)); {
		case n < len(faults):
			return faults[n]
		case n%4 == 0:
			return late
		}
		return none
	}
}

func newReceiver(t *testing.T, fault func() int) *receiver {
	t.Helper()
	keys, err := standardwebhooks.NewWebhook(signingKey)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{fault: fault, keys: keys, took: map[string][]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	var m struct{ ID, Route string }
	if err == nil {
		err = r.keys.Verify(body, q.Header)
	}
	if err != nil || json.Unmarshal(body, &m) != nil || q.URL.Path != "/"+hookSecret {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	fault := r.fault()
	if fault == none || fault == late {
		r.took[m.Route] = append(r.took[m.Route], m.ID)
	} else {
		r.faults++
	}
	r.mu.Unlock()
	switch fault {
	case none:
	case hang:
		<-q.Context().Done()
	case late:
		<-time.After(200 * time.Millisecond)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
		fallthrough
	default:
		w.WriteHeader(fault)
	}
}

// alerting is the setup's environment with the receiver for a target.
func (s *setup) alerting(t *testing.T, r *receiver) {
	t.Helper()
	s.env["RANKWATCH_ALERT_WEBHOOK_URL"] = r.URL + "/" + hookSecret
	s.env["RANKWATCH_ALERT_WEBHOOK_SECRET"] = signingKey
	s.env["RANKWATCH_ALERT_ALLOW_PRIVATE"] = "true"
}

// dueAlerts are the messages that the default routes make of what is stored, told from
// the public format alone.
func dueAlerts(t *testing.T, stored []sent) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	due := false
	for _, m := range stored {
		d, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		switch strings.TrimPrefix(d.Type, "rankwatch.") {
		case "entered", "dropped":
			due = true
		case "moved":
			far := *d.Data.Places >= 5 || *d.Data.Places <= -5
			due = due || far && (d.Data.Cause == nil || d.Data.Cause.Passed+d.Data.Cause.PassedBy > 0)
		case "status":
			out["statuses"] = append(out["statuses"], d.ID)
		case "board":
			if due {
				out["changes"] = append(out["changes"], strings.TrimSuffix(d.ID, "/board"))
			}
			due = false
		}
	}
	return out
}

// through waits until the routes' consumers have nothing left.
func through(t *testing.T, b *bus) {
	t.Helper()
	settled(t, b.url(), "alert-default-changes", "alert-default-statuses")
}

// compare holds what was taken against what is due: nothing lost, in order, and
// at most so many repeats.
func (r *receiver) compare(t *testing.T, due map[string][]string, repeats int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(due["changes"]) < 10 {
		t.Errorf("only %d readings had something to tell", len(due["changes"]))
	}
	for _, route := range []string{"changes", "statuses"} {
		once := slices.Compact(slices.Clone(r.took[route]))
		if !slices.Equal(once, due[route]) {
			t.Errorf("route %s: took %d messages, want %d; only taken %q, only due %q", route, len(once), len(due[route]), beyond(once, due[route]), beyond(due[route], once))
		}
		again := len(r.took[route]) - len(once)
		t.Logf("route %s: %d messages, %d repeats; %d faults of the target", route, len(once), again, r.faults)
		if again > repeats {
			t.Errorf("route %s: %d repeats, want at most %d", route, again, repeats)
		}
	}
}

func silent(t *testing.T, w *worker) {
	t.Helper()
	if out := w.logged.tail(1 << 30); strings.Contains(out, hookSecret) || strings.Contains(out, strings.TrimPrefix(signingKey, "whsec_")) {
		t.Errorf("the target's secret is in the output:\n%s", out)
	}
}

// alerted is a worker on an external bus whose lists change all the time.
func alerted(t *testing.T, seed uint64, r *receiver) (*victim, *bus, *observer) {
	t.Helper()
	b := newBus(t, nil)
	v := newVictim(t, seed)
	v.setup.external(b.url(), "RANKWATCH", "rankwatch")
	v.setup.alerting(t, r)
	w := v.setup.start(t)
	o := observe(t, b.url(), "RANKWATCH", "rankwatch")
	if err := w.say(`"msg":"started"`); err != nil {
		t.Fatal(err)
	}
	return v, b, o
}

// Every reading is delivered exactly once, though the target fails now and then
// before it takes a message; and what is published while no process runs, later.
func TestAlertDeliversEveryReadingOnce(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, drawn(1, 500, 429, 503, hang))
	v, b, o := alerted(t, 61, r)
	for range 2 {
		a := v.setup.start(t, "alert", "--from", "all")
		if err := a.say(`"msg":"started"`); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second) // of the lists' lives
		a.stop(t)
		silent(t, a)
	}
	v.settle(o)
	var rest []string
	for i := range tortured - 1 {
		rest = append(rest, entry(fmt.Sprintf("list-%d", i), "US", i+1, defaultRules(80)))
	}
	v.setup.write(t, file(rest...))
	awaitStatus(t, o.statuses(fmt.Sprintf("list-%d", tortured-1)), "retired")
	a := v.setup.start(t, "alert")
	if err := a.say(`"msg":"started"`); err != nil {
		t.Fatal(err)
	}
	through(t, b)
	a.stop(t)
	silent(t, a)
	due := dueAlerts(t, history(t, o.nc, "RANKWATCH", "rankwatch"))
	r.compare(t, due, 0)
	if len(due["statuses"]) == 0 {
		t.Error("no status was published")
	}
}

// Killed at random moments, one process alone or one of two, while the target
// fails now and then: nothing is lost, and at most one message repeated per kill.
func TestAlertTorture(t *testing.T) {
	t.Parallel()
	withoutDetector(t)
	for _, processes := range []int{1, 2} {
		t.Run(fmt.Sprintf("processes=%d", processes), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(62, uint64(processes)))
			r := newReceiver(t, drawn(uint64(processes), 500, 429, hang))
			v, b, o := alerted(t, 62+uint64(processes), r)
			start := func() *worker { return v.setup.start(t, "alert", "--from", "all", "--takeover", "2s") }
			var running []*worker
			for range processes {
				running = append(running, start())
			}
			kills := alertKills(t)
			for range kills {
				i := random.IntN(len(running))
				select { // some moment of its life
				case <-time.After(time.Duration(random.IntN(4000)) * time.Millisecond):
				case <-running[i].exited:
					t.Fatalf("a process ended by itself: %v\n%s", running[i].cmd.ProcessState, running[i].logged.tail(2000))
				}
				running[i].kill(t)
				silent(t, running[i])
				running[i] = start()
			}
			v.settle(o)
			for _, a := range running {
				if err := a.say(`"msg":"started"`); err != nil {
					t.Fatal(err)
				}
			}
			through(t, b)
			for _, a := range running {
				a.stop(t)
				silent(t, a)
			}
			r.compare(t, dueAlerts(t, history(t, o.nc, "RANKWATCH", "rankwatch")), kills)
		})
	}
}

// A message that the target refuses is parked and listed, and sent once more when
// asked for; the route goes on meanwhile. --dry-run, beside it, sends nothing.
func TestAlertParksAndResends(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	left := 1
	r := newReceiver(t, func() int {
		mu.Lock()
		defer mu.Unlock()
		if left--; left >= 0 {
			return http.StatusRequestEntityTooLarge
		}
		return none
	})
	v, b, o := alerted(t, 64, r)
	dry := v.setup.start(t, "alert", "--dry-run")
	a := v.setup.start(t, "alert", "--from", "all")
	for _, said := range []string{`"msg":"message parked"`, `"msg":"started"`} {
		if err := a.say(said); err != nil {
			t.Fatal(err)
		}
	}
	if err := dry.say("# changes to default: list-"); err != nil {
		t.Fatal(err)
	}
	dry.stop(t)
	silent(t, dry)
	v.settle(o)
	through(t, b)
	due := dueAlerts(t, history(t, o.nc, "RANKWATCH", "rankwatch"))
	first := due["changes"][0]

	var rec struct{ ID, Message, Reason, Detail string }
	list := v.setup.verb(t, nil, "alert", "parked", "-o", "json")
	list.want(t, 0, "parked")
	if err := json.Unmarshal([]byte(list.out), &rec); err != nil || rec.Message != first || rec.Reason != "http_413" {
		t.Fatalf("parked: %q, %v; want %s", list.out, err, first)
	}
	table := v.setup.verb(t, nil, "alert", "parked")
	if !strings.HasPrefix(table.out, rec.ID) || !strings.Contains(table.out, "default/changes to default") {
		t.Errorf("parked: %q", table.out)
	}
	v.setup.verb(t, nil, "alert", "resend", "0000000000").want(t, 2, "an unknown ID")
	sent := v.setup.verb(t, nil, "alert", "resend", rec.ID)
	sent.want(t, 0, "resend")
	if !strings.Contains(sent.out, rec.ID+"  "+first+"  sent") {
		t.Errorf("resend: %q", sent.out)
	}
	again := v.setup.verb(t, nil, "alert", "resend", "--all")
	again.want(t, 0, "resend --all")
	if empty := v.setup.verb(t, nil, "alert", "parked"); empty.out != "" || !strings.Contains(empty.errs, "nothing is parked") {
		t.Errorf("parked: %q %q", empty.out, empty.errs)
	}
	v.setup.verb(t, nil, "alert", "--test").want(t, 0, "--test")
	a.stop(t)
	silent(t, a)
	for _, s := range []result{list, table, sent} {
		if strings.Contains(s.out+s.errs, hookSecret) || strings.Contains(s.out+s.errs, strings.TrimPrefix(signingKey, "whsec_")) {
			t.Errorf("the target's secret is in the output: %s%s", s.out, s.errs)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	want := append(slices.Clone(due["changes"][1:]), first)
	if !slices.Equal(r.took["changes"], want) {
		t.Errorf("took %q, want %q", r.took["changes"], want)
	}
	if n := len(r.took["default"]); n != 1 {
		t.Errorf("%d samples", n)
	}
}
