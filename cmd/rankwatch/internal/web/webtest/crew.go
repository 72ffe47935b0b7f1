package webtest

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/watcher"
)

// A Crew is a worker that knows what it is told.
type Crew struct {
	Bus *nats.Conn

	mu        sync.Mutex
	standings []watcher.Standing
	token     *watcher.Condition
	profiles  map[string]map[string]watcher.Profile
	revisions map[string]uint64
}

// NewCrew returns one that has watchlists of these names.
func NewCrew(bus *nats.Conn, names ...string) *Crew {
	c := &Crew{Bus: bus, profiles: map[string]map[string]watcher.Profile{}, revisions: map[string]uint64{}}
	for _, n := range names {
		c.standings = append(c.standings, watcher.Standing{Watchlist: watcher.Watchlist{Name: n, Every: time.Hour, Top: 100}})
	}
	return c
}

// Set changes how watchlists and token are doing.
func (c *Crew) Set(token *watcher.Condition, all ...watcher.Standing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.standings, c.token = all, token
}

// Remember sets what is known of the creators on a board.
func (c *Crew) Remember(watchlist string, revision uint64, all map[string]watcher.Profile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.profiles[watchlist], c.revisions[watchlist] = all, revision
}

// Standings tells of all watchlists.
func (c *Crew) Standings() []watcher.Standing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.standings
}

// Standing tells of one.
func (c *Crew) Standing(name string) (watcher.Standing, bool) {
	for _, s := range c.Standings() {
		if s.Watchlist.Name == name {
			return s, true
		}
	}
	return watcher.Standing{}, false
}

// TokenStanding tells of the token.
func (c *Crew) TokenStanding() *watcher.Condition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// Profiles tells what is remembered.
func (c *Crew) Profiles(name string) (map[string]watcher.Profile, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.profiles[name], c.revisions[name], nil
}

// Profile tells what is remembered of one creator.
func (c *Crew) Profile(name, uid string) (*watcher.Profile, uint64, error) {
	all, revision, err := c.Profiles(name)
	if p, ok := all[uid]; ok {
		return &p, revision, err
	}
	return nil, revision, err
}

// Conn is the connection to the bus.
func (c *Crew) Conn() *nats.Conn { return c.Bus }
