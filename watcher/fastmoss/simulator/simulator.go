// Package simulator plays FastMoss' ranking API: its boards, its limits, its
// codes and everything that is known to go wrong with it.
//
// What it answers depends on nothing but its configuration, its clock and the
// calls so far, so a test that failed fails again. It shares no code with the
// client that it tests.
package simulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Path is where the board "creators with selling potential" answers.
const Path = "/creator/v1/rank/topPotential"

// DefaultToken is accepted if the configuration names no token.
const DefaultToken = "simulator-token"

// Ties says in which order entries with the same index are listed.
type Ties string

// The orders within a tie. A reading begins with each call for page 1 of a
// query; so the page 1 that a client reads again at the end of a scan is of the
// next one.
const (
	TiesStable  Ties = "stable"  // as the source lists them
	TiesReading Ties = "reading" // shuffled for each reading
	TiesCall    Ties = "call"    // shuffled for each call
	TiesRotate  Ties = "rotate"  // turned by one for each reading
)

// IDs says how uids are written.
type IDs string

// The spellings of uids. A uid that is not an integer is always a string.
const (
	IDsString IDs = "string"
	IDsNumber IDs = "number"
	IDsMixed  IDs = "mixed" // half of the creators so, half so
)

// Totals says how total is written.
type Totals string

// The spellings of total.
const (
	TotalsNumber Totals = "number"
	TotalsString Totals = "string"
)

// Message is the name of the envelope's message.
type Message string

// The spellings of the envelope. With MessageShort the data of an error is an
// empty string, else it is null.
const (
	MessageLong  Message = "message"
	MessageShort Message = "msg"
)

// Unpublished says what a period that is not published is answered with.
type Unpublished string

// The answers for an unpublished period: 20001, or a success without rows.
const (
	UnpublishedCode  Unpublished = "20001"
	UnpublishedEmpty Unpublished = "empty"
)

// Config is what a Simulator is made of. Its zero value is a World with seed 0
// that answers flawlessly to DefaultToken.
type Config struct {
	Seed     uint64
	Source   Source           // nil is a World
	World    WorldConfig      // for that World; its Seed and Start are filled in
	Now      func() time.Time // nil is time.Now
	Location *time.Location   // of the periods; nil is UTC
	Tokens   []string
	BadToken int     // code for other tokens: 30001, or 1002; 0 is 30001
	Quota    int64   // successful calls that a token has, then 30002; 0 is no limit
	Rate     float64 // calls per second of the simulator's clock that a token has, else 30003; 0 is no limit
	Faults   []Fault

	Ties        Ties
	IDs         IDs
	Totals      Totals
	Message     Message
	Unpublished Unpublished
	TableFields bool // rows have the fields of the documented table too

	// OnCall, if set, is called before each call is answered, from the call's
	// goroutine and without locks; it may change lists, faults, time and tokens.
	OnCall func(Call)
}

// A Call is one call with a good token. Query, Page and Size are zero if a
// parameter was bad. Fault is the one that struck, if any.
type Call struct {
	N     int64 // from 1, of this simulator
	Query Query
	Page  int
	Size  int
	Fault Kind
}

// Usage is what a token has used. Calls counts all of them, Charged those that
// reached the board: no fault, bad parameter or limit was in the way, or a fault
// that spoiled the answer only. Rows counts the rows of unspoiled answers.
type Usage struct {
	Calls, Charged, Rows, Faults int64
}

// A Simulator is an http.Handler that answers as the API does. All methods may
// be called at any time by any goroutine.
type Simulator struct {
	cfg    Config
	source Source

	mu      sync.Mutex
	offset  time.Duration // of the clock
	calls   int64
	refused int64
	tokens  map[string]*account // revoked ones too
	quota   int64
	faults  []*faultState
	strikes map[Kind]int64
	scans   map[Query]*scan
}

type account struct {
	Usage
	valid   bool
	limiter *rate.Limiter
}

// scan counts what the order of ties depends on.
type scan struct{ readings, calls uint64 }

// New returns a simulator. It panics if c.Validate finds something.
func New(c Config) *Simulator {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	if len(c.Tokens) == 0 {
		c.Tokens = []string{DefaultToken}
	}
	if c.BadToken == 0 {
		c.BadToken = codeNoPermission
	}
	s := &Simulator{
		cfg: c, source: c.Source, quota: c.Quota,
		tokens: make(map[string]*account), strikes: make(map[Kind]int64), scans: make(map[Query]*scan),
	}
	if s.source == nil {
		w := c.World
		w.Seed, w.Start, w.Location = c.Seed, c.Now(), c.Location
		s.source = NewWorld(w)
	}
	s.SetTokens(c.Tokens...)
	s.setFaults(c.Faults)
	return s
}

// Validate returns all that is wrong with the configuration, or nil.
func (c Config) Validate() error {
	var errs []error
	choice := func(name, value string, valid ...string) {
		if value != "" && !slices.Contains(valid, value) {
			errs = append(errs, fmt.Errorf("%s %q: must be one of %v", name, value, valid))
		}
	}
	choice("ties", string(c.Ties), string(TiesStable), string(TiesReading), string(TiesCall), string(TiesRotate))
	choice("ids", string(c.IDs), string(IDsString), string(IDsNumber), string(IDsMixed))
	choice("totals", string(c.Totals), string(TotalsNumber), string(TotalsString))
	choice("message", string(c.Message), string(MessageLong), string(MessageShort))
	choice("unpublished", string(c.Unpublished), string(UnpublishedCode), string(UnpublishedEmpty))
	if c.BadToken != 0 && c.BadToken != codeNoPermission && c.BadToken != codeUnknownToken {
		errs = append(errs, fmt.Errorf("bad token code %d: must be 30001 or 1002", c.BadToken))
	}
	if c.Quota < 0 {
		errs = append(errs, fmt.Errorf("quota %d: must be 0 (no limit) or more calls", c.Quota))
	}
	if !(c.Rate >= 0) {
		errs = append(errs, fmt.Errorf("rate %v: must be 0 (no limit) or more calls per second", c.Rate))
	}
	if c.World.Lag < 0 {
		errs = append(errs, fmt.Errorf("lag %v: must be 0 or longer", c.World.Lag))
	}
	for region, n := range c.World.Sizes {
		if !knownRegion(region) || n < 0 || n > maxRegion {
			errs = append(errs, fmt.Errorf("size of region %q, %d: must be 0 to %d of a known region", region, n, maxRegion))
		}
	}
	for _, f := range c.Faults {
		errs = append(errs, f.Validate())
	}
	return errors.Join(errs...)
}

// SetTokens replaces the tokens that are accepted. Usage and limits stay with a
// token for good.
func (s *Simulator) SetTokens(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.tokens {
		a.valid = false
	}
	for _, t := range tokens {
		a := s.tokens[t]
		if a == nil {
			a = new(account)
			if s.cfg.Rate > 0 {
				a.limiter = rate.NewLimiter(rate.Limit(s.cfg.Rate), max(1, int(s.cfg.Rate)))
			}
			s.tokens[t] = a
		}
		a.valid = true
	}
}

// SetQuota replaces the number of successful calls that each token has, counted
// from the start; 0 lifts the limit.
func (s *Simulator) SetQuota(calls int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota = calls
}

// SetFaults replaces the faults; they start to count anew. After an error
// nothing has changed.
func (s *Simulator) SetFaults(faults ...Fault) error {
	for _, f := range faults {
		if err := f.Validate(); err != nil {
			return err
		}
	}
	s.setFaults(faults)
	return nil
}

func (s *Simulator) setFaults(faults []Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	for i, f := range faults {
		s.faults = append(s.faults, &faultState{Fault: f, seed: mix(s.cfg.Seed, uint64(i)+1)})
	}
}

// Now is the simulator's time.
func (s *Simulator) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Simulator) now() time.Time { return s.cfg.Now().Add(s.offset) }

// SetNow sets the clock, which goes on from there. A World does not go back: in
// an earlier hour it shows that hour's periods with its latest values.
func (s *Simulator) SetNow(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset = t.Sub(s.cfg.Now())
}

// Advance moves the clock on.
func (s *Simulator) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}

// Calls returns the usage of each token, revoked ones too.
func (s *Simulator) Calls() map[string]Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := make(map[string]Usage, len(s.tokens))
	for t, a := range s.tokens {
		used[t] = a.Usage
	}
	return used
}

// Refused counts the calls with an unknown token, or none.
func (s *Simulator) Refused() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// Strikes counts the faults that struck, by kind.
func (s *Simulator) Strikes() map[Kind]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.strikes)
}

func requestID(seed uint64, n int64) string {
	return strconv.FormatUint(mix(seed, uint64(n)), 16)
}
