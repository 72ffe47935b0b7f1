package history

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// Each watchlist's newest board has a revision, wherever its head is.
func TestNewestKnowsEachRevision(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	head := func(list string, revision, board uint64) {
		t.Helper()
		h := nats.Header{"Nats-Rollup": {"sub"}, event.RevisionHeader: {strconv.FormatUint(revision, 10)}}
		if board > 0 {
			h.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(board, 10))
			h.Set(jetstream.ExpectedLastSubjSeqSubjHeader, event.Filter(event.Subject{Prefix: prefix, Watchlist: list, Kind: event.Board}))
		}
		must(b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "_rw." + prefix + ".head." + list, Header: h}))
	}
	want := map[string]uint64{"beside": 3, "in-place": 4, "none": 5, "replaced": 6}
	sequences := map[string]uint64{}
	for list, revision := range want {
		if list == "beside" || list == "in-place" {
			head(list, revision, 0)
		}
		b.reading(reading{list: list, revision: revision, at: time.Now(), rows: 1})
		sequences[list] = b.stored[len(b.stored)-1].sequence
	}
	head("in-place", 4, sequences["in-place"])
	head("replaced", 7, 0) // by one whose board is not there yet
	tips, err := b.reader().Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for list, revision := range want {
		if tip := tips[list]; tip.Revision != revision || tip.Sequence != sequences[list] || tip.Stored.IsZero() {
			t.Errorf("%s: %+v, want revision %d at %d", list, tip, revision, sequences[list])
		}
	}
}
