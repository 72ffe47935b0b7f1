package service

import (
	"errors"
	"mime"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

var (
	errNotSent = errors.New("the library sent nothing; the URL or the text is not to its liking")
	errAnswer  = errors.New("the service's answer was not understood")
	errHTML    = errors.New("the answer is a web page")
)

// A watch is the transport that the library sends through. It sees every request
// and answer, and keeps the first failure, in words that hold no secret.
type watch struct {
	base   http.RoundTripper
	html   bool
	failed chan error // of size 1
	last   atomic.Int64
}

// RoundTrip sends a request, unless a redirect made it that outgoing.Redirect
// refuses: the library's clients would follow it anywhere.
func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	if via := before(req); len(via) > 0 {
		if err := outgoing.Redirect(req, via); err != nil {
			return nil, w.fail(outgoing.Hide(via[0].URL, err))
		}
	}
	res, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, w.fail(outgoing.Strip(outgoing.Hide(req.URL, err)))
	}
	w.last.Store(int64(res.StatusCode))
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return res, nil // the library's client goes on from here
	}
	err = outgoing.Answer(res, time.Now())
	if media, _, merr := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && merr == nil && media == "text/html" && !w.html {
		err = outgoing.Hide(req.URL, errHTML)
	}
	if err != nil {
		return nil, errors.Join(w.fail(err), res.Body.Close())
	}
	return res, nil
}

// before are the requests that redirects made this one of, oldest first.
func before(req *http.Request) []*http.Request {
	if req.Response == nil || req.Response.Request == nil {
		return nil
	}
	return append(before(req.Response.Request), req.Response.Request)
}

// fail keeps the first failure.
func (w *watch) fail(err error) error {
	select {
	case w.failed <- err:
	default:
	}
	return err
}

// verdict is what came of a message about which the library said err: sent only
// if the service was asked and its last answer was a success.
func (w *watch) verdict(err error) error {
	select {
	case failure := <-w.failed:
		return failure
	default:
	}
	switch last := w.last.Load(); {
	case last == 0:
		return &digest.RefusedError{Reason: "not_sent", Err: errNotSent}
	case err != nil || last < 200 || last > 299:
		return errAnswer // the library's own words can hold the URL
	}
	return nil
}
