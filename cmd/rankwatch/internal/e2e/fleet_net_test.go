package e2e

import (
	"net"
	"sync"
	"testing"
)

// A wire is a TCP proxy on loopback that a test can cut, stall and mend.
type wire struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	is    wireState
	flows chan struct{} // closed while bytes pass
	ends  map[net.Conn]bool
}

type wireState int

const (
	mended  wireState = iota
	cut               // connections are closed, and new ones at once
	stalled           // nothing passes, and nobody is told
)

// newWire leads to target, a loopback address.
func newWire(t *testing.T, target string) *wire {
	t.Helper()
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, target: target, flows: make(chan struct{}), ends: map[net.Conn]bool{}}
	close(w.flows)
	var served sync.WaitGroup
	served.Go(func() { w.accept(&served) })
	t.Cleanup(func() {
		l.Close()
		w.set(cut)
		served.Wait()
	})
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) accept(served *sync.WaitGroup) {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		served.Go(func() { w.join(near) })
	}
}

func (w *wire) join(near net.Conn) {
	defer near.Close()
	if !w.keep(near) {
		return
	}
	defer w.drop(near)
	far, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer far.Close()
	if !w.keep(far) {
		return
	}
	defer w.drop(far)
	var both sync.WaitGroup
	both.Go(func() { w.copy(near, far) })
	both.Go(func() { w.copy(far, near) })
	both.Wait()
}

// copy passes bytes on while the wire lets it.
func (w *wire) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			w.mu.Lock()
			flows := w.flows
			w.mu.Unlock()
			<-flows
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.is == cut {
		return false
	}
	w.ends[c] = true
	return true
}

func (w *wire) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ends, c)
}

func (w *wire) set(s wireState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.is == stalled && s != stalled {
		close(w.flows)
	}
	if w.is != stalled && s == stalled {
		w.flows = make(chan struct{})
	}
	w.is = s
	if s == cut {
		for c := range w.ends {
			c.Close()
		}
	}
}

// used says whether somebody is connected.
func (w *wire) used() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ends) > 0
}
