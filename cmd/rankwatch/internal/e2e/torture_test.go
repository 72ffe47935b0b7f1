package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var tortureRounds = flag.Int("torture", 0, "kills per torture test; 0 = RANKWATCH_TORTURE, else 10")

func rounds(t *testing.T) int {
	t.Helper()
	if *tortureRounds > 0 {
		return *tortureRounds
	}
	if s := os.Getenv("RANKWATCH_TORTURE"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("RANKWATCH_TORTURE: %v", err)
		}
		return n
	}
	if underRace {
		return 2
	}
	return 10
}

const tortured = 6 // watchlists

// clock is a creator whose index counts the generations: a board tells which
// list it was made of, and every list publishes something.
const (
	clock      = "clock"
	clockStart = 1_000_000
)

// A victim is a worker that is killed again and again.
type victim struct {
	t      *testing.T
	setup  *setup
	source *api
	feeds  []*feed
	// growing are the feeds' grow, which settle takes from them.
	growing []func() reading
	random  *rand.Rand
}

func newVictim(t *testing.T, seed uint64) *victim {
	t.Helper()
	v := &victim{t: t, source: newAPI(t), random: rand.New(rand.NewPCG(seed, 5))}
	var entries []string
	for i := range tortured {
		w := newWorld(rand.New(rand.NewPCG(seed, uint64(i))), 130, 12)
		grow := func() reading {
			r := w.reading(99, 0)
			r.rows = append([]item{made(clock, clockStart+int64(w.generation), w.generation, "US")}, r.rows...)
			r.total = len(r.rows)
			w.turn()
			return r
		}
		f := v.source.feed("US", i+1, 100)
		f.add(grow())
		f.grow = grow
		v.feeds, v.growing = append(v.feeds, f), append(v.growing, grow)
		entries = append(entries, entry(fmt.Sprintf("list-%d", i), "US", i+1, defaultRules(80)))
	}
	v.source.open()
	v.setup = newSetup(t, v.source.URL, file(entries...))
	binary, err := built.failpoint()
	if err != nil {
		t.Fatal(err)
	}
	v.setup.binary = binary
	return v
}

// rounds starts the worker and kills it at a random moment, again and again.
// Every third time it kills itself between a commit and the recorded ack.
func (v *victim) rounds(n int) {
	for i := range n {
		delete(v.setup.env, "RANKWATCH_FAILPOINT")
		if i%3 == 2 {
			v.setup.env["RANKWATCH_FAILPOINT"] = fmt.Sprintf("after-commit:%d", 1+v.random.IntN(4))
		}
		w := v.setup.start(v.t)
		if i%3 == 2 {
			if w.wait(v.t); !killed(w) {
				v.t.Fatalf("round %d: the failpoint did not kill the worker: %v\n%s", i, w.cmd.ProcessState, w.logged.tail(2000))
			}
			continue
		}
		select { // some moment of its life
		case <-time.After(time.Duration(v.random.IntN(1500)) * time.Millisecond):
		case <-w.exited:
			v.t.Fatalf("round %d: the worker ended by itself: %v\n%s", i, w.cmd.ProcessState, w.logged.tail(2000))
		}
		w.kill(v.t)
	}
	delete(v.setup.env, "RANKWATCH_FAILPOINT")
}

func killed(w *worker) bool {
	s, ok := w.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// settle freezes the source and waits until the stream has each last list.
func (v *victim) settle(o *observer) {
	var lasts []int
	for _, f := range v.feeds {
		lasts = append(lasts, f.freeze())
	}
	for i, last := range lasts {
		c := o.messages(fmt.Sprintf("list-%d", i))
		for {
			m, err := next(c)
			if err != nil {
				v.t.Fatalf("list-%d: its last list %d never came: %v", i, last, err)
			}
			if !strings.HasSuffix(m.subject, ".board") {
				continue
			}
			n, err := generation(m)
			if err != nil {
				v.t.Fatal(err)
			}
			if n == last {
				break
			}
		}
	}
}

// generation reads off a board which list it was made of.
func generation(m sent) (int, error) {
	d, err := decode(m)
	if err != nil {
		return 0, err
	}
	for _, row := range d.Data.Board {
		if row.UID == clock {
			return int(row.PotentialIndex - clockStart), nil
		}
	}
	return 0, fmt.Errorf("%s: no clock on the board", d.ID)
}

// judge runs the oracle over the lists that the boards name and compares every
// stored message with it. Revisions without gaps, ids without repetition, n of
// of and the order are in that comparison.
func (v *victim) judge(stored []sent) {
	v.lists(stored, func(i int, w *watch, _ int) {
		if err := folds(v.of(stored, w.name), v.feeds[i]); err != nil {
			v.t.Errorf("%s: %v", w.name, err)
		}
	})
}

// of are a watchlist's messages without its statuses.
func (v *victim) of(stored []sent, name string) []sent {
	var out []sent
	for _, m := range stored {
		if tokens := strings.Split(m.subject, "."); tokens[2] == name && tokens[3] != "status" {
			out = append(out, m)
		}
	}
	return out
}

// lists compares each watchlist's messages with its oracle, and hands what that
// came to on to then, with the last list that was read.
func (v *victim) lists(stored []sent, then func(i int, w *watch, last int)) {
	for i := range v.feeds {
		name := fmt.Sprintf("list-%d", i)
		w := &watch{name: name, feed: v.feeds[i], oracle: newOracle(defaultRules(80)), checker: newChecker("rankwatch", name, "US")}
		w.checker.exact = false
		messages := v.of(stored, name)
		if err := v.follow(w, i, messages, -1); err != nil {
			v.t.Errorf("%s: %v", name, err)
		}
		v.t.Logf("%s: %d messages of %d revisions compared", name, w.compared, w.oracle.revision)
		last := -1
		if len(messages) > 0 {
			n, err := generation(messages[len(messages)-1])
			if err != nil {
				v.t.Errorf("%s: its last message is no board: %v", name, err)
			}
			last = n
		}
		then(i, w, last)
	}
}

// follow compares messages with what the oracle makes of the lists that their
// boards name, all of which come after list last.
func (v *victim) follow(w *watch, i int, messages []sent, last int) error {
	w.got = make(chan sent, len(messages))
	var lists []int
	for _, m := range messages {
		w.got <- m
		if strings.HasSuffix(m.subject, ".board") {
			n, err := generation(m)
			if err != nil {
				return err
			}
			lists = append(lists, n)
		}
	}
	close(w.got)
	for _, n := range lists {
		if n <= last {
			return fmt.Errorf("list %d after list %d", n, last)
		}
		if err := w.expect(w.oracle.step(v.feeds[i].list(n))); err != nil {
			return fmt.Errorf("list %d after %d: %w", n, last, err)
		}
		last = n
	}
	if rest := len(w.got); rest > 0 {
		return fmt.Errorf("%d messages that no board closes", rest)
	}
	return nil
}

// folds checks with the messages alone, without the oracle, that folding them
// gives the source's last list.
func folds(messages []sent, f *feed) error {
	held := map[string]place{}
	for i, m := range messages {
		d, err := decode(m)
		if err != nil {
			return err
		}
		uid := d.Subject
		switch d.Type {
		case "rankwatch.board":
			if i == 0 {
				for _, row := range d.Data.Board {
					if row.Member {
						held[row.UID] = place{Rank: row.Rank, PotentialIndex: row.PotentialIndex}
					}
				}
			}
		case "rankwatch.dropped":
			delete(held, uid)
		default:
			held[uid] = place{Rank: d.Data.After.Rank, PotentialIndex: d.Data.After.PotentialIndex}
		}
	}
	n := 0
	for _, p := range newOracle(defaultRules(80)).place(f.list(len(f.lists) - 1)) {
		if p.rank > 80 {
			continue
		}
		n++
		if got := held[p.UID]; got.Rank != p.rank || got.PotentialIndex != p.Index {
			return fmt.Errorf("folding puts %s at %v, the source at %v", p.UID, got, p.place())
		}
	}
	if n != len(held) {
		return fmt.Errorf("folding gives %d members, the source has %d", len(held), n)
	}
	return nil
}

// Killed at random moments on an external server, whose core subscribers see
// exactly what is stored.
func TestTortureExternal(t *testing.T) {
	t.Parallel()
	withoutDetector(t)
	b := newBus(t, nil)
	v := newVictim(t, 51)
	v.setup.external(b.url(), "RANKWATCH", "rankwatch")
	o := newObserver(connect(t, b.url()), "rankwatch")
	o.subscribe(t)
	v.rounds(rounds(t))
	w := v.setup.start(t)
	o.consume(t, "RANKWATCH")
	v.settle(o)
	w.stop(t)
	stored := history(t, o.nc, "RANKWATCH", "rankwatch")
	v.judge(stored)
	o.agree(t)
}

// Killed together with its embedded server.
func TestTortureEmbedded(t *testing.T) {
	t.Parallel()
	v := newVictim(t, 52)
	address := free(t)
	v.setup.env["RANKWATCH_NATS_LISTEN"] = address
	o := newObserver(connect(t, "nats://"+address), "rankwatch")
	o.subscribe(t)
	v.rounds(rounds(t))
	w := v.setup.start(t)
	w.listening(t)
	o.consume(t, "RANKWATCH")
	v.settle(o)
	stored := history(t, o.nc, "RANKWATCH", "rankwatch")
	w.stop(t)
	v.judge(stored)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := subset(o.core, stored); err != nil {
		t.Error(err)
	}
}
