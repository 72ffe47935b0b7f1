package demo

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher"
)

// hintEvery is how often the demo says what else to try.
const hintEvery = 10 * time.Second

// readings counts what the worker did, for the summary.
type readings struct{ made, unchanged, failed atomic.Int64 }

func (r *readings) observe(a watcher.Attempt) {
	r.made.Add(1)
	switch {
	case a.Err != nil:
		r.failed.Add(1)
	case a.Outcome == watcher.OutcomeUnchanged:
		r.unchanged.Add(1)
	}
}

// A subscription is what any NATS client has: a connection and messages.
type subscription struct {
	nc       *nats.Conn
	messages chan *nats.Msg
}

func subscribe(url string) (*subscription, error) {
	nc, err := nats.Connect(url, nats.Name("rankwatch demo"))
	if err != nil {
		return nil, fmt.Errorf("subscribe at %s: %w", url, err)
	}
	s := &subscription{nc: nc, messages: make(chan *nats.Msg, 8192)}
	if _, err := nc.ChanSubscribe(prefix+".>", s.messages); err != nil {
		nc.Close()
		return nil, fmt.Errorf("subscribe at %s: %w", url, err)
	}
	// Flushed, so that the server knows it before the first reading.
	if err := nc.Flush(); err != nil {
		nc.Close()
		return nil, fmt.Errorf("subscribe at %s: %w", url, err)
	}
	return s, nil
}

func (s *subscription) close() { s.nc.Close() }

// A show prints what it hears.
type show struct {
	out      io.Writer
	look     look
	fold     *fold
	bus      string
	page     string
	readings *readings
	began    time.Time
	hints    int
	someone  event.Creator // of a recent event, for a hint
	err      error         // the first failed write
}

func (s *show) printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.out, format, args...)
	}
}

func (s *show) intro(source string) {
	var page string
	if s.page != "" {
		page = fmt.Sprintf("  page       %-24s  shows it all: open it in a browser\n", s.page)
	}
	s.printf(`rankwatch demo: everything here is made up and runs in this process.

  simulator  %-24s  plays the ranking API; its boards change all the time
  worker     %-24s  reads, verifies and compares them, publishes what changed
  NATS       %-24s  keeps the events and hands them to whoever listens
%s
To listen along with any NATS client, in another terminal:

  nats sub '%s.>' -s %s

`, source, "3 boards, every 3 s", s.bus, page, prefix, s.bus)
}

// follow prints messages until done, and then those that are there already.
func (s *show) follow(messages <-chan *nats.Msg, done <-chan struct{}) error {
	hint := time.NewTicker(hintEvery)
	defer hint.Stop()
	for s.err == nil {
		select {
		case m := <-messages:
			if err := s.take(m); err != nil {
				return err
			}
		case <-hint.C:
			s.hint()
		case <-done:
			return s.rest(messages)
		}
	}
	return s.err
}

func (s *show) rest(messages <-chan *nats.Msg) error {
	for {
		select {
		case m := <-messages:
			if err := s.take(m); err != nil {
				return err
			}
		default:
			return s.err
		}
	}
}

func (s *show) take(m *nats.Msg) error {
	got, err := s.fold.take(m.Subject, m.Data)
	if err != nil || got == nil {
		return err
	}
	if got.status != nil {
		s.printf("%s%sstatus %s (%s) %s\n\n", got.status.Watchlist, s.look.Sep(), got.status.Status, got.status.Reason, text.Printable(got.status.Detail))
		return s.err
	}
	if len(got.changes) > 0 {
		s.someone = got.changes[0].Creator
	}
	s.printf("%s\n", s.look.reading(got.board, got.changes))
	return s.err
}

// hint prints the next thing to try, round and round.
func (s *show) hint() {
	hints := []string{
		fmt.Sprintf("only new entrants, of all boards:\n    nats sub '%s.*.*.entered.*' -s %s", prefix, s.bus),
		fmt.Sprintf("one market:\n    nats sub '%s.US.>' -s %s", prefix, s.bus),
		fmt.Sprintf("one creator on every board, %s:\n    nats sub '%s.*.*.*.%s' -s %s", text.Name(s.someone), prefix, event.EscapeUID(s.someone.UID), s.bus),
		fmt.Sprintf("what was published before you came:\n    nats sub --stream RANKWATCH --all '%s.>' -s %s", prefix, s.bus),
		"what your own boards would cost a day, and whether the file is right:\n    rankwatch plan deploy/watchlists.yaml --price 0.14\n    rankwatch check deploy/watchlists.yaml",
		"the real thing, with your token:\n    RANKWATCH_FASTMOSS_TOKEN_FILE=token RANKWATCH_WATCHLISTS=deploy/watchlists.yaml rankwatch run",
	}
	if s.someone.UID == "" && s.hints%len(hints) == 2 {
		s.hints++
	}
	s.printf("%s\n\n", s.look.Paint(text.Faint, "  Try "+hints[s.hints%len(hints)]))
	s.hints++
}

// summary says what was measured, and fails if the events do not add up.
func (s *show) summary() error {
	c := s.fold.counts
	s.printf("demo ended after %s: %d readings, %d of them unchanged, %d failed; heard %d boards with %d events (%d entered, %d moved, %d dropped, %d index)\n",
		time.Since(s.began).Round(time.Second/10), s.readings.made.Load(), s.readings.unchanged.Load(), s.readings.failed.Load(), s.fold.reads, s.fold.events(),
		c.Entered, c.Moved, c.Dropped, c.Index)
	if s.err != nil {
		return s.err
	}
	if len(s.fold.wrong) > 0 {
		return fmt.Errorf("events do not add up to the board in %v", s.fold.wrong)
	}
	if s.fold.reads > 0 {
		s.printf("folded over the first boards, the events give every later board exactly\n")
	}
	return s.err
}
