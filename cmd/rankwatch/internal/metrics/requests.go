package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Requests counts what is asked over HTTP. It is a web.Counter.
type Requests struct {
	answered *prometheus.CounterVec
	underWay *prometheus.GaugeVec
}

// NewRequests returns counters for these handlers.
func NewRequests(handlers []string) *Requests {
	r := &Requests{
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "http_requests_total", Help: "Requests over HTTP that ended, by what answered them and status code.",
		}, []string{"handler", "code"}),
		underWay: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "http_requests_in_flight", Help: "Requests over HTTP under way; those of the handler events are the listeners to live events.",
		}, []string{"handler"}),
	}
	for _, h := range handlers {
		r.answered.WithLabelValues(h, "200")
		r.underWay.WithLabelValues(h)
	}
	return r
}

// Began counts a request in.
func (r *Requests) Began(handler string) { r.underWay.WithLabelValues(handler).Inc() }

// Ended counts it out.
func (r *Requests) Ended(handler string, status int) {
	r.underWay.WithLabelValues(handler).Dec()
	r.answered.WithLabelValues(handler, strconv.Itoa(status)).Inc()
}

// Collectors are what a Config's More takes.
func (r *Requests) Collectors() []prometheus.Collector {
	return []prometheus.Collector{r.answered, r.underWay}
}
