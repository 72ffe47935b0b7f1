package fleet

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
)

const (
	// shortName is enough of a writer's name, or of a hash, to tell them apart.
	shortName = 8
	// maxShown is how many names a line has before it says that there are more.
	maxShown = 5
)

// A printer writes a report for people.
type printer struct {
	text.Style
	now time.Time
}

func (p printer) print(out io.Writer, r *report) error {
	var b strings.Builder
	line := func(head string, parts ...string) {
		fmt.Fprintf(&b, "%-10s  %s\n", head, strings.Join(parts, p.Sep()))
	}
	fmt.Fprintf(&b, "fleet of stream %s, subjects %s.>\n", r.Stream, r.Prefix)
	line("file", p.file(r.File)...)
	line("limits", text.Some(r.Limits.Readings, "reading")+" at once", strconv.FormatFloat(r.Limits.Rate, 'g', -1, 64)+" calls/s")
	line("turns", p.turns(r.Turns)...)
	line("late", p.late(r.Turns)...)
	line("watchlists", p.watchlists(r.Watchlists)...)
	if r.Token != nil {
		line("token", p.token(r.Token)...)
	}
	if r.HoldUntil != nil {
		line("source", "wants no calls until "+text.Stamp(*r.HoldUntil))
	}
	wait := duration(r.Waited)
	if n := r.Turns.Unanswered; n > 0 {
		held := "turns are held by workers that did"
		if n == 1 {
			held = "turn is held by a worker that did"
		}
		line("missing", p.Paint(text.Red, fmt.Sprintf("%d %s not answer within %s, see --wait", n, held, wait)))
	}
	if len(r.Workers) == 0 {
		line("workers", p.Paint(text.Red, "none answered within "+wait))
	} else {
		line("workers", fmt.Sprintf("%d answered within %s", len(r.Workers), wait))
		b.WriteByte('\n')
		p.workers(&b, r)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (p printer) file(f *file) []string {
	if f == nil {
		return []string{"none yet: no worker has brought one"}
	}
	return []string{fmt.Sprintf("%d (%s)", f.Order, short(f.Hash)), "since " + text.Stamp(f.Since), "from worker " + short(f.Writer)}
}

func (p printer) turns(q queue) []string {
	parts := []string{fmt.Sprintf("%d waiting", q.Waiting), fmt.Sprintf("%d held", q.Held)}
	if q.Redelivered > 0 {
		parts = append(parts, fmt.Sprintf("%d of them not for the first time", q.Redelivered))
	}
	return parts
}

func (p printer) late(q queue) []string {
	var parts []string
	if q.LateWaiting != nil {
		parts = append(parts, "the oldest that waits has been due for "+duration(*q.LateWaiting))
	} else {
		parts = append(parts, "nothing waits")
	}
	if q.LateReading != nil {
		parts = append(parts, "last readings began up to "+duration(*q.LateReading)+" after they were due")
	}
	return parts
}

func (p printer) watchlists(w watchlists) []string {
	parts := []string{fmt.Sprintf("%d in the file", w.File)}
	if w.File < 0 {
		parts = []string{"this version of rankwatch cannot read the file"}
	}
	parts = append(parts, text.Some(w.Armed, "schedule"), fmt.Sprintf("%d called", w.Called))
	if len(w.Without) > 0 {
		parts = append(parts, p.Paint(text.Red, "with neither: "+some(w.Without)))
	}
	if len(w.Retired) > 0 {
		parts = append(parts, "not in the file: "+some(w.Retired))
	}
	return parts
}

func (p printer) token(t *token) []string {
	what := t.Status
	if t.Reason != "" {
		what += " (" + t.Reason + ")"
	}
	parts := []string{p.Paint(text.Red, text.Printable(what)), "since " + text.Stamp(t.Since)}
	if t.NextTry != nil {
		parts = append(parts, "next try "+text.Stamp(*t.NextTry))
	}
	if t.Detail != "" {
		parts = append(parts, text.Printable(t.Detail))
	}
	return append(parts, "says worker "+short(t.Writer))
}

// workers are a table. Its last column may be long.
func (p printer) workers(b *strings.Builder, r *report) {
	rows := [][]string{{"WORKER", "HOST", "VERSION", "SINCE (UTC)", "FILE", "DONE", "BACK", "LOST", "AGAIN", "UNSENT", "LATE", "READS NOW"}}
	left := 4 // columns that are texts; the others but the last are numbers
	var notes []string
	for _, w := range r.Workers {
		late := p.Dash()
		if w.Late != nil {
			late = duration(*w.Late)
		}
		rows = append(rows, []string{
			short(w.Writer), text.Printable(w.Host), text.Printable(w.Version), w.Since.Format(text.Seconds), strconv.FormatUint(w.Order, 10) + mark(w),
			number(w.Done), number(w.Back), number(w.Lost), number(w.Retaken), strconv.Itoa(w.Waiting), late, p.reads(w.Reading),
		})
		notes = append(notes, p.notes(w, r)...)
	}
	width := make([]int, len(rows[0])-1)
	for _, row := range rows {
		for i := range width {
			width[i] = max(width[i], text.Cells(row[i]))
		}
	}
	for _, row := range rows {
		for i, w := range width {
			if i < left {
				row[i] = text.Fill(row[i], w)
			} else {
				row[i] = text.FillLeft(row[i], w)
			}
		}
		b.WriteString(strings.TrimRight(strings.Join(row, "  "), " ") + "\n")
	}
	if len(notes) > 0 {
		b.WriteString("\n" + strings.Join(notes, "\n") + "\n")
	}
}

// mark makes people look for the note below.
func mark(w worker) string {
	if w.Behind || w.Differs {
		return "*"
	}
	return ""
}

// notes say what is not as it should be of a worker.
func (p printer) notes(w worker, r *report) []string {
	var all []string
	note := func(format string, args ...any) {
		all = append(all, p.Paint(text.Red, fmt.Sprintf("* %s on %s ", short(w.Writer), text.Printable(w.Host))+fmt.Sprintf(format, args...)))
	}
	switch {
	case w.Behind && w.Order == 0:
		note("has no watchlist file of the fleet yet")
	case w.Behind && w.Order < r.File.Order:
		note("goes by file %d, not by %d: if that does not change in a minute, its log says why", w.Order, r.File.Order)
	case w.Behind:
		note("goes by file %d, which is not that of the fleet: the server was put back to an older state", w.Order)
	}
	if w.Differs {
		note("has another watchlist file on its disk, which does not count: bring it up to date, or change it if it is to count")
	}
	if w.Limits != r.Limits {
		note("goes by %s at once and %v calls/s: its settings may differ, and it follows the fleet within a minute", text.Some(w.Limits.Readings, "reading"), w.Limits.Rate)
	}
	return all
}

func (p printer) reads(all []reading) string {
	parts := make([]string, len(all))
	for i, r := range all {
		parts[i] = text.Printable(r.Watchlist) + " " + duration(r.For)
	}
	return some(parts)
}

// some are the first of all, and how many more there are.
func some(all []string) string {
	if more := len(all) - maxShown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:maxShown], ", "), more)
	}
	return strings.Join(all, ", ")
}

func short(name string) string {
	name = text.Printable(name)
	return name[:min(len(name), shortName)]
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// duration is precise for what is short.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
	}
	return d.Round(time.Second).String()
}
