package outgoing

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ErrRedirect means that a target sent the client elsewhere, and it did not go.
var ErrRedirect = errors.New("outgoing: redirect refused")

// Redirect is the CheckRedirect of a client. A redirect is followed to the same
// host and port, or from http to https on the usual ports, at most three times,
// and only if it repeats the request as it was (307 and 308 do): a POST that
// became a GET would be answered without having delivered anything.
func Redirect(req *http.Request, via []*http.Request) error {
	if len(via) == 0 {
		return nil
	}
	first, last := via[0], via[len(via)-1]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d", ErrRedirect, maxRedirects)
	case req.URL.User != nil && (first.URL.User == nil || req.URL.User.String() != first.URL.User.String()):
		return fmt.Errorf("%w: with other credentials", ErrRedirect)
	case last.URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("%w: from https to %s", ErrRedirect, req.URL.Scheme)
	case !sameHost(last.URL, req.URL):
		return fmt.Errorf("%w: to another host", ErrRedirect)
	case req.Method != first.Method:
		return fmt.Errorf("%w: it turns %s into %s", ErrRedirect, first.Method, req.Method)
	}
	return nil
}

func sameHost(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	upgrade := from.Scheme == "http" && to.Scheme == "https" && port(from) == "80" && port(to) == "443"
	return port(from) == port(to) && from.Scheme == to.Scheme || upgrade
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
