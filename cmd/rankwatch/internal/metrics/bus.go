package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rankwatch/rankwatch/publisher"
)

// bus tells of what waits for the stream and of how it gets there.
type bus struct {
	worker  Worker
	backlog int64
}

var (
	outboxBatchesDesc = desc("outbox_batches", "Batches that wait for the bus: a reading's messages, or a status.")
	outboxBytesDesc   = desc("outbox_bytes", "Payload that waits for the bus.")
	outboxLimitDesc   = desc("outbox_limit_bytes", "Payload that may wait for the bus: RANKWATCH_BACKLOG.")
	outboxAgeDesc     = desc("outbox_oldest_age_seconds", "Age of the oldest batch that waits for the bus, 0 if none does.")
	outboxFullDesc    = desc("outbox_full", "1 while readings pause because no more may wait for the bus.")
	stateDesc         = desc("state_size_bytes", "Size of state.db; space in it is used again, so it never shrinks.")
	freeDesc          = desc("data_dir_free_bytes", "Room on the disk of the data directory; absent where the system does not tell.")
	connectedDesc     = desc("bus_connected", "1 while there is a connection to the NATS server.")
	readyDesc         = desc("bus_ready", "1 once the stream is set up and the outbox agrees with it.")
	blockedDesc       = desc("bus_storage_blocked", "1 while nothing is published for want of room on the disk.")
	batchesDesc       = desc("published_batches_total", "Batches that the stream has taken.")
	messagesDesc      = desc("published_messages_total", "Messages that the stream has taken, internal ones included.")
	bytesDesc         = desc("published_bytes_total", "Payload that the stream has taken.")
	publishDesc       = desc("publish_duration_seconds", "How long the server took to commit an atomic batch, of one or several readings.")
	refusalsDesc      = desc("publish_refusals_total", "Publishes that failed and are tried again or settled, by reason.", "reason")
	chainsDesc        = desc("stream_conflicts_total", "Watchlists that stood otherwise in the stream than here: adopted from it, gone back with it, broken, or fenced by another worker.", "kind")
	lastDesc          = desc("last_publish_timestamp_seconds", "When the stream last took something from this process; absent before.")
)

func (b *bus) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		outboxBatchesDesc, outboxBytesDesc, outboxLimitDesc, outboxAgeDesc, outboxFullDesc, stateDesc, freeDesc, connectedDesc, readyDesc,
		blockedDesc, batchesDesc, messagesDesc, bytesDesc, publishDesc, refusalsDesc, chainsDesc, lastDesc,
	} {
		ch <- d
	}
}

func (b *bus) Collect(ch chan<- prometheus.Metric) {
	out, depth, now := sink(ch), b.worker.Outbox(), b.worker.Bus()
	out.gauge(outboxBatchesDesc, float64(depth.Batches))
	out.gauge(outboxBytesDesc, float64(depth.Bytes))
	out.gauge(outboxLimitDesc, float64(b.backlog))
	age := 0.0
	if !depth.Oldest.IsZero() {
		age = max(0, time.Since(depth.Oldest).Seconds())
	}
	out.gauge(outboxAgeDesc, age)
	out.flag(outboxFullDesc, depth.Full)
	if n := b.worker.StateSize(); n >= 0 {
		out.gauge(stateDesc, float64(n))
	}
	if n := b.worker.Free(); n >= 0 {
		out.gauge(freeDesc, float64(n))
	}
	out.flag(connectedDesc, now.Connected)
	out.flag(readyDesc, now.Ready)
	out.flag(blockedDesc, now.StorageBlocked)
	out.counter(batchesDesc, float64(now.Batches))
	out.counter(messagesDesc, float64(now.Messages))
	out.counter(bytesDesc, float64(now.Bytes))
	ch <- histogram(publishDesc, publisher.LatencyBounds(), now.Latency.Counts[:], now.Latency.Sum)
	for _, reason := range publisher.RefusalReasons() {
		out.counter(refusalsDesc, float64(now.Refusals[reason]), reason)
	}
	for kind, n := range map[string]uint64{"adopted": now.Adopted, "rewound": now.Rewound, "broken": now.Broken, "fenced": now.Fenced} {
		out.counter(chainsDesc, float64(n), kind)
	}
	if !now.LastPublish.IsZero() {
		out.gauge(lastDesc, seconds(now.LastPublish))
	}
}

// histogram makes the counts cumulative, as Prometheus wants them. The last count
// is of what is above all bounds.
func histogram(d *prometheus.Desc, bounds []float64, counts []uint64, total time.Duration) prometheus.Metric {
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range bounds {
		sum += counts[i]
		buckets[bound] = sum
	}
	return prometheus.MustNewConstHistogram(d, sum+counts[len(bounds)], total.Seconds(), buckets)
}
