package turns

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// errLost means that the turn may be somebody else's by now.
var errLost = errors.New("the turn was not kept")

// A lease says how long a turn is this worker's, by the monotonic clock: a
// process that is stopped for a while must find it run out.
type lease struct {
	ask  func(context.Context) error // for another wait; nil is a promise
	wait time.Duration
	lost context.CancelFunc

	mu    sync.Mutex
	until time.Time
}

// keep asks for more time, again and again, until ctx ends or the turn is lost;
// then it cancels the context that it returns. The turn was given for wait at taken
// or after.
func keep(ctx context.Context, taken time.Time, wait time.Duration, ask func(context.Context) error) (*lease, context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	l := &lease{ask: ask, wait: wait, lost: cancel, until: taken.Add(wait)}
	var beating sync.WaitGroup
	beating.Go(func() { l.beat(ctx, time.Until(taken.Add(wait/beats))) })
	return l, ctx, func() {
		cancel()
		beating.Wait()
	}
}

// beats is how often a lease asks within the time that it has.
const beats = 5

// beat asks first after a while: most readings are over by then, and each answer
// costs every replica a write.
func (l *lease) beat(ctx context.Context, first time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(first):
	}
	tick := time.NewTicker(l.wait / beats)
	defer tick.Stop()
	for {
		if !l.held() {
			l.lost()
			return
		}
		before := time.Now()
		asking, cancel := context.WithTimeout(ctx, l.wait/beats)
		if l.ask(asking) == nil {
			l.extend(before)
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// extend never brings back what was lost: somebody may have it.
func (l *lease) extend(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.until) {
		l.until = asked.Add(l.wait)
	}
}

func (l *lease) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until)
}

// check is asked before each call. A process that stood still finds out here.
func (l *lease) check() error {
	if !l.held() {
		l.lost()
		return errLost
	}
	return nil
}

// leased makes calls as long as the turn is held.
type leased struct {
	lane  *fastmoss.Lane
	lease *lease
	learn func(error) // from what went wrong
}

func (s leased) Page(ctx context.Context, q fastmoss.Query, page, size int) (fastmoss.Page, error) {
	if err := s.lease.check(); err != nil {
		return fastmoss.Page{}, err
	}
	p, err := s.lane.PageWhile(ctx, s.lease.check, q, page, size)
	if err != nil {
		s.learn(err)
	}
	return p, err
}

var _ watcher.Source = leased{}
