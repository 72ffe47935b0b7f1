package check

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// stored starts a server that holds messages as a worker would have left them.
func stored(t *testing.T, messages map[string][]byte) settings.Settings {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"p.>", "_rw.p.>"}}); err != nil {
		t.Fatal(err)
	}
	for subject, data := range messages {
		if _, err := js.Publish(t.Context(), subject, data); err != nil {
			t.Fatal(err)
		}
	}
	return settings.Settings{Stream: "S", Prefix: "p", NATS: settings.NATS{URLs: []string{srv.ClientURL()}}}
}

func TestTheStreamTellsWhatAWorkerKnows(t *testing.T) {
	o := event.Origin{Prefix: "p", Region: "US", Watchlist: "w"}
	at := time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC)
	board, err := o.Board(event.ReadingID("w", 42, 2), at, &event.Snapshot{Watchlist: "w", Revision: 42})
	if err != nil {
		t.Fatal(err)
	}
	c := event.Change{Creator: event.Creator{UID: "a/b.c"}, History: event.History{FirstSeen: event.Time(at), PeakRank: 7}}
	dropped, err := o.Change(event.Dropped, event.ReadingID("w", 41, 2), at, &c)
	if err != nil {
		t.Fatal(err)
	}
	s := stored(t, map[string][]byte{
		board.Subject: board.Data, dropped.Subject: dropped.Data,
		"_rw.p.head.w": event.PackTracked(event.Tracked{Record: []byte("record"), Board: []byte("board")}),
	})
	k, err := fromStream(t.Context(), s, "w")
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	l := k.loaded
	if !l.Known || l.Revision != 42 || l.Lineage != 2 || string(l.Record) != "record" || string(l.Board) != "board" {
		t.Errorf("loaded %+v", l)
	}
	found, err := k.departed([]string{"a/b.c", "never"})
	if err != nil || len(found) != 1 || found["a/b.c"].PeakRank != 7 || !found["a/b.c"].FirstSeen.Equal(at) {
		t.Errorf("departed %+v, %v", found, err)
	}
}

func TestAWatchlistThatTheStreamDoesNotHaveIsAFirstReading(t *testing.T) {
	k, err := fromStream(t.Context(), stored(t, nil), "w")
	if err != nil || k.loaded.Known || !strings.Contains(k.note, "first reading") {
		t.Errorf("got %+v, %v", k, err)
	}
}
