package past

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

var begin = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

// stream stores a head and then boards of w, revisions 1 to 5, an hour apart.
func stream(t *testing.T) (*history.Reader, jetstream.Stream, func() *history.Reader) {
	t.Helper()
	srv, err := publisher.StartServer(publisher.ServerConfig{Embedded: true, StoreDir: t.TempDir(), Listen: "off"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	nc, err := publisher.DialServer(srv, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"p.>", "_rw.>"}, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(subject string, data []byte) {
		if _, err := js.Publish(t.Context(), subject, data); err != nil {
			t.Fatal(err)
		}
	}
	publish(publisher.HeadSubject("p", "w"), []byte("head"))
	for r := range uint64(5) {
		m, err := event.Origin{Prefix: "p", Region: "all", Watchlist: "w"}.Board(event.ReadingID("w", r+1, 1), begin.Add(time.Duration(r)*time.Hour), &event.Snapshot{Watchlist: "w", Revision: r + 1})
		if err != nil {
			t.Fatal(err)
		}
		publish(m.Subject, m.Data)
	}
	open := func() *history.Reader {
		r, err := history.Open(t.Context(), nc, "S", "p")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	return open(), s, open
}

func TestWhereHistoryBeginsIsSaidIfSomethingIsMissing(t *testing.T) {
	t.Parallel()
	r, s, reopen := stream(t)
	expect := func(r *history.Reader, q history.Query, want string) {
		t.Helper()
		lines, err := Begins(t.Context(), r, q)
		if got := strings.Join(lines, "\n"); err != nil || got != want {
			t.Errorf("%+v: %q, %v, want %q", q, got, err, want)
		}
	}
	one := history.Query{Watchlists: []string{"w"}}
	expect(r, history.Query{}, "")
	expect(r, one, "")

	// A head that was replaced is nothing that is missed.
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(2)); err != nil {
		t.Fatal(err)
	}
	expect(reopen(), history.Query{}, "")

	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	r = reopen()
	const line = "w: history begins at revision 3, 2026-09-01T02:00:00Z"
	expect(r, history.Query{}, line)
	expect(r, one, line)
	for _, q := range []history.Query{{Since: begin.Add(2 * time.Hour)}, {FromRevision: 3}} {
		q.Watchlists = one.Watchlists
		expect(r, q, "")
	}
	expect(r, history.Query{Since: begin.Add(2 * time.Hour)}, "")
	expect(r, history.Query{Watchlists: one.Watchlists, FromRevision: 2}, line)
}

func TestUnknownWatchlistsAreAMistakeOfTheUser(t *testing.T) {
	t.Parallel()
	r, _, _ := stream(t)
	if err := Check(t.Context(), r, "w"); err != nil {
		t.Error(err)
	}
	var usage *exit.UsageError
	if err := Check(t.Context(), r, "w", "ww", "a b"); !errors.As(err, &usage) || !strings.Contains(err.Error(), `"ww" in stream S; it has w`) || !strings.Contains(err.Error(), `"a b"`) {
		t.Error(err)
	}
	if extent, err := Extent(t.Context(), r, "w"); err != nil || extent != "its history begins at revision 1, 2026-09-01T00:00:00Z, and ends at revision 5, 2026-09-01T04:00:00Z" {
		t.Error(extent, err)
	}
}
