package nats

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/rankwatch/rankwatch/publisher/snapshot"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

var fleetRoles = append(slices.Clone(roles), "fleet", "restore")

// routes is what the servers of a fleet keep between them, as FLEET.md makes it.
const routes = `authorization { user: routes, password: "%[1]s" }
routes: ["nats://routes:%[1]s@127.0.0.1:%[2]d", "nats://routes:%[1]s@127.0.0.1:%[3]d", "nats://routes:%[1]s@127.0.0.1:%[4]d"]
`

// configured reads the fleet's configuration as a server with that name does.
func configured(t *testing.T, name string, ports [3]int) *server.Options {
	t.Helper()
	dir := t.TempDir()
	conf, err := os.ReadFile("nats-fleet.conf")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "nats-server.conf"), conf, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "routes.conf"), fmt.Appendf(nil, routes, "0123abcd", ports[0], ports[1], ports[2]), 0o600))
	t.Setenv("SERVER_NAME", name)
	o, err := server.ProcessConfigFile(filepath.Join(dir, "nats-server.conf"))
	must(t, err)
	return o
}

// installFleet starts three servers.
func installFleet(t *testing.T) *installation {
	t.Helper()
	in := begin(t, fleetRoles)
	var ports [3]int
	for i := range ports {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		ports[i] = l.Addr().(*net.TCPAddr).Port
		must(t, l.Close())
	}
	var urls []string
	var servers []*server.Server
	for i, port := range ports {
		o := configured(t, fmt.Sprintf("nats-%d", i), ports)
		if o.JetStreamLimits.MaxBatchSize != 4096 || !o.SyncAlways || o.Cluster.Username != "routes" || len(o.Routes) != 3 {
			t.Errorf("batches of %d, sync always %v, routes %d, of %q", o.JetStreamLimits.MaxBatchSize, o.SyncAlways, len(o.Routes), o.Cluster.Username)
		}
		o.Host, o.Port, o.HTTPPort, o.StoreDir, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, 0, t.TempDir(), true, true
		o.Cluster.Host, o.Cluster.Port = "127.0.0.1", port
		o.SyncAlways = false // three servers on one disk
		srv := serve(t, o)
		servers, urls = append(servers, srv), append(urls, srv.ClientURL())
	}
	in.url = strings.Join(urls, ",")
	// Without a leader requests are not answered at all.
	for end := time.Now().Add(patience); !slices.ContainsFunc(servers, (*server.Server).JetStreamIsLeader); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the servers choose no leader")
		}
	}
	return in
}

// Two workers share their watchlists with the permissions of a fleet's worker, on
// three servers, and what looks at them and reads their history has its own.
func TestPermissionsOfAFleet(t *testing.T) {
	in := installFleet(t)
	api := httptest.NewServer(simulator.New(simulator.Config{World: simulator.WorldConfig{Step: 500 * time.Millisecond}}))
	t.Cleanup(api.Close)
	reader, _ := in.client(t, "reader")
	boards, err := reader.SubscribeSync("rankwatch.*.*.board")
	must(t, err)
	file := func(names ...string) {
		text := "watchlists:\n"
		for _, n := range names {
			text += "  - {name: " + n + ", every: 1s, top: 20, filter: {region: US}}\n"
		}
		must(t, os.WriteFile(filepath.Join(in.dir, "new.yaml"), []byte(text), 0o600))
		must(t, os.Rename(filepath.Join(in.dir, "new.yaml"), filepath.Join(in.dir, "watchlists.yaml")))
	}
	file("us", "uk")
	for _, data := range []string{"one", "two"} {
		in.start(t, "worker", api.URL, []string{"RANKWATCH_CLUSTER=true", "RANKWATCH_REPLICAS=3", "RANKWATCH_DATA_DIR=" + data}, "run")
	}
	until := func(what string, ok func(watchlist string) bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; {
			m, err := boards.NextMsg(patience)
			must(t, err)
			if ok(strings.Split(m.Subject, ".")[2]) {
				return
			}
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	seen := map[string]bool{}
	until("not everything is read", func(w string) bool { seen[w] = true; return len(seen) == 2 })
	file("us", "uk", "new")
	until("a new watchlist is not read", func(w string) bool { return w == "new" })
	file("us", "new") // its schedule is taken away

	js, err := jetstream.New(reader)
	must(t, err)
	for end := time.Now().Add(patience); ; {
		s, err := js.Stream(t.Context(), "RANKWATCH_TURNS")
		must(t, err)
		if s.CachedInfo().Config.Replicas != 3 {
			t.Fatalf("%d replicas of the turns", s.CachedInfo().Config.Replicas)
		}
		i, err := s.Info(t.Context(), jetstream.WithSubjectFilter("_turns.rankwatch.*.uk"))
		must(t, err)
		if len(i.State.Subjects) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what is not watched any more has a turn")
		}
	}
	for _, role := range []string{"fleet", "reader"} {
		for end := time.Now().Add(patience); ; {
			out := in.verb(t, role, "fleet")
			if strings.Contains(out, "workers     2 answered") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("fleet as %s printed:\n%s", role, out)
			}
		}
	}
	in.verb(t, "reader", "verify")
	in.verb(t, "reader", "replay", "us", "-o", "json")
	c := in.command("backup", "http://127.0.0.1:1", "backup", "copy.tar.zst")
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "nats backup stream RANKWATCH") {
		t.Errorf("a backup of no worker's state in particular: %v\n%s", err, out)
	}
	t.Run("restore", in.restore)
	for role, subjects := range map[string][]string{
		"worker": {
			"rankwatch.US.us.board", "_turns.rankwatch.due.us", "_turns.other.at.us", "_turns.rankwatch.who", "$KV.RANKWATCH_ALERTS.x", "$KV.OTHER_FLEET.current",
			"$JS.API.STREAM.DELETE.RANKWATCH", "$JS.API.STREAM.DELETE.RANKWATCH_TURNS", "$JS.API.STREAM.DELETE.KV_RANKWATCH_FLEET",
			"$JS.API.STREAM.MSG.DELETE.RANKWATCH", "$JS.API.STREAM.MSG.DELETE.RANKWATCH_TURNS",
			"$JS.API.CONSUMER.DELETE.RANKWATCH_TURNS.turns", "$JS.API.CONSUMER.CREATE.RANKWATCH_TURNS.mine._turns.rankwatch.due.*",
			"$JS.API.CONSUMER.CREATE.RANKWATCH_TURNS.turns", "$JS.API.CONSUMER.MSG.NEXT.RANKWATCH_TURNS.mine",
			"$JS.API.STREAM.RESTORE.RANKWATCH", "$JS.API.STREAM.SNAPSHOT.RANKWATCH", "$JS.API.STREAM.CREATE.OTHER_TURNS",
		},
		"fleet": {
			"$JS.API.STREAM.MSG.GET.RANKWATCH", "$JS.API.DIRECT.GET.RANKWATCH", "$JS.API.CONSUMER.CREATE.RANKWATCH.x", "$JS.API.CONSUMER.CREATE.RANKWATCH_TURNS.x",
			"$JS.API.CONSUMER.MSG.NEXT.RANKWATCH_TURNS.turns", "$JS.ACK.RANKWATCH_TURNS.turns.1.1.1.1.1", "$JS.API.STREAM.PURGE.RANKWATCH_TURNS",
			"$JS.API.STREAM.UPDATE.RANKWATCH_TURNS", "_turns.rankwatch.at.us", "_turns.rankwatch.news", "$KV.RANKWATCH_FLEET.current", "_in.rankwatch.US.us.board",
		},
		"restore": {
			"$JS.API.STREAM.CREATE.RANKWATCH", "$JS.API.STREAM.DELETE.RANKWATCH", "$JS.API.STREAM.PURGE.RANKWATCH", "$JS.API.STREAM.MSG.GET.RANKWATCH",
			"$JS.API.STREAM.RESTORE.OTHER", "$JS.API.CONSUMER.CREATE.RANKWATCH.x", "_in.rankwatch.US.us.board", "$KV.RANKWATCH_FLEET.current",
		},
		"reader":   {"$KV.RANKWATCH_FLEET.current", "_turns.rankwatch.at.us", "$JS.API.CONSUMER.MSG.NEXT.RANKWATCH_TURNS.turns"},
		"consumer": {"_turns.rankwatch.who", "$JS.API.STREAM.MSG.GET.KV_RANKWATCH_FLEET", "$KV.RANKWATCH_FLEET.current"},
	} {
		nc, violations := in.client(t, role)
		for _, subject := range subjects {
			must(t, nc.Publish(subject, nil))
			in.refused(t, violations, subject)
		}
		for _, subject := range []string{">", "_turns.>", "$JS.API.>", "$JS.ACK.>", "$KV.>", "_in.>", "_rw.>"} {
			_, err := nc.SubscribeSync(subject)
			must(t, err)
			in.refused(t, violations, subject)
		}
	}
}

// restore may bring back a stream, and not over one that is there.
func (in *installation) restore(t *testing.T) {
	nc, violations := in.client(t, "backup")
	var data bytes.Buffer
	meta, err := snapshot.Take(t.Context(), nc, "RANKWATCH", &data)
	must(t, err)
	nc, more := in.client(t, "restore")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err = snapshot.Restore(ctx, nc, meta, &data); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("a stream that is there: %v", err)
	}
	select {
	case err = <-violations:
		t.Error(err)
	case err = <-more:
		t.Error(err)
	default:
	}
}

// What a role may is the same in both configurations, but for the worker, who may
// more in a fleet.
func TestRolesOfAFleetAreThoseOfOneWorker(t *testing.T) {
	keys := map[string]string{}
	for _, r := range fleetRoles {
		user, err := nkeys.CreateUser()
		must(t, err)
		keys[r], err = user.PublicKey()
		must(t, err)
		t.Setenv("RANKWATCH_NATS_"+strings.ToUpper(r)+"_PUBLIC", keys[r])
	}
	one, err := server.ProcessConfigFile("nats-server.conf")
	must(t, err)
	may := func(o *server.Options, role string) *server.Permissions {
		for _, n := range o.Nkeys {
			if n.Nkey == keys[role] {
				return n.Permissions
			}
		}
		t.Fatalf("nobody is %s", role)
		return nil
	}
	fleet := configured(t, "nats-0", [3]int{1, 2, 3})
	for _, r := range roles {
		a, b := may(one, r), may(fleet, r)
		if r != "worker" {
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s may %+v %+v and in a fleet %+v %+v", r, a.Publish, a.Subscribe, b.Publish, b.Subscribe)
			}
			continue
		}
		for _, subject := range a.Publish.Allow {
			if !slices.Contains(b.Publish.Allow, subject) {
				t.Errorf("a fleet's worker may not publish to %s", subject)
			}
		}
		for _, subject := range a.Subscribe.Allow {
			if !slices.Contains(b.Subscribe.Allow, subject) {
				t.Errorf("a fleet's worker may not subscribe to %s", subject)
			}
		}
	}
}
