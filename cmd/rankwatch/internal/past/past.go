// Package past answers what every verb that reads history asks first: is there
// anything, is there a watchlist of that name, and where does it begin.
package past

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// Read finds the stream that the settings name, for a verb, and hands it to fn.
// It closes what it opened.
func Read(ctx context.Context, s settings.Settings, verb string, fn func(*bus.Bus, *history.Reader) error) (err error) {
	b, err := bus.Open(s, verb)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	r, err := history.Open(ctx, b.Conn, s.Stream, s.Prefix)
	if errors.Is(err, history.ErrNoStream) {
		return fmt.Errorf("%w; no worker has published here yet, or RANKWATCH_STREAM is another", err)
	}
	if err != nil {
		return err
	}
	if _, err := r.First(ctx); !Empty(r) && errors.Is(err, history.ErrNotFound) {
		return exit.AsUsage(fmt.Errorf("stream %s holds nothing under the prefix %s, but %s; set RANKWATCH_SUBJECT_PREFIX, or RANKWATCH_STREAM",
			s.Stream, s.Prefix, strings.Join(r.Stream().Config.Subjects, ", ")))
	} else if err != nil && !errors.Is(err, history.ErrNotFound) {
		return err
	}
	return fn(b, r)
}

// Filled refuses flags that were given an empty value, which most often is a
// variable that is not set, and would select everything.
func Filled(f *pflag.FlagSet) error {
	var all []error
	f.Visit(func(x *pflag.Flag) {
		if v := x.Value.String(); v == "" || v == "[]" {
			all = append(all, fmt.Errorf("--%s: is empty", x.Name))
		}
	})
	return errors.Join(all...)
}

// Empty says that the stream holds nothing.
func Empty(r *history.Reader) bool { return r.Stream().State.Msgs == 0 }

// Nothing says so of an empty stream, for people.
func Nothing(r *history.Reader) string {
	return fmt.Sprintf("stream %s holds no messages yet", r.Stream().Config.Name)
}

// A watchlist's name, or the one that stands for the token.
var name = regexp.MustCompile(`^(?:[a-z0-9][a-z0-9-]{0,62}|` + event.TokenWatchlist + `)$`)

// maxNamed is how many watchlists an error lists.
const maxNamed = 20

// Check holds the names against the watchlists that have a board or a status in
// the stream. Unknown ones are an *exit.UsageError that says which there are.
func Check(ctx context.Context, r *history.Reader, names ...string) error {
	asked := make([]string, 0, len(names))
	for _, n := range names {
		if name.MatchString(n) { // others could be no subject
			asked = append(asked, n)
		}
	}
	known := make(map[string]bool)
	if len(asked) > 0 {
		chains, err := r.Chains(ctx, asked...)
		if err != nil {
			return err
		}
		for _, c := range chains {
			known[c.Watchlist] = true
		}
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return known[n] })
	if len(names) == 0 {
		return nil
	}
	chains, err := r.Chains(ctx)
	if err != nil {
		return err
	}
	for _, c := range chains {
		known[c.Watchlist] = true
	}
	delete(known, event.TokenWatchlist)
	all := make([]string, 0, len(known))
	for n := range known {
		all = append(all, n)
	}
	var errs []error
	for _, n := range names {
		errs = append(errs, fmt.Errorf("no watchlist %q in stream %s; it has %s", n, r.Stream().Config.Name, list(all, n)))
	}
	return exit.AsUsage(errors.Join(errs...))
}

// list names watchlists, those first that could have been meant.
func list(all []string, meant string) string {
	if len(all) == 0 {
		return "none"
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(misspelt(meant, a), misspelt(meant, b)), strings.Compare(a, b))
	})
	if more := len(all) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:maxNamed], ", "), more)
	}
	return strings.Join(all, ", ")
}

// misspelt is how many letters were mistyped for name, and a large number if
// that was hardly meant.
func misspelt(typed, name string) int {
	d := distance(typed, name)
	if d > max(2, len(name)/3) && !strings.HasPrefix(name, typed) {
		return 1 << 20
	}
	return d
}

// distance is Levenshtein's, in bytes: names are ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			step := diagonal
			if a[i] != b[j] {
				step++
			}
			diagonal = row[j+1]
			row[j+1] = min(step, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// maxBegins is for how many watchlists it is looked up where history begins, and
// maxTold how many of them are told one by one.
const (
	maxBegins = 256
	maxTold   = 5
)

// Begins says where the history of the query's watchlists begins, a line each,
// if something that the query asks for is past the retention.
func Begins(ctx context.Context, r *history.Reader, q history.Query) ([]string, error) {
	lists, err := r.Watchlists(ctx, q.Watchlists...)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, w := range lists[:min(len(lists), maxBegins)] {
		m, err := r.FirstBoard(ctx, w)
		if errors.Is(err, history.ErrNotFound) {
			continue // it has statuses only
		}
		if err != nil {
			return nil, err
		}
		if n, ok := m.Revision(); ok && n > 1 && q.FromRevision < n && reaches(q.Since, m.Time()) {
			lines = append(lines, fmt.Sprintf("%s: history begins at revision %d, %s", w, n, stamp(m.Time())))
		}
	}
	if more := len(lines) - maxTold; more > 0 && len(q.Watchlists) == 0 {
		lines = append(lines[:maxTold], fmt.Sprintf("and that of %d more watchlists begins later than with revision 1", more))
	}
	if len(lists) > maxBegins {
		lines = append(lines, fmt.Sprintf("where history begins was looked up for %d of %d watchlists", maxBegins, len(lists)))
	}
	return lines, nil
}

func reaches(since, first time.Time) bool { return since.Before(first) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Extent says from where to where the stored boards of a watchlist reach.
func Extent(ctx context.Context, r *history.Reader, watchlist string) (string, error) {
	first, err := r.FirstBoard(ctx, watchlist)
	if errors.Is(err, history.ErrNotFound) {
		return "it has no board yet", nil
	}
	if err != nil {
		return "", err
	}
	last, err := r.LastBoard(ctx, watchlist)
	if err != nil {
		return "", err
	}
	from, _ := first.Revision()
	to, _ := last.Revision()
	return fmt.Sprintf("its history begins at revision %d, %s, and ends at revision %d, %s", from, stamp(first.Time()), to, stamp(last.Time())), nil
}
