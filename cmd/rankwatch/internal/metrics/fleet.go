package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/turns"
	"github.com/rankwatch/rankwatch/publisher/fleet"
)

// A Crew is what a worker that shares its watchlists is asked, too.
type Crew interface {
	// Member tells of this worker.
	Member() turns.Member
	// State asks the bus what the fleet's queue holds.
	State(ctx context.Context) (fleet.State, error)
}

const (
	// stateTime is how long the bus may take to say what the queue holds: a scrape
	// must not wait for a bus that is away.
	stateTime = time.Second
	// stateAge is how long that is believed, and how long the bus is not asked again
	// after it said nothing.
	stateAge = 5 * time.Second
)

// crew tells of a worker's part in its fleet, and of the fleet's queue. What is
// named rankwatch_fleet is the same from every worker.
type crew struct {
	of Crew

	mu    sync.Mutex
	asked time.Time
	state fleet.State
	known bool
}

var (
	turnsDesc     = desc("turns_total", "Turns that this worker took and that ended, by how: done, over (read before, or along with another one, or its watchlist is gone), back (handed back) or lost (not kept in time, so that another worker reads).", "result")
	retakenDesc   = desc("turns_retaken_total", "Turns taken that some worker had before and handed back or let go.")
	latenessDesc  = desc("turn_lateness_seconds", "How long after they were due the turns were begun that this worker read to the end.")
	readingDesc   = desc("turns_in_progress", "Turns that this worker has now.")
	armedDesc     = desc("schedules_armed_total", "Schedules that this worker armed because they were missing, or of a watchlist that was changed.")
	orderDesc     = desc("watchlist_file_order", "Number of the fleet's watchlist file that this worker goes by, 0 before it has one. Only workers of a fleet have it.")
	differsDesc   = desc("watchlist_file_differs", "1 while the watchlist file on this worker's disk is not the one that counts in its fleet.")
	fleetRateDesc = desc("fleet_limit_calls_per_second", "Calls that all workers together may make; absent while the bus does not tell.")
	fleetReadDesc = desc("fleet_limit_readings", "Readings that all workers together may make at once; absent while the bus does not tell.")
	fleetWaitDesc = desc("fleet_turns_waiting", "Turns that were called and that no worker has taken; absent while the bus does not tell.")
	fleetHeldDesc = desc("fleet_turns_held", "Turns that were taken and are not done, those that rest after they were handed back included; absent while the bus does not tell.")
	fleetAgeDesc  = desc("fleet_oldest_turn_age_seconds", "For how long the oldest turn that is not done was called, 0 if there is none; absent while the bus does not tell.")
)

func (c *crew) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		turnsDesc, retakenDesc, latenessDesc, readingDesc, armedDesc, orderDesc, differsDesc,
		fleetRateDesc, fleetReadDesc, fleetWaitDesc, fleetHeldDesc, fleetAgeDesc,
	} {
		ch <- d
	}
}

func (c *crew) Collect(ch chan<- prometheus.Metric) {
	out, me := sink(ch), c.of.Member()
	for result, n := range map[string]uint64{"done": me.Stats.Turns, "over": me.Stats.Over, "back": me.Stats.Back, "lost": me.Stats.Lost} {
		out.counter(turnsDesc, float64(n), result)
	}
	out.counter(retakenDesc, float64(me.Stats.Retaken))
	ch <- histogram(latenessDesc, turns.LatenessBounds(), me.Stats.Lateness.Counts[:], me.Stats.Lateness.Sum)
	out.gauge(readingDesc, float64(len(me.Reading)))
	out.counter(armedDesc, float64(me.Stats.Armed))
	out.gauge(orderDesc, float64(me.Order))
	out.flag(differsDesc, me.Differs)
	s, known := c.queue()
	if !known {
		return
	}
	out.gauge(fleetRateDesc, s.Rate)
	out.gauge(fleetReadDesc, float64(s.Readings))
	out.gauge(fleetWaitDesc, float64(s.Queued))
	out.gauge(fleetHeldDesc, float64(s.Working))
	age := 0.0
	if !s.Oldest.IsZero() {
		age = max(0, time.Since(s.Oldest).Seconds())
	}
	out.gauge(fleetAgeDesc, age)
}

// queue is what the fleet's queue held within stateAge, if the bus said so.
func (c *crew) queue() (s fleet.State, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.IsZero() && time.Since(c.asked) < stateAge {
		return c.state, c.known
	}
	ctx, cancel := context.WithTimeout(context.Background(), stateTime)
	defer cancel()
	s, err := c.of.State(ctx)
	c.state, c.known, c.asked = s, err == nil, time.Now()
	return s, c.known
}
