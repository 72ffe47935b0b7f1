package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// source tells of the calls to the API, which are what costs.
type source struct{ worker Worker }

var (
	callsDesc   = desc("source_calls_total", "Calls made to the source, retries included, by outcome: ok, cancelled, or what was wrong.", "outcome")
	retriesDesc = desc("source_retries_total", "Calls that were made again.")
	skippedDesc = desc("source_skipped_entries_total", "Entries without a usable uid.")
	waitingDesc = desc("source_waiting_calls", "Calls that wait for their turn now.")
	waitedDesc  = desc("source_wait_seconds_total", "Time that calls have waited for their turn, in sum.")
	rateDesc    = desc("source_rate_calls_per_second", "The present pace; below RANKWATCH_FASTMOSS_RATE after the source throttled.")
	tokenDesc   = desc("token_condition", "1 for the API token's condition.", "status")
)

func (s *source) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{callsDesc, retriesDesc, skippedDesc, waitingDesc, waitedDesc, rateDesc, tokenDesc} {
		ch <- d
	}
}

func (s *source) Collect(ch chan<- prometheus.Metric) {
	out, now := sink(ch), s.worker.Source()
	for outcome, n := range now.Calls {
		out.counter(callsDesc, float64(n), outcome)
	}
	out.counter(retriesDesc, float64(now.Retries))
	out.counter(skippedDesc, float64(now.Skipped))
	out.gauge(waitingDesc, float64(now.Waiting))
	out.counter(waitedDesc, now.Waited.Seconds())
	out.gauge(rateDesc, now.Rate)
	for _, status := range []string{fastmoss.StatusOK, event.StatusQuota, event.StatusDenied} {
		out.flag(tokenDesc, now.Status == status, status)
	}
}
