package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const nodes = 3

// A cluster is three nats-server processes. Each reaches the others through
// wires alone.
type cluster struct {
	t      *testing.T
	nodes  [nodes]*node
	routes [nodes][nodes]*wire // [from][to]
}

type node struct {
	n       int
	client  string // address
	config  string
	log     string
	cmd     *exec.Cmd
	exited  chan struct{}
	started int
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	binary, err := built.nats()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t}
	var listens [nodes]string
	for i := range nodes {
		listens[i] = free(t)
	}
	for i := range nodes {
		var routes []string
		for j := range nodes {
			if j != i {
				c.routes[i][j] = newWire(t, listens[j])
				routes = append(routes, fmt.Sprintf("%q", "nats-route://"+c.routes[i][j].address()))
			}
		}
		dir := t.TempDir()
		n := &node{n: i, client: free(t), config: filepath.Join(dir, "nats.conf"), log: filepath.Join(dir, "log")}
		// What others are told of a node's address leads nowhere: only the
		// configured routes are, through their wires.
		conf := fmt.Sprintf(`
server_name: n%d
listen: %q
logfile: %q
jetstream { store_dir: %q, limits { batch { max_msgs: 4096 } } }
cluster { name: fleet, listen: %q, advertise: %q, no_advertise: true, pool_size: -1, routes: [%s] }
`, i, n.client, n.log, filepath.Join(dir, "js"), listens[i], free(t), strings.Join(routes, ", "))
		if err := os.WriteFile(n.config, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		c.nodes[i] = n
	}
	for _, n := range c.nodes {
		c.start(n, binary)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			c.end(n, syscall.SIGKILL)
			if t.Failed() {
				t.Logf("log of n%d: %s", n.n, tailOf(n.log, 3000))
			}
		}
	})
	c.ready(-1)
	return c
}

func tailOf(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-n):])
}

func (c *cluster) start(n *node, binary string) {
	c.t.Helper()
	n.cmd, n.exited = exec.Command(binary, "-c", n.config), make(chan struct{})
	if err := n.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	n.started++
	go func(cmd *exec.Cmd, exited chan struct{}) {
		cmd.Wait() // its error is in ProcessState
		close(exited)
	}(n.cmd, n.exited)
}

// end ends a node's process and waits until it is gone.
func (c *cluster) end(n *node, how syscall.Signal) {
	c.t.Helper()
	n.cmd.Process.Signal(how)
	select {
	case <-n.exited:
	case <-time.After(patience):
		n.cmd.Process.Kill()
		<-n.exited
		c.t.Errorf("n%d did not end on %v", n.n, how)
	}
}

// restart ends a node and starts it again.
func (c *cluster) restart(n int, how syscall.Signal, meanwhile func()) {
	c.t.Helper()
	binary, err := built.nats()
	if err != nil {
		c.t.Fatal(err)
	}
	c.end(c.nodes[n], how)
	if meanwhile != nil {
		meanwhile()
	}
	c.start(c.nodes[n], binary)
}

// urls are the clients' addresses of all nodes but one; -1 for all.
func (c *cluster) urls(but int) string {
	var all []string
	for _, n := range c.nodes {
		if n.n != but {
			all = append(all, "nats://"+n.client)
		}
	}
	return strings.Join(all, ",")
}

// dial connects the test itself, not through wires.
func (c *cluster) dial(but int) *nats.Conn {
	c.t.Helper()
	return connect(c.t, c.urls(but))
}

// ready waits until JetStream answers, and all nodes but one are part of it.
func (c *cluster) ready(but int) {
	c.t.Helper()
	nc := c.dial(but)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	c.eventually("JetStream answers", patience, func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		_, err := js.AccountInfo(ctx)
		return err
	})
}

// eventually asks again and again until the answer is nil.
func (c *cluster) eventually(what string, within time.Duration, ask func() error) {
	c.t.Helper()
	if err := eventually(c.t.Context(), within, ask); err != nil {
		c.t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

func eventually(ctx context.Context, within time.Duration, ask func() error) error {
	end := time.After(within)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-end:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// leader names the node that leads a stream, or the consumer of one.
func (c *cluster) leader(nc *nats.Conn, stream, consumer string) (int, error) {
	subject := "$JS.API.STREAM.INFO." + stream
	if consumer != "" {
		subject = "$JS.API.CONSUMER.INFO." + stream + "." + consumer
	}
	m, err := nc.Request(subject, nil, 2*time.Second)
	if err != nil {
		return -1, err
	}
	var r struct {
		Cluster struct {
			Leader string `json:"leader"`
		} `json:"cluster"`
	}
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return -1, err
	}
	for _, n := range c.nodes {
		if r.Cluster.Leader == fmt.Sprintf("n%d", n.n) {
			return n.n, nil
		}
	}
	return -1, fmt.Errorf("%s has no leader: %s", stream, m.Data)
}

// stepDown has a leader give way. Its answer may get lost with it.
func (c *cluster) stepDown(nc *nats.Conn, what string) {
	if _, err := nc.Request("$JS.API."+what, nil, 2*time.Second); err != nil {
		c.t.Logf("%s: %v", what, err)
	}
}

// part sets the wires between a node and the others.
func (c *cluster) part(n int, s wireState) {
	for i := range nodes {
		if i != n {
			c.routes[n][i].set(s)
			c.routes[i][n].set(s)
		}
	}
}
