package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// fleetBus is a server for workers that share watchlists.
func fleetBus(t *testing.T) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, JetStreamMaxStore: 1 << 40,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		t.Fatal("nats-server is not ready")
	}
	return srv.ClientURL()
}

// A mate is a worker of a fleet and where its page is.
type mate struct {
	*process
	at string
}

func join(t *testing.T, bus, api string) mate {
	t.Helper()
	p := start(t, "RANKWATCH_NATS_URL="+bus, "RANKWATCH_CLUSTER=true", "RANKWATCH_FASTMOSS_URL="+api, "RANKWATCH_HTTP_LISTEN=127.0.0.1:0")
	m := mate{p, strings.TrimSuffix(fmt.Sprint(p.wait("http listening")["url"]), "/")}
	go func() {
		for range p.lines { // so that it can go on writing
		}
	}()
	return m
}

func (m mate) leave(t *testing.T) {
	t.Helper()
	m.signal(syscall.SIGTERM)
	if err := m.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func (m mate) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get(m.at + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %s", path, err, body)
	}
	return string(body)
}

// shows is what the API says of a watchlist, nil while it was not read as far as
// this worker knows.
func (m mate) shows(t *testing.T, name string) map[string]any {
	t.Helper()
	var all struct{ Watchlists []map[string]any }
	if err := json.Unmarshal([]byte(m.get(t, "/api/v1/watchlists")), &all); err != nil {
		t.Fatal(err)
	}
	for _, w := range all.Watchlists {
		if w["name"] == name && w["read"] != nil && w["sequence"] != nil {
			return w
		}
	}
	return nil
}

// awaitRead is what all members show of a watchlist once all know of its reading.
func awaitRead(t *testing.T, name string, members ...mate) []map[string]any {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		var all []map[string]any
		for _, m := range members {
			if w := m.shows(t, name); w != nil {
				all = append(all, w)
			}
		}
		if len(all) == len(members) {
			return all
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: %d of %d workers know of a reading", name, len(all), len(members))
		}
	}
}

func verb(t *testing.T, bus string, args ...string) string {
	t.Helper()
	cmd := exec.Command("rankwatch", args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "RANKWATCH_NATS_URL="+bus)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("%v: %v %s", args, err, errs.String())
	}
	return string(out)
}

// A worker that never read a watchlist shows it as the one that did: one that came
// later by the schedule that it found, one that was there by what it heard. The
// verb shows both workers, and their metrics tell them from one that is alone.
func TestEveryWorkerOfAFleetShowsWhatOthersRead(t *testing.T) {
	t.Parallel()
	bus := fleetBus(t)
	api := httptest.NewServer(simulator.New(simulator.Config{World: simulator.WorldConfig{Step: -1}}))
	t.Cleanup(api.Close)
	one := join(t, bus, api.URL)
	awaitRead(t, "gb", one)
	other := join(t, bus, api.URL)
	same(t, "gb", one, other)

	one.rewrite(twoLists + "  - {name: de, every: 1h, top: 20, filter: {region: DE}}\n")
	same(t, "de", one, other)

	var r struct {
		File    struct{ Order int }
		Workers []struct {
			Order   int
			Differs bool
			Done    int
		}
		Watchlists struct {
			File    int
			Without []string
		}
	}
	if err := json.Unmarshal([]byte(verb(t, bus, "fleet", "-o", "json")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Workers) != 2 || r.File.Order != 2 || r.Watchlists.File != 3 || len(r.Watchlists.Without) != 0 {
		t.Errorf("%+v", r)
	}
	done, differ := 0, 0
	for _, w := range r.Workers {
		done += w.Done
		if w.Differs {
			differ++
		}
		if w.Order != 2 {
			t.Errorf("a worker goes by file %d", w.Order)
		}
	}
	if done < 3 || differ != 1 {
		t.Errorf("%d turns are done, the files of %d workers differ", done, differ)
	}
	text := verb(t, bus, "fleet")
	if !strings.Contains(text, "workers     2 answered") || !strings.Contains(text, "has another watchlist file on its disk") {
		t.Error(text)
	}
	t.Log("\n" + text)
	if got := other.get(t, "/metrics"); !strings.Contains(got, "rankwatch_watchlist_file_differs 1") || !strings.Contains(got, "rankwatch_fleet_limit_readings 4") {
		t.Errorf("metrics:\n%s", got)
	}
	one.leave(t)
	other.leave(t)
}

// same compares what the workers show of a watchlist.
func same(t *testing.T, name string, members ...mate) {
	t.Helper()
	all := awaitRead(t, name, members...)
	for _, w := range all {
		for _, key := range []string{"read", "tried", "next", "revision", "sequence", "changed", "overdue", "failures", "condition"} {
			if !reflect.DeepEqual(w[key], all[0][key]) {
				t.Errorf("%s: %s is %v and %v", name, key, w[key], all[0][key])
			}
		}
	}
	board := members[0].get(t, "/api/v1/watchlists/"+name+"/board")
	var b struct{ Rows []struct{ UID string } }
	if err := json.Unmarshal([]byte(board), &b); err != nil || len(b.Rows) == 0 {
		t.Fatalf("%v %.300s", err, board)
	}
	uid := b.Rows[0].UID
	for _, m := range members[1:] {
		if got := m.get(t, "/api/v1/watchlists/"+name+"/board"); got != board {
			t.Errorf("board of %s:\n%.500s\n%.500s", name, got, board)
		}
		path := "/api/v1/creators/" + uid
		if got, want := m.get(t, path), members[0].get(t, path); got != want {
			t.Errorf("creator %s:\n%.500s\n%.500s", uid, got, want)
		}
	}
}
