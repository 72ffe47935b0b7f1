package words

import (
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher"
)

// A phrase is a status as people say it: after "us-beauty: ", and its signs.
type phrase struct{ short, plain, emoji string }

// saying is about a status; one that is not known stands for itself.
func saying(status string) phrase {
	switch status {
	case event.StatusStale:
		return phrase{"no fresh data", "⚠", ":warning:"}
	case event.StatusRecovered:
		return phrase{"all is well again", "✔", ":white_check_mark:"}
	case event.StatusRejected:
		return phrase{"a reading was refused", "⚠", ":no_entry:"}
	case event.StatusWaiting:
		return phrase{"waiting for confirmation", "…", ":hourglass_flowing_sand:"}
	case event.StatusQuota:
		return phrase{"the calls of the token are used up", "⚠", ":no_entry:"}
	case event.StatusDenied:
		return phrase{"the token is refused", "⚠", ":no_entry:"}
	case event.StatusFenced:
		return phrase{"another worker writes this board", "⚠", ":twisted_rightwards_arrows:"}
	case event.StatusRetired:
		return phrase{"no longer watched", "■", ":checkered_flag:"}
	}
	return phrase{status, "●", ":information_source:"}
}

// because says a reason in words, empty where the status has said it.
func because(status, reason string) string {
	switch reason {
	case watcher.ReasonTorn:
		return "the list changed while it was read"
	case watcher.ReasonShort:
		return "the list was shorter than it claims to be"
	case watcher.ReasonEmpty:
		return "the list was empty"
	case watcher.ReasonFilter:
		return "the list held what was not asked for"
	case watcher.ReasonPeriod:
		return "the list was about another period"
	case watcher.ReasonLoss:
		return "too many creators were missing at once"
	case watcher.ReasonOversize:
		return "it is larger than the bus takes"
	case watcher.ReasonUnpublished:
		return "the period has no data yet"
	case watcher.ReasonParameter:
		return "the source does not take the filter"
	case watcher.ReasonMalformed:
		return "the answer was no list"
	case watcher.ReasonThrottled:
		return "the source asks for fewer calls"
	case watcher.ReasonUnavailable:
		return "the source does not answer"
	case watcher.ReasonToken:
		if status == event.StatusStale {
			return "the source refuses the token"
		}
		return ""
	case watcher.ReasonQuota, watcher.ReasonFenced:
		return ""
	}
	if status == event.StatusRetired {
		return "" // there is one only
	}
	return reason
}

// about names what a condition concerns.
func (d Dialect) about(c *event.Condition) string {
	if c.Watchlist == d.escape(event.TokenWatchlist) {
		return "API token"
	}
	return board(c.Watchlist, c.Region)
}

// notice is a status: what it is and why; then what exactly, since when, and
// when it is tried again.
func (d Dialect) notice(n *digest.Notice) Entry {
	p := saying(n.Status)
	sign := p.plain
	if d == Mrkdwn {
		sign = p.emoji
	}
	if n.Status == event.StatusRecovered && n.Reason == watcher.ReasonLoss {
		p.short = "the wait for confirmation is over" // whichever way it was decided
	}
	line := sign + " " + d.bold(d.about(&n.Condition)) + ": " + p.short
	if why := because(n.Status, n.Reason); why != "" {
		if n.Status == event.StatusRecovered {
			line += " (it was: " + why + ")"
		} else {
			line += ", " + why
		}
	}
	var parts []string
	if n.Detail != "" && n.Status != event.StatusRecovered { // it says again since when
		parts = append(parts, isolated(n.Detail))
	}
	parts = append(parts, "since "+moment(n.Since, n.At))
	if n.NextTry != nil {
		parts = append(parts, "next try "+moment(*n.NextTry, n.At))
	}
	return Entry{line, strings.Join(parts, " · ")}
}

// moment is a time in a message as people write it, or else fallback.
func moment(s string, fallback time.Time) string {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return date(t)
	}
	return date(fallback)
}
