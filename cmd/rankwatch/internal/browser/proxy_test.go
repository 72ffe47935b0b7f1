package browser

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// A cutter stands between browser and server and can cut every connection.
type cutter struct {
	ln net.Listener
	to string

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
	all   sync.WaitGroup
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{ln: ln, to: strings.TrimPrefix(to, "http://"), conns: map[net.Conn]bool{}}
	c.all.Go(c.serve)
	t.Cleanup(func() {
		ln.Close()
		c.set(true)
		c.all.Wait()
	})
	return c
}

func (c *cutter) url() string { return "http://" + c.ln.Addr().String() }

// set cuts all connections and takes no new ones, or lets them be.
func (c *cutter) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
	if down {
		for conn := range c.conns {
			conn.Close()
		}
	}
}

func (c *cutter) keep(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		if c.down {
			conn.Close()
			continue
		}
		c.conns[conn] = true
	}
	return !c.down
}

func (c *cutter) serve() {
	for {
		near, err := c.ln.Accept()
		if err != nil {
			return
		}
		if !c.keep(near) {
			continue
		}
		far, err := net.Dial("tcp", c.to)
		if err != nil || !c.keep(far) {
			near.Close()
			continue
		}
		pipe := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			to.Close()
			from.Close()
		}
		c.all.Go(func() { pipe(near, far) })
		c.all.Go(func() { pipe(far, near) })
	}
}
