package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// limit bounds each wait for something that is sure to come.
const limit = time.Minute

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A fixture is a server with a live stream that holds some readings.
type fixture struct {
	t    *testing.T
	nc   *nats.Conn
	js   jetstream.JetStream
	live []event.Message // as stored
}

func liveStream(prefix string) jetstream.StreamConfig {
	in := "_in." + prefix + ".>"
	return jetstream.StreamConfig{
		Name: strings.ToUpper(prefix), Subjects: []string{in, "_rw." + prefix + ".>"}, AllowDirect: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: in, Destination: prefix + ".>"},
		RePublish:        &jetstream.RePublish{Source: prefix + ".>", Destination: prefix + ".>"},
	}
}

func newFixture(t *testing.T, readings int) *fixture {
	t.Helper()
	srv := must(server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true}))
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(limit) {
		t.Fatal("the server does not start")
	}
	f := &fixture{t: t, nc: must(nats.Connect(srv.ClientURL()))}
	t.Cleanup(f.nc.Close)
	f.js = must(jetstream.New(f.nc))
	f.stream(liveStream("rankwatch"))
	at := time.Date(2026, 4, 14, 17, 0, 0, 0, time.UTC)
	for n := range readings {
		region := []string{"US", "GB"}[n%2]
		o := event.Origin{Prefix: "rankwatch", Region: region, Watchlist: "w-" + strings.ToLower(region)}
		id := event.ReadingID(o.Watchlist, uint64(n/2+1), 1)
		for i := range 3 {
			f.put(must(o.Change(event.Moved, id, at, &event.Change{Creator: event.Creator{UID: "u." + strconv.Itoa(i)}})))
		}
		f.put(must(o.Board(id, at, &event.Snapshot{Watchlist: o.Watchlist, Revision: uint64(n/2 + 1)})))
		at = at.Add(time.Hour)
	}
	return f
}

func (f *fixture) put(m event.Message) {
	f.t.Helper()
	must(f.js.Publish(f.t.Context(), "_in."+m.Subject, m.Data))
	f.live = append(f.live, m)
}

func (f *fixture) stream(c jetstream.StreamConfig) jetstream.Stream {
	f.t.Helper()
	s, err := f.js.CreateStream(f.t.Context(), c)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fixture) source(q history.Query) source {
	f.t.Helper()
	return source{must(history.Open(f.t.Context(), f.nc, "RANKWATCH", "rankwatch")), q}
}

// compare holds a message that was published again against the stored one.
func (f *fixture) compare(i int, subject string, header nats.Header, data []byte) {
	f.t.Helper()
	want := f.live[i]
	if subject != "rebuild"+strings.TrimPrefix(want.Subject, "rankwatch") || !bytes.Equal(data, want.Data) {
		f.t.Fatalf("message %d is %s, want %s", i, subject, want.Subject)
	}
	if got := header.Get("Rankwatch-Replay"); got != fmt.Sprintf("RANKWATCH/%d", i+1) || header.Get("Content-Type") != event.ContentType {
		f.t.Errorf("message %d has the header %v", i, header)
	}
}

func TestARebuildGetsTheSameMessages(t *testing.T) {
	t.Parallel()
	for name, subjects := range map[string][]string{"one stream takes all": {"rebuild.>"}, "nobody stores it": nil, "a stream takes a part": {"rebuild.US.>"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 600)
			var user jetstream.Stream
			if subjects != nil {
				user = f.stream(jetstream.StreamConfig{Name: "USER", Subjects: subjects})
			}
			other := must(nats.Connect(f.nc.ConnectedUrl()))
			defer other.Close()
			listener := must(other.SubscribeSync("rebuild.>"))
			if err := errors.Join(listener.SetPendingLimits(-1, -1), other.Flush()); err != nil {
				t.Fatal(err)
			}
			var errs bytes.Buffer
			p := &republication{live: "rankwatch", prefix: "rebuild"}
			if err := p.run(t.Context(), f.nc, f.source(history.Query{}), &errs); err != nil {
				t.Fatal(err)
			}
			if got, want := errs.String(), "2400 messages published again, under rebuild.>\n"; got != want {
				t.Errorf("it said %q", got)
			}
			for i := range f.live {
				m := must(listener.NextMsg(limit))
				f.compare(i, m.Subject, m.Header, m.Data)
			}
			if info := must(must(f.js.Stream(t.Context(), "RANKWATCH")).Info(t.Context())); info.State.Msgs != 2400 {
				t.Errorf("the live stream has %d messages", info.State.Msgs)
			}
			if user == nil {
				return
			}
			seq := uint64(0)
			for i, m := range f.live {
				if len(subjects[0]) > len("rebuild.>") && !strings.HasPrefix(m.Subject, "rankwatch.US.") {
					continue
				}
				seq++
				got, err := user.GetMsg(t.Context(), seq)
				if err != nil {
					t.Fatal(err)
				}
				f.compare(i, got.Subject, got.Header, got.Data)
			}
			if info := must(user.Info(t.Context())); info.State.Msgs != seq {
				t.Errorf("%d messages, want %d", info.State.Msgs, seq)
			}
		})
	}
}

func TestCollidingPrefixesAreRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	streams := map[string]jetstream.StreamConfig{
		"another installation":      liveStream("rebuild"),
		"one below":                 liveStream("rebuild.eu"),
		"a stream that republishes": {Name: "X", Subjects: []string{"x.*.*"}, RePublish: &jetstream.RePublish{Source: "x.*.*", Destination: "rebuild.{{wildcard(1)}}.{{wildcard(2)}}"}},
		"on to the live subjects":   {Name: "X", Subjects: []string{"rebuild.>"}, RePublish: &jetstream.RePublish{Source: "rebuild.>", Destination: "rankwatch.>"}},
	}
	for name, c := range streams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 2)
			c.Name = strings.ReplaceAll(c.Name, ".", "-")
			f.stream(c)
			f.refuses("rebuild", c.Name)
		})
	}
	t.Run("what the live stream takes in", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, 2)
		c := liveStream("rankwatch")
		c.Subjects = append(c.Subjects, "rebuild.US.>")
		must(f.js.UpdateStream(t.Context(), c))
		f.refuses("rebuild", "RANKWATCH")
	})
	t.Run("what it stores under and sends to", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, 2)
		c := liveStream("rankwatch")
		c.RePublish.Destination = "mirror.>"
		must(f.js.UpdateStream(t.Context(), c))
		f.refuses("mirror", "RANKWATCH")
	})
}

func (f *fixture) refuses(prefix, stream string) {
	f.t.Helper()
	heard := must(f.nc.SubscribeSync(prefix + ".>"))
	var errs bytes.Buffer
	p := &republication{live: "rankwatch", prefix: prefix}
	err := p.run(f.t.Context(), f.nc, f.source(history.Query{}), &errs)
	if exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), "stream "+stream+" ") {
		f.t.Fatalf("%v", err)
	}
	if err := f.nc.Flush(); err != nil {
		f.t.Fatal(err)
	}
	if n, _, _ := heard.Pending(); n != 0 || errs.Len() > 0 {
		f.t.Errorf("%d messages were sent; it said %q", n, &errs)
	}
}

func TestAtRestNobodyHears(t *testing.T) {
	t.Parallel()
	p := &republication{live: "rankwatch", prefix: "rebuild"}
	if err := p.heard(&bus.Bus{AtRest: true, Where: "data"}); exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), "no worker runs in data") {
		t.Errorf("%v", err)
	}
	if err := errors.Join(p.heard(&bus.Bus{}), (*republication)(nil).heard(&bus.Bus{AtRest: true})); err != nil {
		t.Error(err)
	}
}

func TestStoppedItSaysHowManyWereSent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 6)
	f.stream(jetstream.StreamConfig{Name: "USER", Subjects: []string{"rebuild.>"}})
	ctx, cancel := context.WithCancel(t.Context())
	listener := must(f.nc.Subscribe("rebuild.*.*.board", func(*nats.Msg) { cancel() }))
	defer listener.Unsubscribe()
	var errs bytes.Buffer
	p := &republication{live: "rankwatch", prefix: "rebuild", speed: 1} // an hour to the next reading
	if err := p.run(ctx, f.nc, f.source(history.Query{}), &errs); err != nil {
		t.Fatal(err)
	}
	if got, want := errs.String(), "4 messages published again before it was stopped, under rebuild.>\n"; got != want {
		t.Errorf("it said %q", got)
	}
	if info := must(must(f.js.Stream(t.Context(), "USER")).Info(t.Context())); info.State.Msgs != 4 {
		t.Errorf("%d are stored", info.State.Msgs)
	}
}

func TestAFullStreamEndsIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 600)
	f.stream(jetstream.StreamConfig{Name: "USER", Subjects: []string{"rebuild.>"}, MaxMsgs: 10, Discard: jetstream.DiscardNew})
	var errs bytes.Buffer
	p := &republication{live: "rankwatch", prefix: "rebuild"}
	err := p.run(t.Context(), f.nc, f.source(history.Query{}), &errs)
	if exit.Code(err) != exit.Failed || !strings.Contains(err.Error(), "publish rebuild.") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if got, want := errs.String(), "10 messages published again, under rebuild.>\n"; got != want {
		t.Errorf("it said %q", got)
	}
}

func TestPaceKeepsTheGaps(t *testing.T) {
	t.Parallel()
	at := func(minutes float64) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(minutes * float64(time.Minute)))
	}
	p := pace{speed: 60}
	for i, step := range []struct{ made, now, wait float64 }{
		{0, 1000, 0},
		{0, 1000, 0},
		{60, 1000, 1},
		{60, 1001, 0},
		{30, 1001, 0}, // stored late
		{90, 1001, 0.5},
		{120, 1001.9, 0.1}, // what sending took does not add up
		{180, 1010, 0},
		{600, 1009, 1},
	} {
		if got, want := p.wait(at(step.made), at(step.now)), time.Duration(step.wait*float64(time.Minute)); (got - want).Abs() > time.Millisecond {
			t.Errorf("step %d: %s, want %s", i, got, want)
		}
	}
	if got := p.wait(time.Time{}, at(1000)); got != 0 {
		t.Errorf("without a time: %s", got)
	}
	slow := pace{speed: 1e-9}
	slow.wait(at(0), at(0))
	if got := slow.wait(at(1e6), at(0)); got <= 0 {
		t.Errorf("a wait past all clocks: %s", got)
	}
	fast := pace{}
	fast.wait(at(0), at(0))
	if got := fast.wait(at(1e6), at(0)); got != 0 {
		t.Errorf("without a speed: %s", got)
	}
}

func TestPublishFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    options
		want string // empty: allowed
	}{
		{options{publish: "rebuild"}, ""},
		{options{publish: "rankwatch2.eu", speed: "60x"}, ""},
		{options{publish: "rebuild", speed: "0.5x"}, ""},
		{options{}, ""},
		{options{outputSet: true}, ""},
		{options{publish: "rankwatch"}, "the live prefix"},
		{options{publish: "rankwatch.eu"}, "the live prefix"},
		{options{publish: "a b"}, "no subject prefix"},
		{options{publish: "_in.rankwatch"}, "no subject prefix"},
		{options{publish: "*"}, "no subject prefix"},
		{options{publish: "rebuild", outputSet: true}, "leave out -o"},
		{options{speed: "60x"}, "--publish"},
		{options{publish: "rebuild", speed: "60"}, "--speed 60:"},
		{options{publish: "rebuild", speed: "0x"}, "--speed 0x:"},
		{options{publish: "rebuild", speed: "-1x"}, "--speed -1x:"},
		{options{publish: "rebuild", speed: "infx"}, "--speed infx:"},
		{options{publish: "rebuild", speed: "1e3x"}, "--speed 1e3x:"},
	} {
		_, err := c.o.republication("rankwatch")
		if c.want == "" && err != nil || c.want != "" && !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	o := options{publish: ">", speed: "fast", outputSet: true}
	if _, err := o.republication("rankwatch"); strings.Count(fmt.Sprint(err), "\n") != 2 {
		t.Errorf("not all mistakes at once: %v", err)
	}
	o = options{publish: "rankwatch"}
	if _, err := o.republication("rankwatch.eu"); err == nil {
		t.Error("a prefix above the live one is allowed")
	}
}
