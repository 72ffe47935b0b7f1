package state

import (
	"fmt"
	"testing"
	"time"
)

func TestDepartures(t *testing.T) {
	db := openDB(t, Config{Retention: 24 * time.Hour})
	at := func(h int, uid string) Departure {
		return Departure{UID: uid, At: noon.Add(time.Duration(h) * time.Hour), FirstSeen: noon, PeakRank: 3}
	}
	ok(t, db.Commit(Commit{Watchlist: "us", Departed: []Departure{at(0, "a"), at(10, "b"), at(20, "c")}}))
	ok(t, db.Commit(Commit{Watchlist: "us2", Departed: []Departure{at(0, "a")}}))
	ok(t, db.Commit(Commit{Watchlist: "us", Version: 1, Departed: []Departure{at(21, "c")}}))
	seen := func(list string, h int) map[string]Departure {
		t.Helper()
		d, err := db.Departed(list, []string{"a", "b", "c", "d"}, noon.Add(time.Duration(h)*time.Hour))
		ok(t, err)
		return d
	}
	want(t, "all", seen("us", 21), map[string]Departure{"a": at(0, "a"), "b": at(10, "b"), "c": at(21, "c")})
	want(t, "younger than a day", seen("us", 30), map[string]Departure{"b": at(10, "b"), "c": at(21, "c")})
	ok(t, db.Sweep(noon.Add(20*time.Hour)))
	want(t, "swept", seen("us", 21), map[string]Departure{"c": at(21, "c")})
	want(t, "swept", seen("us2", 21), map[string]Departure{})
	// Who dropped out again while it was swept stays.
	ok(t, db.forget([][]byte{departedKey("us", "c"), departedKey("us", "gone")}, noon.Add(21*time.Hour)))
	want(t, "dropped out again", seen("us", 21), map[string]Departure{"c": at(21, "c")})
	none, err := db.Departed("us", nil, noon)
	ok(t, err)
	want(t, "of nobody", none, map[string]Departure{})
}

func TestSweepTakesManySmallSteps(t *testing.T) {
	db := openDB(t, Config{})
	var all []Departure
	var uids []string
	for i := range 3 * sweepDeletes {
		uid := fmt.Sprintf("%05d", i)
		uids = append(uids, uid)
		all = append(all, Departure{UID: uid, At: noon.Add(time.Duration(i%3) * time.Hour)})
	}
	ok(t, db.Commit(Commit{Watchlist: "us", Departed: all}))
	ok(t, db.Sweep(noon.Add(2*time.Hour)))
	d, err := db.Departed("us", uids, noon)
	ok(t, err)
	want(t, "left", len(d), sweepDeletes)
	for uid, d := range d {
		if d.At.Before(noon.Add(2 * time.Hour)) {
			t.Fatal("not swept:", uid, d.At)
		}
	}
}
