package browser

import (
	"bufio"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

var listening = regexp.MustCompile(`"msg":"http listening".*"url":"([^"]+)/"`)

// aWorker is the page of one that reads a board, us, every second, and its source,
// which can be made to fail.
func aWorker(t *testing.T) (page string, source *simulator.Simulator) {
	t.Helper()
	if _, err := chromium(); err != nil {
		t.Skip(err)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	source = simulator.New(simulator.Config{})
	s := httptest.NewServer(source)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	home := t.TempDir()
	lists := filepath.Join(home, "watchlists.yaml")
	if err := os.WriteFile(lists, []byte("watchlists: [{name: us, every: 1s, top: 20, margin: 5, filter: {region: US}}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "run")
	cmd.Env = []string{
		"HOME=" + home, "TMPDIR=" + home, "RANKWATCH_WATCHLISTS=" + lists, "RANKWATCH_DATA_DIR=" + filepath.Join(home, "data"), "RANKWATCH_NATS_LISTEN=off",
		"RANKWATCH_HTTP_LISTEN=127.0.0.1:0", "RANKWATCH_FASTMOSS_URL=" + s.URL, "RANKWATCH_FASTMOSS_TOKEN=" + simulator.DefaultToken,
		"RANKWATCH_FASTMOSS_RATE=100", "RANKWATCH_LOG_FORMAT=json",
	}
	// It is told to end before the test's context is.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines, said := bufio.NewReader(log), strings.Builder{}
	for !listening.MatchString(said.String()) {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			t.Fatalf("the worker ended early: %s", said.String())
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, lines)
	}()
	t.Cleanup(func() {
		<-drained
		if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("the worker after SIGTERM: %v", err)
		}
	})
	return listening.FindStringSubmatch(said.String())[1], source
}

// A board that is not read any more looks like one that does not change, so it
// says so, by itself and in the overview's words.
func TestABoardSaysThatItsReadingsFail(t *testing.T) {
	t.Parallel()
	page, source := aWorker(t)
	b := open(t, page)
	b.do(chromedp.EmulateViewport(1280, 800))
	b.visit("#/board/us")
	b.until(`document.querySelector('.standing')?.dataset.state === 'well' && document.querySelector('[data-board] tbody tr') !== null`)
	if err := source.SetFaults(simulator.Fault{Kind: simulator.ServerError, Rate: 1}); err != nil {
		t.Fatal(err)
	}
	b.until(`document.querySelector('.standing').dataset.state === 'stale'`)
	// An attempt takes longer than the time between two, so that most of it one is being made.
	b.until(`/Next reading|reading now/.test(document.querySelector('.standing-times').innerText)`)
	said := `document.querySelector('.standing').innerText.replace(/\s+/g, ' ')`
	for _, word := range []string{"Stale", "FastMoss does not answer", "Last good reading", "overdue"} {
		if got := eval[string](b, said); !strings.Contains(got, word) {
			t.Errorf("the board says %q, without %q", got, word)
		}
	}
	why := eval[string](b, `document.querySelector('.standing .flag').innerText + document.querySelector('.standing .detail').innerText`)
	b.shoot("stale")
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/'`))
	b.until(`document.querySelector('[data-watchlist="us"] .flag-bad') !== null`)
	if got := eval[string](b, `document.querySelector('[data-watchlist] .flag').innerText + document.querySelector('[data-watchlist] .detail').innerText`); got != why {
		t.Errorf("the overview says %q, the board %q", got, why)
	}
	if got := eval[[]int](b, `[document.querySelector('[data-watchlist] td').clientWidth, document.querySelector('.main-column').clientWidth - document.querySelector('.lists').offsetWidth]`); got[0] < 260 || got[1] < 0 {
		t.Errorf("what the matter is has %d pixels, and the table %d more than it takes", got[0], got[1])
	}
	b.shoot("overview")
	b.do(chromedp.Evaluate[chromedp.Void](`history.back()`))
	b.until(`document.querySelector('.standing')?.dataset.state === 'stale'`)
	if err := source.SetFaults(); err != nil {
		t.Fatal(err)
	}
	b.until(`document.querySelector('.standing').dataset.state === 'well'`)
	b.shoot("well")
}
