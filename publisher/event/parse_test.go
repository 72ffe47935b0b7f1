package event_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rankwatch/rankwatch/publisher/event"
)

var beauty = event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us-beauty"}

// place is a rank, the same position, and an index.
func place(rank int, index int64) *event.Place {
	return &event.Place{Rank: rank, Position: rank, PotentialIndex: index}
}

// change makes a message about a creator, as reading 42 tells it.
func change(t testing.TB, k event.Kind, uid string, before, after *event.Place) event.Message {
	t.Helper()
	c := &event.Change{Watchlist: "us-beauty", Region: "US", Revision: 42, Reading: "R42", N: 1, Of: 1, Creator: event.Creator{UID: uid}, Before: before, After: after}
	if before != nil && after != nil {
		places, index := before.Rank-after.Rank, after.PotentialIndex-before.PotentialIndex
		c.Places, c.IndexChange = &places, &index
	}
	m, err := beauty.Change(k, "us-beauty/42", at, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParseTellsTheKindsApart(t *testing.T) {
	t.Parallel()
	board, err := beauty.Board("us-beauty/42", at, &event.Snapshot{Watchlist: "us-beauty", Region: "US", Revision: 42, Reading: "R42", Outcome: "changed", Board: []event.Row{}})
	if err != nil {
		t.Fatal(err)
	}
	status, err := beauty.Status(at, &event.Condition{Watchlist: "us-beauty", Region: "US", Status: event.StatusStale, Since: event.Time(at)})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []event.Message{
		board, status,
		change(t, event.Entered, "a.b", nil, place(1, 9)), change(t, event.Dropped, "a.b", place(1, 9), nil),
		change(t, event.Dropped, "a.b", place(1, 9), place(70, 2)),
		change(t, event.Moved, "a.b", place(2, 9), place(1, 9)), change(t, event.Index, "a.b", place(1, 8), place(1, 9)),
	} {
		r, err := event.Parse("rankwatch", m.Subject, m.Data)
		if err != nil {
			t.Errorf("%s: %v", m.Subject, err)
			continue
		}
		k := r.Subject.Kind
		if (r.Board != nil) != (k == event.Board) || (r.Status != nil) != (k == event.Status) || (r.Change != nil) == (k == event.Board || k == event.Status) {
			t.Errorf("%s: %+v", m.Subject, r)
		}
		if r.ID == "" || r.Source != "/rankwatch/us-beauty" || !r.Time.Equal(at) || r.Subject.String() != m.Subject {
			t.Errorf("%s: %+v", m.Subject, r)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	moved := change(t, event.Moved, "a.b", place(2, 9), place(1, 9))
	for name, c := range map[string]struct {
		subject, from, to string // how moved is spoilt
		want              error
		says              string
	}{
		"another prefix":      {subject: "other.US.us-beauty.moved.a%2Eb", want: event.ErrSubject, says: "other.US"},
		"too short":           {subject: "rankwatch.US", want: event.ErrSubject, says: "rankwatch.US"},
		"a later kind":        {subject: "rankwatch.US.us-beauty.merged.a%2Eb", want: event.ErrKind, says: "merged"},
		"a later contract":    {from: "rankwatch/v1/", to: "rankwatch/v2/", want: event.ErrSchema, says: "rankwatch/v2/moved"},
		"another spec":        {from: `"specversion":"1.0"`, to: `"specversion":"2.0"`, want: event.ErrMessage, says: "2.0"},
		"another kind":        {from: `"type":"rankwatch.moved"`, to: `"type":"rankwatch.entered"`, want: event.ErrMessage, says: "rankwatch.entered"},
		"no id":               {from: `"id":"us-beauty/42/moved/a%2Eb"`, to: `"id":""`, want: event.ErrMessage, says: "no id"},
		"no JSON":             {from: `"data":{`, to: `"data":[`, want: event.ErrMessage, says: "invalid character"},
		"no data":             {from: `"data":{`, to: `"date":{`, want: event.ErrMessage, says: "no data"},
		"no time":             {from: at.Format("2006-01-02T15:04:05.000Z"), to: "yesterday", want: event.ErrMessage, says: "yesterday"},
		"another watchlist":   {from: `"watchlist":"us-beauty"`, to: `"watchlist":"us-all"`, want: event.ErrMessage, says: "us-all"},
		"another region":      {from: `"region":"US"`, to: `"region":"GB"`, want: event.ErrMessage, says: "GB"},
		"another creator":     {from: `"uid":"a.b"`, to: `"uid":"c"`, want: event.ErrMessage, says: `"c"`},
		"no before":           {from: `"before":{"rank"`, to: `"was":{"rank"`, want: event.ErrMessage, says: "before"},
		"no after":            {from: `"after":{"rank"`, to: `"is":{"rank"`, want: event.ErrMessage, says: "after"},
		"no places":           {from: `"places":1`, to: `"places":null`, want: event.ErrMessage, says: "places"},
		"no index_change":     {from: `"index_change":0`, to: `"index_change":null`, want: event.ErrMessage, says: "index_change"},
		"a rank that is text": {from: `"rank":2`, to: `"rank":"2"`, want: event.ErrMessage, says: "rank"},
	} {
		subject, data := moved.Subject, moved.Data
		if c.subject != "" {
			subject = c.subject
		}
		if data = bytes.Replace(data, []byte(c.from), []byte(c.to), 1); c.subject == "" && bytes.Equal(data, moved.Data) {
			t.Errorf("%s: nothing was spoilt in %s", name, data)
		}
		_, err := event.Parse("rankwatch", subject, data)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A message may have more than this version knows.
func TestParseIgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	m := change(t, event.Entered, "a", nil, place(1, 9))
	data := bytes.Replace(m.Data, []byte(`"data":{`), []byte(`"traceparent":"00-1","data":{"mood":{"x":[1]},`), 1)
	if _, err := event.Parse("rankwatch", m.Subject, data); err != nil {
		t.Error(err)
	}
}
