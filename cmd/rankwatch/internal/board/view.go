package board

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// A view is a board beside the one before it.
type view struct {
	*event.Snapshot
	at      time.Time
	members int
	note    string // why changes are not known; empty if they are
	rows    []row
	waiting []row
}

// A row is a creator's, with what the revision before said of it. Before is nil
// if it was not there, or if that is not known.
type row struct {
	event.Row
	before *event.Row
	fresh  bool          // a member, and none before
	absent *event.Absent // the reading did not show it
}

// newView decodes a board and looks up the one before it.
func newView(ctx context.Context, r *history.Reader, m *history.Message) (*view, error) {
	b, err := m.Snapshot()
	if err != nil {
		return nil, err
	}
	v := &view{Snapshot: b, at: m.Time()}
	before, err := v.previous(ctx, r)
	if err != nil {
		return nil, err
	}
	v.compare(before)
	return v, nil
}

// previous is the board that this one was compared with, nil if there is none.
func (v *view) previous(ctx context.Context, r *history.Reader) (*event.Snapshot, error) {
	if v.Outcome == event.OutcomeBaseline {
		v.note = "a baseline, compared with nothing"
		return nil, nil
	}
	revision := v.Revision - 1
	if v.PreviousRevision != nil {
		revision = *v.PreviousRevision
	}
	m, err := r.BoardAtRevision(ctx, v.Watchlist, revision)
	if errors.Is(err, history.ErrNotFound) {
		v.note = fmt.Sprintf("revision %d is not in the stream any more: what changed is not known", revision)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return m.Snapshot()
}

// compare makes the rows. Of members that the board before did not show, it
// takes what was last reported.
func (v *view) compare(before *event.Snapshot) {
	were := map[string]*event.Row{}
	if before != nil {
		for i := range before.Absent {
			a := &before.Absent[i]
			were[a.UID] = &event.Row{UID: a.UID, Rank: a.Rank, PotentialIndex: a.PotentialIndex, Member: true}
		}
		for i := range before.Board {
			were[before.Board[i].UID] = &before.Board[i]
		}
	}
	for _, r := range v.Board {
		was := were[r.UID]
		if r.Member {
			v.members++
		}
		fresh := before != nil && r.Member && (was == nil || !was.Member)
		if fresh {
			was = nil
		}
		v.rows = append(v.rows, row{Row: r, before: was, fresh: fresh})
	}
	for i := range v.Absent {
		a := &v.Absent[i]
		w := row{Row: event.Row{UID: a.UID, Rank: a.Rank, PotentialIndex: a.PotentialIndex, Member: true}, absent: a}
		if was := were[a.UID]; was != nil {
			w.UniqueID, w.Nickname = was.UniqueID, was.Nickname
		}
		v.waiting = append(v.waiting, w)
	}
}

// places is how far the creator climbed; false if that is not known.
func (r *row) places() (int, bool) {
	if r.before == nil || r.absent != nil {
		return 0, false
	}
	return r.before.Rank - r.Rank, true
}

func (r *row) indexChange() (int64, bool) {
	if r.before == nil || r.absent != nil {
		return 0, false
	}
	return r.PotentialIndex - r.before.PotentialIndex, true
}

var header = []string{
	"watchlist", "region", "revision", "time", "uid", "unique_id", "nickname", "rank", "places", "position", "potential_index", "index_change",
	"member", "new", "edge", "absent", "misses", "unseen",
}

// csv writes a row a creator. Empty is unknown or not applicable.
func (v *view) csv(out io.Writer, all bool) error {
	w := text.NewCSV(out, header)
	for _, rows := range [][]row{v.rows, v.waiting} {
		for i := range rows {
			if !all && !rows[i].Member {
				continue
			}
			if err := w.Write(v.record(&rows[i])); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

func (v *view) record(r *row) []string {
	places, change, fresh, position, misses, unseen := "", "", "", "", "", ""
	if n, ok := r.places(); ok {
		places = strconv.Itoa(n)
	}
	if n, ok := r.indexChange(); ok {
		change = strconv.FormatInt(n, 10)
	}
	if v.note == "" {
		fresh = strconv.FormatBool(r.fresh)
	}
	if r.absent != nil {
		misses, unseen = strconv.Itoa(r.absent.Misses), strconv.Itoa(r.absent.Unseen)
	} else {
		position = strconv.Itoa(r.Position)
	}
	return []string{
		v.Watchlist, v.Region, strconv.FormatUint(v.Revision, 10), event.Time(v.at), text.Cell(r.UID), text.Cell(r.UniqueID), text.Cell(r.Nickname),
		strconv.Itoa(r.Rank), places, position, strconv.FormatInt(r.PotentialIndex, 10), change,
		strconv.FormatBool(r.Member), fresh, strconv.FormatBool(r.Edge), strconv.FormatBool(r.absent != nil), misses, unseen,
	}
}
