package outgoing

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
)

// A StatusError is an answer that is not a success. Its text is ours: what a
// server writes beside the code can repeat the URL.
type StatusError struct {
	Host string
	Code int
}

// Error tells the host, the code and what the code means.
func (e *StatusError) Error() string {
	text := http.StatusText(e.Code)
	if text == "" {
		text = "unknown status"
	}
	return fmt.Sprintf("%s answered %d %s", e.Host, e.Code, text)
}

// maxWait is the longest wait that a target is granted at once.
const maxWait = 24 * time.Hour

// Answer judges an answer that came at the time now: nil for 2xx; a
// digest.LaterError where the target says how long to wait; a
// digest.RefusedError with the reason `gone` or `http_` and the code where the
// message is at fault, or nobody will ever take one; else a plain StatusError, also
// for what says nothing about the message, such as a key that is not valid.
func Answer(res *http.Response, now time.Time) error {
	code := res.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	host := ""
	if res.Request != nil {
		host = res.Request.URL.Host
	}
	err := &StatusError{Host: host, Code: code}
	switch {
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		if wait, ok := RetryAfter(res.Header, now); ok {
			return &digest.LaterError{After: wait, Err: err}
		}
	case code == http.StatusGone:
		return &digest.RefusedError{Reason: "gone", Err: err}
	case slices.Contains([]int{
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly,
		http.StatusTooManyRequests,
	}, code):
	case code >= 400 && code < 500:
		return &digest.RefusedError{Reason: "http_" + strconv.Itoa(code), Err: err}
	}
	return err
}

// RetryAfter reads a Retry-After header, seconds or a date: how long to wait
// from now on, at least 0 and at most a day.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	s := h.Get("Retry-After")
	if sec, err := strconv.ParseFloat(s, 64); err == nil && sec >= 0 { // some services send fractions
		if sec > maxWait.Seconds() {
			return maxWait, true
		}
		return time.Duration(sec * float64(time.Second)), true
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), maxWait), true
	}
	return 0, false
}
