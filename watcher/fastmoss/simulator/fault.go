package simulator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Kind is a way for a call to go wrong.
type Kind string

// The kinds of fault. Mixed strikes as a random one of Transient.
const (
	Throttled       Kind = "30003"
	QuotaSpent      Kind = "30002"
	NoPermission    Kind = "30001"
	UnknownToken    Kind = "1002"
	ServiceError    Kind = "40001-200" // with HTTP 200
	ServerError     Kind = "40001-500" // with HTTP 500
	BadParameter    Kind = "10001"
	NotFound        Kind = "20001"
	TooMany         Kind = "429"
	TooManySeconds  Kind = "429-retry-after"
	TooManyDate     Kind = "429-retry-date"
	BadGateway      Kind = "502"
	GatewayTimeout  Kind = "504"
	Firewall        Kind = "567-html"
	HTML            Kind = "html-200"
	Slow            Kind = "slow"      // the answer comes after Delay
	Hung            Kind = "hung"      // no answer; the connection breaks after Delay, if that is set
	Reset           Kind = "reset"     // TCP reset
	Truncated       Kind = "truncated" // a whole HTTP answer with half of the JSON
	Cut             Kind = "cut"       // half of the HTTP answer, then the connection breaks
	WrongType       Kind = "wrong-content-type"
	DataString      Kind = "data-string"
	DataNull        Kind = "data-null"
	TotalString     Kind = "total-string"
	DuplicateRow    Kind = "duplicate-row" // the page begins with the last row of the page before it; page 1 has one twice
	SkippedRow      Kind = "skipped-row"   // the page lacks its first row
	BoardChange     Kind = "board-change"  // past page 1: the list is seen as if its first row had left
	StalePeriod     Kind = "stale-period"  // the period before the right one is echoed
	EmptyPage       Kind = "empty-page"    // no rows, true total
	TotalChange     Kind = "total-change"  // past page 1: total is one higher
	WrongRegion     Kind = "wrong-region"  // with a region filter: all rows say that they are from another one
	Mixed           Kind = "mixed"
	defaultSlowness      = time.Second
	defaultRetry         = time.Second
)

// Transient lists the kinds that pass by themselves: those that Mixed strikes
// as. The others (30002, 30001, 1002, 10001, 20001) tell the client to stop.
func Transient() []Kind {
	return []Kind{
		Throttled, ServiceError, ServerError, TooMany, TooManySeconds, TooManyDate, BadGateway, GatewayTimeout,
		Firewall, HTML, Slow, Hung, Reset, Truncated, Cut, WrongType, DataString, DataNull, TotalString,
		DuplicateRow, SkippedRow, BoardChange, StalePeriod, EmptyPage, TotalChange, WrongRegion,
	}
}

// Kinds lists all kinds.
func Kinds() []Kind {
	return append(Transient(), QuotaSpent, NoPermission, UnknownToken, BadParameter, NotFound, Mixed)
}

// A Fault says which calls go wrong, and how. It looks at the calls that match
// Page and Region and that its kind can befall, and counts them from 1, from
// SetFaults on. Of several faults the first that strikes wins.
type Fault struct {
	Kind  Kind    `yaml:"kind"`
	Rate  float64 `yaml:"rate"`  // share of the calls it strikes, over 0 to 1
	After int     `yaml:"after"` // leaves that many calls alone first
	For   int     `yaml:"for"`   // then looks at that many calls; 0 is no end
	Every int     `yaml:"every"` // of these only each n-th; 0 is each
	// Burst is how many calls running a strike lasts, itself included; it may
	// outlast For. Sticky is a burst without end.
	Burst  int    `yaml:"burst"`
	Sticky bool   `yaml:"sticky"`
	Page   int    `yaml:"page"`   // only that page; 0 is all
	Region string `yaml:"region"` // only calls with that region filter; empty is all
	// Delay is how long Slow and Hung wait, and what 429-retry-after and
	// 429-retry-date ask for (in whole seconds, rounded up); 0 is 1 s, and no
	// end for Hung.
	Delay time.Duration `yaml:"delay"`
}

// Validate says what is wrong with the fault, naming the field.
func (f Fault) Validate() error {
	if !slices.Contains(Kinds(), f.Kind) {
		return fmt.Errorf("fault kind %q: must be one of %s", f.Kind, kindNames())
	}
	bad := func(field, want string) error { return fmt.Errorf("fault %s: %s %s", f.Kind, field, want) }
	switch {
	case !(f.Rate > 0 && f.Rate <= 1):
		return bad("rate", "must be over 0 and at most 1; leave out a fault that shall not strike")
	case f.After < 0:
		return bad("after", "must be 0 or more calls")
	case f.For < 0:
		return bad("for", "must be 0 (no end) or more calls")
	case f.Every < 0:
		return bad("every", "must be 0 (each) or more calls")
	case f.Burst < 0:
		return bad("burst", "must be 0 or more calls")
	case f.Page < 0 || f.Page > MaxDepth:
		return bad("page", "must be 0 (all) to 1000")
	case f.Page == 1 && (f.Kind == BoardChange || f.Kind == TotalChange):
		return bad("page", "must be 2 or more: the first page cannot differ from one before it")
	case f.Region != "" && !knownRegion(f.Region):
		return bad("region", "must be one of "+strings.Join(regions(), " "))
	case f.Delay < 0:
		return bad("delay", "must be 0 or longer")
	}
	return nil
}

func kindNames() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, " ")
}

// ParseFault reads kind[:rate[:args]], where args are after=N, for=N, every=N,
// burst=N, sticky, page=N, region=US and delay=2s, with commas between. The rate
// is 1 unless given.
func ParseFault(s string) (Fault, error) {
	kind, rest, more := strings.Cut(s, ":")
	f := Fault{Kind: Kind(kind), Rate: 1}
	if more {
		rate, args, _ := strings.Cut(rest, ":")
		var err error
		if f.Rate, err = strconv.ParseFloat(rate, 64); err != nil {
			return f, fmt.Errorf("fault %q: rate %q must be a number over 0 to 1", s, rate)
		}
		for arg := range strings.SplitSeq(args, ",") {
			if arg == "" {
				continue
			}
			if err := f.parseArg(arg); err != nil {
				return f, fmt.Errorf("fault %q: %w", s, err)
			}
		}
	}
	return f, f.Validate()
}

func (f *Fault) parseArg(arg string) error {
	name, value, _ := strings.Cut(arg, "=")
	var err error
	switch name {
	case "after":
		f.After, err = strconv.Atoi(value)
	case "for":
		f.For, err = strconv.Atoi(value)
	case "every":
		f.Every, err = strconv.Atoi(value)
	case "burst":
		f.Burst, err = strconv.Atoi(value)
	case "page":
		f.Page, err = strconv.Atoi(value)
	case "delay":
		f.Delay, err = time.ParseDuration(value)
	case "region":
		f.Region = value
	case "sticky":
		f.Sticky = true
		if value != "" {
			return fmt.Errorf("%s takes no value", arg)
		}
	default:
		return fmt.Errorf("argument %q must be one of after= for= every= burst= sticky page= region= delay=", arg)
	}
	if err != nil {
		return fmt.Errorf("argument %q: %w", arg, err)
	}
	return nil
}

// befalls says whether the kind can happen to that call at all.
func (k Kind) befalls(req request) bool {
	switch k {
	case BoardChange, TotalChange:
		return req.page > 1
	case WrongRegion:
		return req.Filter.Region != ""
	}
	return true
}

// A faultState is a fault with what it remembers of the calls so far.
type faultState struct {
	Fault
	seed  uint64
	seen  uint64
	burst int // calls that the last strike still lasts
	stuck bool
}

// strike returns the kind that the call meets, if any. The n-th matching call
// meets the same fate in every run with the same seed.
func (f *faultState) strike(req request) (Kind, bool) {
	if f.Page != 0 && f.Page != req.page || f.Region != "" && f.Region != req.Filter.Region || !f.Kind.befalls(req) {
		return "", false
	}
	f.seen++
	if !f.due() {
		return "", false
	}
	if f.Kind != Mixed {
		return f.Kind, true
	}
	able := slices.DeleteFunc(Transient(), func(k Kind) bool { return !k.befalls(req) })
	return able[mix(f.seed, f.seen, 1)%uint64(len(able))], true
}

func (f *faultState) due() bool {
	if f.stuck {
		return true
	}
	if f.burst > 0 {
		f.burst--
		return true
	}
	n := int(f.seen) - f.After
	if n <= 0 || f.For > 0 && n > f.For || f.Every > 0 && n%f.Every != 0 || unit(mix(f.seed, f.seen)) >= f.Rate {
		return false
	}
	f.stuck = f.Sticky
	f.burst = max(f.Burst, 1) - 1
	return true
}
