package digest

import (
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Verdict says whether a route takes an event, and why not.
type Verdict struct {
	Taken bool
	Why   string // empty if it is taken
}

func no(format string, args ...any) Verdict { return Verdict{Why: fmt.Sprintf(format, args...)} }

// A Cooldown knows when a creator's event of a kind was delivered last.
// Key is CooldownKey's.
type Cooldown map[string]time.Time

// CooldownKey names what a cooldown is about: the creator on that board, and
// the kind.
func CooldownKey(c *text.Change) string {
	return c.Watchlist + "/" + string(c.Kind) + "/" + event.EscapeUID(c.Creator.UID)
}

// Change decides about one change of a reading.
func (r *Route) Change(c *text.Change, cool Cooldown, now time.Time) Verdict {
	m := &r.Match
	if v := m.board(c.Region, c.Watchlist, c.Kind); !v.Taken {
		return v
	}
	switch places := abs(c.Places); {
	case m.UIDs != nil && !m.UIDs[c.Creator.UID]:
		return no("uid %s is not in the list", text.Printable(c.Creator.UID))
	case m.Top > 0 && best(c) > m.Top:
		return no("rank %d is below the top %d", best(c), m.Top)
	case c.Kind == event.Moved && places < m.MinPlaces:
		return no("%d places are less than %d", places, m.MinPlaces)
	case c.Kind == event.Moved && m.SkipDisplaced && c.Cause != nil && c.Cause.Passed == 0 && c.Cause.PassedBy == 0:
		return no("it was only displaced")
	case c.Kind == event.Index && abs(c.IndexChange) < m.MinIndexChange:
		return no("%d points are less than %d", abs(c.IndexChange), m.MinIndexChange)
	case c.Kind == event.Entered && m.Reentry != nil && c.History.Reentry != *m.Reentry:
		return no("reentry is %t", c.History.Reentry)
	}
	if last, ok := cool[CooldownKey(c)]; ok && r.Cooldown > 0 && now.Sub(last) < r.Cooldown {
		return no("in cooldown until %s", last.Add(r.Cooldown).UTC().Format(time.RFC3339))
	}
	return Verdict{Taken: true}
}

// Notice decides about a status.
func (r *Route) Notice(n *Notice) Verdict {
	m := &r.Match
	if v := m.board(n.Region, n.Watchlist, event.Status); !v.Taken {
		return v
	}
	switch {
	case m.UIDs != nil:
		return no("a status is about no uid")
	case len(m.Statuses) > 0 && !slices.Contains(m.Statuses, n.Status):
		return no("status %s is not asked for", n.Status)
	}
	return Verdict{Taken: true}
}

// board decides by where an event belongs and what it is.
func (m *Match) board(region, watchlist string, kind event.Kind) Verdict {
	token := watchlist == event.TokenWatchlist // concerns all boards
	switch {
	case len(m.Kinds) > 0 && !slices.Contains(m.Kinds, kind):
		return no("kind %s is not asked for", kind)
	case len(m.Regions) > 0 && !token && !slices.Contains(m.Regions, region):
		return no("region %s is not asked for", region)
	case len(m.Watchlists) > 0 && !token && !slices.ContainsFunc(m.Watchlists, func(p string) bool {
		ok, err := path.Match(p, watchlist)
		return ok && err == nil
	}):
		return no("watchlist %s is not asked for", watchlist)
	}
	return Verdict{Taken: true}
}

// best is the better of both ranks.
func best(c *text.Change) int {
	switch {
	case c.Before == nil && c.After == nil:
		return 0
	case c.Before == nil:
		return c.After.Rank
	case c.After == nil:
		return c.Before.Rank
	}
	return min(c.Before.Rank, c.After.Rank)
}

func abs[T int | int64](n *T) T {
	if n == nil {
		return 0
	}
	return max(*n, -*n)
}
