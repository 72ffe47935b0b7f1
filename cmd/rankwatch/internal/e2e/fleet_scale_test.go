//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/turns"
	"github.com/rankwatch/rankwatch/publisher/event"
	turnqueue "github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// fleetPlaces is how long the lists are: a page.
const fleetPlaces = 100

// A ready source answers at once, with one of two boards, which differ in every
// tenth place: what it costs is what fetching costs.
type ready struct {
	*httptest.Server
	bodies [2][]byte
	later  atomic.Bool // the second board
}

func newReady(t *testing.T) *ready {
	t.Helper()
	r := &ready{}
	for b := range r.bodies {
		var rows []json.RawMessage
		for i := range fleetPlaces {
			uid := fmt.Sprint(7_000_000_000 + i)
			if b == 1 && i%10 == 9 {
				uid += "0"
			}
			it := made(uid, int64(2*fleetPlaces-2*i), b, "US")
			data, err := json.Marshal(it.row())
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, data)
		}
		var err error
		r.bodies[b], err = json.Marshal(map[string]any{"code": 0, "message": "", "request_id": "r", "data": map[string]any{
			"total": fleetPlaces, "list": rows,
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body := r.bodies[0]
		if r.later.Load() {
			body = r.bodies[1]
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body) // a client that has gone is its own trouble
	}))
	t.Cleanup(r.Close)
	return r
}

// floor is how many lists a second can be fetched and decoded by this process, as
// many at once as the fleet reads.
func (r *ready) floor(t *testing.T, n, atOnce int) float64 {
	t.Helper()
	c, err := fastmoss.New(fastmoss.Config{BaseURL: r.URL, Token: fastmoss.StaticToken(token), Rate: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range atOnce {
		l := c.Lane(1e6)
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if p, err := l.Page(t.Context(), fastmoss.Query{}, 1, fleetPlaces); err != nil || p.Rows != fleetPlaces {
					t.Errorf("%d rows, %v", p.Rows, err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(n) / time.Since(began).Seconds()
}

// TestFleetScale has three workers read many watchlists, then read them all again
// when every board has changed, and says how many readings a second that are,
// beside what fetching them alone would be. RANKWATCH_FLEET_SCALE says how many;
// the issue asks for 20,000, which takes minutes and gigabytes.
func TestFleetScale(t *testing.T) {
	withoutDetector(t)
	n := 60
	if s := os.Getenv("RANKWATCH_FLEET_SCALE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Parallel()
	}
	const workers, atOnce = 3, 48
	source, b := newReady(t), newBus(t, nil)
	floor := source.floor(t, max(n/2, 100), atOnce)
	lists := func(month string) string {
		var f strings.Builder
		fmt.Fprintf(&f, "defaults: {every: 1h, top: 90, period: {type: month, value: %s}}\nwatchlists:\n", month)
		for i := range n {
			fmt.Fprintf(&f, "  - {name: w%05d, filter: {region: US, follower_count_range: {min: %d}}}\n", i, i+1)
		}
		return f.String()
	}
	var setups []*setup
	var running []*worker
	for range workers {
		s := newSetup(t, source.URL, lists("2026-03")).external(b.url(), "RANKWATCH", "rankwatch")
		s.env["RANKWATCH_CLUSTER"], s.env["RANKWATCH_FASTMOSS_RATE"], s.env["RANKWATCH_FASTMOSS_CONCURRENCY"] = "true", "100000", strconv.Itoa(atOnce)
		running = append(running, s.start(t))
		setups = append(setups, s)
		if n > 1000 {
			t.Cleanup(func() { os.RemoveAll(filepath.Join(s.dir, "data")) })
		}
	}
	nc, err := nats.Connect(b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	counted := func(what string, do func()) {
		boards, err := nc.SubscribeSync("rankwatch.*.*.board")
		if err != nil {
			t.Fatal(err)
		}
		defer boards.Unsubscribe()
		if err := boards.SetPendingLimits(-1, -1); err != nil {
			t.Fatal(err)
		}
		do()
		var began time.Time
		seen := map[string]bool{}
		for len(seen) < n {
			m, err := boards.NextMsg(patience * time.Duration(1+n/10_000)) // until all have a schedule
			if err != nil {
				t.Fatalf("%s: %d of %d: %v", what, len(seen), n, err)
			}
			if began.IsZero() {
				began = time.Now()
			}
			s, err := event.ParseSubject("rankwatch", m.Subject)
			if err != nil || seen[s.Watchlist] {
				t.Fatalf("%s: %s a second time (%v)", what, m.Subject, err)
			}
			seen[s.Watchlist] = true
			if k := len(seen); k%2000 == 0 {
				t.Logf("%s: %d after %s", what, k, time.Since(began).Round(time.Second))
			}
		}
		rate := float64(n) / time.Since(began).Seconds()
		t.Logf("%s: %d readings, %.0f a second; fetching alone %.0f (%.2f)", what, n, rate, floor, rate/floor)
	}
	counted("first boards", func() {})
	idle(t, nc)
	once(t, nc, n)
	if n > 1000 {
		before := make([]time.Duration, workers)
		readBefore, _ := readSoFar(t, nc)
		for i, w := range running {
			before[i] = spent(t, w)
		}
		<-time.After(time.Minute) // of the watchlists' own rhythm
		read, _ := readSoFar(t, nc)
		t.Logf("in a minute %d hourly watchlists are due", read-readBefore)
		for i, w := range running {
			report(t, fmt.Sprint("worker ", i), w)
			t.Logf("its processor time in that minute: %s", spent(t, w)-before[i])
			t.Logf("its data: %d MB", size(t, filepath.Join(setups[i].dir, "data"))>>20)
		}
		t.Logf("the stream: %d MB\n%s", size(t, b.options.StoreDir)>>20, setups[0].does(t, 0, "fleet"))
	}
	if n <= mostChanged {
		source.later.Store(true)
		counted("changed boards", func() { setups[0].write(t, lists("2026-04")) })
		idle(t, nc)
		once(t, nc, 2*n)
	}
	if out := setups[0].does(t, 0, "verify"); !strings.Contains(out, "history adds up") {
		t.Error(out)
	}
}

// once asserts that the workers have read so often and hardly more: some turns came
// again, and of hourly watchlists a few are due in any minute.
func once(t *testing.T, nc *nats.Conn, want int) {
	t.Helper()
	read, again := readSoFar(t, nc)
	if n := uint64(want); read < n || read > n+n/10+again {
		t.Errorf("%d turns were read, %d came again; want %d", read, again, want)
	}
}

// readSoFar is how many turns the workers have read, and how many came again.
func readSoFar(t *testing.T, nc *nats.Conn) (read, again uint64) {
	t.Helper()
	all, err := turns.Ask(t.Context(), nc, "rankwatch", 3*time.Second)
	if err != nil || len(all) == 0 {
		t.Fatalf("%d workers answered: %v", len(all), err)
	}
	for _, w := range all {
		read += w.Stats.Turns
		again += w.Stats.Retaken
	}
	return read, again
}

// spent is the processor time that a worker has used.
func spent(t *testing.T, w *worker) time.Duration {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	const user, system = 11, 12 // of those after the name; in hundredths of a second
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	var sum int64
	for _, f := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// mostChanged is how many watchlists are read a second time: more take too long.
const mostChanged = 50_000

// size is what a directory's files take in bytes.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// What is gone by now takes nothing.
		if i, err := e.Info(); err == nil && i.Mode().IsRegular() {
			n += i.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// idle waits until no turn waits or is being read.
func idle(t *testing.T, nc *nats.Conn) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		c, err := js.Consumer(ctx, turnqueue.StreamName("RANKWATCH"), "turns")
		if err != nil {
			t.Fatal(err)
		}
		i := c.CachedInfo()
		if i.NumPending == 0 && i.NumAckPending == 0 {
			t.Logf("backlog 0, %d turns were redelivered", i.NumRedelivered)
			return
		}
	}
}
