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
	depth, want int    // places read, and those that the file watches
	period      string // its type; empty for none
}

// A difference is an event that only one of the two tells, or both but from or
// to another place; Only is published, rules or otherwise. In the last case
// Before and After are the rules', and what was published stands beside them.
type difference struct {
	Watchlist       string       `json:"watchlist"`
	Revision        uint64       `json:"revision"`
	Time            string       `json:"time"`
	Only            string       `json:"only"`
	Kind            event.Kind   `json:"kind"`
	UID             string       `json:"uid"`
	Nickname        string       `json:"nickname"`
	Before          *event.Place `json:"before"`
	After           *event.Place `json:"after"`
	PublishedBefore *event.Place `json:"published_before"`
	PublishedAfter  *event.Place `json:"published_after"`
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
		case name == event.TokenWatchlist:
		case i >= 0:
			known = append(known, file[i])
		case slices.Contains(v.query.Watchlists, name):
			return exit.AsUsage(fmt.Errorf("--rules: the file has no watchlist %s", name))
		default:
			if err := v.note("%s: not in the file of --rules, left out", name); err != nil {
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
			Watchlist: w.Name, Region: w.Region(), want: w.Top + w.Margin, period: w.Period.Type,
			trial: recount.NewTrial(recount.TrialConfig{Rules: w.Rules, Reset: w.Rollover == watcher.RolloverReset, Announce: w.Announce}),
		}
	}
	swept, _, err := v.reader.Swept(ctx)
	if err != nil {
		return err
	}
	expired := v.reader.Expired()
	l := recount.NewLedger(recount.LedgerConfig{Prefix: v.reader.Prefix(), Cut: func(m *recount.Message) bool {
		return m.Sequence < swept || expired != nil && expired(m.Stored)
	}})
	all := history.Query{
		Watchlists: names, Until: v.query.Until, ToRevision: v.query.ToRevision,
		Kinds: []event.Kind{event.Entered, event.Moved, event.Dropped, event.Index, event.Board},
	}
	_, err = v.each(ctx, all, func(m *history.Message) error {
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
		var err error
		switch {
		case t.Readings == 0:
			err = v.note("%s: no reading in this range that can be compared", w.Name)
		case t.want > t.depth:
			err = v.note("%s: the file watches %d places, and %d were read: who stands below is not in the stored boards", w.Name, t.want, t.depth)
		}
		if err == nil && t.Readings > 0 {
			err = p.sum(t)
		}
		if err != nil {
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
	if q := r.Data.Period; q != nil && t.period != "" && q.Type != t.period {
		return exit.AsUsage(fmt.Errorf("--rules: the file reads %s by %s, its stored boards are by %s: another list cannot be told from them", t.Watchlist, t.period, q.Type))
	}
	verdict, err := t.trial.Next(r)
	if err != nil {
		return err
	}
	t.depth = r.Data.Depth
	if verdict.Gap {
		if err := v.note("%s: what comes before revision %d is missing; `rankwatch verify` tells more. The comparison begins anew", t.Watchlist, r.Data.Revision); err != nil {
			return err
		}
	}
	if at := r.At(); !verdict.Compared || r.Data.Revision < v.query.FromRevision || !v.query.Since.IsZero() && at.Before(v.query.Since) {
		return nil
	}
	t.Readings++
	e := endOf(r)
	if t.To = &e; t.From == nil {
		t.From = &e
	}
	t.Published, t.Rules = t.Published.Plus(verdict.Published), t.Rules.Plus(verdict.Trial)
	of := difference{Watchlist: t.Watchlist, Revision: r.Data.Revision, Time: r.Time}
	for _, told := range verdict.OnlyPublished {
		t.OnlyPublished.Add(told.Kind)
		if err := v.differs(p, of.only(onlyPublished, told)); err != nil {
			return err
		}
	}
	for _, told := range verdict.OnlyTrial {
		t.OnlyRules.Add(told.Kind)
		if err := v.differs(p, of.only(onlyRules, told)); err != nil {
			return err
		}
	}
	for _, pair := range verdict.Other {
		t.ToldOtherwise.Add(pair.Trial.Kind)
		d := of.only(bothOtherwise, pair.Trial)
		d.PublishedBefore, d.PublishedAfter = pair.Published.Before, pair.Published.After
		if err := v.differs(p, d); err != nil {
			return err
		}
	}
	return nil
}

// only fills in one event.
func (d difference) only(which string, told recount.Told) difference {
	d.Only, d.Kind, d.UID, d.Nickname, d.Before, d.After = which, told.Kind, told.UID, told.Name, told.Before, told.After
	return d
}

// differs prints a difference of the kinds that are asked for.
func (v *view) differs(p rulesPrinter, d difference) error {
	if len(v.query.Kinds) > 0 && !slices.Contains(v.query.Kinds, d.Kind) {
		return nil
	}
	return p.difference(&d)
}
