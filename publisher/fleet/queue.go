package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher"
)

const (
	// DefaultAckWait is how long a turn belongs to a worker that says nothing.
	DefaultAckWait = 15 * time.Second
	// turns is the name of the one consumer that all workers pull from.
	turns = "turns"
	// maxWaiting is how many requests for a turn may be open, of all workers.
	maxWaiting = 8192

	scheduleHeader = "Nats-Schedule"
	targetHeader   = "Nats-Schedule-Target"
	// scheduleTime is RFC 3339 with fractions of a second.
	scheduleTime = "2006-01-02T15:04:05.000Z07:00"

	rateKey = "rankwatch-rate"
)

// QueueConfig says where the turns are. Conn, Stream and Prefix are required.
type QueueConfig struct {
	Conn     *nats.Conn
	Stream   string // of the installation; the queue's is named after it
	Prefix   string // of its subjects
	Replicas int
	AckWait  time.Duration // 0 means DefaultAckWait
	Timeout  time.Duration // of one request; 0 means 5s
	Logger   *slog.Logger
}

// Limits are what holds for all workers together: readings at once, and calls per
// second.
type Limits struct {
	Readings int
	Rate     float64
}

// Pace is what each of the readings may spend, in calls per second.
func (l Limits) Pace() float64 { return l.Rate / float64(l.Readings) }

// A Queue arms one schedule for each watchlist, which becomes a turn when its
// time comes, and hands turns out to whoever asks first. The server keeps both.
//
// It is safe for concurrent use.
type Queue struct {
	cfg      QueueConfig
	js       jetstream.JetStream
	name     string
	consumer atomic.Pointer[jetstream.Consumer]
	opened   bool // by OpenQueue
}

// StreamName is the name of the stream that holds an installation's turns.
func StreamName(stream string) string { return stream + "_TURNS" }

// OpenQueue sets stream and consumer up, and makes limits those of the fleet.
func OpenQueue(ctx context.Context, cfg QueueConfig, limits Limits) (*Queue, error) {
	if cfg.AckWait == 0 {
		cfg.AckWait = DefaultAckWait
	}
	defaults(&cfg.Timeout, &cfg.Logger)
	js, err := jetstream.New(cfg.Conn, jetstream.WithDefaultTimeout(cfg.Timeout))
	if err != nil {
		return nil, fmt.Errorf("fleet: jetstream: %w", err)
	}
	q := &Queue{cfg: cfg, js: js, name: StreamName(cfg.Stream)}
	if err := q.Setup(ctx, limits); err != nil {
		return nil, err
	}
	q.opened = true
	return q, nil
}

// Setup creates what is missing of stream and consumer, undoes what somebody changed
// of them, and makes limits those of the fleet. OpenQueue did it; a server may have lost them since.
func (q *Queue) Setup(ctx context.Context, limits Limits) error {
	s, err := q.js.Stream(ctx, q.name)
	used := q.opened || err == nil && s.CachedInfo().State.Msgs > 0
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = q.js.CreateStream(ctx, q.wanted(nil))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // by a worker that wants other replicas
			s, err = q.js.Stream(ctx, q.name)
		}
	}
	if err != nil {
		return q.setupError("stream", err)
	}
	// No update where nothing changes: each goes through every node of the cluster,
	// and the server reads a stream's configuration unlocked while somebody creates a
	// consumer (nats-server 2.15).
	have := s.CachedInfo().Config
	if want := q.wanted(have.Metadata); !reflect.DeepEqual(have, want) {
		if s, err = q.js.UpdateStream(ctx, want); err != nil {
			return q.setupError("stream", err)
		}
	}
	return q.limit(ctx, limits, used, s.CachedInfo().TimeStamp)
}

// wanted is what the stream has to be, in a server's words: with the defaults that
// the server puts, and whatever metadata the stream has.
func (q *Queue) wanted(metadata map[string]string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: q.name, Description: "rankwatch: whose turn it is, of the watchlists under " + q.cfg.Prefix,
		Subjects:  []string{q.scheduleSubject("*"), q.turnSubject("*")},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Replicas: max(q.cfg.Replicas, 1),
		AllowMsgSchedules: true, AllowRollup: true, AllowMsgTTL: true, AllowDirect: true,
		MaxConsumers: -1, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
		Duplicates: 2 * time.Minute, Metadata: metadata,
	}
}

func (q *Queue) setupError(what string, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == 400 && !publisher.Unplaced(err) {
		return &publisher.ConfigError{What: "the NATS server refuses the " + what + " " + q.name + " for the turns of several workers", Do: "use nats-server 2.14 or newer on every node, and see its message", Err: err}
	}
	return fmt.Errorf("fleet: set up %s %s: %w", what, q.name, err)
}

// limit sets the consumer up. Of a used stream the one that was lost had given out
// turns, which a new one knows nothing of: it gives out none until their readers are
// done, or have lost them. now is the server's time.
func (q *Queue) limit(ctx context.Context, l Limits, used bool, now time.Time) error {
	conf := jetstream.ConsumerConfig{
		Durable: turns, Description: "every worker of the fleet pulls from this one",
		FilterSubject: q.turnSubject("*"), AckPolicy: jetstream.AckExplicitPolicy, AckWait: q.cfg.AckWait,
		MaxAckPending: l.Readings, MaxWaiting: maxWaiting,
		Metadata: map[string]string{rateKey: strconv.FormatFloat(l.Rate, 'g', -1, 64)},
	}
	if used && !now.IsZero() {
		// The server ignores it where there is a consumer.
		until := now.Add(q.cfg.AckWait)
		conf.PauseUntil = &until
	}
	c, err := q.js.CreateOrUpdateConsumer(ctx, q.name, conf)
	if err != nil {
		return q.setupError("consumer of", err)
	}
	q.consumer.Store(&c)
	return nil
}

// AckWait is how long a turn belongs to a worker that says nothing.
func (q *Queue) AckWait() time.Duration { return q.cfg.AckWait }

// A State is what the queue holds.
type State struct {
	Limits
	Queued      int       // turns that nobody has taken
	Working     int       // turns that were taken
	Redelivered int       // of those, taken for the second time or more
	Oldest      time.Time // when the oldest turn that is there was called; zero without one
	Waits       time.Time // when the oldest turn that nobody has taken was due; zero without one
}

// State asks the server.
func (q *Queue) State(ctx context.Context) (State, error) {
	c, err := q.js.Consumer(ctx, q.name, turns)
	if err != nil {
		return State{}, fmt.Errorf("fleet: ask for the turns: %w", err)
	}
	i := c.CachedInfo()
	s := State{
		Limits: Limits{Readings: i.Config.MaxAckPending},
		Queued: int(i.NumPending), Working: i.NumAckPending, Redelivered: i.NumRedelivered,
	}
	if s.Rate, err = strconv.ParseFloat(i.Config.Metadata[rateKey], 64); err != nil {
		return s, fmt.Errorf("fleet: the consumer's rate: %w", err)
	}
	if s.Queued+s.Working == 0 {
		return s, nil
	}
	m, err := q.turnFrom(ctx, 1)
	if err != nil || m == nil {
		return s, err
	}
	s.Oldest = m.Time
	if s.Queued == 0 {
		return s, nil
	}
	// Turns are given out in their order; those that come again were taken.
	if m, err = q.turnFrom(ctx, i.Delivered.Stream+1); err != nil || m == nil {
		return s, err
	}
	s.Waits = m.Time
	var turn Schedule
	if json.Unmarshal(m.Data, &turn) == nil && !turn.Due.IsZero() {
		s.Waits = turn.Due
	}
	return s, nil
}

// turnFrom is the first turn from a sequence on that is not done, nil if there is
// none.
func (q *Queue) turnFrom(ctx context.Context, sequence uint64) (*jetstream.RawStreamMsg, error) {
	return leaderGet(ctx, q.cfg.Conn, q.cfg.Timeout, q.name, map[string]any{"seq": sequence, "next_by_subj": q.turnSubject("*")})
}

func (q *Queue) scheduleSubject(watchlist string) string {
	return "_turns." + q.cfg.Prefix + ".at." + watchlist
}

func (q *Queue) turnSubject(watchlist string) string {
	return "_turns." + q.cfg.Prefix + ".due." + watchlist
}

// anySubject is that of schedule and turn. A watchlist that has both was read, and
// its turn is to be ended.
func (q *Queue) anySubject(watchlist string) string {
	return "_turns." + q.cfg.Prefix + ".*." + watchlist
}

// A Schedule is a watchlist's next turn.
type Schedule struct {
	Watchlist string          `json:"-"`
	At        time.Time       `json:"at"`    // when the turn is called
	Due       time.Time       `json:"due"`   // when its reading is due; At may be later
	Order     uint64          `json:"order"` // of the file that it comes from
	Plan      string          `json:"plan"`  // what of the watchlist it depends on
	Carry     json.RawMessage `json:"carry,omitempty"`
	Sequence  uint64          `json:"-"` // where it is, of one that was read
}

// ErrArmed means that the watchlist's schedule is another one than the caller
// expects. Nothing was changed.
var ErrArmed = errors.New("fleet: another schedule is armed")

// Arm makes s the watchlist's schedule in place of that with the given sequence;
// 0 for none.
func (q *Queue) Arm(ctx context.Context, s Schedule, expect uint64) error {
	return q.put(ctx, s, q.scheduleSubject(s.Watchlist), expect)
}

// Begin arms the first schedule of a watchlist that has neither one nor a turn:
// several workers that find it missing begin one series.
func (q *Queue) Begin(ctx context.Context, s Schedule) error {
	return q.put(ctx, s, q.anySubject(s.Watchlist), 0)
}

// put arms s if the last message under a filter has the expected sequence.
func (q *Queue) put(ctx context.Context, s Schedule, filter string, expect uint64) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("fleet: arm %s: %w", s.Watchlist, err)
	}
	m := &nats.Msg{Subject: q.scheduleSubject(s.Watchlist), Data: data, Header: nats.Header{
		scheduleHeader: {"@at " + s.At.UTC().Format(scheduleTime)}, targetHeader: {q.turnSubject(s.Watchlist)},
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(expect, 10)}, jetstream.ExpectedLastSubjSeqSubjHeader: {filter},
	}}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	_, err = q.js.PublishMsg(ctx, m)
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return ErrArmed
	}
	if err != nil {
		return fmt.Errorf("fleet: arm %s: %w", s.Watchlist, err)
	}
	return nil
}

// Disarm deletes a watchlist's schedule, none is fine. A turn that was called
// already stays.
func (q *Queue) Disarm(ctx context.Context, watchlist string) error {
	s, err := q.js.Stream(ctx, q.name)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(q.scheduleSubject(watchlist)))
	}
	if err != nil {
		return fmt.Errorf("fleet: disarm %s: %w", watchlist, err)
	}
	return nil
}

// listTime bounds a list of all names, at least: of 100,000 a server that has
// nothing else to do makes one in half a second.
const listTime = 30 * time.Second

// Names returns the watchlists that have a schedule, and those that have a turn
// which is not done. One that goes from turn to schedule meanwhile can be in
// neither.
func (q *Queue) Names(ctx context.Context) (armed, called map[string]bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(listTime, q.cfg.Timeout))
	defer cancel()
	if armed, err = q.names(ctx, q.scheduleSubject); err != nil {
		return nil, nil, err
	}
	called, err = q.names(ctx, q.turnSubject)
	return armed, called, err
}

// names lists one kind of subject. Both together would be more than a server puts
// into one answer, and several answers are of several times.
func (q *Queue) names(ctx context.Context, subject func(watchlist string) string) (map[string]bool, error) {
	s, err := q.js.Stream(ctx, q.name)
	if err != nil {
		return nil, fmt.Errorf("fleet: list schedules: %w", err)
	}
	i, err := s.Info(ctx, jetstream.WithSubjectFilter(subject("*")))
	if err != nil {
		return nil, fmt.Errorf("fleet: list schedules: %w", err)
	}
	out := make(map[string]bool, len(i.State.Subjects))
	for name := range i.State.Subjects {
		out[strings.TrimPrefix(name, subject(""))] = true
	}
	return out, nil
}

// lookUp is how many schedules are asked for at once; a server refuses more than
// 1024.
const lookUp = 500

// Armed returns the schedules of watchlists as some replica has them: one that is
// missing here may be there, and Arm tells which has changed.
func (q *Queue) Armed(ctx context.Context, watchlists []string) (map[string]Schedule, error) {
	return q.read(ctx, watchlists, q.scheduleSubject)
}

// Called returns what the turns of watchlists carry that are not done, with the
// same reserve.
func (q *Queue) Called(ctx context.Context, watchlists []string) (map[string]Schedule, error) {
	return q.read(ctx, watchlists, q.turnSubject)
}

func (q *Queue) read(ctx context.Context, watchlists []string, subject func(watchlist string) string) (map[string]Schedule, error) {
	out := make(map[string]Schedule, len(watchlists))
	for len(watchlists) > 0 {
		n := min(len(watchlists), lookUp)
		subjects := make([]string, n)
		for i, name := range watchlists[:n] {
			subjects[i] = subject(name)
		}
		watchlists = watchlists[n:]
		if err := q.readSome(ctx, subjects, subject(""), out); err != nil {
			return nil, fmt.Errorf("fleet: read schedules: %w", err)
		}
	}
	return out, nil
}

func (q *Queue) readSome(ctx context.Context, subjects []string, prefix string, out map[string]Schedule) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	_, err := publisher.LastMessages(ctx, q.cfg.Conn, q.name, subjects, func(m *jetstream.RawStreamMsg) {
		s := Schedule{Watchlist: strings.TrimPrefix(m.Subject, prefix), Sequence: m.Sequence}
		if err := json.Unmarshal(m.Data, &s); err != nil {
			q.cfg.Logger.Warn("unreadable schedule ignored", "watchlist", s.Watchlist, "err", err)
			return
		}
		out[s.Watchlist] = s
	})
	return err
}

// A Turn is a watchlist that is due. It belongs to this worker until Done or
// Back, or until AckWait has passed since Taken or the last Progress.
type Turn struct {
	Schedule
	Taken   time.Time // with the monotonic clock, before it can have begun to run out
	Retaken bool      // somebody else had it before
	msg     jetstream.Msg
	conn    *nats.Conn
	place   uint64 // sequence in the queue's stream
}

// inProgress is what keeps a turn.
var inProgress = []byte("+WPI")

// Progress keeps the turn for another AckWait, counted from the call, once the
// server has confirmed it. Without that a worker whose node has lost the others
// would go on with a turn that somebody else has.
func (t *Turn) Progress(ctx context.Context) error {
	if _, err := t.conn.RequestWithContext(ctx, t.msg.Reply(), inProgress); err != nil {
		return fmt.Errorf("fleet: keep the turn of %s: %w", t.Watchlist, err)
	}
	return nil
}

// Over says that the turn was read to the end: by somebody who had it before, whose
// end of it was lost, or along with another one. The next schedule is armed then, or
// has become a turn already. Such a turn is to be ended; read again, it would arm a
// second series.
func (q *Queue) Over(ctx context.Context, t *Turn) (bool, error) {
	m, err := q.last(ctx, t.Watchlist)
	return m != nil && t.place > 0 && m.Sequence > t.place, err
}

// Latest returns the schedule of a watchlist as the leader has it, or, with Sequence
// 0, what its turn carries that is not done; false if there is neither.
func (q *Queue) Latest(ctx context.Context, watchlist string) (s Schedule, found bool, err error) {
	m, err := q.last(ctx, watchlist)
	if err != nil || m == nil {
		return s, false, err
	}
	if err := json.Unmarshal(m.Data, &s); err != nil {
		return s, false, fmt.Errorf("fleet: schedule of %s: %w", watchlist, err)
	}
	if s.Watchlist = watchlist; m.Subject == q.scheduleSubject(watchlist) {
		s.Sequence = m.Sequence
	}
	return s, true, nil
}

// last is a watchlist's schedule or turn, whichever came last, nil if there is none.
func (q *Queue) last(ctx context.Context, watchlist string) (*jetstream.RawStreamMsg, error) {
	return leaderGet(ctx, q.cfg.Conn, q.cfg.Timeout, q.name, map[string]any{"last_by_subj": q.anySubject(watchlist)})
}

// Done ends the turn. Arm the next one before.
func (t *Turn) Done(ctx context.Context) error {
	if err := t.msg.DoubleAck(ctx); err != nil {
		return fmt.Errorf("fleet: end the turn of %s: %w", t.Watchlist, err)
	}
	return nil
}

// Back lets somebody else have the turn, after a while.
func (t *Turn) Back(after time.Duration) error {
	if err := t.msg.NakWithDelay(after); err != nil {
		return fmt.Errorf("fleet: hand back the turn of %s: %w", t.Watchlist, err)
	}
	return nil
}
