package web

import (
	"net"
	"sync"
	"sync/atomic"
)

// maxConns is how many connections there may be, at most half of the files that
// the process may have open: the worker needs some, too.
const maxConns = 2048

const writeBuffer = 64 << 10 // bytes

// A limited listener closes the connections that are too many at once, so that
// whoever opens them waits for nothing and costs nothing.
type limited struct {
	net.Listener
	most int64
	open atomic.Int64
}

func limit(l net.Listener) *limited {
	return &limited{Listener: l, most: int64(min(maxConns, maxFiles()/2))}
}

// Accept waits for a connection that there is room for.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			if t, ok := c.(*net.TCPConn); ok {
				// What a client does not read waits in the kernel, up to megabytes
				// if it is let.
				_ = t.SetWriteBuffer(writeBuffer)
			}
			return &counted{Conn: c, free: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		_ = c.Close() // it is of no interest why it would not
	}
}

// A counted connection makes room when it is closed.
type counted struct {
	net.Conn
	free func()
}

func (c *counted) Close() error {
	c.free()
	return c.Conn.Close()
}
