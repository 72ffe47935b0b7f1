package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// fleetTop is how many places of a list are watched.
const fleetTop = 8

func fleetRules(long bool) rules {
	r := defaultRules(fleetTop)
	if long {
		r.margin = 150 // the second page is read too
	}
	return r
}

// A fleetMember is a worker of the fleet, which may be dead or stopped.
type fleetMember struct {
	setup *setup
	lines [nodes]*wire // to the nodes
	*worker
}

// A fleetRun is three workers on a cluster, and the source that they read.
type fleetRun struct {
	t       *testing.T
	cluster *cluster
	source  *fleetSource
	members []*fleetMember
	ackWait time.Duration
	slack   time.Duration // beyond ackWait until all is read again
	rate    int
	places  int            // readings at once
	reads   map[string]int // watchlist → category, of the file that counts
	long    map[int]bool   // categories
	began   time.Time
	kills   int
	report  []string
}

// A scale is how much a fleet does.
type scale struct {
	lists, rate, places int
	ackWait, slack      time.Duration
	short               bool // with a binary that loses turns after ackWait
}

func newFleet(t *testing.T, seed uint64, s scale) *fleetRun {
	t.Helper()
	f := &fleetRun{t: t, cluster: newCluster(t), source: newFleetSource(t, seed), ackWait: s.ackWait, slack: s.slack,
		rate: s.rate, places: s.places, reads: map[string]int{}, long: map[int]bool{}, began: time.Now()}
	for i := range s.lists {
		f.watch(fmt.Sprintf("list-%d", i), i+1, i%8 == 7)
	}
	for range 3 {
		m := &fleetMember{setup: newSetup(t, f.source.URL, f.file(f.reads, ""))}
		var urls []string
		for i := range nodes {
			m.lines[i] = newWire(t, f.cluster.nodes[i].client)
			urls = append(urls, "nats://"+m.lines[i].address())
		}
		m.setup.external(strings.Join(urls, ","), "RANKWATCH", "rankwatch")
		for k, v := range map[string]string{
			"RANKWATCH_CLUSTER": "true", "RANKWATCH_REPLICAS": fmt.Sprint(nodes), "RANKWATCH_FASTMOSS_RATE": fmt.Sprint(s.rate),
			"RANKWATCH_FASTMOSS_CONCURRENCY": fmt.Sprint(s.places), "RANKWATCH_LOG_LEVEL": "debug",
		} {
			m.setup.env[k] = v
		}
		if s.short {
			binary, err := built.failpoint()
			if err != nil {
				t.Fatal(err)
			}
			m.setup.binary = binary
			m.setup.env["RANKWATCH_FAILPOINT_ACK_WAIT"] = s.ackWait.String()
		}
		f.members = append(f.members, m)
		f.start(len(f.members) - 1)
		if s.short && len(f.members) == 1 {
			f.agreed(1, 0, patience) // three that set up a new cluster at once wait for each other
		}
	}
	return f
}

// start starts a worker's process. RANKWATCH_FLEET_LOGS is a directory for all
// that workers say.
func (f *fleetRun) start(who int) {
	f.t.Helper()
	m := f.members[who]
	m.worker = m.setup.start(f.t)
	if dir := os.Getenv("RANKWATCH_FLEET_LOGS"); dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			f.t.Fatal(err)
		}
		w, path := m.worker, filepath.Join(dir, fmt.Sprintf("worker-%d-%d.log", who, m.cmd.Process.Pid))
		f.t.Cleanup(func() {
			if err := os.WriteFile(path, []byte(w.logged.tail(1<<30)), 0o600); err != nil {
				f.t.Error(err)
			}
		})
	}
}

// watch adds a watchlist to what is to be read, and its list to the source.
func (f *fleetRun) watch(name string, category int, long bool) {
	f.source.add(category, long)
	f.reads[name], f.long[category] = category, long
}

// file writes a watchlist file; the comment makes it another one.
func (f *fleetRun) file(reads map[string]int, comment string) string {
	var entries []string
	for _, name := range slices.Sorted(maps.Keys(reads)) {
		e := entry(name, "US", reads[name], fleetRules(f.long[reads[name]]))
		entries = append(entries, strings.Replace(e, "every: 1s", "every: 2s", 1))
	}
	return "# " + comment + "\n" + file(entries...)
}

func (f *fleetRun) categories() []int { return slices.Sorted(maps.Values(f.reads)) }

// A fleetAnswer is what a worker says of itself.
type fleetAnswer struct {
	Writer string `json:"writer"`
	Order  uint64 `json:"order"`
	File   string `json:"file"`
	Stats  struct{ Turns uint64 }
}

// ask asks all workers, and waits for as many answers as there should be.
func (f *fleetRun) ask(nc *nats.Conn, n int) ([]fleetAnswer, error) {
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe()
	if err := nc.PublishRequest("_turns.rankwatch.who", sub.Subject, nil); err != nil {
		return nil, err
	}
	var all []fleetAnswer
	for range n {
		m, err := sub.NextMsg(2 * time.Second)
		if err != nil {
			return all, fmt.Errorf("%d of %d workers answered: %w", len(all), n, err)
		}
		var a fleetAnswer
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return all, err
		}
		all = append(all, a)
	}
	return all, nil
}

// agreed waits until n workers go by one file, which came after an order, and
// returns it.
func (f *fleetRun) agreed(n int, after uint64, within time.Duration) fleetAnswer {
	f.t.Helper()
	nc := f.cluster.dial(-1)
	defer nc.Close()
	var one fleetAnswer
	f.cluster.eventually("all workers go by one file", within, func() error {
		all, err := f.ask(nc, n)
		if err != nil {
			return err
		}
		one = all[0]
		for _, a := range all {
			if a.File != one.File || a.Order != one.Order || a.Order <= after {
				return fmt.Errorf("orders %d of %s and %d of %s", one.Order, one.Writer, a.Order, a.Writer)
			}
		}
		return nil
	})
	return one
}

func (f *fleetRun) signal(m *fleetMember, s syscall.Signal) {
	f.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		f.t.Fatal(err)
	}
}

// alive fails if a worker ended that nobody ended.
func (f *fleetRun) alive() {
	f.t.Helper()
	for i, m := range f.members {
		select {
		case <-m.exited:
			f.t.Fatalf("worker %d ended by itself: %v", i, m.cmd.ProcessState)
		default:
		}
	}
}

// fault does something to the fleet and waits until every watchlist has been read
// after it.
func (f *fleetRun) fault(what string, do func()) {
	f.t.Helper()
	f.t.Logf("%6.1fs %s", time.Since(f.began).Seconds(), what)
	began := time.Now()
	do()
	done := time.Now()
	limit := f.ackWait + f.slack
	worst, err := f.source.read(done, limit, f.categories())
	if err != nil {
		f.t.Errorf("%s: %v after it: %v", what, limit, err)
	}
	f.allWork(what, limit)
	gap, category := f.source.gap(began, f.categories())
	most, _ := f.source.busiest(began)
	line := fmt.Sprintf("%s (%.1fs): all read again %.1fs later, longest without a reading %.1fs (category %d), %d calls in a second",
		what, done.Sub(began).Seconds(), worst.Seconds(), gap.Seconds(), category, most)
	if gap > done.Sub(began)+limit {
		f.t.Error(line)
	}
	f.t.Logf("%6.1fs %s", time.Since(f.began).Seconds(), line)
	f.report = append(f.report, line)
	f.alive()
}

// allWork waits until every worker has ended turns from now on.
func (f *fleetRun) allWork(what string, within time.Duration) {
	f.t.Helper()
	nc := f.cluster.dial(-1)
	defer nc.Close()
	before := map[string]uint64{}
	err := eventually(f.t.Context(), within, func() error {
		all, err := f.ask(nc, len(f.members))
		if err != nil {
			return err
		}
		for _, a := range all {
			if was, known := before[a.Writer]; !known {
				before[a.Writer] = a.Stats.Turns
				err = errors.New("not asked twice yet")
			} else if a.Stats.Turns == was {
				err = fmt.Errorf("worker %s has read nothing more after %d turns", a.Writer, was)
			}
		}
		return err
	})
	if err != nil {
		f.t.Errorf("%s: %v after it: %v", what, within, err)
	}
}

// unheeded waits until every watchlist has been read some time from now: what is
// broken makes no difference to it.
func (f *fleetRun) unheeded(what string, from time.Time) {
	f.t.Helper()
	if _, err := f.source.read(from, f.ackWait+f.slack, f.categories()); err != nil {
		f.t.Errorf("while %s: %v", what, err)
	}
}

// caughtUp waits until the stream has each list's last version.
func (f *fleetRun) caughtUp() {
	f.t.Helper()
	f.source.freeze()
	nc := f.cluster.dial(-1)
	defer nc.Close()
	missing := maps.Clone(f.reads)
	f.cluster.eventually("the stream has what the source serves", 2*patience, func() error {
		var errs []error
		for name, category := range missing {
			d, err := f.lastBoard(nc, name)
			want := clockStart + category*versions + f.source.version(category)
			switch {
			case err != nil:
				errs = append(errs, err)
			case d != want:
				errs = append(errs, fmt.Errorf("%s is at %d, the source at %d", name, d-clockStart, want-clockStart))
			default:
				delete(missing, name)
			}
			if len(errs) > 3 {
				break
			}
		}
		return errors.Join(errs...)
	})
}

// lastBoard is the clock on a watchlist's last board.
func (f *fleetRun) lastBoard(nc *nats.Conn, name string) (int, error) {
	m, err := nc.Request("$JS.API.DIRECT.GET.RANKWATCH.rankwatch.US."+name+".board", nil, 2*time.Second)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if s := m.Header.Get("Status"); s != "" {
		return 0, fmt.Errorf("%s: %s", name, s)
	}
	n, err := generation(sent{subject: m.Subject, data: m.Data})
	return clockStart + n, err
}
