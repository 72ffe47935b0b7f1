package watcher

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// statusChange is a condition to be told.
type statusChange struct {
	status, reason, detail string
	at                     time.Time
	next                   time.Time // zero if there is no next try
	number                 uint64    // in the chain of statuses
	trace                  string    // of the reading that it comes of; may be empty
}

// transition tells a change of condition: the condition to remember, nil if all
// is well, and the batch to publish. Without a change the batch is nil: a
// status is said once, not at every attempt.
func transition(o event.Origin, now *condition, to statusChange) (*condition, *event.Batch, error) {
	if now != nil && now.Status == to.status || now == nil && to.status == event.StatusRecovered {
		return now, nil, nil
	}
	c := &condition{Status: to.status, Reason: to.reason, Since: to.at}
	d := &event.Condition{
		Watchlist: o.Watchlist, Region: o.Region, Status: to.status, Reason: to.reason,
		Detail: to.detail, Since: event.Time(to.at),
	}
	if !to.next.IsZero() {
		t := event.Time(to.next)
		d.NextTry = &t
	}
	m, err := o.Status(to.at, d)
	if err != nil {
		return now, nil, err
	}
	if to.status == event.StatusRecovered {
		c = nil
	}
	return c, &event.Batch{
		Chain:       event.Chain{Watchlist: o.Watchlist, Kind: event.Status},
		Revision:    to.number,
		TraceParent: to.trace,
		Messages:    []event.Message{m},
	}, nil
}

// Resume returns the record with the condition that the watchlist's last status
// told, so that whoever takes a watchlist over from the stream neither repeats
// that status nor forgets to take it back.
func Resume(data []byte, last event.Condition) ([]byte, error) {
	r, err := decodeRecord(data)
	if err != nil {
		return nil, err
	}
	r.Condition = nil
	if last.Status != event.StatusRecovered && last.Status != event.StatusFenced {
		since, err := time.Parse(time.RFC3339Nano, last.Since)
		if err != nil {
			return nil, fmt.Errorf("status since %q: %w", last.Since, err)
		}
		r.Condition = &condition{Status: last.Status, Reason: last.Reason, Since: since}
	}
	return json.Marshal(r)
}

func retired() statusChange {
	return statusChange{status: event.StatusRetired, reason: "removed", detail: "the watchlist is no longer configured"}
}
