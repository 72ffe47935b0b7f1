package web_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/api"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// of decodes an answer that must be there.
func of[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %.300s", a.Request.URL, a.StatusCode, a.body)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// odd is a uid that needs every kind of escape.
const odd = `a/b.c *>%"\` + "\u00e9"

// threeReadings publishes revisions 1 to 3 of us-beauty: b leaves, odd comes, a and
// c change places.
func (s *site) threeReadings() {
	s.t.Helper()
	first := event.Snapshot{Watchlist: "us-beauty", Region: "US", Revision: 1, Outcome: event.OutcomeBaseline, Board: webtest.Rows(3, "a", "b", "c")}
	reason, one, two := event.ReasonFirst, uint64(1), uint64(2)
	first.Reason, first.Rules = &reason, event.Rules{Top: 3, Ties: "shared"}
	s.bus.Board(first)
	s.bus.Board(event.Snapshot{Watchlist: "us-beauty", Region: "US", Revision: 2, PreviousRevision: &one, Board: webtest.Rows(3, "a", odd, "c", "x")},
		webtest.Dropped("b", 2), webtest.Entered(odd, 2))
	s.bus.Board(event.Snapshot{Watchlist: "us-beauty", Region: "US", Revision: 3, PreviousRevision: &two, Board: webtest.Rows(3, "c", odd, "x"), Absent: []event.Absent{{UID: "a", Rank: 1, PotentialIndex: 1000, Misses: 1, Unseen: 1}}},
		webtest.Moved("c", 3, 1))
}

func TestWatchlistsTellWhatWorkerAndStreamKnow(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	at := webtest.Epoch
	lists, err := watcher.ParseWatchlists("test", []byte(`watchlists: [{name: br-all, cron: "0 9 * * *", timezone: Asia/Tokyo, top: 10}]`))
	if err != nil {
		t.Fatal(err)
	}
	s.crew.Set(&watcher.Condition{Status: "quota", Reason: "quota", Detail: "used up", Since: at},
		watcher.Standing{Watchlist: lists[0], Read: at, Tried: at, Outcome: "unchanged"},
		watcher.Standing{
			Watchlist: watcher.Watchlist{Name: "us-beauty", Every: 90 * time.Minute, Top: 100, Margin: 20, Period: watcher.PeriodSpec{Type: "month", Value: "latest"}, Filter: fastmoss.Filter{
				Region: "US", CreatorCategoryID: fastmoss.Some(int64(4)), FollowerCountRange: fastmoss.Range{Min: fastmoss.Some(int64(5))},
			}},
			Read: at, Tried: at.Add(time.Hour), Next: at.Add(2 * time.Hour), Outcome: "rejected", Reason: "torn", Detail: "page 2", Failures: 3, Reading: true,
			Condition: &watcher.Condition{Status: "stale", Reason: "torn", Since: at},
		})
	got := of[api.Watchlists](t, s.get("/api/v1/watchlists"))
	if !got.Bus || got.Sequence == nil || got.Token == nil || got.Token.Detail != "used up" || len(got.Watchlists) != 2 {
		t.Fatalf("%+v", got)
	}
	for query, want := range map[string]string{"name=us-beauty": "us-beauty", "name=us-beauty&name=br-all&name=br-all": "br-all us-beauty", "name=nope": ""} {
		var names []string
		for _, w := range of[api.Watchlists](t, s.get("/api/v1/watchlists?"+query)).Watchlists {
			names = append(names, w.Name)
		}
		if strings.Join(names, " ") != want {
			t.Errorf("%s: %q, want %s", query, names, want)
		}
	}
	br, us := got.Watchlists[0], got.Watchlists[1]
	if us.Revision == nil || *us.Revision != 3 || *us.Sequence != *got.Sequence || us.Schedule != "every 1h30m" || us.Period != "month latest" || us.Failures != 3 || !us.Reading ||
		*us.Outcome != "rejected" || us.Condition.Status != "stale" || !within(us.Overdue, at.Add(90*time.Minute), at.Add(3*time.Hour)) {
		t.Errorf("us-beauty: %+v", us)
	}
	if f := fmt.Sprint(us.Filter); f != "map[creator_category_id:4 follower_count_range:map[min:5] region:US]" {
		t.Errorf("filter: %s", f)
	}
	// Read at 02:00 in Tokyo: due at 09:00 of that day and of the next.
	if br.Revision != nil || br.Schedule != "cron 0 9 * * * Asia/Tokyo" || br.Overdue != event.Time(at.Add(7*time.Hour+24*time.Hour)) || br.Next != nil {
		t.Errorf("br-all: %+v", br)
	}
}

func TestABoardIsToldWithWhatHappenedInItsReading(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	gmv := 12.5
	s.crew.Remember("us-beauty", 3, map[string]watcher.Profile{"c": {Metrics: event.Metrics{USDGMV: &gmv}, FirstSeen: webtest.Epoch, PeakRank: 1}})
	b := of[api.Board](t, s.get("/api/v1/watchlists/us-beauty/board"))
	if b.Revision != 3 || b.LatestRevision != 3 || b.FirstRevision != 1 || *b.PreviousRevision != 2 || b.Members != 4 || !b.Events || len(b.Rows) != 3 || len(b.Dropped) != 0 {
		t.Errorf("%+v", b)
	}
	if c := b.Rows[0]; c.UID != "c" || c.Change == nil || c.Change.Kind != event.Moved || *c.Change.Places != 2 || *c.Profile.Metrics.USDGMV != gmv || *c.Profile.PeakRank != 1 {
		t.Errorf("first: %+v", c)
	}
	if o := b.Rows[1]; o.UID != odd || o.Change != nil || o.Profile != nil || o.URL != "https://www.fastmoss.com/influencer/detail/"+url.PathEscape(odd) {
		t.Errorf("second: %+v", o)
	}
	if len(b.Absent) != 1 || b.Absent[0].UID != "a" || b.Absent[0].Misses != 1 {
		t.Errorf("absent: %+v", b.Absent)
	}
	b = of[api.Board](t, s.get("/api/v1/watchlists/us-beauty/board?revision=2"))
	if b.Revision != 2 || len(b.Dropped) != 1 || b.Dropped[0].UID != "b" || b.Dropped[0].Change.Before.Rank != 2 || b.Rows[1].Change.Kind != event.Entered || b.Rows[1].Profile == nil {
		t.Errorf("revision 2: %+v", b)
	}
	if b = of[api.Board](t, s.get("/api/v1/watchlists/us-beauty/board?revision=1")); b.Outcome != "baseline" || *b.Reason != "first" || b.PreviousRevision != nil {
		t.Errorf("revision 1: %+v", b)
	}
}

func TestABoardWhoseEventsAreGoneSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	state, err := s.bus.JS.Stream(t.Context(), webtest.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.bus.Board(event.Snapshot{Watchlist: "us-beauty", Region: "US", Revision: 4, Counts: event.Counts{Moved: 1}, Board: webtest.Rows(3, "c", "a")})
	if b := of[api.Board](t, s.get("/api/v1/watchlists/us-beauty/board")); b.Events || b.FirstRevision != 4 || b.Rows[0].Change != nil {
		t.Errorf("%+v", b)
	}
}

func TestHistoryDrawsRanksOverRevisions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	for _, c := range []struct{ query, revisions, series string }{
		{"top=1", "1 2 3", "c:3,3,1"},
		{"top=2", "1 2 3", "c:3,3,1 " + odd + ":-,2,2"},
		{"top=2&among=last", "1 2 3", "c:3,3,1 " + odd + ":-,2,2"},
		{"top=1&among=any", "1 2 3", "c:3,3,1 a:1,1,-"},
		{"top=1&to_revision=2", "1 2", "a:1,1"},
		{"top=1&from_revision=2", "2 3", "c:3,1"},
		{"top=1&limit=1", "3", "c:1"},
		{"top=1&limit=1&to_revision=2", "2", "a:1"},
		{"top=1&from_revision=1&to_revision=900", "1 2 3", "c:3,3,1"},
		{"uid=b&uid=c", "1 2 3", "c:3,3,1 b:2,-,-"},
		{"uid=nobody", "1 2 3", "nobody:-,-,-"},
		{"uid=" + url.QueryEscape(odd), "1 2 3", odd + ":-,2,2"},
	} {
		for _, warmth := range []string{"cold", "warm"} {
			h := of[api.History](t, s.get("/api/v1/watchlists/us-beauty/history?"+c.query))
			var revisions, series []string
			for _, r := range h.Revisions {
				revisions = append(revisions, fmt.Sprint(r.Revision))
			}
			for _, x := range h.Series {
				var ranks []string
				for _, r := range x.Ranks { // null is 0 when it is read
					ranks = append(ranks, strings.ReplaceAll(fmt.Sprint(r), "0", "-"))
				}
				series = append(series, x.UID+":"+strings.Join(ranks, ","))
			}
			if strings.Join(revisions, " ") != c.revisions || strings.Join(series, " ") != c.series || h.LatestRevision != 3 || h.FirstRevision != 1 {
				t.Errorf("%s, %s: revisions %v, series %v, want %s, %s", c.query, warmth, revisions, series, c.revisions, c.series)
			}
		}
	}
}

func TestACreatorIsFoundOnAllBoards(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	s.bus.Board(event.Snapshot{Watchlist: "br-all", Region: "BR", Revision: 1, Board: webtest.Rows(1, "z", "c")})
	s.bus.Board(event.Snapshot{Watchlist: "not-configured-any-more", Region: "US", Revision: 1, Board: webtest.Rows(1, "b")}, webtest.Entered("b", 1))
	for _, c := range []struct{ uid, want string }{
		{"c", "br-all 1 false rank 2 last -; us-beauty 3 true rank 1 last moved@3"},
		{"a", "us-beauty 3 true rank - last -"},
		{"b", "not-configured-any-more 1 true rank 1 last entered@1; us-beauty 3 false rank - last dropped@2"},
		{odd, "us-beauty 3 true rank 2 last entered@2"},
	} {
		got := of[api.Creator](t, s.get("/api/v1/creators/"+url.PathEscape(c.uid)))
		var lines []string
		for _, b := range got.Boards {
			rank, last := "-", "-"
			if b.Rank != nil {
				rank = fmt.Sprint(*b.Rank)
			}
			if b.Last != nil {
				last = fmt.Sprintf("%s@%d", b.Last.Kind, *b.LastRevision)
			}
			lines = append(lines, fmt.Sprintf("%s %d %v rank %s last %s", b.Watchlist, b.Revision, b.Member, rank, last))
		}
		if s := strings.Join(lines, "; "); s != c.want || got.UID != c.uid || !got.Complete {
			t.Errorf("%s: %+v: %s, want %s", c.uid, got, s, c.want)
		}
	}
	s.get("/api/v1/creators/nobody").want(t, http.StatusNotFound, "nobody")
	s.get("/api/v1/creators/"+strings.Repeat("x", 257)).want(t, http.StatusBadRequest, "256")
}

// heldHere is what a worker remembers of a member that came so many minutes after
// the beginning.
func heldHere(nickname string, minutes, peak int) watcher.Profile {
	return watcher.Profile{Creator: event.Creator{Nickname: &nickname}, FirstSeen: webtest.Epoch.Add(time.Duration(minutes) * time.Minute), PeakRank: peak}
}

// A best rank is one board's. What is told of all boards is the best of them, and
// the rest is what was read last: every answer is the same.
func TestABestRankIsThatOfABoard(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings() // of us-beauty, the last at 17:03
	s.crew.Set(nil, append(s.crew.Standings(), watcher.Standing{Watchlist: watcher.Watchlist{Name: "us-all", Every: time.Hour}})...)
	s.bus.Board(event.Snapshot{Watchlist: "br-all", Region: "BR", Revision: 1, Board: webtest.Rows(2, "c", "z")})
	s.bus.Board(event.Snapshot{Watchlist: "us-all", Region: "US", Revision: 5, Board: webtest.Rows(1, "z", "c")})
	s.crew.Remember("us-beauty", 3, map[string]watcher.Profile{"c": heldHere("at three", 1, 4), "a": heldHere("a", 2, 1)})
	s.crew.Remember("br-all", 1, map[string]watcher.Profile{"c": heldHere("at one", 2, 2)})
	s.crew.Remember("us-all", 5, map[string]watcher.Profile{"c": {Creator: event.Creator{Nickname: new("at five")}}})
	for _, c := range []struct{ uid, want string }{
		{"c", "at five of us-all 17:05: first 17:01, best 2; br-all 17:02 2; us-all - -; us-beauty 17:01 4"},
		{"a", "a of us-beauty -: first 17:02, best 1; us-beauty 17:02 1"},
		{"b", "- of us-beauty 17:02: first 17:00, best 1; us-beauty 17:00 1"},
		{"z", "Name z of - -: first -, best -; br-all - -; us-all - -"},
	} {
		for range 3 {
			if got := peaks(of[api.Creator](t, s.get("/api/v1/creators/"+c.uid))); got != c.want {
				t.Errorf("%s: %s, want %s", c.uid, got, c.want)
			}
		}
	}
}

// While the worker is a revision ahead, what it remembers is not of the board that
// is told of: the stream has that.
func TestAWorkerThatIsAheadIsNotTakenAtItsWord(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	s.crew.Remember("us-beauty", 4, map[string]watcher.Profile{"c": heldHere("too early", 1, 4)})
	if got, want := peaks(of[api.Creator](t, s.get("/api/v1/creators/c"))), "Name c of us-beauty 17:03: first -, best -; us-beauty - -"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// peaks writes a creator as "name of watchlist 17:05: first 17:01, best 2; board first best; …".
func peaks(c api.Creator) string {
	clock := func(at *string) string {
		if at == nil {
			return "-"
		}
		return (*at)[11:16]
	}
	rank := func(n *int) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	name, from, all := "-", &api.ProfileFrom{Watchlist: "-"}, &api.Profile{}
	if c.Nickname != nil {
		name = *c.Nickname
	}
	if c.Profile != nil {
		from, all = c.ProfileFrom, c.Profile
	}
	out := fmt.Sprintf("%s of %s %s: first %s, best %s", name, from.Watchlist, clock(from.Time), clock(all.FirstSeen), rank(all.PeakRank))
	for _, b := range c.Boards {
		out += fmt.Sprintf("; %s %s %s", b.Watchlist, clock(b.FirstSeen), rank(b.PeakRank))
	}
	return out
}

func TestACreatorIsNotLookedForForEver(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	var all []watcher.Standing
	for i := range 600 {
		all = append(all, watcher.Standing{Watchlist: watcher.Watchlist{Name: fmt.Sprintf("a%03d", i), Every: time.Hour}})
	}
	s.crew.Set(nil, all...)
	if got := of[api.Creator](t, s.get("/api/v1/creators/c")); got.Complete || len(got.Boards) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestMistakesAreToldWithWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	const board, history = "/api/v1/watchlists/us-beauty/board?", "/api/v1/watchlists/us-beauty/history?"
	for _, c := range []struct {
		target string
		status int
		detail string
	}{
		{board + "revision=4", 404, "no revision 4 of us-beauty: the stream holds revisions 1 to 3"},
		{board + "revision=9223372036854775807", 404, "the stream holds revisions 1 to 3"},
		{board + "revision=0", 400, "revision is not a whole number from 1"},
		{board + "revision=-1", 400, "revision"},
		{board + "revision=99999999999999999999", 400, "revision"},
		{board + "revision=1&revision=2", 400, "given 2 times"},
		{board + "revision=", 400, "revision"},
		{board + "revison=1", 400, `unknown parameter \"revison\"`},
		{board + "%zz", 400, "not well-formed"},
		{board + "a;b", 400, "not well-formed"},
		{history + "", 400, "uid or top"},
		{history + "uid=a&top=1", 400, "exclude"},
		{history + "top=0", 400, "top is not a whole number from 1 to 1000"},
		{history + "top=1001", 400, "top"},
		{history + "top=1&limit=501", 400, "limit is not a whole number from 1 to 500"},
		{history + "top=1&among=all", 400, "among"},
		{history + "top=1&from_revision=3&to_revision=2", 400, "after"},
		{history + "top=1&from_revision=4", 404, "the stream holds revisions 1 to 3"},
		{history + "uid=", 400, "uid is empty"},
		{history + strings.Repeat("uid=1&", 201), 400, "200"},
		{"/api/v1/watchlists?all=1", 400, "unknown parameter"},
		{"/api/v1/watchlists?name=", 400, "name is empty"},
		{"/api/v1/watchlists?" + strings.Repeat("name=a&", 101), 400, "100 is the most"},
		{"/api/v1/watchlists/nope/board", 404, `no watchlist \"nope\"`},
		{"/api/v1/watchlists/br-all/board", 404, "nothing was published of br-all yet"},
		{"/api/v1/watchlists/br-all/history?top=1", 404, "nothing was published of br-all yet"},
		{"/api/v1/watchlists/UPPER/board", 404, "no watchlist"},
		{"/api/v1/watchlists/%2e%2e/board", 404, "no watchlist"},
		{"/api/v1/watchlists/a%2Fb/board", 404, "no watchlist"},
		{"/api/v1/watchlists/us-beauty.%3E/board", 404, "no watchlist"},
		{"/api/v1/watchlists/%2A/board", 404, "no watchlist"},
		{"/api/v1/watchlists/" + strings.Repeat("x", 100) + "/board", 404, "no watchlist"},
		{"/api/v1/creators/c?watchlist=x", 400, "unknown parameter"},
		{"/api/v1/openapi.yaml?x", 400, "unknown parameter"},
		{"/api/v1/nope", 404, "openapi.yaml"},
		{"/api/v2/watchlists", 404, "openapi.yaml"},
		{"/api/v1/events?kind=nope", 400, "kind is one of"},
		{"/api/v1/events?last_event_id=x", 400, "last event id"},
		{"/api/v1/events?since=1", 400, "unknown parameter"},
	} {
		s.get(c.target).want(t, c.status, c.detail)
	}
	s.get("/api/v1/events", "Last-Event-ID", "-1").want(t, http.StatusBadRequest, "last event id")
}

func TestWhatDidNotChangeIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	for target, cache := range map[string]string{
		"/api/v1/watchlists": "private, no-cache", "/api/v1/watchlists/us-beauty/board": "private, no-cache", "/api/v1/watchlists/us-beauty/board?revision=3": "private, no-cache",
		"/api/v1/watchlists/us-beauty/board?revision=2": "private, no-cache", "/api/v1/watchlists/us-beauty/history?top=3": "private, no-cache",
		"/api/v1/creators/c": "private, no-cache", "/api/v1/openapi.yaml": "private, no-cache",
	} {
		first := s.get(target)
		tag := first.Header.Get("ETag")
		if first.StatusCode != http.StatusOK || !strings.HasPrefix(tag, `"`) || first.Header.Get("Cache-Control") != cache {
			t.Errorf("%s: %d, tag %s, %s", target, first.StatusCode, tag, first.Header.Get("Cache-Control"))
		}
		for _, list := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			if got := s.get(target, "If-None-Match", list); got.StatusCode != http.StatusNotModified || got.Header.Get("ETag") != tag || len(got.body) > 0 {
				t.Errorf("%s again with %s: %d, %d bytes", target, list, got.StatusCode, len(got.body))
			}
		}
		if got := s.get(target, "If-None-Match", `"other"`); got.StatusCode != http.StatusOK {
			t.Errorf("%s with another tag: %d", target, got.StatusCode)
		}
		head := s.ask(http.MethodHead, target)
		if head.StatusCode != http.StatusOK || head.Header.Get("ETag") != tag || len(head.body) > 0 || head.ContentLength != int64(len(first.body)) {
			t.Errorf("HEAD %s: %d, tag %s, length %d", target, head.StatusCode, head.Header.Get("ETag"), head.ContentLength)
		}
		zipped := s.get(target, "Accept-Encoding", "gzip")
		if zipped.Header.Get("Content-Encoding") != "gzip" {
			if len(first.body) > 1100 {
				t.Errorf("%s is not compressed", target)
			}
			continue
		}
		r, err := gzip.NewReader(bytes.NewReader(zipped.body))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, first.body) {
			t.Errorf("%s is another one compressed: %v", target, err)
		}
		other := zipped.Header.Get("ETag")
		if got := s.get(target, "Accept-Encoding", "gzip", "If-None-Match", other); other == tag || got.StatusCode != http.StatusNotModified || zipped.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s compressed: tag %s, again %d, varies by %q", target, other, got.StatusCode, zipped.Header.Get("Vary"))
		}
	}
	before := s.get("/api/v1/watchlists/us-beauty/board").Header.Get("ETag")
	s.bus.Board(event.Snapshot{Watchlist: "us-beauty", Region: "US", Revision: 4, Board: webtest.Rows(3, "c")})
	if got := s.get("/api/v1/watchlists/us-beauty/board", "If-None-Match", before); got.StatusCode != http.StatusOK {
		t.Errorf("after another reading: %d", got.StatusCode)
	}
}

func TestWithoutTheBusPageAndHealthAreThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	s.bus.Stop()
	for _, p := range []string{"/", "/healthz"} {
		if got := s.get(p); got.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", p, got.StatusCode)
		}
	}
	got := of[api.Watchlists](t, s.get("/api/v1/watchlists"))
	if got.Bus || got.Sequence != nil || len(got.Watchlists) != 2 || got.Watchlists[0].Revision != nil {
		t.Errorf("%+v", got)
	}
	for _, p := range []string{"/api/v1/watchlists/us-beauty/board", "/api/v1/watchlists/us-beauty/history?top=1", "/api/v1/creators/c", "/api/v1/events"} {
		a := s.get(p)
		if a.want(t, http.StatusServiceUnavailable, "NATS"); a.Header.Get("Retry-After") == "" {
			t.Errorf("%s does not say when to come back", p)
		}
	}
	s.bus.Start()
	if b := of[api.Board](t, s.get("/api/v1/watchlists/us-beauty/board")); b.Revision != 3 {
		t.Errorf("after the bus came back: %+v", b)
	}
}

func TestAStreamThatWasMadeAnewIsNotTakenForTheOldOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.threeReadings()
	const target = "/api/v1/watchlists/us-beauty/history?top=1"
	of[api.History](t, s.get(target))
	s.bus.Delete()
	s.get(target).want(t, http.StatusServiceUnavailable, "")
	s.bus.Create()
	for n := range uint64(3) {
		s.bus.Board(event.Snapshot{Watchlist: "us-beauty", Region: "US", Revision: n + 1, Board: webtest.Rows(3, "x", "y")})
	}
	if h := of[api.History](t, s.get(target)); len(h.Series) != 1 || h.Series[0].UID != "x" || !slices.Equal(h.Series[0].Ranks, api.Numbers{1, 1, 1}) {
		t.Errorf("%+v", h)
	}
}

func TestTheDocumentIsServedAndItsExamplesAreRight(t *testing.T) {
	t.Parallel()
	s := newSite(t, withToken(settings.HTTP{}))
	file, err := os.ReadFile("../../../../deploy/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.get("/api/v1/openapi.yaml"); !bytes.Equal(got.body, file) {
		t.Error("another document is served than deploy/openapi.yaml")
	}
	if err := document.Examples(); err != nil {
		t.Error(err)
	}
}

// within says that a time is after one and not after another.
func within(text string, after, until time.Time) bool {
	at, err := time.Parse(time.RFC3339, text)
	return err == nil && at.After(after) && !at.After(until)
}
