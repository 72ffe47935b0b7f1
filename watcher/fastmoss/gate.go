package fastmoss

import (
	"context"
	"sync"
	"time"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// StatusOK is the condition of a token that works again.
const StatusOK = "ok"

// Reasons of a TokenCondition.
const (
	ReasonToken     = "token"     // the source refuses the token
	ReasonLimit     = "limit"     // the source says that the limit is reached
	ReasonThrottled = "throttled" // the source has throttled for too long
	ReasonRecovered = "recovered"
)

// A TokenCondition is a change in whether the token works. Status is "denied",
// "quota" or "ok". NextTry is when the first trial call may be made, and zero
// for "ok".
type TokenCondition struct {
	Status  string
	Reason  string
	Detail  string
	Since   time.Time
	NextTry time.Time
}

// A gate stops all calls of a token that is denied or used up. When the pause is
// over it lets one trial call through at a time; the others wait for its
// outcome. It is safe for concurrent use.
type gate struct {
	quotaPause, quotaMax, deniedPause time.Duration
	tell                              func(TokenCondition)

	mu      sync.Mutex
	cause   *Error        // nil: open
	shut    chan struct{} // closed when the gate closes
	version uint64        // of the token that it closed for
	until   time.Time
	strikes int
	resets  int
	trying  bool          // a trial is under way
	turn    chan struct{} // not nil: somebody waits for the gate to change; closed then

	news    []TokenCondition
	telling bool
}

// A pass is the leave to make a call. Shut is closed when it is withdrawn; a
// trial is not withdrawn. Whoever has one calls leave.
type pass struct {
	gate   *gate
	trial  bool
	shut   <-chan struct{}
	resets int
}

// enter waits while a trial is under way. A closed gate gives its cause again,
// as an *Error with Gate set.
func (g *gate) enter(ctx context.Context, version uint64) (*pass, error) {
	for {
		p, turn, err := g.tryEnter(version)
		if p != nil || err != nil {
			return p, err
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (g *gate) tryEnter(version uint64) (*pass, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.cause == nil:
		return &pass{gate: g, shut: g.shut, resets: g.resets}, nil, nil
	case g.trying:
		return nil, g.change(), nil
	case g.due(version):
		g.trying = true
		return &pass{gate: g, trial: true, resets: g.resets}, nil, nil
	}
	e := *g.cause
	e.Gate, e.Until = true, g.until
	return nil, nil, &e
}

// due says whether a closed gate lets a trial through. The caller holds mu.
func (g *gate) due(version uint64) bool {
	return version != g.version || !time.Now().Before(g.until)
}

// change is closed when the gate changes. The caller holds mu.
func (g *gate) change() <-chan struct{} {
	if g.turn == nil {
		g.turn = make(chan struct{})
	}
	return g.turn
}

// changed has those who wait look again. The caller holds mu.
func (g *gate) changed() {
	if g.turn != nil {
		close(g.turn)
		g.turn = nil
	}
}

// leave ends a trial, whatever came of it.
func (p *pass) leave() {
	if !p.trial {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trying = false
	g.changed()
}

// close shuts the gate for cause, a denied or quota answer to the call of p, and
// notes in it when the next try may be made. Answers to calls that were under
// way when the gate closed change nothing.
func (g *gate) close(p *pass, version uint64, cause *Error, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause != nil && !p.trial {
		cause.Until = g.until
		return
	}
	news := g.cause == nil || g.cause.Kind != cause.Kind
	if news {
		g.strikes = 0
	}
	now := time.Now()
	g.until = now.Add(g.pause(cause.Kind))
	if p.resets != g.resets {
		// The reset came while this call was under way: it is not what was
		// asked to be tried.
		g.until = now
	}
	g.strikes++
	cause.Until = g.until
	g.shutFor(*cause, version)
	if news {
		g.news = append(g.news, TokenCondition{
			Status: status(cause.Kind), Reason: reason, Detail: cause.detail(), Since: now, NextTry: g.until,
		})
	}
}

// shutFor notes the cause and turns away the calls that wait for their pace. The
// caller holds mu.
func (g *gate) shutFor(cause Error, version uint64) {
	if g.cause == nil {
		close(g.shut)
	}
	g.cause, g.version = &cause, version
	g.changed()
}

func status(k Kind) string {
	if k == ErrQuota {
		return event.StatusQuota
	}
	return event.StatusDenied
}

// pause is how long to wait after the present strike. The caller holds mu.
func (g *gate) pause(k Kind) time.Duration {
	if k != ErrQuota {
		return g.deniedPause
	}
	d := g.quotaPause
	for range g.strikes {
		if d >= g.quotaMax/2 {
			return g.quotaMax
		}
		d *= 2
	}
	return d
}

// open is told that the call of p showed the token to work.
func (g *gate) open(p *pass) {
	if !p.trial {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause == nil {
		return // another process's trial was quicker
	}
	g.works()
	g.news = append(g.news, TokenCondition{Status: StatusOK, Reason: ReasonRecovered, Since: time.Now()})
}

// works opens a closed gate. The caller holds mu.
func (g *gate) works() {
	g.cause, g.strikes, g.until = nil, 0, time.Time{}
	g.shut = make(chan struct{})
	g.changed()
}

// reset ends the pause: the next call is a trial.
func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Time{}
	g.strikes = 0
	g.resets++
	g.changed()
}

// status is the present condition's name.
func (g *gate) status() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause == nil {
		return StatusOK
	}
	return status(g.cause.Kind)
}

// usedUp says whether the gate is closed as used up, so that a throttled
// trial confirms it.
func (g *gate) usedUp() bool { return g.status() == event.StatusQuota }

// announce tells of the changes in order, one at a time and without holding the
// lock, so that the listener may call back.
func (g *gate) announce() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.telling {
		return
	}
	g.telling = true
	for len(g.news) > 0 {
		c := g.news[0]
		g.news = g.news[1:]
		if g.tell == nil {
			continue
		}
		g.mu.Unlock()
		g.tell(c)
		g.mu.Lock()
	}
	g.telling = false
}
