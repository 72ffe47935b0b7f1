package past

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/when"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A Range is the flags that select a part of history. Both ends count.
type Range struct {
	since, until string
	from, to     uint64
}

// Flags defines the range's flags.
func (r *Range) Flags(f *pflag.FlagSet) {
	f.StringVar(&r.since, "since", "", "only readings made at `T` or later")
	f.StringVar(&r.until, "until", "", "only readings made at `T` or earlier")
	f.Uint64Var(&r.from, "from-revision", 0, "only revisions from `N` on")
	f.Uint64Var(&r.to, "to-revision", 0, "only revisions up to `N`")
}

// Given says that one of the flags is set.
func (r *Range) Given() bool { return *r != Range{} }

// Limit narrows the query to the range, or returns all that is wrong with it.
func (r *Range) Limit(q *history.Query, now time.Time) error {
	var all []error
	q.FromRevision, q.ToRevision = r.from, r.to
	for _, end := range []struct {
		flag, text string
		to         *time.Time
	}{{"since", r.since, &q.Since}, {"until", r.until, &q.Until}} {
		if end.text == "" {
			continue
		}
		t, err := when.Parse(end.text, now)
		if err != nil {
			all = append(all, fmt.Errorf("--%s: %w", end.flag, err))
		}
		*end.to = t
	}
	if q.Since.After(now) {
		all = append(all, fmt.Errorf("--since %s: lies in the future", r.since))
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && q.Since.After(q.Until) {
		all = append(all, fmt.Errorf("--since %s --until %s: the range is reversed", r.since, r.until))
	}
	if r.from != 0 && r.to != 0 && r.from > r.to {
		all = append(all, fmt.Errorf("--from-revision %d --to-revision %d: the range is reversed", r.from, r.to))
	}
	return errors.Join(all...)
}
