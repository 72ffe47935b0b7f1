package outgoing

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// A HostError is what went wrong with a request, and with which host. Its text
// has nothing else of the URL.
type HostError struct {
	Host string // empty if the URL could not be read
	Err  error
}

// Error tells the host and the cause.
func (e *HostError) Error() string {
	if e.Host == "" {
		return e.Err.Error()
	}
	return e.Host + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *HostError) Unwrap() error { return e.Err }

var (
	errURL    = errors.New("the URL cannot be read")
	errHidden = errors.New("the request failed; the reason repeats a secret")
)

// Strip takes a URL's path, query and credentials out of an error of net/http
// or net/url, and of whatever wraps it. Other errors stay as they are.
func Strip(err error) error {
	var e *url.Error
	if !errors.As(err, &e) {
		return err
	}
	// The cause of an unreadable URL quotes the piece that could not be read.
	u, perr := url.Parse(e.URL)
	if perr != nil || e.Op == "parse" {
		return &HostError{Err: errURL}
	}
	return Hide(u, e.Err)
}

// Hide makes a HostError of an error that a request to u had. A cause that
// repeats a secret part of the URL, as a server can by what it answers, is left
// out; errors.Is and As still see it.
func Hide(u *url.URL, err error) error {
	err = Strip(err)
	var he *HostError
	if errors.As(err, &he) {
		err = he.Err
	}
	for _, s := range secrets(u) {
		if strings.Contains(err.Error(), s) {
			return &HostError{Host: u.Host, Err: hidden{err}}
		}
	}
	return &HostError{Host: u.Host, Err: err}
}

// Conceal hides the text of an error that repeats one of the values, which are
// secret without being a part of a URL; errors.Is and As still see it.
func Conceal(err error, values ...string) error {
	if err == nil {
		return nil
	}
	for _, v := range values {
		if len(v) >= minSecret && strings.Contains(err.Error(), v) {
			return hidden{err}
		}
	}
	return err
}

// hidden is an error whose text is not to be read.
type hidden struct{ err error }

func (hidden) Error() string   { return errHidden.Error() }
func (h hidden) Unwrap() error { return h.err }

// minSecret is the length in bytes from which a part of a URL counts as a
// secret; shorter ones occur in any text.
const minSecret = 4

// secrets are the parts of a URL that an error must not repeat, as they are
// written and as they are meant.
func secrets(u *url.URL) []string {
	var out []string
	add := func(s string) {
		if len(s) >= minSecret {
			out = append(out, s)
		}
	}
	for _, path := range []string{u.Path, u.EscapedPath(), u.Opaque, u.Fragment} {
		for s := range strings.SplitSeq(path, "/") {
			add(s)
		}
	}
	add(u.RawQuery)
	for k, values := range u.Query() {
		add(k)
		for _, v := range values {
			add(v)
			add(url.QueryEscape(v))
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		add(u.User.Username())
		add(password)
		add(u.User.String())
	}
	return out
}

// ParseURL reads the URL of a target: http or https, and a host. Its errors
// hold nothing of the URL but its scheme.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil:
		return nil, errURL
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("the URL begins with neither https:// nor http://")
	case u.Hostname() == "":
		return nil, fmt.Errorf("the URL has no host")
	}
	return u, nil
}
