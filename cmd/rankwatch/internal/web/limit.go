package web

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// maxConns is how many connections there may be, at most half of the files that
// the process may have open: the worker needs some, too.
const maxConns = 2048

const writeBuffer = 64 << 10 // bytes

// A limited listener bounds the connections. When they are too many, the one goes
// that has been without a whole request for longest, so that whoever opens many
// and asks nothing keeps nobody out; if all are being answered, the new one goes.
type limited struct {
	net.Listener
	most int

	mu      sync.Mutex
	open    int
	resting list.List // of *counted, without a request, longest first
}

func limit(l net.Listener) *limited {
	return &limited{Listener: l, most: min(maxConns, maxFiles()/2)}
}

// Accept waits for a connection that there is room for.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if t, ok := c.(*net.TCPConn); ok {
			// What a client does not read waits in the kernel, up to megabytes if it
			// is let.
			_ = t.SetWriteBuffer(writeBuffer)
		}
		if in := l.admit(c); in != nil {
			return in, nil
		}
		_ = c.Close() // it is of no interest why it would not
	}
}

// admit counts a connection in; nil means that there is no room.
func (l *limited) admit(c net.Conn) net.Conn {
	l.mu.Lock()
	var gone *counted
	if l.open >= l.most {
		first := l.resting.Front()
		if first == nil {
			l.mu.Unlock()
			return nil
		}
		gone = first.Value.(*counted)
		gone.leave()
	}
	in := &counted{Conn: c, of: l}
	l.open++
	in.rest = l.resting.PushBack(in)
	l.mu.Unlock()
	if gone != nil {
		_ = gone.Conn.Close()
	}
	return in
}

// A counted connection makes room when it is closed. What it has is guarded by
// of.mu.
type counted struct {
	net.Conn
	of   *limited
	rest *list.Element // nil while a request is answered
	left bool
}

// leave counts it out, with of.mu held.
func (c *counted) leave() {
	if c.left {
		return
	}
	c.left = true
	c.of.open--
	c.busy()
}

// busy takes it off the list of those that may go, with of.mu held.
func (c *counted) busy() {
	if c.rest != nil {
		c.of.resting.Remove(c.rest)
		c.rest = nil
	}
}

// Close closes the connection.
func (c *counted) Close() error {
	c.of.mu.Lock()
	c.leave()
	c.of.mu.Unlock()
	return c.Conn.Close()
}

type connKey struct{}

// withConn lets answering find the request's connection: http has no other way.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// answering keeps a connection from having to go while its request is answered.
func answering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*counted); ok {
			c.of.mu.Lock()
			c.busy()
			c.of.mu.Unlock()
			defer func() {
				c.of.mu.Lock()
				defer c.of.mu.Unlock()
				if !c.left {
					c.rest = c.of.resting.PushBack(c)
				}
			}()
		}
		next.ServeHTTP(w, r)
	})
}
