//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestFlood has thousands of clients that follow the events and do not read them,
// others that never finish a request, and others that send nonsense. All the
// while the worker reads once a second. RANKWATCH_FLOOD says how many do not
// read; 10,000 is what the server was made for.
func TestFlood(t *testing.T) {
	withoutDetector(t)
	clients := 1500
	if s := os.Getenv("RANKWATCH_FLOOD"); s != "" {
		var err error
		if clients, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Parallel()
	}
	sim := newSetup(t, "", "").start(t, "simulate", "--listen", "127.0.0.1:0", "--step", "300ms", "--token", "made-up")
	if err := sim.say("simulator listening url="); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(sim.logged.tail(1<<20), "simulator listening url=")
	url, _, _ := strings.Cut(rest, "\n")
	s := newSetup(t, url, "watchlists:\n  - {name: us, every: 1s, top: 200, filter: {region: US}}\n")
	s.env["RANKWATCH_FASTMOSS_TOKEN"], s.env["RANKWATCH_HTTP_LISTEN"] = "made-up", "127.0.0.1:0"
	w := s.start(t)
	nc, err := nats.Connect(w.listening(t))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	boards, err := nc.SubscribeSync("rankwatch.*.*.board")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.say(`"msg":"http listening"`); err != nil {
		t.Fatal(err)
	}
	f := &flood{t: t, address: httpAddress(t, w)}
	calm := rhythm(t, boards, 5)
	report(t, "before", w)
	began := time.Now()
	f.silent(clients, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n")
	f.silent(clients/10, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
	t.Logf("%d clients connected in %v", len(f.conns), time.Since(began).Round(time.Millisecond))
	var nonsense sync.WaitGroup
	over := make(chan struct{})
	for _, request := range []string{
		"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /api/v1/watchlists/us/history?top=1000&limit=500 HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01\x02\x00", "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /api/v1/creators/" + strings.Repeat("%00", 200) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
		"GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\n", "GET / HTTP/9.9\r\n\r\n",
	} {
		nonsense.Add(1)
		go func() {
			defer nonsense.Done()
			for {
				select {
				case <-over:
					return
				default:
					f.send(request)
				}
			}
		}()
	}
	under := rhythm(t, boards, 12)
	close(over)
	nonsense.Wait()
	anon := report(t, "under the flood", w)
	fds := files(t, w)
	t.Logf("the longest time between two readings: %v before, %v under the flood; %d files are open", calm, under, fds)
	if under > 3*time.Second {
		t.Errorf("readings stood still for %v", under)
	}
	if anon > 300<<20 {
		t.Errorf("%d MB of anonymous memory, want less than 300", anon>>20)
	}
	if fds > 2048+200 {
		t.Errorf("%d files are open, want at most 2248", fds)
	}
	f.close()
	f.served()
	w.stop(t)
}

// rhythm is the longest time between two of n boards.
func rhythm(t *testing.T, boards *nats.Subscription, n int) (longest time.Duration) {
	t.Helper()
	var last time.Time
	for range n {
		m, err := boards.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var e struct{ Time time.Time }
		if err := json.Unmarshal(m.Data, &e); err != nil {
			t.Fatal(err)
		}
		if !last.IsZero() {
			longest = max(longest, e.Time.Sub(last))
		}
		last = e.Time
	}
	return longest
}

func httpAddress(t *testing.T, w *worker) string {
	t.Helper()
	_, rest, ok := strings.Cut(w.logged.tail(1<<20), `"msg":"http listening","url":"http://`)
	address, _, _ := strings.Cut(rest, "/")
	if !ok {
		t.Fatal("no line `http listening` with url")
	}
	return address
}

// files counts those that a process has open.
func files(t *testing.T, w *worker) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

type flood struct {
	t       *testing.T
	address string
	conns   []net.Conn
}

// silent opens n connections that send a text, read nothing and stay open.
func (f *flood) silent(n int, text string) {
	f.t.Helper()
	for range n {
		c, err := net.Dial("tcp", f.address)
		if err != nil {
			f.t.Fatal(err)
		}
		_, _ = io.WriteString(c, text) // one that is refused is gone already
		f.conns = append(f.conns, c)
	}
}

// send makes one connection, and reads what comes back.
func (f *flood) send(text string) {
	c, err := net.Dial("tcp", f.address)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(c, text)
	_, _ = bufio.NewReader(c).ReadString('\n')
}

func (f *flood) close() {
	for _, c := range f.conns {
		c.Close()
	}
}

// served waits until a page is to be had again.
func (f *flood) served() {
	f.t.Helper()
	late := time.After(patience)
	for {
		got, err := http.Get("http://" + f.address + "/healthz")
		if err == nil {
			got.Body.Close()
			return
		}
		select {
		case <-late:
			f.t.Fatalf("not served again after the flood: %v", err)
		default: // the server closes the connections one by one
		}
	}
}
