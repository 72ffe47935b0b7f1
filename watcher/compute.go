package watcher

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
	"github.com/rankwatch/rankwatch/watcher/recount"
)

// Outcomes of an attempt at a reading, besides the board's own baseline and
// changed.
const (
	OutcomeUnchanged = "unchanged"
	OutcomeWaiting   = "waiting" // the guard wants it confirmed
	OutcomeRejected  = "rejected"
	OutcomeStale     = "stale"
	OutcomePaused    = "paused" // not tried, or not kept: backlog, token or bus
)

// headroom is what headers and subject may take of a payload.
const headroom = 4 << 10

// A step turns one scan into one commit of one watchlist. It does no I/O but
// for departed.
type step struct {
	watchlist  Watchlist
	scan       *Scan
	loaded     Loaded
	prefix     string
	writer     string
	maxPayload int
	departed   func(uids []string) (map[string]Departure, error)
	comparer   *diff.Comparer

	record   record
	before   *board
	revision uint64
	reading  string // unique name of this attempt
	id       string // what the ids begin with
	reason   string // of a baseline
	result   diff.Result
	previous *event.Period
	history  map[string]Departure // earlier drops of those whom the result concerns
}

// result of a step.
type settled struct {
	commit  Commit
	outcome string
	reason  string
	counts  event.Counts
	events  int
	// condition is what the record has from then on.
	condition *condition
	detail    string // of the condition, if it is new
}

func (s *step) origin() event.Origin {
	return event.Origin{Prefix: s.prefix, Region: s.watchlist.Region(), Watchlist: s.watchlist.Name}
}

// compute decides what the scan means and writes the commit. A Refusal means
// that the scan is not to be published.
func (s *step) compute() (*settled, error) {
	if err := s.unpack(); err != nil {
		return nil, err
	}
	if err := s.compare(); err != nil {
		return nil, err
	}
	s.record.Read, s.record.Tick = s.scan.At, s.scan.At
	s.record.Attempts++
	if out := s.hold(); out != nil {
		return s.wait(out)
	}
	s.record.Guard = nil
	s.record.Fingerprint, s.record.Region, s.record.Period = s.watchlist.Fingerprint(), s.watchlist.Region(), s.scan.Period
	if !s.result.Changed {
		return s.unchanged()
	}
	return s.publish()
}

func (s *step) unpack() (err error) {
	if s.record, err = decodeRecord(s.loaded.Record); err != nil {
		return fmt.Errorf("load %s: %w", s.watchlist.Name, err)
	}
	if s.before, err = decodeBoard(s.loaded.Board); err != nil {
		return fmt.Errorf("load %s: %w", s.watchlist.Name, err)
	}
	s.revision = s.loaded.Revision + 1
	s.reading = rand.Text()
	s.id = event.ReadingID(s.watchlist.Name, s.revision, s.loaded.Lineage)
	if s.record.Period != (event.Period{}) {
		p := s.record.Period
		s.previous = &p
	}
	if s.scan.Period == (event.Period{}) && s.record.Fingerprint == s.watchlist.Fingerprint() {
		// A source that was asked for no period and names none has not changed it.
		sc := *s.scan
		sc.Period = s.record.Period
		s.scan = &sc
	}
	return nil
}

// baseline says why the scan cannot be compared, or nothing.
func (s *step) baseline() string {
	switch {
	case s.loaded.Broken:
		return event.ReasonRestored
	case len(s.loaded.Board) == 0 && s.loaded.Revision == 0:
		return event.ReasonFirst
	case len(s.loaded.Board) == 0:
		// The stream has history that its head does not explain.
		return event.ReasonRestored
	case s.record.Fingerprint != s.watchlist.Fingerprint():
		return event.ReasonConfig
	case s.record.Period != s.scan.Period && s.watchlist.Rollover == RolloverReset:
		return event.ReasonRollover
	}
	return ""
}

func (s *step) compare() error {
	r := s.scan.Reading(s.revision)
	if s.reason = s.baseline(); s.reason == "" {
		s.result = s.comparer.Compare(s.before.Board, r, s.watchlist.Rules)
	} else {
		announce := s.watchlist.Announce && s.reason == event.ReasonFirst
		s.result = diff.Baseline(r, s.watchlist.Rules, announce)
	}
	return s.remember()
}

// remember looks up who has dropped out before, and gives creators that come
// back, or stay through a baseline, the first_seen and peak_rank they had.
func (s *step) remember() error {
	rows := s.result.Board.Rows
	var uids []string
	if s.reason != "" {
		s.carry()
		for i := range rows {
			if rows[i].Member {
				uids = append(uids, rows[i].UID)
			}
		}
	} else {
		for i := range s.result.Changes {
			uids = append(uids, s.result.Changes[i].UID)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	var err error
	if s.history, err = s.departed(uids); err != nil {
		return fmt.Errorf("look up departures of %s: %w", s.watchlist.Name, err)
	}
	if len(s.history) == 0 {
		return nil
	}
	for i := range rows {
		if d, ok := s.history[rows[i].UID]; ok && rows[i].Member && rows[i].Since == s.revision {
			rows[i].FirstSeen = min(rows[i].FirstSeen, d.FirstSeen.UnixMilli())
			rows[i].Peak = min(rows[i].Peak, int32(d.PeakRank))
		}
	}
	return nil
}

// listOf is the part of a fingerprint that names the list itself.
func listOf(fingerprint string) string {
	l, _, _ := strings.Cut(fingerprint, "; top=")
	return l
}

// carry keeps what is remembered of members across a baseline of the same list:
// another top, margin or rule for ties, or a break in the stream.
func (s *step) carry() {
	if s.reason == event.ReasonRollover || listOf(s.record.Fingerprint) != listOf(s.watchlist.Fingerprint()) {
		return
	}
	was := make(map[string]*diff.Row, len(s.before.Rows))
	for i := range s.before.Rows {
		if s.before.Rows[i].Member {
			was[s.before.Rows[i].UID] = &s.before.Rows[i]
		}
	}
	for i := range s.result.Board.Rows {
		row := &s.result.Board.Rows[i]
		if w := was[row.UID]; w != nil && row.Member {
			row.FirstSeen, row.Peak = w.FirstSeen, min(w.Peak, row.Peak)
		}
	}
}

// hold applies the guard: an implausible loss within one period waits until
// further readings lose nothing beyond it. It returns nil if the scan may pass.
func (s *step) hold() *settled {
	g := s.watchlist.Guard
	lost := s.result.Lost
	if s.reason != "" || s.record.Period != s.scan.Period || g.Confirm <= 1 ||
		float64(len(lost)) <= g.MaxLoss*float64(s.result.Present) {
		return nil
	}
	readings := 1
	if w := s.record.Guard; w != nil && subset(lost, w.Lost) {
		readings = w.Readings + 1
	}
	if readings >= g.Confirm {
		return nil
	}
	s.record.Guard = &waiting{Lost: lost, Readings: readings}
	return &settled{outcome: OutcomeWaiting, reason: ReasonLoss}
}

// wait writes what a reading that is held back leaves behind.
func (s *step) wait(out *settled) (_ *settled, err error) {
	out.detail = fmt.Sprintf("%d of %d members are gone at once; waiting for a reading that confirms it", len(s.result.Lost), s.result.Present)
	out.commit.Batches, err = s.say(event.StatusWaiting, ReasonLoss, out.detail)
	if err != nil {
		return nil, err
	}
	return s.finish(out)
}

func subset(a, b []string) bool {
	in := make(map[string]bool, len(b))
	for _, x := range b {
		in[x] = true
	}
	return !slices.ContainsFunc(a, func(x string) bool { return !in[x] })
}

// say changes the watchlist's condition and returns the status to publish, none
// if it is the condition already.
func (s *step) say(status, reason, detail string) ([]event.Batch, error) {
	change := statusChange{status: status, reason: reason, detail: detail, at: s.scan.At, number: s.loaded.Statuses + 1}
	if status == event.StatusWaiting {
		change.next = s.scan.At.Add(confirmWithin)
		if e := s.watchlist.Every; e > 0 && e < confirmWithin {
			change.next = s.scan.At.Add(e)
		}
	}
	c, batch, err := transition(s.origin(), s.record.Condition, change)
	if err != nil || batch == nil {
		return nil, err
	}
	s.record.Condition = c
	return []event.Batch{*batch}, nil
}

func (s *step) unchanged() (_ *settled, err error) {
	s.record.Unchanged++
	out := &settled{outcome: OutcomeUnchanged}
	if profiles, news := s.profiles(); s.result.Dirty || news {
		out.commit.Tracked.Board = encodeBoard(&s.result.Board, func(buf []byte, i int) []byte {
			return append(buf, profiles[i]...)
		})
	}
	if out.commit.Batches, err = s.recover(false); err != nil {
		return nil, err
	}
	return s.finish(out)
}

// profiles brings the stored profiles up to date with the scan, for a drop tells
// what was last known of a creator, published or not.
func (s *step) profiles() (now []profile, news bool) {
	items := make(map[string]*fastmoss.Item, len(s.scan.Items))
	for i := range s.scan.Items {
		items[s.scan.Items[i].UID] = &s.scan.Items[i]
	}
	now = slices.Clone(s.before.profiles)
	var buf []byte
	for i := range now {
		it := items[s.before.Rows[i].UID]
		if it == nil {
			continue
		}
		if buf = encodeProfile(buf[:0], it); string(buf) != string(now[i]) {
			now[i], news = profile(buf), true
		}
	}
	return now, news
}

// recover says that the watchlist is well again, if it was not. That one is not
// retired any more its board tells, if there is one.
func (s *step) recover(board bool) ([]event.Batch, error) {
	c := s.record.Condition
	if c == nil {
		return nil, nil
	}
	if c.Status == event.StatusRetired && board {
		s.record.Condition = nil
		return nil, nil
	}
	return s.say(event.StatusRecovered, c.Reason, "readings succeed again; it was "+c.Status+" since "+event.Time(c.Since))
}

// finish fills in what all commits share.
func (s *step) finish(out *settled) (*settled, error) {
	rec, err := json.Marshal(s.record)
	if err != nil {
		return nil, fmt.Errorf("encode record of %s: %w", s.watchlist.Name, err)
	}
	out.commit.Watchlist, out.commit.Version, out.commit.At = s.watchlist.Name, s.loaded.Version, s.scan.At
	out.commit.Tracked.Record = rec
	out.condition = s.record.Condition
	return out, nil
}

// publish writes the reading's events, its head and its board.
func (s *step) publish() (*settled, error) {
	events, departed, counts, err := s.events()
	if err != nil {
		return nil, err
	}
	out := &settled{outcome: event.OutcomeChanged, reason: s.reason, counts: counts, events: len(events)}
	if s.reason != "" {
		out.outcome = event.OutcomeBaseline
	}
	snapshot, err := s.snapshot(out.outcome, counts, events)
	if err != nil {
		return nil, err
	}
	s.record.Unchanged, s.record.Digest = 0, event.Digest(snapshot.Data)
	out.commit.Departed = departed
	statuses, err := s.recover(true)
	if err != nil {
		return nil, err
	}
	if _, err := s.finish(out); err != nil {
		return nil, err
	}
	out.commit.Tracked.Board = encodeBoard(&s.result.Board, s.details(false))
	head := event.PackTracked(out.commit.Tracked)
	if len(head) > s.maxPayload-headroom {
		// Who dropped out is then told by id alone; the diff loses nothing.
		out.commit.Tracked.Board = encodeBoard(&s.result.Board, s.details(true))
		head = event.PackTracked(out.commit.Tracked)
	}
	for _, m := range append(events, snapshot) {
		if len(m.Data)+len(m.Subject) > s.maxPayload-headroom {
			return nil, refuse(ReasonOversize, "a message of %d bytes is more than the bus takes (%d)", len(m.Data), s.maxPayload)
		}
	}
	messages := events
	if len(head) <= s.maxPayload-headroom {
		messages = append(messages, event.Message{Role: event.Head, Data: head})
	}
	out.commit.Batches = append([]event.Batch{{
		Chain:    event.Chain{Watchlist: s.watchlist.Name, Kind: event.Board},
		Revision: s.revision,
		Messages: append(messages, snapshot),
	}}, statuses...)
	return out, nil
}

// details appends the stored profile of a row: that of the scan, or what was
// known of a creator that the scan does not show.
func (s *step) details(bare bool) func(buf []byte, i int) []byte {
	var kept map[string]profile
	if len(s.result.Board.Rows) > len(s.scan.Items) && !bare {
		kept = make(map[string]profile, len(s.before.Rows))
		for i := range s.before.Rows {
			kept[s.before.Rows[i].UID] = s.before.profiles[i]
		}
	}
	return func(buf []byte, i int) []byte {
		switch {
		case bare:
			return buf
		case i < len(s.scan.Items):
			return encodeProfile(buf, &s.scan.Items[i])
		}
		return append(buf, kept[s.result.Board.Rows[i].UID]...)
	}
}

// events writes the reading's changes in order.
func (s *step) events() ([]event.Message, []Departure, event.Counts, error) {
	var counts event.Counts
	var gone []Departure
	// Room for head and board, too.
	out := make([]event.Message, 0, len(s.result.Changes)+2)
	of := s.origin()
	for n := range s.result.Changes {
		c := &s.result.Changes[n]
		data, err := s.change(c)
		if err != nil {
			return nil, nil, counts, err
		}
		data.N, data.Of = n+1, len(s.result.Changes)
		kind := recount.KindOf(c.Kind)
		counts.Add(kind)
		if kind == event.Dropped {
			was := &s.before.Rows[c.From]
			gone = append(gone, Departure{
				UID: c.UID, At: s.scan.At, FirstSeen: time.UnixMilli(was.FirstSeen), PeakRank: int(was.Peak),
			})
		}
		m, err := of.Change(kind, s.id, s.scan.At, data)
		if err != nil {
			return nil, nil, counts, err
		}
		out = append(out, m)
	}
	return out, gone, counts, nil
}

func (s *step) change(c *diff.Change) (*event.Change, error) {
	d := &event.Change{
		Watchlist: s.watchlist.Name, Region: s.watchlist.Region(), Revision: s.revision, Reading: s.reading,
		Period: period(s.scan.Period), PreviousPeriod: s.previous, Edge: c.Edge,
	}
	item, err := s.item(c)
	if err != nil {
		return nil, fmt.Errorf("profile of %q: %w", c.UID, err)
	}
	d.Creator, d.Metrics = details(&item)
	d.Before, d.After = recount.PlaceOf(c.Before), recount.PlaceOf(c.After)
	if d.Before != nil && d.After != nil {
		places, index := d.Before.Rank-d.After.Rank, d.After.PotentialIndex-d.Before.PotentialIndex
		d.Places, d.IndexChange = &places, &index
		if c.CauseKnown {
			d.Cause = recount.CauseOf(c.Cause)
		}
	}
	d.History = s.past(c)
	return d, nil
}

// item is the creator as the scan has it, or as it was last seen.
func (s *step) item(c *diff.Change) (fastmoss.Item, error) {
	if c.Row != diff.None && int(c.Row) < len(s.scan.Items) {
		return s.scan.Items[c.Row], nil
	}
	return s.before.profiles[c.From].item(&s.before.Rows[c.From])
}

func (s *step) past(c *diff.Change) event.History {
	_, again := s.history[c.UID]
	var row *diff.Row
	stays := uint64(0)
	if c.Kind == diff.Dropped {
		row = &s.before.Rows[c.From]
	} else {
		row, stays = &s.result.Board.Rows[c.Row], 1
	}
	return event.History{
		FirstSeen:        event.Time(time.UnixMilli(row.FirstSeen)),
		PeakRank:         int(row.Peak),
		RevisionsOnBoard: s.revision - row.Since + stays,
		Reentry:          again,
	}
}
