package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/deliver"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// searched is how many readings and statuses are looked through for one that a
// route takes.
const searched = 200

// everything is the filters of all boards and statuses.
func everything(r *history.Reader) []string { return deliver.Filters(r.Prefix(), &digest.Match{}) }

// lately calls fn with the last n readings and statuses, oldest first. What is
// past the retention is left out.
func lately(ctx context.Context, r *history.Reader, n int, fn func(*history.Message, digest.Item) error) error {
	sequences, err := r.Recent(ctx, n, everything(r)...)
	if err != nil {
		return err
	}
	for _, s := range sequences {
		m, err := r.Get(ctx, s)
		if errors.Is(err, history.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		it, err := deliver.Item(ctx, r, m, nil)
		var bad *deliver.BadMessageError
		if errors.Is(err, deliver.ErrExpired) || errors.As(err, &bad) {
			continue // alert itself parks what cannot be read
		}
		if err != nil {
			return err
		}
		if err := fn(m, it); err != nil {
			return err
		}
	}
	return nil
}

// An explanation is what is asked for: of how many readings, and how it is
// printed.
type explanation struct {
	last   int
	output string
	out    io.Writer
}

// explain prints which route takes what, and why the others do not. Cooldowns
// don't count: they depend on what was delivered.
func explain(ctx context.Context, r *history.Reader, set *setup, e explanation) error {
	style := text.StyleOf(e.out)
	lines := json.NewEncoder(e.out)
	lines.SetEscapeHTML(false)
	width := 0
	for _, name := range set.routes() {
		width = max(width, text.Cells(name))
	}
	return lately(ctx, r, e.last, func(_ *history.Message, it digest.Item) error {
		decisions := digest.Explain(set.Routes, it, time.Time{})
		if e.output == "json" {
			for _, d := range decisions {
				if err := lines.Encode(explained{d.ID, it.ID(), d.Kind, d.Subject, d.Route, d.Verdict.Taken, d.Verdict.Why}); err != nil {
					return err
				}
			}
			return nil
		}
		if _, err := fmt.Fprintf(e.out, "%s%s%s%s%s\n", it.ID(), style.Sep(), it.At().UTC().Format(time.RFC3339), style.Sep(), text.Some(len(decisions)/max(len(set.Routes), 1), "event")); err != nil {
			return err
		}
		for _, d := range decisions {
			if err := line(e.out, style, width, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// explained is one decision as JSON.
type explained struct {
	ID      string     `json:"id"`
	Reading string     `json:"reading"`
	Kind    event.Kind `json:"kind"`
	Subject string     `json:"subject"`
	Route   string     `json:"route"`
	Taken   bool       `json:"taken"`
	Why     string     `json:"why"`
}

func line(out io.Writer, style text.Style, width int, d digest.Decision) error {
	sign, why := style.Paint(text.Green, style.Pick("✔", "+")), "taken"
	if !d.Verdict.Taken {
		sign, why = style.Pick("·", "-"), text.Printable(d.Verdict.Why)
	}
	_, err := fmt.Fprintf(out, "  %-7s  %s  %s %s  %s\n", d.Kind, text.Pad(text.Printable(d.Subject), 24), sign, text.Fill(d.Route, width), why)
	return err
}

// preview prints the last message that the route makes of history, or a sample if
// it takes none of what was published last.
func preview(ctx context.Context, r *history.Reader, set *setup, name string, out io.Writer) error {
	route := set.route(name)
	m := sample(name)
	m.Template = route.Template
	err := lately(ctx, r, searched, func(_ *history.Message, it digest.Item) error {
		if made, _ := route.Make([]digest.Item{it}, nil, time.Time{}); made != nil {
			m = made
		}
		return nil
	})
	if err != nil {
		return err
	}
	told, err := said(m)
	if err != nil {
		return fmt.Errorf("route %s: %w", name, err)
	}
	_, err = io.WriteString(out, ended(told))
	return err
}

// ended is a text that ends its line.
func ended(s string) string {
	if s == "" || s[len(s)-1] != '\n' {
		return s + "\n"
	}
	return s
}
