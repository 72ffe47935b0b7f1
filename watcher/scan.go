package watcher

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// A Source answers one page of a list, retrying what can pass.
// *fastmoss.Client is one.
type Source interface {
	Page(ctx context.Context, q fastmoss.Query, page, size int) (fastmoss.Page, error)
}

// Reasons for which a reading is refused or cannot be had: stable words that
// status messages carry.
const (
	ReasonTorn        = "torn"        // pages that don't belong together
	ReasonShort       = "short"       // fewer entries than the total promises
	ReasonEmpty       = "empty"       // a success without entries
	ReasonFilter      = "filter"      // entries that were not asked for
	ReasonPeriod      = "period"      // another period than asked for
	ReasonLoss        = "loss"        // implausibly many members gone
	ReasonOversize    = "oversize"    // larger than the bus takes
	ReasonUnpublished = "unpublished" // the period has no data yet
	ReasonParameter   = "parameter"   // the source rejects the filter
	ReasonMalformed   = "malformed"   // answers that are not lists
	ReasonThrottled   = "throttled"   // too many calls
	ReasonUnavailable = "unavailable" // the source does not answer
	ReasonToken       = "token"       // the source refuses the token
	ReasonQuota       = "quota"       // the token's calls are used up
	ReasonFenced      = "fenced"      // another worker writes this watchlist
	ReasonBacklog     = "backlog"     // too much waits for the bus; told by no status
	ReasonBus         = "bus"         // new here, so the bus is asked first and it is away; told by no status
	ReasonWorker      = "worker"      // the worker's own trouble; told by no status
)

// A Refusal says why what the source answered is not a reading.
type Refusal struct {
	Reason string
	Detail string
}

func (r *Refusal) Error() string { return "reading refused: " + r.Reason + ": " + r.Detail }

func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// A Scan is one complete, verified reading of a list. Items are unique and in
// position order; Holes are slots of ties that no scan could fill. Cut says that
// the list goes on past Depth.
type Scan struct {
	Items      []fastmoss.Item
	Positions  []int32
	Holes      []diff.Hole
	Cut        bool
	Total      int
	Depth      int
	Duplicates int // ids that the source lists more than once
	Skipped    int // entries whose id is unusable
	Period     event.Period
	At         time.Time // when the last page came
}

// row is one slot of a raw scan. A skipped entry has no item.
type row struct {
	item *fastmoss.Item
	page int
}

// raw is one pass over the pages, not yet judged.
type raw struct {
	rows    []row
	total   int
	period  event.Period
	skipped int
	at      time.Time
}

// scanner reads one list.
type scanner struct {
	source Source
	query  fastmoss.Query
	depth  int // a multiple of MaxPageSize, at most MaxDepth
}

// pass reads the pages once, and the first again at the end if there were
// several: a list that shifted meanwhile shows there.
func (s *scanner) pass(ctx context.Context) (*raw, error) {
	first, err := s.page(ctx, 1, nil)
	if err != nil {
		return nil, err
	}
	if first.Total == 0 && first.Rows == 0 {
		return nil, refuse(ReasonEmpty, "the source answered with an empty list")
	}
	r := &raw{total: first.Total, period: first.Period, at: first.At}
	want := min(first.Total, s.depth)
	r.rows = make([]row, 0, want)
	r.add(first, 1)
	pages := (want + fastmoss.MaxPageSize - 1) / fastmoss.MaxPageSize
	for p := 2; p <= pages; p++ {
		next, err := s.page(ctx, p, &first)
		if err != nil {
			return nil, err
		}
		r.add(next, p)
	}
	if pages > 1 {
		again, err := s.page(ctx, 1, &first)
		if err != nil {
			return nil, err
		}
		if d := shifted(first, again); d != "" {
			return nil, refuse(ReasonTorn, "the list changed while it was read: %s", d)
		}
		r.at = again.At
	}
	return r, nil
}

func (r *raw) add(p fastmoss.Page, page int) {
	next := 0
	for slot := range p.Rows {
		if next < len(p.Items) && p.Slots[next] == slot {
			r.rows = append(r.rows, row{item: &p.Items[next], page: page})
			next++
			continue
		}
		r.skipped++
	}
	r.at = p.At
}

// page reads one page and holds it against the question and the first page.
func (s *scanner) page(ctx context.Context, n int, first *fastmoss.Page) (fastmoss.Page, error) {
	p, err := s.source.Page(ctx, s.query, n, fastmoss.MaxPageSize)
	if err != nil {
		return p, err
	}
	if p.Period.Type == "" || p.Period.Value == "" {
		// Without an echo the answer is taken to be about what was asked: a
		// missing word is not another period.
		p.Period = s.query.Period
	}
	if err := s.fits(p, n); err != nil {
		return p, err
	}
	if first != nil {
		if p.Total != first.Total {
			return p, refuse(ReasonTorn, "the total went from %d to %d at page %d", first.Total, p.Total, n)
		}
		if p.Period != first.Period {
			return p, refuse(ReasonTorn, "page %d is about %s %s, page 1 about %s %s",
				n, p.Period.Type, p.Period.Value, first.Period.Type, first.Period.Value)
		}
	}
	want := min(fastmoss.MaxPageSize, min(p.Total, s.depth)-(n-1)*fastmoss.MaxPageSize)
	switch {
	case p.Total < 0 || p.Rows > fastmoss.MaxPageSize:
		return p, refuse(ReasonMalformed, "page %d has %d entries of %d", n, p.Rows, p.Total)
	case p.Rows < want:
		return p, refuse(ReasonShort, "page %d has %d entries, %d are due of a total of %d", n, p.Rows, want, p.Total)
	case p.Rows > want:
		return p, refuse(ReasonTorn, "page %d has %d entries, only %d are due of a total of %d", n, p.Rows, want, p.Total)
	}
	return p, nil
}

// fits holds a page against what was asked.
func (s *scanner) fits(p fastmoss.Page, n int) error {
	ask := s.query.Period
	if ask != (event.Period{}) && p.Period != (event.Period{}) && p.Period != ask {
		return refuse(ReasonPeriod, "asked for %s %s, page %d is about %s %s", ask.Type, ask.Value, n, p.Period.Type, p.Period.Value)
	}
	region := s.query.Filter.Region
	if region == "" {
		return nil
	}
	for i := range p.Items {
		if r := p.Items[i].Region; r != "" && !strings.EqualFold(r, region) {
			return refuse(ReasonFilter, "asked for region %s, page %d lists a creator of %s", region, n, r)
		}
	}
	return nil
}

// shifted compares two readings of page 1 and says how they differ, other than
// by the order within ties and by who of a tie that goes on past the page is
// shown.
func shifted(a, b fastmoss.Page) string {
	if len(a.Items) != len(b.Items) {
		return fmt.Sprintf("page 1 had %d entries, then %d", len(a.Items), len(b.Items))
	}
	for i := range a.Items {
		if a.Items[i].PotentialIndex != b.Items[i].PotentialIndex {
			return fmt.Sprintf("place %d had index %d, then %d", i+1, a.Items[i].PotentialIndex, b.Items[i].PotentialIndex)
		}
	}
	type standing struct {
		uid   string
		index int64
	}
	was := make(map[standing]bool, len(a.Items))
	for i := range a.Items {
		was[standing{a.Items[i].UID, a.Items[i].PotentialIndex}] = true
	}
	for i := range b.Items {
		it := standing{b.Items[i].UID, b.Items[i].PotentialIndex}
		if it.index != a.Items[len(a.Items)-1].PotentialIndex && !was[it] {
			return fmt.Sprintf("%q came to index %d", it.uid, it.index)
		}
	}
	return ""
}
