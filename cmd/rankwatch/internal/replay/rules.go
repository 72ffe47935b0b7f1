package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/recount"
)

// A backtest is what a watchlist's stored boards tell under the rules of a
// file, beside what was published.
type backtest struct {
	Watchlist     string       `json:"watchlist"`
	Region        string       `json:"region"`
	Readings      int          `json:"readings"`
	From          *end         `json:"from"` // the first reading compared; null if there is none
	To            *end         `json:"to"`
	Published     event.Counts `json:"published"`
	Rules         event.Counts `json:"rules"`
	OnlyPublished event.Counts `json:"only_published"`
	OnlyRules     event.Counts `json:"only_rules"`
	ToldOtherwise event.Counts `json:"told_otherwise"`

	trial       *recount.Trial
	depth, want int // places read, and those that the file watches
}

// A difference is an event that only one of the two tells, or both but from or
// to another place; Only is published, rules or otherwise. Before and After are
// the rules' in the last case.
type difference struct {
	Watchlist string       `json:"watchlist"`
	Revision  uint64       `json:"revision"`
	Time      string       `json:"time"`
	Only      string       `json:"only"`
	Kind      event.Kind   `json:"kind"`
	UID       string       `json:"uid"`
	Nickname  string       `json:"nickname"`
	Before    *event.Place `json:"before"`
	After     *event.Place `json:"after"`
}

const (
	onlyPublished = "published"
	onlyRules     = "rules"
	bothOtherwise = "otherwise"
)

// maxTrials is how many watchlists are held in memory at once; more are tried in
// several passes.
const maxTrials = 256

// backtest reads the stored boards of the watchlists again under the rules that
// the file has for them.
func (v *view) backtest(ctx context.Context, file []watcher.Watchlist) error {
	lists, err := v.reader.Watchlists(ctx, v.query.Watchlists...)
	if err != nil {
		return err
	}
	var known []watcher.Watchlist
	for _, name := range lists {
		i := slices.IndexFunc(file, func(w watcher.Watchlist) bool { return w.Name == name })
		switch {
		case i >= 0:
			known = append(known, file[i])
		case slices.Contains(v.query.Watchlists, name):
			return exit.AsUsage(fmt.Errorf("--rules: the file has no watchlist %s", name))
		default:
			if _, err := fmt.Fprintf(v.errs, "%s: not in the file of --rules, left out\n", name); err != nil {
				return err
			}
		}
	}
	if len(known) == 0 {
		return exit.AsUsage(errors.New("--rules: the file has none of the watchlists that the stream has"))
	}
	p := newRulesPrinter(v.format, v.target)
	for group := range slices.Chunk(known, maxTrials) {
		if err := v.try(ctx, group, p); err != nil {
			return err
		}
	}
	return p.close()
}

// try reads all history of some watchlists, since a rule may look back further
// than the range, and compares what lies within the range.
func (v *view) try(ctx context.Context, group []watcher.Watchlist, p rulesPrinter) error {
	tests := make(map[string]*backtest, len(group))
	var names []string
	for _, w := range group {
		names = append(names, w.Name)
		tests[w.Name] = &backtest{
			Watchlist: w.Name, Region: w.Region(), want: w.Top + w.Margin,
			trial: recount.NewTrial(recount.TrialConfig{Rules: w.Rules, Reset: w.Rollover == watcher.RolloverReset, Announce: w.Announce}),
		}
	}
	l := recount.NewLedger(recount.LedgerConfig{Prefix: v.reader.Prefix(), Expired: v.reader.Expired()})
	all := history.Query{
		Watchlists: names, Until: v.query.Until, ToRevision: v.query.ToRevision,
		Kinds: []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index, event.Board},
	}
	err := v.each(ctx, all, func(m *history.Message) error {
		r, f := l.Take(stored(m))
		if f != nil {
			return fmt.Errorf("%w; `rankwatch verify` tells more", f)
		}
		if r == nil {
			return nil
		}
		return v.add(tests[r.Data.Watchlist], r, p)
	})
	if err != nil {
		return err
	}
	for _, w := range group {
		t := tests[w.Name]
		if t.want > t.depth && t.Readings > 0 {
			if _, err := fmt.Fprintf(v.errs, "%s: the file watches %d places, and %d were read: who stands below is not in the stored boards\n", w.Name, t.want, t.depth); err != nil {
				return err
			}
		}
		if err := p.sum(t); err != nil {
			return err
		}
	}
	return nil
}

// add tries one reading.
func (v *view) add(t *backtest, r *recount.Reading, p rulesPrinter) error {
	if r.Data.Region != t.Region {
		return exit.AsUsage(fmt.Errorf("--rules: the file's %s is of region %s, its stored boards are of %s: another list cannot be told from them", t.Watchlist, t.Region, r.Data.Region))
	}
	verdict, err := t.trial.Next(r)
	if err != nil {
		return err
	}
	t.depth = r.Data.Depth
	if at := r.At(); r.Data.Revision < v.query.FromRevision || !v.query.Since.IsZero() && at.Before(v.query.Since) {
		return nil
	}
	t.Readings++
	e := endOf(r)
	if t.To = &e; t.From == nil {
		t.From = &e
	}
	t.Published, t.Rules = sum(t.Published, verdict.Published), sum(t.Rules, verdict.Trial)
	for _, part := range []struct {
		only   string
		told   []recount.Told
		counts *event.Counts
	}{
		{onlyPublished, verdict.OnlyPublished, &t.OnlyPublished}, {onlyRules, verdict.OnlyTrial, &t.OnlyRules}, {bothOtherwise, verdict.Other, &t.ToldOtherwise},
	} {
		for _, told := range part.told {
			recount.Count(part.counts, told.Kind)
			if len(v.query.Kinds) > 0 && !slices.Contains(v.query.Kinds, told.Kind) {
				continue
			}
			err := p.difference(&difference{
				Watchlist: t.Watchlist, Revision: r.Data.Revision, Time: r.Time, Only: part.only,
				Kind: told.Kind, UID: told.UID, Nickname: told.Name, Before: told.Before, After: told.After,
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func sum(a, b event.Counts) event.Counts {
	return event.Counts{Entered: a.Entered + b.Entered, Moved: a.Moved + b.Moved, Dropped: a.Dropped + b.Dropped, Index: a.Index + b.Index}
}
