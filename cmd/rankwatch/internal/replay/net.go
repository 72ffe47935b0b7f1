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
	Before      *event.Place `json:"before"`
	After       *event.Place `json:"after"`
	Places      *int         `json:"places"`
	IndexChange *int64       `json:"index_change"`
	Cause       *event.Cause `json:"cause"`
	Edge        bool         `json:"edge"`
}

type netCreator struct {
	UID      string `json:"uid"`
	UniqueID string `json:"unique_id"`
	Nickname string `json:"nickname"`
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
		s, err := v.span(ctx, name)
		if errors.Is(err, history.ErrNotFound) {
			if _, err := fmt.Fprintf(v.errs, "%s: no board in this range\n", name); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		changes := slices.DeleteFunc(s.changes(), func(c netChange) bool {
			return len(v.query.Kinds) > 0 && !slices.Contains(v.query.Kinds, c.Kind) ||
				len(v.query.UIDs) > 0 && !slices.Contains(v.query.UIDs, c.Creator.UID)
		})
		if err := p.print(s, changes); err != nil {
			return err
		}
	}
	return p.close()
}

// span finds the ends: the boards as they were at Since and Until, or of the
// first and last revision of the range; without a bound, where history begins
// and ends.
func (v *view) span(ctx context.Context, name string) (span, error) {
	q, r := &v.query, v.reader
	var from, to *history.Message
	var err error
	switch {
	case q.FromRevision != 0:
		from, err = r.BoardAtRevision(ctx, name, q.FromRevision)
	case !q.Since.IsZero():
		from, err = r.BoardAt(ctx, name, q.Since)
	}
	if from == nil && (err == nil || errors.Is(err, history.ErrNotFound)) {
		from, err = r.FirstBoard(ctx, name)
	}
	if err != nil {
		return span{}, err
	}
	switch {
	case q.ToRevision != 0:
		to, err = r.BoardAtRevision(ctx, name, q.ToRevision)
		if errors.Is(err, history.ErrNotFound) {
			to, err = r.LastBoard(ctx, name)
		}
	case !q.Until.IsZero():
		to, err = r.BoardAt(ctx, name, q.Until)
	default:
		to, err = r.LastBoard(ctx, name)
	}
	if err != nil {
		return span{}, err
	}
	var s span
	for _, e := range []struct {
		m  *history.Message
		to **recount.Reading
	}{{from, &s.from}, {to, &s.to}} {
		b, f := recount.ReadBoard(r.Prefix(), stored(e.m))
		if f != nil {
			return span{}, f
		}
		*e.to = b
	}
	if s.from.Data.Revision > s.to.Data.Revision {
		return span{}, fmt.Errorf("%s: %w", name, history.ErrNotFound)
	}
	return s, nil
}

func stored(m *history.Message) recount.Message {
	return recount.Message{Subject: m.Subject, Sequence: m.Sequence, Stored: m.Stored, Data: m.Data}
}

// changes is the net diff of the span.
func (s span) changes() []netChange {
	names := make(map[string]netCreator)
	for _, r := range []*recount.Reading{s.from, s.to} {
		for i := range r.Data.Board {
			row := &r.Data.Board[i]
			names[row.UID] = netCreator{UID: row.UID, UniqueID: row.UniqueID, Nickname: row.Nickname}
		}
	}
	all := diff.Net(s.from.Board(), s.to.Board(), s.to.List().Cut)
	out := make([]netChange, len(all))
	for i := range all {
		c := &all[i]
		n := netChange{
			Watchlist: s.to.Data.Watchlist, Region: s.to.Data.Region, From: endOf(s.from), To: endOf(s.to),
			Kind: recount.KindOf(c.Kind), Creator: names[c.UID], Before: recount.PlaceOf(c.Before), After: recount.PlaceOf(c.After), Edge: c.Edge,
		}
		n.Creator.UID = c.UID
		if n.Before != nil && n.After != nil {
			places, index := n.Before.Rank-n.After.Rank, n.After.PotentialIndex-n.Before.PotentialIndex
			n.Places, n.IndexChange = &places, &index
			if c.CauseKnown {
				n.Cause = recount.CauseOf(c.Cause)
			}
		}
		out[i] = n
	}
	return out
}

func endOf(r *recount.Reading) end {
	return end{Revision: r.Data.Revision, Time: r.Time, Period: r.Data.Period}
}
