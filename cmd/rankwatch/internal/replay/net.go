package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
	"github.com/rankwatch/rankwatch/watcher/recount"
)

// An end is one of the two boards that a net diff lies between.
type end struct {
	Revision uint64        `json:"revision"`
	Time     string        `json:"time"`
	Period   *event.Period `json:"period"`
}

// A netChange is what became of one creator between two boards, in the words of
// the contract's events.
type netChange struct {
	Watchlist   string       `json:"watchlist"`
	Region      string       `json:"region"`
	From        end          `json:"from"`
	To          end          `json:"to"`
	Kind        event.Kind   `json:"kind"`
	Creator     netCreator   `json:"creator"`
	Before      *netPlace    `json:"before"`
	After       *netPlace    `json:"after"`
	Places      *int         `json:"places"`
	IndexChange *int64       `json:"index_change"`
	Cause       *event.Cause `json:"cause"`
	Edge        bool         `json:"edge"`
}

// A netPlace is where a creator stands, or was last reported; then it has no
// position.
type netPlace struct {
	Rank           int   `json:"rank"`
	Position       *int  `json:"position"`
	PotentialIndex int64 `json:"potential_index"`
}

func netPlaceOf(p diff.Place) *netPlace {
	if p.Rank == 0 {
		return nil
	}
	n := &netPlace{Rank: int(p.Rank), PotentialIndex: p.Index}
	if at := int(p.Position); at > 0 {
		n.Position = &at
	}
	return n
}

// event is the place as an event has it.
func (p *netPlace) event() *event.Place {
	if p == nil {
		return nil
	}
	return &event.Place{Rank: p.Rank, PotentialIndex: p.PotentialIndex}
}

type netCreator struct {
	UID      string  `json:"uid"`
	UniqueID *string `json:"unique_id"`
	Nickname *string `json:"nickname"`
}

// A span is the two boards of one watchlist.
type span struct{ from, to *recount.Reading }

// net prints, for each watchlist, the one difference between the boards at both
// ends of the range.
func (v *view) net(ctx context.Context) error {
	lists, err := v.reader.Watchlists(ctx, v.query.Watchlists...)
	if err != nil {
		return err
	}
	p := newNetPrinter(v.format, v.target)
	for _, name := range lists {
		if name == event.TokenWatchlist {
			continue // it has no board
		}
		s, err := v.span(ctx, name)
		if errors.Is(err, history.ErrNotFound) {
			if err := v.note("%s: no board in this range", name); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			err = v.netOf(ctx, s, p)
		}
		if err != nil {
			return err
		}
	}
	return p.close()
}

// netOf prints the net diff of one span.
func (v *view) netOf(ctx context.Context, s span, p netPrinter) error {
	if err := s.check(v); err != nil {
		return err
	}
	all, err := v.changes(ctx, s)
	if err != nil {
		return err
	}
	var counts event.Counts
	for i := range all {
		counts.Add(all[i].Kind)
	}
	shown := slices.DeleteFunc(all, func(c netChange) bool {
		return len(v.query.Kinds) > 0 && !slices.Contains(v.query.Kinds, c.Kind) ||
			len(v.query.UIDs) > 0 && !slices.Contains(v.query.UIDs, c.Creator.UID)
	})
	return p.print(s, counts, shown)
}

// check says what makes the two ends less comparable than they look.
func (s span) check(v *view) error {
	a, b := &s.from.Data, &s.to.Data
	_, was, _ := event.ParseReadingID(s.from.ID)
	_, is, _ := event.ParseReadingID(s.to.ID)
	switch {
	case was != is:
		return v.note("%s: history broke in between (a baseline `restored`): what happened around it is in neither board", b.Watchlist)
	case a.Region != b.Region || a.Rules.Top != b.Rules.Top || a.Rules.Margin != b.Rules.Margin || a.Rules.Ties != b.Rules.Ties:
		return v.note("%s: its settings changed in between: the boards are of different lists, or of different parts of one", b.Watchlist)
	}
	return nil
}

// span finds the ends: the boards as they were at Since and Until, or those of
// the first and the last revision of the range; with both, what lies within
// both; without a bound, where history begins or ends. ErrNotFound means that no
// board lies in the range.
func (v *view) span(ctx context.Context, name string) (span, error) {
	from, err := v.lower(ctx, name)
	if err != nil {
		return span{}, err
	}
	to, err := v.upper(ctx, name)
	if err != nil {
		return span{}, err
	}
	if from.Sequence > to.Sequence {
		return span{}, fmt.Errorf("%s: %w", name, history.ErrNotFound)
	}
	var s span
	for _, e := range []struct {
		m  *history.Message
		to **recount.Reading
	}{{from, &s.from}, {to, &s.to}} {
		b, f := recount.ReadBoard(v.reader.Prefix(), stored(e.m))
		if f != nil {
			return span{}, f
		}
		*e.to = b
	}
	return s, nil
}

// lower is the board that the range begins with: the later one, if two bounds
// say so.
func (v *view) lower(ctx context.Context, name string) (*history.Message, error) {
	q, r := &v.query, v.reader
	from, err := r.FirstBoard(ctx, name)
	if err != nil {
		return nil, err
	}
	if !q.Since.IsZero() {
		m, err := r.BoardAt(ctx, name, q.Since)
		if err == nil {
			from = m
		} else if !errors.Is(err, history.ErrNotFound) { // then history begins later
			return nil, err
		}
	}
	if n, _ := from.Revision(); q.FromRevision > n {
		return v.board(ctx, name, q.FromRevision)
	}
	return from, nil
}

// upper is the board that the range ends with: the earlier one, if two bounds
// say so.
func (v *view) upper(ctx context.Context, name string) (*history.Message, error) {
	q, r := &v.query, v.reader
	to, err := r.LastBoard(ctx, name)
	if err == nil && !q.Until.IsZero() {
		to, err = r.BoardAt(ctx, name, q.Until)
	}
	if err != nil {
		return nil, err
	}
	if n, _ := to.Revision(); q.ToRevision != 0 && q.ToRevision < n {
		return v.board(ctx, name, q.ToRevision)
	}
	return to, nil
}

// board finds a revision within what is stored. ErrNotFound means that it lies
// outside.
func (v *view) board(ctx context.Context, name string, revision uint64) (*history.Message, error) {
	m, err := v.reader.BoardAtRevision(ctx, name, revision)
	if !errors.Is(err, history.ErrNotFound) {
		return m, err
	}
	below, berr := v.reader.BoardUpToRevision(ctx, name, revision)
	if berr != nil {
		return nil, berr
	}
	if last, lerr := v.reader.LastBoard(ctx, name); lerr != nil || last.Sequence == below.Sequence {
		return nil, errors.Join(err, lerr)
	}
	return nil, fmt.Errorf("%s: revision %d is missing from the stream; `rankwatch verify` tells more", name, revision)
}

func stored(m *history.Message) recount.Message {
	return recount.Message{Subject: m.Subject, Sequence: m.Sequence, Stored: m.Stored, Data: m.Data}
}

// changes is the net diff of the span.
func (v *view) changes(ctx context.Context, s span) ([]netChange, error) {
	names := make(map[string]netCreator)
	for _, r := range []*recount.Reading{s.from, s.to} {
		for i := range r.Data.Board {
			row := &r.Data.Board[i]
			names[row.UID] = netCreator{UID: row.UID, UniqueID: known(row.UniqueID), Nickname: known(row.Nickname)}
		}
	}
	all := diff.Net(s.from.Board(), s.to.Board(), s.to.List().Cut)
	out := make([]netChange, len(all))
	for i := range all {
		c := &all[i]
		who, ok := names[c.UID]
		if !ok {
			var err error
			if who, err = v.who(ctx, s, c.UID); err != nil {
				return nil, err
			}
		}
		n := netChange{
			Watchlist: s.to.Data.Watchlist, Region: s.to.Data.Region, From: endOf(s.from), To: endOf(s.to),
			Kind: recount.KindOf(c.Kind), Creator: who, Before: netPlaceOf(c.Before), After: netPlaceOf(c.After), Edge: c.Edge,
		}
		if n.Before != nil && n.After != nil {
			places, index := n.Before.Rank-n.After.Rank, n.After.PotentialIndex-n.Before.PotentialIndex
			n.Places, n.IndexChange = &places, &index
			if c.CauseKnown {
				n.Cause = recount.CauseOf(c.Cause)
			}
		}
		out[i] = n
	}
	return out, nil
}

// who looks up a creator whom neither board shows.
func (v *view) who(ctx context.Context, s span, uid string) (netCreator, error) {
	m, err := v.reader.LastAbout(ctx, s.to.Data.Watchlist, uid, s.to.Raw.Sequence)
	if errors.Is(err, history.ErrNotFound) {
		return netCreator{UID: uid}, nil
	}
	if err != nil {
		return netCreator{}, err
	}
	e, err := event.Decode[event.Change](m.Data)
	if err != nil {
		return netCreator{UID: uid}, nil //nolint:nilerr // of another version: the uid has to do
	}
	return netCreator{UID: uid, UniqueID: e.Data.Creator.UniqueID, Nickname: e.Data.Creator.Nickname}, nil
}

func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func endOf(r *recount.Reading) end {
	return end{Revision: r.Data.Revision, Time: r.Time, Period: r.Data.Period}
}
