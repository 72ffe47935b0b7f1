package simulator

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	typeJSON = "application/json; charset=utf-8"
	typeHTML = "text/html; charset=utf-8"
)

const blockedPage = `<!DOCTYPE html><html><head><title>Access blocked</title></head><body><h1>567</h1>` +
	`<p>Your request was blocked by the web application firewall. {"code":0}</p></body></html>`

const gatewayPage = `<html><head><title>Bad gateway</title></head><body><center><h1>Bad gateway</h1></center><hr><center>nginx</center></body></html>`

// replacesAnswer says whether the fault leaves nothing of the answer, so that
// the board is not even looked at.
func (k Kind) replacesAnswer() bool {
	switch k {
	case Throttled, QuotaSpent, NoPermission, UnknownToken, ServiceError, ServerError, BadParameter, NotFound,
		TooMany, TooManySeconds, TooManyDate, BadGateway, GatewayTimeout, Firewall, HTML, Hung, Reset:
		return true
	}
	return false
}

func (s *Simulator) answer(a admission) reply {
	switch a.fault {
	case Throttled:
		return s.refuse(a, refusal{codeThrottled, "access frequency limit reached"})
	case QuotaSpent:
		return s.refuse(a, refusal{codeQuota, "data limit reached"})
	case NoPermission:
		return s.refuse(a, refusal{codeNoPermission, "no permission"})
	case UnknownToken:
		return s.refuse(a, refusal{codeUnknownToken, "token error"})
	case BadParameter:
		return s.refuse(a, refusal{codeBadParameter, "bad parameter"})
	case NotFound:
		return s.refuse(a, refusal{codeNotFound, "data not found"})
	case ServiceError:
		return s.refuse(a, refusal{codeService, "service error"})
	case ServerError:
		r := s.refuse(a, refusal{codeService, "service error"})
		r.status = http.StatusInternalServerError
		return r
	case TooMany:
		return htmlReply(http.StatusTooManyRequests, "too many requests")
	case TooManySeconds:
		r := htmlReply(http.StatusTooManyRequests, "too many requests")
		r.retryAfter = strconv.Itoa(int((a.delay + time.Second - 1) / time.Second))
		return r
	case TooManyDate:
		r := htmlReply(http.StatusTooManyRequests, "too many requests")
		// By the wall clock, since the client measures it against its own; a
		// date has no fractions, so up to the next second.
		r.retryAfter = time.Now().Add(a.delay + time.Second - 1).UTC().Format(http.TimeFormat)
		return r
	case BadGateway:
		return htmlReply(http.StatusBadGateway, gatewayPage)
	case GatewayTimeout:
		return htmlReply(http.StatusGatewayTimeout, gatewayPage)
	case Firewall:
		return htmlReply(567, blockedPage)
	case HTML:
		return htmlReply(http.StatusOK, blockedPage)
	}
	if a.code != 0 {
		return s.refuse(a, a.refusal)
	}
	return s.board(a)
}

func htmlReply(status int, html string) reply {
	return reply{status: status, contentType: typeHTML, body: []byte(html)}
}

func (s *Simulator) refuse(a admission, why refusal) reply {
	data := "null"
	if s.cfg.Message == MessageShort {
		data = `""`
	}
	return s.envelope(a, why, append(make([]byte, 0, 256), data...))
}

// envelope wraps data, whose array it reuses if there is room.
func (s *Simulator) envelope(a admission, why refusal, data []byte) reply {
	b := make([]byte, 0, len(data)+160)
	b = strconv.AppendInt(append(b, `{"code":`...), int64(why.code), 10)
	b = append(append(b, `,"data":`...), data...)
	key := s.cfg.Message
	if key == "" {
		key = MessageLong
	}
	b = append(append(append(b, `,"`...), key...), `":`...)
	b = appendString(b, why.message)
	b = strconv.AppendInt(append(b, `,"timestamp":`...), a.now.Unix(), 10)
	b = append(append(append(b, `,"request_id":"`...), requestID(s.cfg.Seed, a.n)...), `"}`...)
	return reply{status: http.StatusOK, contentType: typeJSON, body: b}
}

// board answers with one page of the list.
func (s *Simulator) board(a admission) reply {
	l, published := s.source.List(a.Query, a.now)
	if !published {
		if s.cfg.Unpublished != UnpublishedEmpty {
			return s.refuse(a, refusal{codeNotFound, "data not found"})
		}
		l = List{}
	}
	if l.Period == (Period{}) {
		l.Period = a.Period
	}
	if l.Period == (Period{}) {
		l.Period = lastCompleted(defaultPeriodType, a.now, s.cfg.Location)
	}
	rows, total := s.window(a, l)
	if a.fault == StalePeriod {
		l.Period = l.Period.before(s.cfg.Location)
	}
	rows = spoil(a, rows)
	if a.fault == "" || a.fault == Slow || a.fault == TotalString || a.fault == WrongType {
		s.countRows(a.token, len(rows))
	}
	switch a.fault {
	case DataString:
		return s.envelope(a, refusal{}, []byte(`"success"`))
	case DataNull:
		return s.envelope(a, refusal{}, []byte("null"))
	}
	return s.envelope(a, refusal{}, s.appendData(a, rows, total, l.Period))
}

func (s *Simulator) countRows(token string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token].Rows += int64(n)
}

// window returns the rows of the page, and total, as a fault that moves rows
// across pages shows them.
func (s *Simulator) window(a admission, l List) ([]Row, int) {
	total := l.total()
	lo := (a.page - 1) * a.size
	hi := lo + a.size
	switch {
	case a.fault == DuplicateRow && a.page > 1:
		lo, hi = lo-1, hi-1
	case a.fault == SkippedRow:
		// The page is one row short: filled from the next one, a client that
		// reads no further could not know.
		lo++
	case a.fault == BoardChange:
		lo, hi, total = lo+1, hi+1, max(0, total-1)
	case a.fault == TotalChange:
		total++
	case a.fault == EmptyPage:
		hi = lo
	}
	lo, hi = min(lo, len(l.Rows)), min(hi, len(l.Rows))
	return s.order(a, l.Rows, lo, hi), total
}

// order returns the rows lo to hi, with ties in the configured order.
func (s *Simulator) order(a admission, rows []Row, lo, hi int) []Row {
	var salt uint64
	switch s.cfg.Ties {
	case TiesReading, TiesRotate:
		salt = a.scan.readings
	case TiesCall:
		salt = a.scan.calls
	default:
		return rows[lo:hi]
	}
	if lo == hi {
		return nil
	}
	// A tie is ordered as a whole, also where it goes on past the page.
	from, to := lo, hi
	for from > 0 && rows[from-1].Index == rows[lo].Index {
		from--
	}
	for to < len(rows) && rows[to].Index == rows[hi-1].Index {
		to++
	}
	out := slices.Clone(rows[from:to])
	for i := 0; i < len(out); {
		end := i + 1
		for end < len(out) && out[end].Index == out[i].Index {
			end++
		}
		tie := out[i:end]
		if s.cfg.Ties == TiesRotate {
			turn(tie, int((salt-1)%uint64(len(tie))))
		} else {
			rng := rand.New(rand.NewPCG(s.cfg.Seed, mix(salt, uint64(from+i))))
			rng.Shuffle(len(tie), func(x, y int) { tie[x], tie[y] = tie[y], tie[x] })
		}
		i = end
	}
	return out[lo-from : hi-from]
}

// turn rotates rows to the left by n.
func turn(rows []Row, n int) {
	slices.Reverse(rows[:n])
	slices.Reverse(rows[n:])
	slices.Reverse(rows)
}

// spoil applies the faults that stay within a page. Rows are not changed in
// place: they belong to the source.
func spoil(a admission, rows []Row) []Row {
	switch {
	case a.fault == DuplicateRow && a.page == 1 && len(rows) > 1:
		rows = slices.Clone(rows)
		rows[len(rows)-1] = rows[len(rows)-2]
	case a.fault == WrongRegion:
		other := "US"
		if a.Filter.Region == other {
			other = "GB"
		}
		rows = slices.Clone(rows)
		for i := range rows {
			rows[i].Region = other
		}
	}
	return rows
}
