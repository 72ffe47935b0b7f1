package metrics

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/turns"
	"github.com/rankwatch/rankwatch/publisher/fleet"
)

// mates are a fleet as one worker knows it.
type mates struct {
	member turns.Member
	state  fleet.State
	err    error
	asked  int
	hang   bool
}

func (m *mates) Member() turns.Member { return m.member }

func (m *mates) State(ctx context.Context) (fleet.State, error) {
	m.asked++
	if m.hang {
		<-ctx.Done()
		return fleet.State{}, ctx.Err()
	}
	return m.state, m.err
}

func TestAScrapeTellsOfTheFleet(t *testing.T) {
	t.Parallel()
	m := &mates{
		member: turns.Member{
			Order: 4, Differs: true, Reading: map[string]time.Time{"us": {}, "gb": {}},
			Stats: turns.Stats{Turns: 7, Back: 3, Lost: 2, Retaken: 5, Armed: 6},
		},
		state: fleet.State{Limits: fleet.Limits{Readings: 2, Rate: 2.5}, Queued: 9, Working: 2},
	}
	l := &m.member.Stats.Lateness
	l.Counts[0], l.Counts[6], l.Counts[len(l.Counts)-1], l.Sum = 4, 2, 1, 1234*time.Second
	got := own(scrapeAs(t, Config{Worker: busy(time.Now()), Crew: m, Readings: NewReadings()}))
	for name, want := range map[string]string{
		`rankwatch_turns_total{result="done"}`:              "7",
		`rankwatch_turns_total{result="back"}`:              "3",
		`rankwatch_turns_total{result="lost"}`:              "2",
		`rankwatch_turns_retaken_total`:                     "5",
		`rankwatch_schedules_armed_total`:                   "6",
		`rankwatch_turns_in_progress`:                       "2",
		`rankwatch_watchlist_file_order`:                    "4",
		`rankwatch_watchlist_file_differs`:                  "1",
		`rankwatch_turn_lateness_seconds_bucket{le="0.1"}`:  "4",
		`rankwatch_turn_lateness_seconds_bucket{le="5"}`:    "4",
		`rankwatch_turn_lateness_seconds_bucket{le="10"}`:   "6",
		`rankwatch_turn_lateness_seconds_bucket{le="600"}`:  "6",
		`rankwatch_turn_lateness_seconds_bucket{le="+Inf"}`: "7",
		`rankwatch_turn_lateness_seconds_sum`:               "1234",
		`rankwatch_fleet_limit_calls_per_second`:            "2.5",
		`rankwatch_fleet_limit_readings`:                    "2",
		`rankwatch_fleet_turns_waiting`:                     "9",
		`rankwatch_fleet_turns_held`:                        "2",
		`rankwatch_fleet_oldest_turn_age_seconds`:           "0",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
}

func TestAWorkerAloneTellsOfNoFleet(t *testing.T) {
	t.Parallel()
	for name := range own(scrape(t, busy(time.Now()), NewReadings())) {
		if strings.Contains(name, "_turn") || strings.Contains(name, "_fleet") || strings.Contains(name, "_file_") || strings.Contains(name, "schedules") {
			t.Errorf("%s is there", name)
		}
	}
}

// The bus is asked once in a while, and a scrape does not wait for one that is away.
func TestTheQueueIsAskedOnceInAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &mates{state: fleet.State{Queued: 1, Oldest: time.Now().Add(-time.Minute)}}
		c := &crew{of: m}
		for range 3 {
			if s, known := c.queue(); !known || s.Queued != 1 {
				t.Errorf("%+v %t", s, known)
			}
		}
		if m.asked != 1 {
			t.Errorf("asked %d times", m.asked)
		}
		time.Sleep(stateAge)
		m.hang = true
		began := time.Now()
		for range 3 {
			if _, known := c.queue(); known {
				t.Error("what was true once is told still")
			}
		}
		if took := time.Since(began); took != stateTime || m.asked != 2 {
			t.Errorf("took %s, asked %d times", took, m.asked)
		}
		time.Sleep(stateAge)
		m.hang, m.err = false, errors.New("refused")
		if _, known := c.queue(); known {
			t.Error("an error is no answer")
		}
		time.Sleep(stateAge)
		m.err, m.state.Queued = nil, 2
		if s, known := c.queue(); !known || s.Queued != 2 {
			t.Errorf("%+v %t", s, known)
		}
	})
}
