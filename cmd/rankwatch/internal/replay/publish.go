package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/bus"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/progress"
	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// replayHeader marks a message that was published again and says where it comes
// from: `RANKWATCH/1234` is sequence 1234 of stream RANKWATCH.
const replayHeader = "Rankwatch-Replay"

const (
	// maxPending is how many messages may wait for their acknowledgement.
	maxPending = 1024
	// flushEvery is how many plain messages are sent without hearing from the
	// server.
	flushEvery = 1024
	// patience bounds the wait for acknowledgements.
	patience = 10 * time.Second
)

// A republication sends messages again under another prefix.
type republication struct {
	live, prefix string
	speed        float64 // 0: as fast as the bus takes them
}

// A source is what to read.
type source struct {
	reader *history.Reader
	query  history.Query
}

var speedForm = regexp.MustCompile(`^\d+(\.\d+)?x$`)

// republication checks --publish and --speed; it is nil without --publish. All
// mistakes are reported at once.
func (o *options) republication(live string) (*republication, error) {
	p := &republication{live: live, prefix: o.publish}
	var all []error
	switch {
	case o.publish == "" && o.speed != "":
		all = append(all, fmt.Errorf("--speed %s: it is how fast --publish sends, which is missing", o.speed))
	case o.publish == "":
		return nil, nil
	case !publisher.ValidPrefix(o.publish):
		all = append(all, fmt.Errorf("--publish %q: no subject prefix: write %s", o.publish, publisher.PrefixForm))
	case collide(o.publish, live):
		all = append(all, fmt.Errorf("--publish %s: its subjects are those of the live prefix %s; choose one beside it", o.publish, live))
	}
	if o.outputSet && o.publish != "" {
		all = append(all, errors.New("--publish prints nothing: leave out -o"))
	}
	if o.speed != "" {
		n, err := strconv.ParseFloat(strings.TrimSuffix(o.speed, "x"), 64)
		if err != nil || !speedForm.MatchString(o.speed) || n <= 0 {
			all = append(all, fmt.Errorf("--speed %s: write a number above 0 with an x: 1x, 60x, 0.5x", o.speed))
		}
		p.speed = n
	}
	return p, errors.Join(all...)
}

// collide says that two prefixes have subjects in common.
func collide(a, b string) bool { return server.SubjectsCollide(a+".>", b+".>") }

// heard refuses a server that nobody else is connected to.
func (p *republication) heard(b *bus.Bus) error {
	if p == nil || !b.AtRest {
		return nil
	}
	return exit.AsUsage(fmt.Errorf("--publish %s: nobody could hear it: no worker runs in %s; start one, or set RANKWATCH_NATS_URL", p.prefix, b.Where))
}

// run sends what the source has. ctx ends it early, which is no error. How many
// were sent goes to errs.
func (p *republication) run(ctx context.Context, nc *nats.Conn, from source, errs io.Writer) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	captured, err := p.capture(ctx, js, from.reader.Stream().Config.Name)
	if err != nil {
		return err
	}
	s, err := newSender(nc, captured)
	if err != nil {
		return err
	}
	bar := progress.New(progress.Config{Errs: errs, What: "messages"})
	stream := from.reader.Stream().Config.Name
	clock := pace{speed: p.speed}
	err = from.reader.Each(ctx, from.query, bar.Update, func(m *history.Message) error {
		if err := pause(ctx, clock.wait(m.Time(), time.Now())); err != nil {
			return err
		}
		again := nats.NewMsg(p.prefix + strings.TrimPrefix(m.Subject, p.live))
		again.Header.Set("Content-Type", event.ContentType)
		again.Header.Set(replayHeader, stream+"/"+strconv.FormatUint(m.Sequence, 10))
		again.Data = m.Data
		return s.send(ctx, again)
	})
	err = unlessStopped(ctx, err)
	if ferr := s.finish(ctx); err == nil {
		err = ferr // or else the same one
	}
	bar.Done()
	what := "published again"
	if ctx.Err() != nil {
		what = "published again before it was stopped"
	}
	_, werr := fmt.Fprintf(errs, "%d messages %s, under %s.>\n", s.arrived(), what, p.prefix)
	return errors.Join(err, werr)
}

// capture returns the subjects of streams that would store what is sent.
// Streams that must not see it, or that would spread it among live messages,
// are an *exit.UsageError.
func (p *republication) capture(ctx context.Context, js jetstream.JetStream, live string) ([]string, error) {
	all := p.prefix + ".>"
	var captured []string
	var bad []error
	refuse := func(stream, how, subject string) {
		bad = append(bad, fmt.Errorf("--publish %s: stream %s %s %s; choose another prefix", p.prefix, stream, how, subject))
	}
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		c := info.Config
		stores := false
		for _, s := range c.Subjects {
			switch {
			case !server.SubjectsCollide(s, all):
			case c.Name == live:
				refuse(c.Name, "is the live one and takes in", s)
			case !c.NoAck:
				captured = append(captured, s)
				fallthrough
			default:
				stores = true
			}
		}
		if t := c.SubjectTransform; c.Name == live && t != nil && server.SubjectsCollide(wildcards(t.Destination), all) {
			refuse(c.Name, "is the live one and stores its messages under", t.Destination)
		}
		if r := c.RePublish; r != nil {
			switch to := wildcards(r.Destination); {
			case server.SubjectsCollide(to, all):
				refuse(c.Name, "sends its own messages to", r.Destination)
			case stores && server.SubjectsCollide(to, p.live+".>"):
				refuse(c.Name, "would send it on to the live subjects", r.Destination)
			}
		}
	}
	if err := streams.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("publish: list streams: %w", err)
	}
	return captured, exit.AsUsage(errors.Join(bad...))
}

// wildcards makes a filter of a transform's destination, whose placeholders stand
// for anything.
func wildcards(destination string) string {
	words := strings.Split(destination, ".")
	for i, w := range words {
		if strings.Contains(w, "{{") || strings.HasPrefix(w, "$") {
			words[i] = "*"
		}
	}
	return strings.Join(words, ".")
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A pace keeps the gaps between the times of readings, divided by speed.
type pace struct {
	speed        float64
	first, start time.Time // the first reading's, and when it was sent
}

// wait says how long a reading made at t waits at now. What was stored late,
// after others that were made later, does not wait.
func (p *pace) wait(t, now time.Time) time.Duration {
	if p.speed == 0 || t.IsZero() {
		return 0
	}
	if p.first.IsZero() {
		p.first, p.start = t, now
	}
	after := float64(t.Sub(p.first)) / p.speed
	due := time.Duration(min(after, math.MaxInt64/2))
	return max(due-now.Sub(p.start), 0)
}

// A sender publishes in order, with acknowledgement where a stream takes the
// message in.
type sender struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	captured []string

	plain   uint64 // sent without acknowledgement
	waiting uint64 // sent for acknowledgement
	failed  atomic.Uint64
	err     atomic.Pointer[error] // the first
}

func newSender(nc *nats.Conn, captured []string) (*sender, error) {
	s := &sender{nc: nc, captured: captured}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPending), jetstream.WithPublishAsyncTimeout(patience),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) {
			s.failed.Add(1)
			err = fmt.Errorf("publish %s: %w", m.Subject, err)
			s.err.CompareAndSwap(nil, &err)
		}))
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	s.js = js
	return s, nil
}

// send returns what an earlier message came to, too: none may follow one that
// was lost.
func (s *sender) send(ctx context.Context, m *nats.Msg) error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	for _, filter := range s.captured {
		if !server.SubjectsCollide(m.Subject, filter) {
			continue
		}
		if _, err := s.js.PublishMsgAsync(m, jetstream.WithStallWait(patience)); err != nil {
			return fmt.Errorf("publish %s: %w", m.Subject, err)
		}
		s.waiting++
		return nil
	}
	if err := s.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("publish %s: %w", m.Subject, err)
	}
	if s.plain++; s.plain%flushEvery == 0 {
		return s.flush(ctx)
	}
	return nil
}

func (s *sender) flush(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.nc.FlushWithContext(wait); err != nil && ctx.Err() == nil {
		return fmt.Errorf("publish: the server does not answer: %w", err)
	}
	return ctx.Err()
}

// finish waits for what is on the way, even when ctx has ended.
func (s *sender) finish(ctx context.Context) error {
	err := s.flush(context.WithoutCancel(ctx))
	select {
	case <-s.js.PublishAsyncComplete():
	case <-time.After(patience):
		err = errors.Join(err, fmt.Errorf("publish: %d messages were not acknowledged", s.js.PublishAsyncPending()))
	}
	if first := s.err.Load(); first != nil && err == nil {
		err = *first
	}
	return err
}

// arrived counts the messages that were acknowledged, or sent where none is.
func (s *sender) arrived() uint64 {
	return s.plain + s.waiting - s.failed.Load() - uint64(s.js.PublishAsyncPending())
}
