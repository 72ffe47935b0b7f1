package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A watch is one watchlist under test: its source, its oracle and what came of
// it.
type watch struct {
	name    string
	feed    *feed
	oracle  *oracle
	checker *checker
	got     chan sent
	held    *sent // taken from got by peek

	compared int // messages
	// sample keeps one message of each kind, with what was wanted and what the
	// checker knew before it. Nil keeps none.
	sample map[string]sample
}

func (w *watch) next() (sent, error) {
	if m := w.held; m != nil {
		w.held = nil
		return *m, nil
	}
	return next(w.got)
}

// peek decodes the next message without taking it.
func (w *watch) peek() (message, error) {
	m, err := w.next()
	if err != nil {
		return message{}, err
	}
	w.held = &m
	return decode(m)
}

// show serves list n and checks all that is published until its first reading
// is through.
func (w *watch) show(n int) error {
	w.feed.set(n)
	for {
		served, err := w.reading()
		if err != nil || served == n {
			return err
		}
	}
}

// again checks one more reading of whatever is being served.
func (w *watch) again() error {
	_, err := w.reading()
	return err
}

func (w *watch) reading() (int, error) {
	served, err := w.scan()
	if err != nil {
		return 0, err
	}
	return served, w.expect(w.oracle.step(w.feed.list(served)))
}

// scan waits for the next complete scan.
func (w *watch) scan() (int, error) {
	select {
	case n := <-w.feed.served:
		return n, nil
	case <-time.After(patience):
		return 0, fmt.Errorf("%s: the list is not read any more", w.name)
	}
}

// expect takes as many messages as are wanted and compares them.
func (w *watch) expect(wanted []want) error {
	var errs []error
	var got, ids []string
	for i, x := range wanted {
		ids = append(ids, x.kind+" "+x.uid)
		m, err := w.next()
		if err != nil {
			return fmt.Errorf("%s revision %d, message %d of %d (%s %s): %w", w.name, x.revision, i+1, len(wanted), x.kind, x.uid, err)
		}
		w.compared++
		if d, err := decode(m); err == nil {
			got = append(got, strings.TrimPrefix(d.Type, "rankwatch.")+" "+d.Subject)
		}
		if _, known := w.sample[x.kind]; w.sample != nil && !known && i > 0 {
			w.sample[x.kind] = sample{message: m, want: x, checker: w.checker.clone()}
		}
		if err := w.checker.check(m, x); err != nil && len(errs) < 5 {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		errs = append(errs, fmt.Errorf("only got %q, only wanted %q", beyond(got, ids), beyond(ids, got)))
	}
	return errors.Join(errs...)
}

// beyond lists what a has and b has not.
func beyond(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// quiet checks that nothing came beyond what was wanted.
func (w *watch) quiet() error {
	select {
	case m := <-w.got:
		return fmt.Errorf("%s: a message too many: %s", w.name, m.subject)
	default:
		return nil
	}
}

// run shows all lists in order.
func (w *watch) run() error {
	for n := range len(w.feed.lists) {
		if err := w.show(n); err != nil {
			return fmt.Errorf("list %d: %w", n, err)
		}
	}
	return w.rest()
}

// rest checks that the list, shown on, publishes nothing more. The second
// reading's end tells that the first one's messages are out.
func (w *watch) rest() error {
	return cmp.Or(w.again(), w.again(), w.quiet())
}
