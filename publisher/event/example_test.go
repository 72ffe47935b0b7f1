package event_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A message as it comes from the stream.
const movedSubject = "rankwatch.US.us-beauty.moved.6765191118321771999"

const movedData = `{"specversion":"1.0","id":"us-beauty/4/moved/6765191118321771999","source":"/rankwatch/us-beauty","type":"rankwatch.moved",
 "subject":"6765191118321771999","time":"2026-11-23T10:54:51.460Z","datacontenttype":"application/json","dataschema":"rankwatch/v1/moved",
 "data":{"watchlist":"us-beauty","region":"US","revision":4,"reading":"MAA3KNPP3OFKBJOOBGWPW4JIYX","n":1,"of":12,
  "period":{"type":"month","value":"2026-10"},"previous_period":{"type":"month","value":"2026-10"},
  "creator":{"uid":"6765191118321771999","unique_id":"yurijoxi479","nickname":"Emma Brown ✨","avatar":null,"region":"US",
             "category":{"id":4,"name":"Beauty"},"follower_count":400328,
             "url":"https://www.fastmoss.com/influencer/detail/6765191118321771999"},
  "metrics":{"usd_gmv":217344.13,"units_sold":6070,"video_units_sold":0,"live_units_sold":6070,"avg_play_count":11572,
             "video_count":99,"ecommerce_type":2,"sales_category_l3":[{"id":601671,"name":"Serums & Essences"}]},
  "before":{"rank":5,"position":5,"potential_index":94},"after":{"rank":1,"position":1,"potential_index":98},
  "places":4,"index_change":4,"cause":{"passed":4,"passed_by":0,"entered_above":0,"dropped_above":0},
  "history":{"first_seen":"2026-11-23T10:54:41.982Z","peak_rank":1,"revisions_on_board":4,"reentry":false},"edge":false}}`

func ExampleParse() {
	r, err := event.Parse("rankwatch", movedSubject, []byte(movedData))
	switch {
	case errors.Is(err, event.ErrKind):
		return // of a later version: skip it
	case err != nil:
		fmt.Println(err)
		return
	}
	switch c := r.Change; {
	case r.Board != nil:
		fmt.Println("revision", r.Board.Revision, "is complete")
	case r.Status != nil:
		fmt.Println(r.Status.Watchlist, "is", r.Status.Status)
	case r.Subject.Kind == event.Moved:
		fmt.Printf("%s: rank %d → %d, passed %d\n", *c.Creator.Nickname, c.Before.Rank, c.After.Rank, c.Cause.Passed)
	}
	// Output: Emma Brown ✨: rank 5 → 1, passed 4
}

// Where Parse checks too much, Decode takes a message as it is.
func ExampleDecode() {
	e, err := event.Decode[event.Change]([]byte(movedData))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.ID, *e.Data.Places)
	// Output: us-beauty/4/moved/6765191118321771999 4
}

func ExampleFilter() {
	for _, s := range []event.Subject{
		{Prefix: "rankwatch"},
		{Prefix: "rankwatch", Region: "US"},
		{Prefix: "rankwatch", Watchlist: "us-beauty"},
		{Prefix: "rankwatch", Watchlist: "us-beauty", Kind: event.Board},
		{Prefix: "rankwatch", Kind: event.Entered},
		{Prefix: "rankwatch", UID: "golang.org/go"},
	} {
		fmt.Println(event.Filter(s))
	}
	// Output:
	// rankwatch.>
	// rankwatch.US.>
	// rankwatch.*.us-beauty.>
	// rankwatch.*.us-beauty.board
	// rankwatch.*.*.entered.*
	// rankwatch.*.*.*.golang%2Eorg/go
}

// A consumer begins with the last board of a watchlist, which it gets by the
// filter {Watchlist, Kind: Board}, and goes on with what the stream holds after it.
// deploy/consumers/go does the same over NATS.
func ExampleMembers() {
	var members event.Members
	for _, m := range stream() {
		r, err := event.Parse("rankwatch", m.Subject, m.Data)
		if err != nil {
			fmt.Println(err)
			return
		}
		reading, err := members.Add(r)
		var gap *event.GapError
		if err != nil && !errors.As(err, &gap) {
			fmt.Println(err)
			return
		}
		if gap != nil {
			fmt.Println("missed something:", gap)
		}
		if reading != nil {
			fmt.Printf("revision %d: %d events, %d members\n", members.Revision(), len(reading.Changes), members.Len())
		}
	}
	var lines []string
	for uid, p := range members.All() {
		lines = append(lines, fmt.Sprintf("%d. %s, index %d", p.Rank, uid, p.PotentialIndex))
	}
	slices.Sort(lines)
	for _, l := range lines {
		fmt.Println(l)
	}
	// Output:
	// revision 41: 0 events, 2 members
	// revision 42: 2 events, 2 members
	// 1. ann, index 90
	// 2. cat, index 85
}

// stream is a board of ann and bob, the reading after it, in which cat takes
// bob's place, and its board.
func stream() []event.Message {
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us-beauty"}
	at := time.Date(2026, 4, 14, 17, 7, 52, 0, time.UTC)
	row := func(uid string, rank int, index int64) event.Row {
		return event.Row{UID: uid, Rank: rank, Position: rank, PotentialIndex: index, Member: true}
	}
	previous := uint64(41)
	ends := []*event.Snapshot{
		{Revision: 41, Reading: "RA", Board: []event.Row{row("ann", 1, 90), row("bob", 2, 80)}},
		{Revision: 42, Reading: "RB", Board: []event.Row{row("ann", 1, 90), row("cat", 2, 85)}, PreviousRevision: &previous, Counts: event.Counts{Entered: 1, Dropped: 1}},
	}
	var out []event.Message
	add := func(m event.Message, err error) {
		if err != nil {
			panic(err)
		}
		out = append(out, m)
	}
	for _, s := range ends {
		s.Watchlist, s.Region, s.Outcome = o.Watchlist, o.Region, event.OutcomeChanged
	}
	change := func(k event.Kind, n int, uid string, before, after *event.Place) {
		add(o.Change(k, "us-beauty/42", at, &event.Change{
			Watchlist: o.Watchlist, Region: o.Region, Revision: 42, Reading: "RB", N: n, Of: 2,
			Creator: event.Creator{UID: uid}, Before: before, After: after,
		}))
	}
	add(o.Board("us-beauty/41", at, ends[0]))
	change(event.Dropped, 1, "bob", &event.Place{Rank: 2, Position: 2, PotentialIndex: 80}, nil)
	change(event.Entered, 2, "cat", nil, &event.Place{Rank: 2, Position: 2, PotentialIndex: 85})
	add(o.Board("us-beauty/42", at, ends[1]))
	return out
}
