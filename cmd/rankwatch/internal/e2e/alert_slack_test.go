package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/slack/slacktest"
)

// alertDays is how many days of the real rankings go through Slack, which takes
// a message a second.
func alertDays(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("RANKWATCH_ALERT_DAYS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("RANKWATCH_ALERT_DAYS: %v", err)
		}
		return n
	}
	if underRace {
		return shortLists
	}
	return 10
}

const slackAlerts = `
name: sales
targets:
  hook: {slack: {webhook: "env:HOOK"}}
  bot: {slack: {token: "env:BOT", channel: C0123456789, api: "env:API"}}
routes:
  - {name: changes, targets: [hook, bot], match: {kind: [entered, moved, dropped, index]}}
allow_private: true
`

// The real rankings go to Slack, through a webhook and through a bot, while the
// process is killed at random moments and Slack fails now and then: nothing is
// lost or out of order. A message is repeated at most once for a kill, and once
// for an answer that never came.
func TestAlertBringsRealRankingsToSlack(t *testing.T) {
	t.Parallel()
	boards, err := rankings("../../../../../shared/data/github-go-rust-2026.csv.gz")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the real rankings are not here: ../shared/data/github-go-rust-2026.csv.gz beside the project")
	}
	if err != nil {
		t.Fatal(err)
	}
	api, fake := newAPI(t), slacktest.New(slacktest.Config{FaultRate: 0.05, Seed: 71})
	t.Cleanup(fake.Close)
	var watches []*watch
	var entries []string
	for i, name := range []string{"Go", "Rust"} {
		r := defaultRules(100)
		f := api.feed("US", i+1, r.depth())
		for _, l := range boards[name][:min(len(boards[name]), alertDays(t))] {
			f.add(l)
		}
		name = strings.ToLower(name)
		watches = append(watches, &watch{name: name, feed: f, oracle: newOracle(r), checker: newChecker("rankwatch", name, "US")})
		entries = append(entries, entry(name, "US", i+1, r))
	}
	s := newSetup(t, api.URL, file(entries...))
	worker := s.start(t)
	url := worker.listening(t)
	o := observe(t, url, "RANKWATCH", "rankwatch")
	for _, w := range watches {
		w.got = o.messages(w.name)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "alerts.yaml"), []byte(slackAlerts), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env["RANKWATCH_NATS_URL"], s.env["RANKWATCH_ALERTS"] = url, "alerts.yaml"
	s.env["HOOK"], s.env["BOT"], s.env["API"] = fake.WebhookURL(), slacktest.Token, fake.APIURL()
	api.open()
	shown := make(chan error, len(watches))
	for _, w := range watches {
		go func() { shown <- w.run() }()
	}

	start := func() *processAlert { return &processAlert{s.start(t, "alert", "--from", "all", "--takeover", "2s")} }
	a := start()
	random, kills := rand.New(rand.NewPCG(72, 1)), alertKills(t)
	for range kills {
		select { // some moment of its life
		case <-time.After(time.Duration(random.IntN(4000)) * time.Millisecond):
		case <-a.exited:
			t.Fatalf("the process ended by itself: %v\n%s", a.cmd.ProcessState, a.logged.tail(2000))
		}
		a.kill(t)
		a.silent(t)
		a = start()
	}
	for range watches {
		if err := <-shown; err != nil {
			t.Error(err)
		}
	}
	settled(t, url, "alert-sales-changes_hook", "alert-sales-changes_bot")
	a.stop(t)
	a.silent(t)
	stored := history(t, o.nc, "RANKWATCH", "rankwatch")
	worker.stop(t)

	due := subjects(t, stored)
	if len(due) < 2*(alertDays(t)-1) {
		t.Errorf("only %d readings had something to tell", len(due))
	}
	for _, hook := range []bool{true, false} {
		var took []slacktest.Message
		unreported := 0
		for _, m := range fake.Accepted() {
			if m.Webhook != hook {
				continue
			}
			if !m.Reported {
				unreported++
			}
			took = append(took, m)
			if word, why := slacktest.Violations(m.Text, m.Blocks); word != "" {
				t.Errorf("%s: %q", word, why)
			}
		}
		once := slices.CompactFunc(slices.Clone(took), func(a, b slacktest.Message) bool { return a.Text == b.Text && bytes.Equal(a.Blocks, b.Blocks) })
		var got []string
		threads := map[string]bool{}
		for _, m := range once {
			got = append(got, strings.TrimSuffix(m.Text, " · month 2026-03"))
		}
		for _, m := range took {
			if !hook && m.ThreadTS == "" {
				threads[m.TS] = true
			}
		}
		if !slices.Equal(got, due) {
			t.Errorf("webhook %t: took %d messages, want %d; only taken %q, only due %q", hook, len(got), len(due), beyond(got, due), beyond(due, got))
		}
		again := len(took) - len(once)
		t.Logf("webhook %t: %d messages, %d repeats after %d kills and %d answers that never came; %d threads", hook, len(once), again, kills, unreported, len(threads))
		if again > kills+unreported {
			t.Errorf("webhook %t: %d repeats", hook, again)
		}
		// A thread a board; one more for each parent that was repeated.
		if !hook && (len(threads) < 2 || len(threads) > 2+again) {
			t.Errorf("%d messages begin a thread", len(threads))
		}
	}
	s.holdsNoSecret(t)
}

// processAlert is a running `rankwatch alert` with Slack's secrets.
type processAlert struct{ *worker }

func (a *processAlert) silent(t *testing.T) {
	t.Helper()
	for _, secret := range []string{slacktest.Token, slacktest.Secret} {
		if out := a.logged.tail(1 << 30); strings.Contains(out, secret) {
			t.Errorf("a secret of Slack's is in the output:\n%s", out)
		}
	}
}

// holdsNoSecret searches all that a run left behind: the stream, what is kept
// beside it, the state.
func (s *setup) holdsNoSecret(t *testing.T) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, secret := range []string{slacktest.Token, slacktest.Secret, token} {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s holds a secret", path)
			}
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files searched: %v", files, err)
	}
}

// settled waits until nothing is left of consumers.
func settled(t *testing.T, url string, consumers ...string) {
	t.Helper()
	js, err := jetstream.New(connect(t, url))
	if err != nil {
		t.Fatal(err)
	}
	// Slack takes a message a second.
	deadline := time.After(2*patience + 8*time.Second*time.Duration(alertDays(t)))
	for _, name := range consumers {
		for {
			c, err := js.Consumer(t.Context(), "RANKWATCH", name)
			if err != nil {
				t.Fatal(err)
			}
			i := c.CachedInfo()
			if i.NumPending == 0 && i.NumAckPending == 0 {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-deadline:
				t.Fatalf("%s: %d messages left, %d not acknowledged", name, i.NumPending, i.NumAckPending)
			}
		}
	}
}

// subjects are those of the messages that the route makes of what is stored,
// told from the public format alone.
func subjects(t *testing.T, stored []sent) []string {
	t.Helper()
	var out []string
	counts := map[string]int{}
	for _, m := range stored {
		d, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		switch kind := strings.TrimPrefix(d.Type, "rankwatch."); kind {
		case "entered", "dropped", "moved", "index":
			counts[kind]++
		case "board":
			var parts []string
			for _, k := range [][2]string{{"entered", "in"}, {"moved", "moved"}, {"dropped", "out"}, {"index", "index"}} {
				if n := counts[k[0]]; n > 0 {
					parts = append(parts, fmt.Sprintf("%d %s", n, k[1]))
				}
			}
			if len(parts) > 0 {
				out = append(out, fmt.Sprintf("%s (US): %s", d.Data.Watchlist, strings.Join(parts, ", ")))
			}
			clear(counts)
		}
	}
	return out
}
