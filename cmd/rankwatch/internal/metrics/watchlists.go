package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rankwatch/rankwatch/watcher"
)

// watchlists tells of each configured watchlist.
type watchlists struct {
	worker Worker

	mu   sync.Mutex
	plan plan
}

var (
	watchlistsDesc = desc("watchlists", "Configured watchlists.")
	planDesc       = desc("source_planned_calls_per_day", "Calls a day that the configured watchlists come to, retries aside; as `rankwatch plan` says.")
	readDesc       = desc("watchlist_last_reading_timestamp_seconds", "When the watchlist's last good reading was made; absent before the first.", "watchlist")
	ageDesc        = desc("watchlist_age_seconds", "Age of the watchlist's last good reading; absent before the first.", "watchlist")
	nextDesc       = desc("watchlist_next_reading_timestamp_seconds", "When the watchlist is to be read next; absent if it is not, as while it is fenced.", "watchlist")
	overdueDesc    = desc("watchlist_overdue", "1 if two readings of the watchlist should have been made since the last good one, or since the worker knows it.", "watchlist")
	failuresDesc   = desc("watchlist_failures", "Readings of the watchlist that failed in a row.", "watchlist")
	conditionDesc  = desc("watchlist_condition", "1 for the condition that the watchlist's last status told; absent if all is well.", "watchlist", "status")
)

func (w *watchlists) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{watchlistsDesc, planDesc, readDesc, ageDesc, nextDesc, overdueDesc, failuresDesc, conditionDesc} {
		ch <- d
	}
}

func (w *watchlists) Collect(ch chan<- prometheus.Metric) {
	out, now := sink(ch), time.Now()
	all := w.worker.Standings()
	out.gauge(watchlistsDesc, float64(len(all)))
	out.gauge(planDesc, w.planned(all, now))
	for i := range all {
		s := &all[i]
		name := s.Watchlist.Name
		if !s.Read.IsZero() {
			out.gauge(readDesc, seconds(s.Read), name)
			out.gauge(ageDesc, max(0, now.Sub(s.Read).Seconds()), name)
		}
		if !s.Next.IsZero() {
			out.gauge(nextDesc, seconds(s.Next), name)
		}
		out.flag(overdueDesc, now.After(s.Overdue()), name)
		out.gauge(failuresDesc, float64(s.Failures), name)
		if s.Condition != nil {
			out.gauge(conditionDesc, 1, name, s.Condition.Status)
		}
	}
}

// A plan is kept as long as the watchlists are the same, for cron schedules are
// averaged over years.
type plan struct {
	of    []watcher.Watchlist
	calls float64
}

func (w *watchlists) planned(all []watcher.Standing, now time.Time) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	same := len(w.plan.of) == len(all)
	for i := 0; same && i < len(all); i++ {
		same = all[i].Watchlist.Equal(w.plan.of[i])
	}
	if !same {
		of := make([]watcher.Watchlist, len(all))
		for i := range all {
			of[i] = all[i].Watchlist
		}
		w.plan = plan{of: of, calls: watcher.MakePlan(of, 0, now).Calls}
	}
	return w.plan.calls
}
