// Package metrics tells Prometheus what a worker does and how it is.
//
// Labels are bounded: by fixed words, and by the configured watchlists, whose
// series go when they go. Almost everything is read when it is asked for, so
// that a worker that nobody scrapes pays for nothing but the counting.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

const prefix = "rankwatch_"

// A Worker is what is asked at each scrape. Its methods are called from several
// goroutines.
type Worker interface {
	Standings() []watcher.Standing
	Source() fastmoss.Stats
	Bus() publisher.Stats
	Outbox() state.Depth
	StateSize() int64
	Free() int64
}

// A Build says which program this is.
type Build struct{ Version, Commit string }

// A Readings counts what became of readings. Its Observe is for a watcher.
type Readings struct {
	made     *prometheus.CounterVec
	events   *prometheus.CounterVec
	duration prometheus.Histogram
}

// kinds are those of events.
var kinds = []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index}

// reasons are there from the start, so that the first of a kind is an increase.
func reasons() map[string][]string {
	return map[string][]string{
		event.OutcomeBaseline:    {event.ReasonFirst, event.ReasonConfig, event.ReasonRollover, event.ReasonRestored},
		event.OutcomeChanged:     {""},
		watcher.OutcomeUnchanged: {""},
		watcher.OutcomeWaiting:   {watcher.ReasonLoss},
		watcher.OutcomeRejected: {
			watcher.ReasonTorn, watcher.ReasonShort, watcher.ReasonEmpty, watcher.ReasonFilter, watcher.ReasonPeriod,
			watcher.ReasonOversize, watcher.ReasonParameter, watcher.ReasonMalformed,
		},
		watcher.OutcomeStale:  {watcher.ReasonUnpublished, watcher.ReasonToken, watcher.ReasonThrottled, watcher.ReasonUnavailable},
		watcher.OutcomePaused: {watcher.ReasonToken, watcher.ReasonQuota, watcher.ReasonFenced, watcher.ReasonBacklog, watcher.ReasonBus, watcher.ReasonWorker},
	}
}

// NewReadings returns counters at zero.
func NewReadings() *Readings {
	r := &Readings{
		made: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "readings_total", Help: "Attempts at a reading, one for each watchlist that it serves, by what became of them.",
		}, []string{"outcome", "reason"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "events_total", Help: "Events of readings that were committed to the outbox, by kind.",
		}, []string{"kind"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "reading_duration_seconds", Help: "How long a reading took, from its start to its commit or failure, waiting for the pace included.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 25, 50, 100, 250},
		}),
	}
	for outcome, all := range reasons() {
		for _, reason := range all {
			r.made.WithLabelValues(outcome, reason)
		}
	}
	for _, k := range kinds {
		r.events.WithLabelValues(string(k))
	}
	return r
}

// Observe counts an attempt.
func (r *Readings) Observe(a watcher.Attempt) {
	r.made.WithLabelValues(a.Outcome, a.Reason).Inc()
	r.duration.Observe(a.Took.Seconds())
	for _, k := range kinds {
		r.events.WithLabelValues(string(k)).Add(float64(a.Counts.Of(k)))
	}
}

// A Config says what is told. Crew is nil of a worker that shares nothing. More are
// further collectors, with the prefix.
type Config struct {
	Worker   Worker
	Crew     Crew
	Readings *Readings
	Backlog  int64 // bytes that may wait for the bus
	Build    Build
	More     []prometheus.Collector
}

// scrapeTime bounds a scrape; promhttp answers 503 after it. That must still fit
// into the time that the server has for an answer.
const scrapeTime = 20 * time.Second

// Handler answers scrapes.
func Handler(cfg Config) (http.Handler, error) {
	reg, err := registry(cfg)
	if err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		// A scrape of many watchlists is not free.
		MaxRequestsInFlight: 2, Timeout: scrapeTime, EnableOpenMetrics: true,
	}), nil
}

func registry(cfg Config) (*prometheus.Registry, error) {
	reg := prometheus.NewRegistry()
	all := []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(cfg.Build), cfg.Readings.made, cfg.Readings.events, cfg.Readings.duration,
		&watchlists{worker: cfg.Worker}, &source{worker: cfg.Worker}, &bus{worker: cfg.Worker, backlog: cfg.Backlog},
	}
	if cfg.Crew != nil {
		all = append(all, &crew{of: cfg.Crew})
	}
	for _, c := range append(all, cfg.More...) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return reg, nil
}

func buildInfo(b Build) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "build_info", Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

// A sink sends metrics without the noise.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func (s sink) flag(d *prometheus.Desc, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	s.gauge(d, v, labels...)
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
