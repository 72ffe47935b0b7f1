package publisher

import "github.com/rankwatch/rankwatch/publisher/event"

// The stream takes messages in under ingestRoot and turns them into public
// subjects. What is ours alone lives under internalRoot and is not republished.
const (
	ingestRoot   = event.IngestRoot
	internalRoot = event.InternalRoot
)

func ingestAll(prefix string) string   { return ingestRoot + prefix + ".>" }
func internalAll(prefix string) string { return internalRoot + prefix + ".>" }
func publicAll(prefix string) string   { return prefix + ".>" }

// HeadSubject is where a watchlist's head is stored.
func HeadSubject(prefix, watchlist string) string {
	return internalRoot + prefix + ".head." + watchlist
}

// partSubject holds the marker of the last part of a long reading.
func partSubject(prefix, watchlist string) string {
	return internalRoot + prefix + ".part." + watchlist
}

// markerSubject holds the message of mark.
func markerSubject(prefix string) string { return internalRoot + prefix + ".shared" }

// fenceFilter matches a chain's fences in every region, so that a change of
// region is fenced too.
func fenceFilter(prefix string, c event.Chain) string {
	return event.Filter(event.Subject{Prefix: prefix, Watchlist: c.Watchlist, Kind: c.Kind})
}

// eventFilter matches all of a watchlist's events, but no board or status.
func eventFilter(prefix, watchlist string) string {
	return prefix + ".*." + watchlist + ".*.*"
}
