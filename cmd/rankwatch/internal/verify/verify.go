// Package verify is the verb that proves that stored history is whole.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/past"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/pipe"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/progress"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher/recount"
)

const long = `Proves that the stored history is whole, of the watchlists NAME or of all:

  - every event is computed again from the boards and must be what was published;
  - folding the events over the first board must give every later one;
  - revisions have no gaps, ids are there once, and each reading has all its events;
  - what boards seal by their digests, the reading's events and the board before,
    must not have changed by a byte.

It prints a line for each watchlist. If anything is off it says what comes first,
and where, and ends with exit code 1. It reads the stream as replay does, and
disturbs no worker.`

const examples = `  rankwatch verify
  rankwatch verify us-beauty br-all`

// Command returns the verb.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:     "verify [NAME...]",
		Short:   "Prove that the stored history is whole",
		Long:    long,
		Example: examples,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := verify(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				err = errors.New("interrupted before anything was checked")
			}
			return err
		},
	}
}

func verify(ctx context.Context, names []string, out, errs io.Writer) error {
	s, err := settings.Load()
	if err != nil {
		return exit.AsUsage(err)
	}
	return past.Read(ctx, s, "verify", func(_ *bus.Bus, r *history.Reader) error {
		if past.Empty(r) {
			_, err := fmt.Fprintf(errs, "%s: nothing to prove\n", past.Nothing(r))
			return err
		}
		if err := past.Check(ctx, r, names...); err != nil {
			return err
		}
		a, err := checkAll(ctx, r, names, maxHeld, errs)
		if ctx.Err() != nil {
			// Not a proof, so not a success either.
			return fmt.Errorf("interrupted after %s; what was checked so far proves nothing", text.Some(a.read, "message"))
		}
		if err != nil {
			return err
		}
		return pipe.Quiet(func() error { return a.report(out) })
	})
}

// checkAll checks the watchlists, all if none is named, with at most most bytes of
// boards at once, and says on errs how far it is.
func checkAll(ctx context.Context, r *history.Reader, names []string, most int, errs io.Writer) (*audit, error) {
	a := &audit{reader: r, errs: errs, heads: map[string]history.Head{}, later: map[string]bool{}}
	chains, err := r.Chains(ctx, names...)
	if err != nil {
		return a, err
	}
	sizes := make(map[string]int, len(chains))
	for _, c := range chains {
		sizes[c.Watchlist] += c.Size
	}
	heads, err := r.Heads(ctx)
	if err != nil {
		return a, err
	}
	for _, h := range heads {
		a.heads[h.Watchlist] = h
	}
	groups := grouped(sizes, most)
	if len(names) == 0 {
		for _, group := range groups {
			for _, name := range group {
				a.later[name] = true
			}
		}
	}
	for i, group := range groups {
		a.all = i == 0 && len(names) == 0
		for _, name := range group {
			delete(a.later, name)
		}
		if err := a.check(ctx, group); err != nil {
			return a, err
		}
	}
	return a, nil
}

// maxHeld is how many bytes of boards are held in memory at once, as they are on the
// stream. Watchlists that have more are checked in several passes, each of which
// goes over the whole stream.
const maxHeld = 64 << 20

// grouped parts watchlists by name so that the sizes of a group come to most at
// most, or it has one.
func grouped(sizes map[string]int, most int) [][]string {
	var groups [][]string
	var held int
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if held += sizes[name]; len(groups) == 0 || held > most {
			groups, held = append(groups, nil), sizes[name]
		}
		last := &groups[len(groups)-1]
		*last = append(*last, name)
	}
	return groups
}

// An audit checks history and keeps the first fault of each watchlist.
type audit struct {
	reader *history.Reader
	errs   io.Writer
	ledger *recount.Ledger
	tracks map[string]*recount.Track
	faults map[string]*recount.Fault
	rows   []row
	// strange are faults of messages that belong to no watchlist.
	strange []*recount.Fault
	all     bool            // no watchlist was named, and this is the first pass
	later   map[string]bool // those of other passes
	heads   map[string]history.Head
	read    int
}

// row is what is reported of one watchlist.
type row struct {
	name string
	sum  recount.Summary
	open int // events that no board has named yet
	bad  *recount.Fault
}

// maxTries is how often a group is checked while the worker deletes what is past
// the retention: what goes during a pass looks like a fault.
const maxTries = 3

func (a *audit) check(ctx context.Context, lists []string) error {
	for try := 1; ; try++ {
		swept, known, err := a.reader.Swept(ctx)
		if err == nil {
			err = a.pass(ctx, lists, recount.LedgerConfig{
				Prefix: a.reader.Prefix(), Cut: a.cut(swept), Kept: known, Whole: known && swept == 0,
			})
		}
		if err != nil {
			return err
		}
		if len(a.faults) > 0 && try < maxTries {
			if now, _, err := a.reader.Swept(ctx); err != nil {
				return err
			} else if now != swept {
				continue
			}
		}
		break
	}
	for _, name := range lists {
		w := row{name: name, bad: a.faults[name], open: len(a.ledger.Open(name))}
		if t := a.tracks[name]; t != nil {
			w.sum = t.Summary()
		}
		if name == event.TokenWatchlist && w.bad == nil {
			continue // statuses alone
		}
		a.rows = append(a.rows, w)
		delete(a.faults, name)
	}
	// What is filed under a name that no board or status has.
	for _, f := range a.faults {
		known := slices.ContainsFunc(a.strange, func(s *recount.Fault) bool { return s.Sequence == f.Sequence })
		if !known { // another pass came by it
			a.strange = append(a.strange, f)
		}
	}
	return nil
}

// cut says which boards lie below what was deleted for its age.
func (a *audit) cut(swept uint64) func(*recount.Message) bool {
	expired := a.reader.Expired()
	return func(m *recount.Message) bool {
		return m.Sequence < swept || expired != nil && expired(m.Stored)
	}
}

// pass goes over all messages of some watchlists once.
func (a *audit) pass(ctx context.Context, lists []string, cfg recount.LedgerConfig) error {
	a.ledger = recount.NewLedger(cfg)
	a.tracks, a.faults = make(map[string]*recount.Track), make(map[string]*recount.Fault)
	q := history.Query{Watchlists: lists}
	if a.all {
		q.Watchlists = nil // also what belongs to none of them
	}
	bar := progress.New(progress.Config{Errs: a.errs, What: "messages", Lines: true})
	err := a.reader.Each(ctx, q, bar.Update, func(m *history.Message) error {
		a.read++
		if !a.all || len(a.later) == 0 || !a.isLater(m) {
			a.take(m)
		}
		return nil
	})
	bar.Done()
	if err != nil {
		return err
	}
	for _, name := range lists {
		h, is := a.heads[name]
		if !is || a.faults[name] != nil {
			continue
		}
		t := a.tracks[name]
		if t == nil {
			t = recount.NewTrack()
		}
		if f := t.Seal(recount.Head(h)); f != nil {
			a.faults[name] = f
		}
	}
	return nil
}

// isLater says that a message is of a watchlist that another pass checks.
func (a *audit) isLater(m *history.Message) bool {
	s, err := event.ParseSubject(a.reader.Prefix(), m.Subject)
	return err == nil && a.later[s.Watchlist]
}

func (a *audit) take(m *history.Message) {
	reading, f := a.ledger.Take(recount.Message{Subject: m.Subject, Sequence: m.Sequence, Stored: m.Stored, Data: m.Data})
	if reading != nil && a.faults[reading.Data.Watchlist] == nil {
		t := a.tracks[reading.Data.Watchlist]
		if t == nil {
			t = recount.NewTrack()
			a.tracks[reading.Data.Watchlist] = t
		}
		f = t.Next(reading)
	}
	if f != nil && a.faults[f.Watchlist] == nil {
		a.faults[f.Watchlist] = f
	}
}

// report prints the table and returns what is off.
func (a *audit) report(out io.Writer) error {
	faults := slices.Clone(a.strange)
	var readings, events int
	for _, w := range a.rows {
		readings, events = readings+w.sum.Readings, events+w.sum.Events
		if w.bad != nil {
			faults = append(faults, w.bad)
		}
	}
	if err := printRows(out, a.rows); err != nil {
		return err
	}
	if len(faults) == 0 {
		_, err := fmt.Fprintf(out, "%s, %s, %s: history adds up\n", text.Some(len(a.rows), "watchlist"), text.Some(readings, "reading"), text.Some(events, "event"))
		return err
	}
	slices.SortFunc(faults, func(x, y *recount.Fault) int { return cmp.Compare(x.Sequence, y.Sequence) })
	more := ""
	if len(faults) > 1 {
		more = fmt.Sprintf("\n%s more, the first of each watchlist:", text.Some(len(faults)-1, "difference"))
		for _, f := range faults[1:] {
			more += "\n  " + f.Error()
		}
	}
	return fmt.Errorf("history does not add up: %w%s", faults[0], more)
}

func printRows(out io.Writer, rows []row) error {
	width := len("WATCHLIST")
	for _, w := range rows {
		width = max(width, len(w.name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s  %13s  %-20s  %8s  %8s  %s\n", width, "WATCHLIST", "REVISIONS", "SINCE", "READINGS", "EVENTS", "RESULT")
	for _, w := range rows {
		result := "ok"
		switch {
		case w.bad != nil && w.sum.Readings > 0:
			result = fmt.Sprintf("differs at revision %d; what follows was not checked", w.bad.Revision)
		case w.bad != nil:
			result = "differs"
		case w.sum.Readings == 0:
			result = "no board yet"
		case w.sum.Begins != "":
			result = "ok from there on: " + w.sum.Begins
		}
		if w.sum.Blurred > 0 {
			result += fmt.Sprintf("; %s checked by seals and counts alone, for too little is known at the beginning", text.Some(w.sum.Blurred, "reading"))
		}
		if w.sum.Unnamed > 0 {
			result += fmt.Sprintf("; %s of attempts that no board names", text.Some(w.sum.Unnamed, "event"))
		}
		if w.open > 0 {
			result += fmt.Sprintf("; %s whose board has not come", text.Some(w.open, "event"))
		}
		revisions, since := "-", "-"
		if w.sum.Readings > 0 {
			revisions, since = fmt.Sprintf("%d..%d", w.sum.First, w.sum.Last), w.sum.Since.UTC().Format("2006-01-02T15:04:05Z")
		}
		fmt.Fprintf(&b, "%-*s  %13s  %-20s  %8d  %8d  %s\n", width, w.name, revisions, since, w.sum.Readings, w.sum.Events, result)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
