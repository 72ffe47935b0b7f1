package watcher

import (
	"context"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// A PreviewConfig asks for one reading outside of a worker. Loaded is what it is
// compared with; its zero value makes it a first reading.
type PreviewConfig struct {
	Watchlist  Watchlist
	Source     Source
	Loaded     Loaded
	Departed   func(uids []string) (map[string]Departure, error)
	Prefix     string
	Writer     string
	MaxPayload int
}

// A Preview is what a worker would publish now. Outcome and Reason are those of
// an Attempt.
type Preview struct {
	Outcome, Reason string
	Messages        []event.Message
}

// NewPreview makes one reading and says what it would publish. It writes
// nothing.
func NewPreview(ctx context.Context, cfg PreviewConfig) (*Preview, error) {
	feed := cfg.Watchlist.Feed()
	q := fastmoss.Query{Filter: feed.Filter, Period: feed.Period.Fixed()}
	if feed.Period.Latest() {
		r, err := decodeRecord(cfg.Loaded.Record)
		if err != nil {
			return nil, err
		}
		if q.Period, err = latest(ctx, cfg.Source, q, feed, r.Period); err != nil {
			return nil, err
		}
	}
	sc, err := (&scanner{source: cfg.Source, query: q, depth: feed.Depth}).read(ctx, &facts{})
	if err != nil {
		return nil, err
	}
	if cfg.Departed == nil {
		cfg.Departed = func([]string) (map[string]Departure, error) { return nil, nil }
	}
	s := &step{
		watchlist: cfg.Watchlist, scan: sc, loaded: cfg.Loaded, prefix: cfg.Prefix, writer: cfg.Writer,
		maxPayload: cfg.MaxPayload, departed: cfg.Departed, comparer: new(diff.Comparer),
	}
	out, err := s.compute()
	if err != nil {
		return nil, err
	}
	p := &Preview{Outcome: out.outcome, Reason: out.reason}
	for _, b := range out.commit.Batches {
		for _, m := range b.Messages {
			if m.Role != event.Head {
				p.Messages = append(p.Messages, m)
			}
		}
	}
	return p, nil
}
