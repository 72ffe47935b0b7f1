package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// A result is what a verb that ends by itself has left.
type result struct {
	out, errs string
	code      int
}

// verb runs the binary with the worker's own environment, and what is added.
func (s *setup) verb(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.binary, args...)
	cmd.Dir = s.dir
	for k, v := range s.env {
		if v != "" {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(out.String()+errs.String(), token) {
		t.Errorf("%v: the token is in the output", args)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func (r result) want(t *testing.T, code int, what string) {
	t.Helper()
	if r.code != code {
		t.Errorf("%s: exit code %d, want %d\n%s%s", what, r.code, code, r.out, r.errs)
	}
}

// lines are what `replay -o json` must print of messages.
func lines(messages []sent) string {
	var b strings.Builder
	for _, m := range messages {
		b.Write(m.data)
		b.WriteByte('\n')
	}
	return b.String()
}

// proven checks that the history of a run is what was heard of it, that it can
// be proved, and that the rules in force tell nothing new of it. where says how
// it is read.
func (s *setup) proven(t *testing.T, where string, heard []sent) {
	t.Helper()
	replay := s.verb(t, nil, "replay", "-o", "json")
	replay.want(t, 0, where+": replay")
	if replay.out != lines(heard) {
		t.Errorf("%s: replay -o json is %d bytes, what was heard %d, and they differ", where, len(replay.out), len(lines(heard)))
	}
	s.verb(t, nil, "verify").want(t, 0, where+": verify")
	rules := s.verb(t, nil, "replay", "--rules", "watchlists.yaml", "-o", "json")
	rules.want(t, 0, where+": replay --rules")
	compared := 0
	for line := range strings.Lines(rules.out) {
		var sum struct {
			Published, Rules map[string]int
			Readings         int
		}
		if err := json.Unmarshal([]byte(line), &sum); err != nil || sum.Published == nil {
			t.Errorf("%s: the rules in force tell something else: %s", where, line)
			continue
		}
		compared += sum.Readings
		if !reflect.DeepEqual(sum.Published, sum.Rules) {
			t.Errorf("%s: the rules in force tell %v, published was %v", where, sum.Rules, sum.Published)
		}
	}
	if compared == 0 {
		t.Errorf("%s: --rules compared nothing", where)
	}
}

// net checks the net diff from the first board to the last against the oracle's
// diff of the two lists, for rules that tell every change.
func (s *setup) net(t *testing.T, w *watch) {
	t.Helper()
	type change struct {
		Kind   string
		UID    string
		Before *place
		After  *place
		Places *int
		Cause  *cause
		Edge   bool
	}
	got := map[string]change{}
	replay := s.verb(t, nil, "replay", w.name, "--net", "-o", "json")
	replay.want(t, 0, "replay --net")
	for line := range strings.Lines(replay.out) {
		var c struct {
			change
			Creator struct{ UID string }
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		c.change.UID = c.Creator.UID
		got[c.UID] = c.change
	}
	o := newOracle(w.oracle.rules)
	o.step(w.feed.list(0))
	want := map[string]change{}
	for _, x := range o.step(w.feed.list(len(w.feed.lists) - 1)) {
		if x.board != nil {
			continue
		}
		c := change{Kind: x.kind, UID: x.uid, Before: x.before, After: x.after, Edge: x.edge, Cause: x.causes[0]}
		if x.before != nil && x.after != nil {
			c.Places = ptr(x.before.Rank - x.after.Rank)
		}
		want[x.uid] = c
	}
	for _, uid := range slices.Sorted(maps.Keys(want)) {
		if !reflect.DeepEqual(got[uid], want[uid]) {
			t.Errorf("%s --net, %s: got %s, want %s", w.name, uid, text(got[uid]), text(want[uid]))
		}
	}
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%s --net: %d changes, want %d", w.name, len(got), len(want))
	}
}

// Verify fails, and in the right place, when a stored message is not what was
// published.
func (s *setup) tampered(t *testing.T, heard []sent) {
	t.Helper()
	// An event well within its watchlist's history, and one of its digits.
	at := slices.IndexFunc(heard[len(heard)/2:], func(m sent) bool { return strings.Contains(m.subject, ".moved.") }) + len(heard)/2
	m := heard[at]
	d, err := decode(m)
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) []sent {
		bad := m
		bad.data = bytes.Replace(m.data, []byte(old), []byte(new), 1)
		if bytes.Equal(bad.data, m.data) {
			t.Fatalf("%s is not in %s", old, m.data)
		}
		return slices.Concat(heard[:at], []sent{bad}, heard[at+1:])
	}
	for _, tt := range []struct {
		name  string
		heard []sent
		said  string
	}{
		{"as it was", heard, ""},
		{"rank changed", change(fmt.Sprintf(`"after":{"rank":%d`, d.Data.After.Rank), fmt.Sprintf(`"after":{"rank":%d`, d.Data.After.Rank+1)), d.ID},
		{"link changed", change(`"url":"`, `"url":"x`), fmt.Sprintf("%s/%d/board", d.Data.Watchlist, d.Data.Revision)},
		{"removed", slices.Concat(heard[:at], heard[at+1:]), fmt.Sprintf("event %d of %d is missing", d.Data.N, d.Data.Of)},
		{"doubled", slices.Concat(heard[:at], []sent{m}, heard[at:]), d.ID},
		{"doubled at the end", append(slices.Clone(heard), m), d.ID},
	} {
		b := newBus(t, nil)
		fill(t, b.url(), tt.heard)
		got := s.verb(t, []string{"RANKWATCH_NATS_URL=" + b.url()}, "verify")
		want := 1
		if tt.said == "" {
			want = 0
		}
		got.want(t, want, "verify, "+tt.name)
		place := fmt.Sprintf("%s revision %d", d.Data.Watchlist, d.Data.Revision)
		if tt.said != "" && (!strings.Contains(got.errs, tt.said) || !strings.Contains(got.errs, place)) {
			t.Errorf("%s: verify says nothing of %s in %s: %s", tt.name, tt.said, place, got.errs)
		}
		b.stop()
	}
}

// cutOff deletes the last board of one watchlist and the first of another from
// the data dir's stream: what nothing behind or before them tells of.
func (s *setup) cutOff(t *testing.T, last, first string) {
	t.Helper()
	b := newBus(t, func(o *server.Options) { o.StoreDir = filepath.Join(s.dir, "data", "jetstream") })
	js, err := jetstream.New(connect(t, b.url()))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "RANKWATCH")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(t.Context(), "rankwatch.*."+last+".board")
	if err == nil {
		err = stream.DeleteMsg(t.Context(), m.Sequence)
	}
	if err == nil {
		m, err = stream.GetMsg(t.Context(), 1, jetstream.WithGetMsgSubject("rankwatch.*."+first+".board"))
	}
	if err == nil {
		err = stream.DeleteMsg(t.Context(), m.Sequence)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.stop()
	for name, said := range map[string]string{
		last: "missing after it: the watchlist's head says that it was published", first: "revision 1 is missing before it, and nothing has been deleted for its age",
	} {
		got := s.verb(t, nil, "verify", name)
		got.want(t, 1, "verify "+name)
		if !strings.Contains(got.errs, said) {
			t.Errorf("verify %s does not say %q: %s", name, said, got.errs)
		}
	}
}

// fill puts messages into a stream as they are.
func fill(t *testing.T, url string, messages []sent) {
	t.Helper()
	nc := connect(t, url)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "RANKWATCH", Subjects: []string{"rankwatch.>"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	var last jetstream.PubAckFuture
	for i, m := range messages {
		if last, err = js.PublishAsync(m.subject, m.data); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			<-js.PublishAsyncComplete()
		}
	}
	<-js.PublishAsyncComplete()
	select {
	case <-last.Ok():
	case err := <-last.Err():
		t.Fatal(err)
	}
}
