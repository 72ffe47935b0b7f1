package fastmoss

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The API's own codes.
const (
	codeOK          = 0
	codeParameter   = 10001
	codeNotFound    = 20001
	codeDenied      = 30001
	codeDeniedOld   = 1002
	codeQuota       = 30002
	codeThrottled   = 30003
	codeUnavailable = 40001
)

func kindOfCode(code int64) (Kind, bool) {
	switch code {
	case codeParameter:
		return ErrParameter, true
	case codeNotFound:
		return ErrNotFound, true
	case codeDenied, codeDeniedOld:
		return ErrDenied, true
	case codeQuota:
		return ErrQuota, true
	case codeThrottled:
		return ErrThrottled, true
	case codeUnavailable:
		return ErrUnavailable, true
	}
	return 0, false
}

// kindOfStatus judges an answer by its HTTP status alone. 401 and 403 speak of
// the token only if the API says them; a firewall in front of it says 403 as an
// HTML page. 404 is a wrong URL: the API's own "not found" has a code.
func kindOfStatus(status int, isJSON, isHTML bool) Kind {
	switch {
	case status == http.StatusTooManyRequests:
		return ErrThrottled
	case status == http.StatusUnauthorized && !isHTML, status == http.StatusForbidden && isJSON:
		return ErrDenied
	case isJSON && (status == http.StatusBadRequest || status == http.StatusUnprocessableEntity):
		return ErrParameter
	}
	return ErrUnavailable
}

// A reply is an HTTP answer whose body has been read.
type reply struct {
	status int
	header http.Header
	body   *bytes.Buffer
	at     time.Time // when the body had been read
}

// judge makes a page or an error of a reply. HTTP comes first, but a code of the
// API under another status says more than the status. Text in the error is not
// cleaned yet.
func (d *decoder) judge(r reply) (Page, *Error) {
	isHTML := bytes.HasPrefix(bytes.TrimLeft(r.body.Bytes(), " \t\r\n\uFEFF"), []byte("<"))
	empty := r.body.Len() == 0
	a, err := d.decode(r.body)
	e := &Error{HTTPStatus: r.status}
	if err != nil {
		e.Kind = kindOfStatus(r.status, false, isHTML)
		switch {
		case empty:
			e.Message = "empty answer"
		case isHTML:
			e.Message = "an HTML page instead of JSON"
		default:
			e.Message = "not JSON: " + err.Error()
		}
		if r.status >= 300 && r.status < 400 {
			e.Message = "redirect to " + strconv.Quote(r.header.Get("Location")) + " not followed, for it would carry the token along; set the base URL to where the API is"
		}
		return Page{}, e
	}
	e.Code, e.Message, e.RequestID = a.code, a.message, a.requestID
	if k, ok := kindOfCode(a.code); ok && a.hasCode {
		e.Kind = k
		return Page{}, e
	}
	if r.status != http.StatusOK {
		e.Kind = kindOfStatus(r.status, true, false)
		return Page{}, e
	}
	switch {
	case !a.hasCode:
		e.Kind, e.Message = ErrMalformed, "no code in the answer"
	case a.code != codeOK:
		// What isn't documented may pass; it is retried, a bounded number of times.
		e.Kind = ErrUnavailable
	case a.fault != nil:
		e.Kind, e.Message = ErrMalformed, a.fault.Error()
	default:
		a.page.At = r.at
		return a.page, nil
	}
	return Page{}, e
}

// retryAfter reads the header of that name, in seconds or as a date, up to most.
// A date is held against the server's own clock if it tells it.
func retryAfter(h http.Header, now time.Time, most time.Duration) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseUint(v, 10, 63); err == nil {
		if s > uint64(most/time.Second) {
			return most
		}
		return time.Duration(s) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if server, err := http.ParseTime(h.Get("Date")); err == nil {
		now = server
	}
	return min(max(at.Sub(now), 0), most)
}
