package watcher

import (
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

func TestOfTwoCommitsTheLaterOneSaysWhatHolds(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	version := r.store.loaded["us"].Version
	told := func(version uint64, status string) (Commit, *condition) {
		return Commit{Watchlist: "us", Version: version, Batches: make([]event.Batch, 1)}, &condition{Status: status, Since: time.Unix(1, 0)}
	}
	later, fenced := told(version+1, event.StatusFenced)
	earlier, _ := told(version, "")
	r.worker.holds(later, fenced, "board 5 is another worker's")
	r.worker.holds(earlier, nil, "")
	if c := r.standing().Condition; c == nil || c.Status != event.StatusFenced || c.Detail == "" {
		t.Errorf("a reading that was committed before it was fenced hides that: %+v", c)
	}
	after, stale := told(version+2, event.StatusStale)
	r.worker.holds(after, stale, "no answer")
	if c := r.standing().Condition; c == nil || c.Status != event.StatusStale || c.Detail != "no answer" {
		t.Errorf("what came after: %+v", c)
	}
}

// Another fault under the same status is not told again, so its words would stand
// beside a reason that they do not explain.
func TestADetailIsOfTheStatusThatWasTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.read("a9 b8")
	r.source.err = &fastmoss.Error{Kind: fastmoss.ErrUnavailable, HTTPStatus: 502}
	r.read("a9 b8")
	told := *r.standing().Condition
	r.source.err = &fastmoss.Error{Kind: fastmoss.ErrThrottled, HTTPStatus: 429}
	r.read("a9 b8")
	s := r.standing()
	if c := s.Condition; c.Reason != told.Reason || c.Detail != told.Detail || !c.Since.Equal(told.Since) || told.Detail == "" || told.Reason != ReasonUnavailable {
		t.Errorf("the condition became %+v, was %+v", *s.Condition, told)
	}
	if s.Reason != ReasonThrottled || s.Detail == told.Detail {
		t.Errorf("the last attempt is %s: %s", s.Reason, s.Detail)
	}
}

func TestAListThatIsReloadedKeepsItsStanding(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.dated()
	r.read("a9 b8")
	before := r.standing()
	changed := parseLists(t, "watchlists: [{name: us, every: 2h, top: 20, filter: {region: US}, period: {type: month, value: 2026-03}}]")
	r.worker.Reload(changed)
	after := r.standing()
	if after.Watchlist.Top != 20 || !after.Read.Equal(before.Read) || after.Revision != before.Revision || after.Next.After(time.Now()) {
		t.Errorf("a change of the list: %+v, before %+v", after, before)
	}
	r.read("a9 b8")
	r.want(stands(r.standing()), "baseline config 2")
}

// What was read of another list says nothing of how fresh the new one is, also not
// after a restart.
func TestAnotherListIsNotAsFreshAsTheOneBefore(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.dated()
	r.read("a9 b8")
	other := parseLists(t, "watchlists: [{name: us, every: 1h, top: 10, filter: {region: GB}, period: {type: month, value: 2026-03}}]")
	check := func(when string) {
		t.Helper()
		if s := r.standing(); !s.Read.IsZero() || s.Outcome != "" || s.Revision != 0 || !s.Overdue().After(time.Now()) {
			t.Errorf("%s: %+v", when, s)
		}
	}
	r.worker.Reload(other)
	check("after a reload")
	r.restart("")
	r.worker.cfg.Watchlists = other
	if err := r.worker.start(); err != nil {
		t.Fatal(err)
	}
	check("after a restart")
}
