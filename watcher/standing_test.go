package watcher

import (
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// stands writes a standing as "changed 2 · 3 events · stale: unavailable · failed 1".
func stands(s Standing) string {
	parts := []string{strings.TrimSpace(strings.Join([]string{s.Outcome, s.Reason}, " "))}
	if s.Revision > 0 {
		parts[0] += fmt.Sprintf(" %d", s.Revision)
	}
	if s.Events > 0 {
		parts = append(parts, fmt.Sprintf("%d events", s.Events))
	}
	if c := s.Condition; c != nil {
		parts = append(parts, c.Status+": "+c.Reason)
	}
	if s.Failures > 0 {
		parts = append(parts, fmt.Sprintf("failed %d", s.Failures))
	}
	return strings.Join(parts, " · ")
}

// dated makes the source's answers say when they came, as real ones do.
func (r *rig) dated() {
	r.source.after = func(_ int, p *fastmoss.Page) { p.At = time.Now() }
}

// standing is that of the rig's watchlist.
func (r *rig) standing() Standing {
	r.t.Helper()
	s, ok := r.worker.Standing("us")
	if !ok {
		r.t.Fatal("us has no standing")
	}
	return s
}

func TestAStandingFollowsTheReadings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "")
		r.dated()
		if err := r.worker.start(); err != nil {
			t.Fatal(err)
		}
		s := r.standing()
		r.want(stands(s), "")
		if late := time.Until(s.Overdue()); !s.Read.IsZero() || !s.Tried.IsZero() || late <= time.Hour || late > 2*time.Hour {
			t.Errorf("before the first reading: %+v", s)
		}
		read := func(list, want string) Standing {
			t.Helper()
			time.Sleep(time.Minute)
			r.read(list)
			s := r.standing()
			r.want(stands(s), want)
			if !s.Tried.Equal(time.Now()) {
				t.Errorf("tried at %s, want now, %s", s.Tried, time.Now())
			}
			return s
		}
		read("a9 b8 c7 d6", "baseline first 1")
		read("a9 b8 c7 e6", "changed 2 · 2 events")
		good := read("a9 b8 c7 e6", "unchanged")
		if !good.Read.Equal(time.Now()) || good.Overdue().Sub(good.Read) <= time.Hour || good.Overdue().Sub(good.Read) > 2*time.Hour {
			t.Errorf("read at %s, overdue at %s", good.Read, good.Overdue())
		}
		if s := read("a9", "waiting loss · waiting: loss"); !s.Read.Equal(good.Read) || !strings.Contains(s.Condition.Detail, "3 of 4") {
			t.Errorf("a reading that waits is not a good one, and says why: %+v, %+v", s, s.Condition)
		}
		read("a9 b8 c7 e6", "unchanged")
		r.source.err = &fastmoss.Error{Kind: fastmoss.ErrUnavailable, HTTPStatus: 502}
		read("a9", "stale unavailable · stale: unavailable · failed 1")
		s = read("a9", "stale unavailable · stale: unavailable · failed 2")
		if s.Detail == "" || s.Condition.Detail == "" || time.Since(s.Condition.Since) != time.Minute {
			t.Errorf("what is wrong since when: %+v, %+v", s, s.Condition)
		}
		r.restart("")
		if err := r.worker.start(); err != nil {
			t.Fatal(err)
		}
		after := r.standing()
		r.want(stands(after), " · stale: unavailable")
		if !after.Tried.Equal(s.Tried.UTC()) || !after.Read.Equal(s.Read) || !after.Condition.Since.Equal(s.Condition.Since) {
			t.Errorf("a restart forgot: %+v, before %+v", after, s)
		}
		r.source.err = nil
		read("a9 b8 c7 e6", "unchanged")
	})
}

func TestStandingsFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	r.worker.Fenced("us", "board 5 is another worker's")
	r.worker.sayNotices()
	if s := r.standing(); stands(s) != "baseline first 1 · fenced: fenced" || !s.Next.IsZero() || s.Condition.Detail == "" {
		t.Errorf("fenced: %s, next at %s", stands(s), s.Next)
	}
	r.worker.Reload(nil)
	r.worker.sayNotices()
	if _, ok := r.worker.Standing("us"); ok || len(r.worker.Standings()) != 0 {
		t.Error("a watchlist that is gone has a standing")
	}
	r.restart("")
	if err := r.worker.start(); err != nil {
		t.Fatal(err)
	}
	if s := r.standing(); s.Condition != nil {
		t.Errorf("configured again, and still %+v", s.Condition)
	}
	r.worker.Reload(parseLists(t, "watchlists: [{name: z, filter: {region: BR}}, {name: a, filter: {region: US}}]"))
	var names []string
	for _, s := range r.worker.Standings() {
		names = append(names, s.Watchlist.Name)
	}
	r.want(strings.Join(names, " "), "a z")
}

func TestTheTokensStanding(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	if c := r.worker.TokenStanding(); c != nil {
		t.Errorf("well: %+v", c)
	}
	r.worker.TokenCondition(fastmoss.TokenCondition{Status: "denied", Detail: "no", Since: time.Now()})
	r.worker.sayNotices()
	if c := r.worker.TokenStanding(); c == nil || c.Status != event.StatusDenied || c.Detail != "no" {
		t.Errorf("denied: %+v", c)
	}
	r.restart("")
	if err := r.worker.start(); err != nil {
		t.Fatal(err)
	}
	if c := r.worker.TokenStanding(); c == nil || c.Status != event.StatusDenied {
		t.Errorf("denied, and restarted: %+v", c)
	}
	r.worker.TokenCondition(fastmoss.TokenCondition{Status: fastmoss.StatusOK, Since: time.Now()})
	r.worker.sayNotices()
	if c := r.worker.TokenStanding(); c != nil {
		t.Errorf("well again: %+v", c)
	}
}

func TestProfilesAreWhatTheSourceSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.dated()
	r.read("a9 b8")
	r.read("b9 a8")
	p, err := Profiles(r.store.loaded["us"].Board)
	if err != nil || len(p) != 2 {
		t.Fatalf("%d profiles, %v", len(p), err)
	}
	for uid, peak := range map[string]int{"a": 1, "b": 1} {
		got := p[uid]
		if got.Creator.UID != uid || got.PeakRank != peak || got.FirstSeen.IsZero() {
			t.Errorf("%s: %+v", uid, got)
		}
		if one, err := ProfileOf(r.store.loaded["us"].Board, uid); err != nil || !reflect.DeepEqual(one, &got) {
			t.Errorf("%s alone: %+v, %v", uid, one, err)
		}
	}
	if p, err := ProfileOf(r.store.loaded["us"].Board, "nobody"); p != nil || err != nil {
		t.Errorf("of nobody: %v, %v", p, err)
	}
	if none, err := Profiles(nil); err != nil || len(none) != 0 {
		t.Errorf("of no board: %v, %v", none, err)
	}
	if _, err := Profiles([]byte{boardVersion, 1, 2}); err == nil {
		t.Error("a torn board was read")
	}
}

// As it is where all details would be more than a message can hold.
func TestABoardStoredWithoutDetailsStillTellsWhoAndSinceWhen(t *testing.T) {
	t.Parallel()
	bare := encodeBoard(&diff.Board{Rows: []diff.Row{{UID: "a", Index: 9, Rank: 2, Member: true, Peak: 1, FirstSeen: 5000}}}, func(buf []byte, _ int) []byte { return buf })
	p, err := ProfileOf(bare, "a")
	if err != nil || p == nil || p.PeakRank != 1 || !p.FirstSeen.Equal(time.Unix(5, 0)) || p.Creator.UID != "a" || p.Creator.Nickname != nil || p.Metrics.USDGMV != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestADetailNamesNoFileOfTheWorker(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{ErrFull, ErrFenced, ErrBusAway, syscall.ENOSPC} {
		v := judge(fmt.Errorf("commit us: state: /var/lib/rankwatch/state.db: write: %w", cause))
		if v.outcome != OutcomePaused || v.detail == "" || strings.Contains(v.detail, "/var") {
			t.Errorf("%v: %+v", cause, v)
		}
	}
}
