package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

const (
	prefix     = "rankwatch"
	streamName = "RANKWATCH"
)

// A bus is a NATS server with a stream such as the worker's.
type bus struct {
	t      testing.TB
	nc     *nats.Conn
	js     jetstream.JetStream
	reader *history.Reader
}

func startBus(t testing.TB) *bus {
	t.Helper()
	srv := must(publisher.StartServer(publisher.ServerConfig{Embedded: true, StoreDir: t.TempDir(), Listen: "off"}, slog.New(slog.DiscardHandler)))
	t.Cleanup(srv.Shutdown)
	b := &bus{t: t, nc: must(publisher.DialServer(srv, "test"))}
	t.Cleanup(b.nc.Close)
	b.js = must(jetstream.New(b.nc))
	b.create()
	b.reader = must(history.Open(context.Background(), b.nc, streamName, prefix))
	return b
}

func (b *bus) create() {
	must(b.js.CreateStream(context.Background(), jetstream.StreamConfig{
		Name: streamName, Subjects: []string{"_in." + prefix + ".>", "_rw." + prefix + ".>"}, AllowDirect: true, AllowRollup: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "_in." + prefix + ".>", Destination: prefix + ".>"},
	}))
}

func (b *bus) put(m event.Message) uint64 {
	ack := must(b.js.PublishMsg(context.Background(), &nats.Msg{Subject: "_in." + m.Subject, Data: m.Data}))
	return ack.Sequence
}

// head is stored before its board, and replaces the one before it.
func (b *bus) head(list string, revision uint64) {
	m := &nats.Msg{Subject: "_rw." + prefix + ".head." + list, Header: nats.Header{"Nats-Rollup": {"sub"}, event.RevisionHeader: {fmt.Sprint(revision)}}}
	must(b.js.PublishMsg(context.Background(), m))
}

var epoch = time.Date(2026, 4, 14, 17, 0, 0, 0, time.UTC)

// board publishes a reading: its events, in the order given, head and board.
func (b *bus) board(s event.Snapshot, changes ...told) uint64 {
	b.t.Helper()
	o := event.Origin{Prefix: prefix, Region: s.Region, Watchlist: s.Watchlist}
	id, at := event.ReadingID(s.Watchlist, s.Revision, 1), epoch.Add(time.Duration(s.Revision)*time.Minute)
	s.Reading, s.FetchedAt = fmt.Sprintf("R%s%d", s.Watchlist, s.Revision), event.Time(at)
	for i, c := range changes {
		c.Change.Watchlist, c.Change.Region, c.Change.Revision, c.Change.Reading = s.Watchlist, s.Region, s.Revision, s.Reading
		c.Change.N, c.Change.Of = i+1, len(changes)
		s.Counts.Add(c.Kind)
		b.put(must(o.Change(c.Kind, id, at, c.Change)))
	}
	b.head(s.Watchlist, s.Revision)
	return b.put(must(o.Board(id, at, &s)))
}

// people makes rows in the order of their uids; those up to top are members.
func people(top int, uids ...string) []event.Row {
	rows := make([]event.Row, len(uids))
	for i, u := range uids {
		rows[i] = event.Row{UID: u, UniqueID: "id-" + u, Nickname: "Name " + u, Rank: i + 1, Position: i + 1, PotentialIndex: int64(1000 - i), Member: i < top}
	}
	return rows
}

// many are n uids, those from a turn on rotated by it.
func many(n, turn int) []string {
	uids := make([]string, n)
	for i := range uids {
		uids[i] = fmt.Sprint(6787580688797713413 + (i+turn)%n)
	}
	return uids
}

// A crew is a worker that knows what it is told.
type crew struct {
	standings []watcher.Standing
	token     *watcher.Condition
	profiles  map[string]map[string]watcher.Profile
	revisions map[string]uint64
}

func (c *crew) Standings() []watcher.Standing { return c.standings }

func (c *crew) Standing(name string) (watcher.Standing, bool) {
	for _, s := range c.standings {
		if s.Watchlist.Name == name {
			return s, true
		}
	}
	return watcher.Standing{}, false
}

func (c *crew) TokenStanding() *watcher.Condition { return c.token }

func (c *crew) Profiles(name string) (map[string]watcher.Profile, uint64, error) {
	return c.profiles[name], c.revisions[name], nil
}

func configured(names ...string) *crew {
	c := &crew{}
	for _, n := range names {
		c.standings = append(c.standings, watcher.Standing{Watchlist: watcher.Watchlist{Name: n, Every: time.Hour, Top: 100}})
	}
	return c
}

func (b *bus) api(w Worker) *API {
	return New(Config{Worker: w, Reader: func(context.Context) (*history.Reader, error) { return b.reader, nil }, Version: "test", Logger: slog.New(slog.DiscardHandler)})
}

func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
