package feed_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/feed"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A published message, as the test knows it.
type published struct {
	sequence                     uint64
	region, watchlist, kind, uid string
}

// final is the revision after which a client has got everything.
const final = 1_000_000

// reading publishes one and notes its messages. The head lies between the events
// and the board.
func (s *site) reading(list string, revision uint64, places, moved int) (all []published) {
	region := map[string]string{"us-beauty": "US", "br-all": "BR"}[list]
	var events []webtest.Event
	for j := range moved {
		events = append(events, webtest.Moved("u"+strconv.Itoa(j), j+2, j+1))
	}
	at := s.Board(event.Snapshot{Watchlist: list, Region: region, Revision: revision, Board: webtest.Rows(5, webtest.UIDs(places, int(revision))...)}, events...)
	for j := range moved {
		all = append(all, published{at - 1 - uint64(moved-j), region, list, "moved", "u" + strconv.Itoa(j)})
	}
	return append(all, published{at, region, list, "board", ""})
}

// readings publishes some of two watchlists, and a final one of us-beauty.
func (s *site) readings(rng *rand.Rand, n int) (all []published) {
	for i := range n {
		list := []string{"us-beauty", "br-all"}[rng.IntN(2)]
		all = append(all, s.reading(list, uint64(i+1), rng.IntN(50), rng.IntN(6))...)
	}
	return append(all, s.reading("us-beauty", final, 5, 2)...)
}

// A view is a filter, and what passes it.
type view struct {
	query string
	has   func(published) bool
	last  string // kind of what passes last
}

var views = []view{
	{"", func(published) bool { return true }, "board"},
	{"watchlist=us-beauty", func(p published) bool { return p.watchlist == "us-beauty" }, "board"},
	{"region=US&kind=board", func(p published) bool { return p.region == "US" && p.kind == "board" }, "board"},
	{"uid=u1&uid=u3", func(p published) bool { return p.uid == "u1" || p.uid == "u3" }, "moved"},
	{"region=BR&region=US&kind=moved&uid=u1", func(p published) bool { return p.uid == "u1" }, "moved"},
}

// follow collects what comes after sequence 0, and comes back whenever the
// connection is cut, by chance or by the server.
func (s *site) follow(rng *rand.Rand, v view) (got []uint64) {
	last := "0"
	for s.t.Context().Err() == nil {
		l, err := s.try(v.query, last)
		if err != nil || l.body.StatusCode != http.StatusOK {
			continue // it is being started again
		}
		for left := rng.IntN(60); left >= 0; left-- {
			e, err := l.next()
			if err != nil {
				break
			}
			if e.hasID {
				last = e.id
			}
			if e.kind == "gap" || e.kind == "reset" {
				s.t.Errorf("%s: %s %s", v.query, e.kind, e.data)
				return got
			}
			if e.kind == "" {
				continue
			}
			got = append(got, e.sequence(s.t))
			if e.kind == v.last && strings.Contains(e.data, fmt.Sprintf(`"revision":%d,`, final)) && (v.last == "board" || strings.Contains(e.data, `"uid":"u1"`)) {
				l.cut()
				return got
			}
		}
		l.cut()
	}
	return got
}

// followAll has a client for each view, while publish publishes, and compares.
func (s *site) followAll(t *testing.T, publish func(*rand.Rand) []published) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	results := make([][]uint64, len(views))
	var wg sync.WaitGroup
	for i, v := range views {
		wg.Add(1)
		go func() {
			defer wg.Done()
			results[i] = s.follow(rand.New(rand.NewPCG(seed, uint64(i+1))), v)
		}()
	}
	all := publish(rand.New(rand.NewPCG(seed, 0)))
	wg.Wait()
	for i, v := range views {
		var want []uint64
		for _, p := range all {
			if v.has(p) {
				want = append(want, p.sequence)
			}
		}
		for n := range max(len(want), len(results[i])) {
			if n >= len(want) || n >= len(results[i]) || want[n] != results[i][n] {
				t.Errorf("%q: %d events, want %d; event %d is not right: %v, want %v", v.query, len(results[i]), len(want), n, some(results[i], n), some(want, n))
				break
			}
		}
		t.Logf("%q: %d events", v.query, len(want))
	}
}

func some(all []uint64, n int) []uint64 {
	return all[min(len(all), max(0, n-2)):min(len(all), n+3)]
}

func TestNothingIsMissedOrRepeatedHoweverConnectionsAreCut(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{Ring: 16 << 10})
	s.followAll(t, func(rng *rand.Rand) []published { return s.readings(rng, 400) })
}

func TestNothingIsMissedOrRepeatedWhenServersAreStartedAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{Ring: 64 << 10})
	s.followAll(t, func(rng *rand.Rand) (all []published) {
		for i := range 150 {
			all = append(all, s.reading("us-beauty", uint64(i+1), rng.IntN(50), rng.IntN(6))...)
			if i%50 == 25 {
				s.Stop()
				s.Start()
			}
			if i%40 == 20 {
				s.restart(feed.Config{Ring: 64 << 10})
			}
		}
		return append(all, s.reading("us-beauty", final, 5, 2)...)
	})
}

func TestAClientThatGotNothingYetComesBackToWhereItBegan(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{})
	s.reading("us-beauty", 1, 1, 0)
	l := s.listen("", "")
	id := l.begin()
	l.cut()
	want := s.reading("us-beauty", 2, 1, 0)
	l = s.listen("", id)
	if again := l.begin(); again != id {
		t.Errorf("came back to %s, not %s", again, id)
	}
	if e := l.must(); e.sequence(t) != want[0].sequence {
		t.Errorf("%+v, want %+v", e, want[0])
	}
}

func TestABoardIsSentWithoutItsRows(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{})
	l := s.listen("kind=board&kind=status", "")
	l.begin()
	odd := "line\nfeed \"board\":[ \u2028"
	s.Board(event.Snapshot{
		Watchlist: "us-beauty", Region: "US", Revision: 1, Writer: odd, Board: webtest.Rows(5, "rows"),
		Absent: []event.Absent{{UID: "absent"}}, Holes: []event.Hole{{Position: 77}}, Interim: []event.Interim{{UID: "interim"}},
	}, webtest.Moved("a", 1, 2))
	s.Status("us-beauty", webtest.Epoch)
	e := l.must()
	got, err := event.Decode[map[string]any]([]byte(e.data))
	if err != nil || e.kind != "board" || got.ID != "us-beauty/1/board" || got.Data["revision"] != 1.0 || got.Data["writer"] != odd || got.Data["counts"] == nil {
		t.Errorf("%+v: %v", e, err)
	}
	for _, key := range []string{"board", "absent", "holes", "interim"} {
		if _, ok := got.Data[key]; ok {
			t.Errorf("%s is there", key)
		}
	}
	if e = l.must(); e.kind != "status" || !strings.Contains(e.data, `"reason":"torn"`) {
		t.Errorf("%+v", e)
	}
}

func TestWhatWasDeletedIsToldAsAGap(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{})
	var all []published
	for n := range uint64(6) {
		all = append(all, s.reading("us-beauty", n+1, 3, 1)...)
	}
	kept := all[6].sequence
	s.Sweep(kept)
	l := s.listen("", strconv.FormatUint(all[1].sequence, 10))
	l.begin()
	if e := l.must(); e.kind != "gap" || e.hasID || e.data != fmt.Sprintf(`{"from":%d,"to":%d}`, all[1].sequence+1, kept-1) {
		t.Errorf("%+v", e)
	}
	for _, want := range all[6:] {
		if e := l.must(); e.sequence(t) != want.sequence {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
	// Who has seen all that was deleted misses nothing.
	l = s.listen("", strconv.FormatUint(kept-1, 10))
	l.begin()
	if e := l.must(); e.sequence(t) != kept {
		t.Errorf("%+v, want sequence %d", e, kept)
	}
}

func TestAStreamThatWentBackIsToldAsAReset(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{})
	s.reading("us-beauty", 1, 3, 1)
	ahead := s.listen("", "900")
	if e := ahead.must(); e.kind != "reset" || e.id != "3" || e.data != `{"last":3}` {
		t.Errorf("%+v", e)
	}
	there := s.listen("", "")
	there.begin()
	s.Delete()
	s.Create()
	for _, l := range []*listener{ahead, there} {
		if e := l.must(); e.kind != "reset" || e.data != `{"last":0}` {
			t.Errorf("%+v", e)
		}
	}
	want := s.reading("us-beauty", 1, 3, 0)
	for _, l := range []*listener{ahead, there} {
		if e := l.must(); e.sequence(t) != want[0].sequence {
			t.Errorf("%+v, want %+v", e, want[0])
		}
	}
}

// Of the requests after the stream went back, every other one fails: so does the
// first that asks where the new stream stands.
func TestAResetIsToldEvenIfTheServerDoesNotAnswerAtFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{})
	var away atomic.Bool
	var asked atomic.Int64
	s.restart(feed.Config{Reader: func(ctx context.Context) (*history.Reader, error) {
		if away.Load() && asked.Add(1)%2 != 0 {
			return nil, history.ErrGone
		}
		return s.Reader(ctx)
	}})
	s.reading("us-beauty", 1, 3, 1)
	l := s.listen("", "")
	l.begin()
	want := s.reading("us-beauty", 2, 3, 1)
	for range want {
		l.must() // so the feed does follow
	}
	away.Store(true)
	s.Delete()
	s.Create()
	if e := l.must(); e.kind != "reset" || e.data != `{"last":0}` {
		t.Errorf("%+v", e)
	}
}

func TestTheStreamIsFollowedOnlyWhileSomebodyListens(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{})
	if n := s.Consumers(); n != 0 {
		t.Errorf("%d consumers and no client", n)
	}
	var all []*listener
	for range 5 {
		l := s.listen("", "")
		l.begin()
		all = append(all, l)
	}
	s.reading("us-beauty", 1, 3, 0)
	for _, l := range all {
		l.must()
	}
	if n := s.Consumers(); n != 1 {
		t.Errorf("%d consumers for 5 clients", n)
	}
	for _, l := range all {
		l.cut()
		<-s.ended
	}
	if n := s.Consumers(); n != 0 {
		t.Errorf("%d consumers after the last client", n)
	}
}

func TestHeartbeatsKeepAQuietConnectionOpen(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{Heartbeat: 5 * time.Millisecond})
	l := s.listen("", "")
	l.begin()
	for range 3 {
		if e, err := l.next(); err != nil || e.comment == "" || e.kind != "" || e.hasID {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestTooManyClientsAreToldToComeBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{Clients: 2})
	first := s.listen("", "")
	first.begin()
	s.listen("", "").begin()
	l, err := s.try("", "")
	if err != nil || l.body.StatusCode != http.StatusServiceUnavailable || l.body.Header.Get("Retry-After") == "" {
		t.Errorf("the third: %+v, %v", l.body, err)
	}
	<-s.ended
	first.cut()
	<-s.ended
	s.listen("", "").begin()
}

func TestAClientThatDoesNotReadIsEndedAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{Write: 100 * time.Millisecond, Ring: 32 << 10})
	address := strings.TrimPrefix(s.at(), "http://")
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprintf(slow, "GET / HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 0\r\n\r\n")
	quick := s.listen("kind=board", "")
	quick.begin()
	for n := 0; len(s.ended) == 0; n++ {
		want := s.reading("us-beauty", uint64(n+1), 3, 200)
		if e := quick.must(); e.sequence(t) != want[len(want)-1].sequence {
			t.Fatalf("%+v, want %+v", e, want[len(want)-1])
		}
	}
	slow.SetReadDeadline(time.Now().Add(webtest.Patience))
	if _, err := io.Copy(io.Discard, slow); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the slow client's connection is still open: %v", err)
	}
}

func TestHeadersAloneEndAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, feed.Config{})
	got, err := http.Head(s.at())
	if err != nil || got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%+v: %v", got, err)
	}
	got.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}
