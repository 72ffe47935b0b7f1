package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// The short form does each thing to a fleet once. A turn is lost after some
// seconds there, which the binary is built for.
func TestFleet(t *testing.T) {
	t.Parallel()
	withoutDetector(t)
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const seed = 81
	f := newFleet(t, seed, scale{lists: 12, rate: 12, places: 4, ackWait: 3 * time.Second, slack: 25 * time.Second, short: true})
	f.fault("started", func() {})
	updates, err := f.cluster.dial(-1).SubscribeSync("$JS.EVENT.ADVISORY.STREAM.UPDATED.>")
	if err != nil {
		t.Fatal(err)
	}
	f.edited(0, func() {
		f.stopped(1, func() {
			f.edit(2, 1)
			f.restart(0, syscall.SIGKILL)
		})
	})
	f.steppedDown(func() { f.restart(2, syscall.SIGTERM) })
	f.parted(f.leader("RANKWATCH_TURNS", "turns"), cut, func(n int) { f.cluster.restart(n, syscall.SIGKILL, nil) })
	f.twoFiles(0, 1)
	f.finish()
	// Workers that start find everything right, also as a cluster says it.
	if m, err := updates.NextMsg(time.Millisecond); err == nil {
		t.Errorf("%s when nothing was to be changed", m.Subject)
	} else if !errors.Is(err, nats.ErrTimeout) {
		t.Error(err)
	}
}

// The long form does it again and again, in any order and with the times of real
// life, for as long as RANKWATCH_FLEET says.
func TestFleetLong(t *testing.T) {
	text := os.Getenv("RANKWATCH_FLEET")
	if text == "" {
		t.Skip("RANKWATCH_FLEET says how long; unset")
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("RANKWATCH_FLEET: %v", err)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("RANKWATCH_FLEET_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("RANKWATCH_FLEET_SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 11))
	f := newFleet(t, seed, scale{lists: 300, rate: 100, places: 20, ackWait: 15 * time.Second, slack: 25 * time.Second})
	f.fault("started", func() {})
	edits, nodesDown := 0, 0
	faults := []func(){
		func() { f.restarted(random.IntN(3), syscall.SIGKILL) },
		func() { f.restarted(random.IntN(3), syscall.SIGKILL) },
		func() { f.restarted(random.IntN(3), syscall.SIGTERM) },
		func() { f.stopped(random.IntN(3), nil) },
		func() {
			edits++
			who := random.IntN(3)
			f.edited(edits, func() { f.stopped(who, func() { f.edit((who+1)%3, edits) }) })
		},
		func() { edits++; f.edited(edits, func() { f.edit(random.IntN(3), edits) }) },
		func() { f.steppedDown(nil) },
		func() { nodesDown++; f.nodeRestarted(nodesDown%nodes, syscall.SIGTERM, nil) },
		func() {
			nodesDown++
			f.nodeRestarted(nodesDown%nodes, syscall.SIGKILL, func() { f.restart(random.IntN(3), syscall.SIGTERM) })
		},
		func() { f.parted(f.busiestNode(), cut, nil) },
		func() { f.parted(f.leader("RANKWATCH", ""), cut, nil) },
		func() { f.parted(f.leader("RANKWATCH_TURNS", "turns"), stalled, nil) },
		func() { f.parted(random.IntN(nodes), cut, f.andWorkers) },
		func() { f.parted(f.busiestNode(), stalled, nil) },
		func() { f.twoFiles(0, 1) },
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for _, do := range faults {
			if time.Now().After(end) || t.Failed() {
				break
			}
			if err := f.source.called(random.IntN(300), patience); err != nil {
				t.Fatal(err)
			}
			do()
		}
		if t.Failed() {
			break
		}
	}
	f.finish()
}

// busiestNode is one that a worker is connected to.
func (f *fleetRun) busiestNode() int {
	for n := range nodes {
		for _, m := range f.members {
			if m.lines[n].used() {
				return n
			}
		}
	}
	f.t.Fatal("no worker is connected")
	return 0
}

// leader is the node that leads a stream, or the consumer of one.
func (f *fleetRun) leader(stream, consumer string) (n int) {
	f.t.Helper()
	nc := f.cluster.dial(-1)
	defer nc.Close()
	f.cluster.eventually("somebody leads", patience, func() (err error) {
		n, err = f.cluster.leader(nc, stream, consumer)
		return err
	})
	return n
}

// restart ends a worker and starts it again.
func (f *fleetRun) restart(who int, how syscall.Signal) {
	f.t.Helper()
	if how == syscall.SIGKILL {
		f.kills++
		f.members[who].kill(f.t)
	} else {
		f.members[who].stop(f.t)
	}
	f.start(who)
}

func (f *fleetRun) restarted(who int, how syscall.Signal) {
	f.t.Helper()
	f.fault(fmt.Sprintf("worker %d ended with %v and started", who, how), func() { f.restart(who, how) })
}

// stopped has a worker lose its turns without its knowing.
func (f *fleetRun) stopped(who int, meanwhile func()) {
	f.t.Helper()
	m := f.members[who]
	f.fault(fmt.Sprintf("worker %d stopped for a while", who), func() {
		from := time.Now().Add(f.ackWait + time.Second)
		f.signal(m, syscall.SIGSTOP)
		if meanwhile != nil {
			meanwhile()
		}
		f.unheeded("a worker is stopped", from)
		f.signal(m, syscall.SIGCONT)
	})
}

func (f *fleetRun) steppedDown(meanwhile func()) {
	f.t.Helper()
	f.fault("leaders step down", func() {
		nc := f.cluster.dial(-1)
		defer nc.Close()
		f.cluster.stepDown(nc, "STREAM.LEADER.STEPDOWN.RANKWATCH")
		f.cluster.stepDown(nc, "STREAM.LEADER.STEPDOWN.RANKWATCH_TURNS")
		f.cluster.stepDown(nc, "CONSUMER.LEADER.STEPDOWN.RANKWATCH_TURNS.turns")
		if meanwhile != nil {
			meanwhile()
		}
	})
}

func (f *fleetRun) nodeRestarted(n int, how syscall.Signal, meanwhile func()) {
	f.t.Helper()
	f.fault(fmt.Sprintf("node %d ended with %v and started", n, how), func() { f.cluster.restart(n, how, meanwhile) })
}

// parted keeps a node from the others for a while, and with it the workers that
// are connected to it.
func (f *fleetRun) parted(n int, how wireState, meanwhile func(n int)) {
	f.t.Helper()
	what := fmt.Sprintf("node %d cut off", n)
	if how == stalled {
		what = fmt.Sprintf("node %d not heard", n)
	}
	f.fault(what, func() {
		f.cluster.part(n, how)
		if meanwhile != nil {
			meanwhile(n)
		}
		// Until then turns that went there are still believed to be worked off.
		f.unheeded("a node is cut off", time.Now().Add(f.ackWait+time.Second))
		f.cluster.part(n, mended)
		for _, m := range f.members {
			m.lines[n].set(mended)
		}
	})
}

// andWorkers keeps workers from a node, too.
func (f *fleetRun) andWorkers(n int) {
	for _, m := range f.members {
		m.lines[n].set(cut)
	}
}

// edit changes the file of one worker: it adds a watchlist, removes one, and has
// another one read another list.
func (f *fleetRun) edit(who, n int) {
	f.t.Helper()
	f.t.Logf("%6.1fs worker %d gets another file", time.Since(f.began).Seconds(), who)
	f.watch(fmt.Sprintf("added-%d", n), 1000+n, n%2 == 1)
	delete(f.reads, fmt.Sprintf("list-%d", 2*n))
	f.watch(fmt.Sprintf("list-%d", 2*n+1), 2000+n, false)
	f.members[who].setup.write(f.t, f.file(f.reads, fmt.Sprint("edit ", n)))
}

// edited waits until all workers go by the file that do brought.
func (f *fleetRun) edited(n int, do func()) {
	f.t.Helper()
	before := f.agreed(len(f.members), 0, f.ackWait+f.slack)
	do()
	a := f.agreed(len(f.members), before.Order, f.ackWait+f.slack)
	f.t.Logf("%6.1fs all workers go by file %d", time.Since(f.began).Seconds(), a.Order)
}

// twoFiles starts two workers at once whose files are both new.
func (f *fleetRun) twoFiles(a, b int) {
	f.t.Helper()
	before := f.agreed(len(f.members), 0, f.ackWait+f.slack)
	hashes := map[string]string{}
	f.fault("two workers start with a new file each", func() {
		for _, who := range []int{a, b} {
			f.members[who].stop(f.t)
			text := f.file(f.reads, fmt.Sprintf("file %d, of worker %d", before.Order, who))
			hashes[strings.TrimPrefix(seal([]byte(text)), "sha256:")] = text
			f.members[who].setup.write(f.t, text)
		}
		for _, who := range []int{a, b} {
			f.start(who)
		}
	})
	last := f.agreed(len(f.members), before.Order+1, f.ackWait+f.slack)
	if hashes[last.File] == "" || last.Order != before.Order+2 {
		f.t.Errorf("the fleet goes by file %d, %s, want %d and one of %d", last.Order, last.File, before.Order+2, len(hashes))
	}
}

// finish stops all and judges what there is.
func (f *fleetRun) finish() {
	f.t.Helper()
	f.caughtUp()
	for _, m := range f.members {
		m.stop(f.t)
	}
	out := f.members[0].setup.does(f.t, 0, "verify")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	f.t.Log(lines[len(lines)-1])
	nc := f.cluster.dial(-1)
	f.judge(history(f.t, nc, "RANKWATCH", "rankwatch"))
	calls, reads := f.source.count()
	most, at := f.source.busiest(time.Time{})
	if most > f.rate+f.places {
		f.t.Errorf("%d calls within the second before %.1fs, want %d + %d at most", most, at.Sub(f.began).Seconds(), f.rate, f.places)
	}
	f.t.Logf("%.0fs, %d calls, %d readings, %d kills, %d calls in the busiest second\n%s",
		time.Since(f.began).Seconds(), calls, reads, f.kills, most, strings.Join(f.report, "\n"))
}
