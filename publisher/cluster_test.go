package publisher

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// startCluster starts three servers that replicate.
func startCluster(t *testing.T) []*external {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		p := freePort(t)
		ports = append(ports, p)
		u, err := url.Parse(fmt.Sprintf("nats://127.0.0.1:%d", p))
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, u)
	}
	var nodes []*external
	for i, p := range ports {
		e := &external{t: t, dir: t.TempDir(), port: freePort(t), mod: []func(*server.Options){func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Cluster = server.ClusterOpts{Name: "C", Host: "127.0.0.1", Port: p}
			o.Routes = routes
		}}}
		e.start()
		t.Cleanup(e.stop)
		nodes = append(nodes, e)
	}
	return nodes
}

// Three replicas, whose leader steps down again and again while readings go
// out. A plain subscriber may miss what a leader stored but stepped down before
// it republished; what it sees, it sees once and in order.
func TestReplicasAndLeaderChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	nodes := startCluster(t)
	w := newWorker(t, nodes[0].url(), func(c *Config) { c.Replicas = 3 })
	w.open().run()
	w.wait(w.pub.Ready(), "ready")
	o := observe(t, nodes[1].client(), "rankwatch")
	nc := nodes[2].client()
	want := map[string][]string{}
	for i := range 30 {
		for _, list := range []string{"a", "b", "c"} {
			keys := w.commit(list, i)
			want[list] = append(want[list], keys...)
		}
		if i%6 == 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			// Its answer may get lost with the leader.
			_, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN.RANKWATCH", nil)
			cancel()
			t.Logf("step down: %v", err)
		}
	}
	w.drained()
	eachList(t, history(t, nc, "RANKWATCH", "rankwatch"), want)
	got := map[string]int{}
	for _, k := range o.seen() {
		list := strings.Split(k, ".")[2]
		at := slices.Index(want[list][got[list]:], k)
		if at < 0 {
			t.Fatalf("core subscriber: %s twice, out of order, or never published", k)
		}
		got[list] += at + 1
	}
	t.Logf("core subscriber saw %d messages", len(o.seen()))
	info := must(must(must(jetstream.New(nc)).Stream(t.Context(), "RANKWATCH")).Info(t.Context()))
	if info.Config.Replicas != 3 {
		t.Fatalf("%d replicas", info.Config.Replicas)
	}
	select {
	case list := <-w.fenced:
		t.Fatalf("watchlist %s is fenced, and there is no other writer", list)
	default:
	}
	if l := w.load("a"); l.Lineage > 1 {
		t.Fatalf("the chain was broken: %+v", l)
	}
	t.Logf("refusals %v", w.pub.Stats().Refusals)
}
