package service

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
)

// A kind is a service: how long a text it takes, and how it is told things.
type kind struct {
	name  string
	limit int  // of a text's size; 0 for none
	wide  bool // the size is in UTF-16 units, else in bytes
	title bool // it takes a title beside the text
	html  bool // it may answer with HTML
	// several is what a URL may list several receivers under, each of which gets a
	// request of its own.
	several []string
	params  map[string]string // for the library
}

const mailName = "smtp"

// kindOf knows the services. Sizes are what the services document, less what
// the library adds around a text, and what is usual where they document none.
func kindOf(name string) (kind, bool) {
	k := kind{name: name}
	switch name {
	case "discord":
		k.limit, k.wide, k.title = 2000, true, true
		k.params = map[string]string{"splitlines": "No"} // else each line is posted by itself
	case "telegram":
		k.limit, k.title, k.several = 4096-titleSize, true, []string{"chats", "channels"}
	case "ntfy":
		k.limit, k.title = 4096, true
	case "teams":
		k.limit, k.title = 20_000, true
	case "generic":
		k.html = true // and a title where the URL names a template: see check
	case mailName:
		k.title = true
	case "gotify", "pushbullet", "opsgenie":
		k.limit, k.title = 15_000, true
	case "bark", "join":
		k.limit, k.title = 3000, true
	case "pushover":
		k.limit, k.title = 1024, true
	case "ifttt":
		k.limit, k.title, k.html, k.several = 15_000, true, true, []string{"events"}
	case "matrix":
		k.limit, k.title, k.several = 30_000, true, []string{"rooms", "room"}
	case "lark":
		k.limit, k.title = 20_000, true
	case "googlechat", "hangouts":
		k.limit = 4096
	case "mattermost":
		k.limit, k.wide = 16_383, true
	case "rocketchat":
		k.limit, k.wide = 5000, true
	case "zulip":
		k.limit = 10_000
	case "wecom":
		k.limit = 2048
	case "signal", "notifiarr":
		k.limit, k.wide = 2000, true
	case "pagerduty":
		k.limit = 1024
	default:
		return kind{}, false
	}
	return k, true
}

// titleSize is what a title takes at most, where it counts as a part of the
// text.
const titleSize = 256

// size measures a text as the service does.
func (k *kind) size(s string) int {
	if k.wide {
		return len(utf16.Encode([]rune(s)))
	}
	return len(s)
}

var errScheme = errors.New("the URL names no service that is known here")

// Check says whether a URL is one of a service, without connecting to it. The
// error holds nothing of the URL but the service's name.
func Check(raw string) error {
	_, _, err := check(raw)
	return err
}

func check(raw string) (kind, *url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return kind{}, nil, errors.New("the URL cannot be read") // the cause quotes it
	}
	name, _, _ := strings.Cut(u.Scheme, "+")
	k, ok := kindOf(name)
	switch {
	case name == "slack":
		return k, nil, errors.New("slack is a target of its own, not a service")
	case name == "http" || name == "https":
		return k, nil, errors.New("a URL of a service begins with the service's name, such as discord:// or generic+https://")
	case !ok:
		return k, nil, errScheme
	}
	if err := k.query(u.Query()); err != nil {
		return k, nil, err
	}
	switch name {
	case mailName:
		_, err = parseMail(u)
	case "generic":
		k.title = u.Query().Has("template")
		if _, inner, custom := strings.Cut(u.Scheme, "+"); custom && inner != "https" && inner != "http" {
			err = fmt.Errorf("%s: the URL begins with neither generic+https:// nor generic+http://", name)
		} else {
			err = k.parse(raw)
		}
	case "matrix": // the library would sign in
		if password, _ := u.User.Password(); u.Host == "" || password == "" {
			err = fmt.Errorf("%s: the URL lacks the host or the token", name)
		}
	default:
		err = k.parse(raw)
	}
	return k, u, err
}

// parse lets the library read a URL.
func (k *kind) parse(raw string) (err error) {
	bad := fmt.Errorf("%s: the URL is not one that this service has", k.name)
	defer func() {
		if recover() != nil { // the library is not used to all that a person can write
			err = bad
		}
	}()
	if _, lerr := new(router.ServiceRouter).Locate(raw); lerr != nil {
		return bad // its own words can hold the token
	}
	return nil
}

// query refuses what would be ignored or go wrong.
func (k *kind) query(q url.Values) error {
	var errs []error
	for key, values := range q {
		lower := strings.ToLower(key)
		value := strings.ToLower(strings.Join(values, ","))
		off := slices.Contains([]string{"", "no", "false", "0"}, value)
		switch {
		case (lower == "disabletlsverification" || lower == "skiptlsverify") && !off:
			errs = append(errs, fmt.Errorf("%s: %s is not possible: certificates are always verified", k.name, lower))
		case slices.Contains(k.several, lower) && strings.Contains(value, ","):
			errs = append(errs, fmt.Errorf("%s: %s names several receivers: make each a target of its own, or when one fails the others get the message again", k.name, lower))
		}
	}
	return errors.Join(errs...)
}
