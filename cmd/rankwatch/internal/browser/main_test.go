package browser

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait for something that must happen.
const patience = 45 * time.Second

var (
	binary   = sync.OnceValues(build)
	chromium = sync.OnceValues(findChromium)
	browser  context.Context // all tests share one, in contexts of their own
	started  = sync.OnceValue(func() error { return chromedp.Do(browser) })
	shown    = sync.OnceValues(startDemo)
	dir      string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	if dir, err = os.MkdirTemp("", "rankwatch-browser"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	var end context.CancelFunc
	browser, end = context.WithCancel(context.Background())
	defer end()
	if path, err := chromium(); err == nil {
		var stop context.CancelFunc
		browser, stop = chromedp.NewExecAllocator(browser, append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(filepath.Join(dir, "profile")),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
			chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))...)
		defer stop()
		var leave context.CancelFunc
		browser, leave = chromedp.NewContext(browser)
		defer leave()
	}
	code = m.Run()
	if d, err := shown(); err == nil {
		code = max(code, d.stop())
	}
	return code
}

func build() (string, error) {
	path := filepath.Join(dir, "rankwatch")
	out, err := exec.Command("go", "build", "-o", path, "github.com/rankwatch/rankwatch/cmd/rankwatch").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

var errNoChromium = errors.New("no Chromium here (Debian's package chromium), so the page is not opened")

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoChromium
}

// A demo is a running `rankwatch demo`.
type demo struct {
	cmd       *exec.Cmd
	page, bus string
	gone      chan struct{}
}

var addresses = regexp.MustCompile(`(?s)NATS\s+(nats://\S+).*page\s+(http://\S+)/`)

func startDemo() (*demo, error) {
	if _, err := chromium(); err != nil {
		return nil, err // nothing would look at it
	}
	path, err := binary()
	if err != nil {
		return nil, err
	}
	d := &demo{cmd: exec.Command(path, "demo"), gone: make(chan struct{})}
	d.cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir}
	d.cmd.Stderr = os.Stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	var intro strings.Builder
	for !addresses.MatchString(intro.String()) {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the demo ended early: %s", intro.String()), err, d.cmd.Wait())
		}
		intro.WriteString(line)
	}
	m := addresses.FindStringSubmatch(intro.String())
	d.bus, d.page = m[1], m[2]
	go func() {
		defer close(d.gone)
		_, _ = io.Copy(io.Discard, lines)
	}()
	return d, nil
}

func (d *demo) stop() int {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-d.gone
	if err := d.cmd.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "the demo after SIGTERM:", err)
		return 1
	}
	return 0
}

// theDemo is the one that all tests look at.
func theDemo(t *testing.T) *demo {
	t.Helper()
	if _, err := chromium(); err != nil {
		t.Skip(err)
	}
	d, err := shown()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A tab is a page with cookies and storage of its own. At the test's end it must
// not have complained, nor asked another host.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu       sync.Mutex
	faults   []string
	forgiven bool // connections may fail: the test cuts them
}

func open(t *testing.T, base string) *tab {
	t.Helper()
	if err := started(); err != nil {
		t.Fatal(err)
	}
	ctx, leave := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	ctx, end := context.WithTimeout(ctx, 2*patience)
	b := &tab{t: t, ctx: ctx, base: base}
	err := chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*network.EventRequestWillBeSent); ok && !strings.HasPrefix(e.Request.URL, base+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			b.fault("the page asked " + e.Request.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	said := chromedp.Console(ctx)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for m, err := range said {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == "error" || m.Type == "warning" {
				b.console(m)
			}
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			b.shoot("failed")
		}
		leave()
		end()
		<-heard
		for _, f := range b.faults {
			t.Error(f)
		}
	})
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
		return err
	}))
	return b
}

func (b *tab) console(m chromedp.ConsoleMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forgiven && m.Source == "network" {
		return
	}
	b.faults = append(b.faults, fmt.Sprintf("console %s: %s (%s:%d)", m.Type, m.Text, m.URL, m.Line))
}

func (b *tab) fault(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, text)
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what an expression is in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true in the page, looking at each frame.
func (b *tab) until(expression string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(patience))); err != nil {
		b.t.Fatalf("never so: %s: %v", expression, err)
	}
}

func (b *tab) visit(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + "/" + address))
	b.until(`document.querySelector('main h1') !== null`)
}

// shoot keeps a picture of the page, if RANKWATCH_SCREENSHOTS names a directory.
func (b *tab) shoot(name string) {
	b.t.Helper()
	to := os.Getenv("RANKWATCH_SCREENSHOTS")
	if to == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(to, strings.ReplaceAll(b.t.Name(), "/", "-")+"-"+name+".png"), picture, 0o644)
	}
	if err != nil {
		b.t.Log("screenshot:", err)
	}
}
