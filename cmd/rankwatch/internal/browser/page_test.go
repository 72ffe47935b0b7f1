package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// choose makes a select have a value, as a person would.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => {
		const s = [...document.querySelectorAll('select')].find((s) => s.matches(%q) || [...s.options].some((o) => o.value === %q));
		s.value = %q;
		s.dispatchEvent(new Event('change', { bubbles: true }));
	})()`, selector, value, value)))
}

// scheme is what the system asks for, light or dark.
func (b *tab) scheme(value string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return err
	}))
}

// ready waits until the board and its chart are on display.
func (b *tab) ready() {
	b.t.Helper()
	b.until(`document.querySelector('.plot[data-lines]') !== null && document.querySelectorAll('[data-board] table tbody tr').length > 5`)
}

func TestAWatchlistIsChosenAndItsChartDrawn(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.visit("")
	b.until(`document.querySelector('a[href*="us-beauty"]') !== null`)
	if got := eval[[]int](b, `[document.documentElement.scrollWidth, innerWidth]`); got[0] > got[1] {
		t.Errorf("the overview is %d pixels wide in a window of %d", got[0], got[1])
	}
	b.shoot("overview")
	b.do(chromedp.Click(`main a[href*="us-beauty"]`))
	b.until(`document.querySelector('[data-board="us-beauty"]') !== null && Number(document.querySelector('[data-board]').dataset.revision) > 1`)
	b.ready()
	if got := eval[string](b, `document.title`); !strings.Contains(got, "us-beauty") {
		t.Errorf("the title is %q", got)
	}
	for _, n := range []int{5, 20, 50} {
		b.choose(`[data-lines-of]`, fmt.Sprint(n))
		b.until(fmt.Sprintf(`document.querySelector('.chart').dataset.series === '%d' && document.querySelector('.plot').dataset.lines === '%d'`, n, n))
		// The canvas has the colours of at least five lines.
		colours := eval[int](b, `(() => {
			const c = document.querySelector('.plot canvas');
			const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
			const seen = new Map();
			for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) {
				const k = (d[i] << 16) | (d[i + 1] << 8) | d[i + 2];
				seen.set(k, (seen.get(k) ?? 0) + 1);
			}
			return [...seen.values()].filter((n) => n > 60).length;
		})()`)
		if colours < 5 {
			t.Errorf("%d lines asked for, and %d colours on the canvas", n, colours)
		}
	}
	b.shoot("board")
	// Two creators are pinned: two lines.
	for i := range 2 {
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelectorAll('[data-board] tbody input[type=checkbox]')[%d].click()`, i+2)))
		b.until(fmt.Sprintf(`location.hash.split('pin=').length === %d`, i+2))
	}
	b.choose(`[data-lines-of]`, "pinned")
	b.until(`document.querySelector('.plot')?.dataset.lines === '2'`)
	if got := eval[string](b, `location.hash`); strings.Count(got, "pin=") != 2 {
		t.Errorf("the address does not say what is pinned: %s", got)
	}
	// A line is highlighted by keyboard.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.legend button[tabindex="0"]').focus()`))
	b.until(`document.querySelectorAll('.legend button.lit').length === 1`)
	b.shoot("pinned")
}

func TestALiveEventComesWithoutAReload(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.visit("#/board/us-beauty")
	b.ready()
	b.do(chromedp.Evaluate[chromedp.Void](`window.mark = 1; window.before = Number(document.querySelector('[data-board]').dataset.revision)`))
	b.until(`Number(document.querySelector('[data-board]').dataset.revision) > window.before`)
	b.until(`document.querySelector('aside .feed-event[data-id]') !== null`)
	if eval[int](b, `window.mark`) != 1 {
		t.Error("the page was loaded anew")
	}
	if got := eval[string](b, `document.querySelector('[data-link]').dataset.link`); got != "live" {
		t.Errorf("the connection is %s", got)
	}
}

// What the page shows after its connection was cut again and again is what the
// stream holds, message by message: no gap, no repeat.
func TestACutConnectionIsResumed(t *testing.T) {
	t.Parallel()
	d := theDemo(t)
	cut := newCutter(t, d.page)
	b := open(t, cut.url())
	b.forgiven = true
	b.visit("#/live")
	b.until(`document.querySelectorAll('.feed li[data-closed]').length > 0`)
	for range 4 {
		b.do(chromedp.Evaluate[chromedp.Void](`window.newest = Math.max(...[...document.querySelectorAll('.feed li[data-last]')].map((e) => Number(e.dataset.last)))`))
		cut.set(true)
		b.until(`document.querySelector('[data-link]').dataset.link !== 'live'`)
		cut.set(false)
		b.until(`document.querySelector('[data-link]').dataset.link === 'live'`)
		b.until(`Math.max(...[...document.querySelectorAll('.feed li[data-closed]')].map((e) => Number(e.dataset.last))) > window.newest`)
	}
	var shown [][2]uint64
	if err := json.Unmarshal([]byte(eval[string](b, `JSON.stringify([...document.querySelectorAll('.feed > li')].map((e) => [Number(e.dataset.first), Number(e.dataset.closed ? e.dataset.last : 0)]))`)), &shown); err != nil {
		t.Fatal(err)
	}
	if eval[int](b, `document.querySelectorAll('.feed-gap, .feed-reset').length`) != 0 {
		t.Error("the page tells of a gap")
	}
	checkShown(t, d, shown)
	b.shoot("live")
}

// checkShown compares what the page has of closed readings, newest first, each
// with its first and last id, with the stream.
func checkShown(t *testing.T, d *demo, shown [][2]uint64) {
	t.Helper()
	stored := map[uint64]uint64{} // by the last
	for _, r := range storedReadings(t, d) {
		stored[r[1]] = r[0]
	}
	n, oldest, newest := 0, ^uint64(0), uint64(0)
	seen := map[uint64]bool{}
	for _, r := range shown {
		if r[1] == 0 {
			continue // still open
		}
		if seen[r[1]] {
			t.Errorf("the reading that ends at %d is shown twice", r[1])
		}
		seen[r[1]] = true
		oldest, newest = min(oldest, r[1]), max(newest, r[1])
		// The oldest may have begun before the page looked.
		if first, ok := stored[r[1]]; !ok || first != r[0] && r[1] != oldest {
			t.Errorf("the page shows a reading from %d to %d, the stream has it from %d (%v)", r[0], r[1], first, ok)
		}
		n++
	}
	for last := range stored {
		if last > oldest && last < newest && !seen[last] {
			t.Errorf("the reading that ends at %d is missing", last)
		}
	}
	if n < 5 {
		t.Errorf("only %d readings were compared", n)
	}
}

// storedReadings are the first and last sequence of every reading's messages.
func storedReadings(t *testing.T, d *demo) [][2]uint64 {
	t.Helper()
	nc, err := nats.Connect(d.bus)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	r, err := history.Open(t.Context(), nc, "RANKWATCH", "rankwatch")
	if err != nil {
		t.Fatal(err)
	}
	var all [][2]uint64
	first := map[string]uint64{}
	err = r.Each(t.Context(), history.Query{}, nil, func(m *history.Message) error {
		s, err := event.ParseSubject("rankwatch", m.Subject)
		if err != nil {
			return err
		}
		name := m.Reading()
		if name == "" {
			return nil
		}
		if _, ok := first[name]; !ok {
			first[name] = m.Sequence
		}
		if s.Kind == event.Board {
			all = append(all, [2]uint64{first[name], m.Sequence})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// views are the page's addresses; %s is a creator of the demo.
var views = map[string]string{"overview": "", "board": "#/board/us-beauty", "live": "#/live", "creator": "#/creator/%s", "nowhere": "#/nowhere"}

// each opens every view.
func (b *tab) each(fn func(view string)) {
	b.t.Helper()
	b.visit("#/board/us-beauty")
	b.ready()
	uid := eval[string](b, `decodeURIComponent(document.querySelector('[data-board] tbody a[href*="#/creator/"]').href.split('#/creator/')[1])`)
	for view, address := range views {
		if strings.Contains(address, "%s") {
			address = fmt.Sprintf(address, uid)
		}
		b.do(chromedp.Navigate("about:blank")) // so that the next is a load, not a change of the hash
		b.visit(address)
		switch view {
		case "board":
			b.ready()
		case "overview":
			b.until(`document.querySelector('a[href*="us-beauty"]') !== null`)
		case "creator":
			b.until(`document.querySelector('main canvas, main svg, main table') !== null`)
		case "live":
			b.until(`document.querySelector('.feed li') !== null`)
		}
		fn(view)
	}
}

func TestNothingIsWiderThanAPhone(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.do(chromedp.EmulateViewport(360, 740))
	b.each(func(view string) {
		if got := eval[int](b, `document.documentElement.scrollWidth`); got > 360 {
			t.Errorf("%s is %d pixels wide", view, got)
		}
		b.shoot(view)
		if view != "board" {
			return
		}
		// A column's head keeps to its column, and no figure is cut off.
		for _, f := range eval[[]string](b, `[...document.querySelectorAll('[data-board] thead th')].filter((th) => th.offsetParent !== null && th.querySelector('button').getBoundingClientRect().right > th.getBoundingClientRect().right)
			.concat([...document.querySelectorAll('[data-board] tbody .figure')].filter((e) => e.getBoundingClientRect().right > e.closest('th').getBoundingClientRect().right))
			.slice(0, 5).map((e) => e.innerText)`) {
			t.Errorf("%q does not fit", f)
		}
		b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('[data-board] thead').scrollIntoView()`))
		b.shoot("rows")
	})
}

// What is asked for and is not there is told with what is.
func TestARevisionAndACreatorThatAreNotThere(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.forgiven = true // a browser tells its console of each 404
	b.visit("#/board/us-beauty?rev=9999")
	b.until(`document.querySelector('[data-unheld="9999"]') !== null`)
	b.shoot("revision")
	said := `document.querySelector('main .notice').innerText`
	if got := eval[string](b, said); !strings.Contains(got, "no revision 9999") || !regexp.MustCompile(`the newest is \d+\.`).MatchString(got) || strings.Contains(got, "load") {
		t.Errorf("of a revision to come: %q", got)
	}
	b.do(chromedp.Click(`[data-unheld] a`))
	b.ready()
	// It is still so when a board is on display already.
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/board/us-beauty?rev=9998'`))
	b.until(`document.querySelector('[data-unheld="9998"]') !== null && document.querySelector('[data-board] tbody') === null`)
	b.visit("#/creator/nobody")
	b.until(`document.querySelector('[data-unknown="nobody"]') !== null`)
	b.shoot("creator")
	if got := eval[string](b, said); !strings.Contains(got, "creator nobody") || strings.Contains(got, "load") {
		t.Errorf("of a creator: %q", got)
	}
}

// What is shown with a board of the past and is not of it says so.
func TestABoardOfThePastSaysWhatIsNotOfIt(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.visit("#/board/us-beauty")
	b.until(`Number(document.querySelector('[data-board]').dataset.revision) > 2`)
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/board/us-beauty?rev=1'`))
	b.until(`document.querySelector('[data-board]').dataset.revision === '1'`)
	b.until(`/up to revision \d+\..*marks revision 1\./.test(document.querySelector('.chart-now')?.innerText)`)
	b.until(`document.querySelector('.figures-past') !== null`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.legend').scrollIntoView()`))
	b.shoot("past")
}

// A best rank is one board's, so it stands beside that board.
func TestACreatorsBestRankStandsBesideItsBoard(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.visit("#/board/us-beauty")
	b.ready()
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = document.querySelector('[data-board] tbody a[href*="#/creator/"]').hash`))
	b.until(`document.querySelector('[data-on="us-beauty"] [data-peak]')?.dataset.peak === '1'`)
	if got := eval[string](b, `document.querySelector('.facts').innerText`); strings.Contains(got, "rank") {
		t.Errorf("what is told of all boards has a rank: %s", got)
	}
	b.shoot("creator")
}

func TestDarkIsDarkAndLightIsLight(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	brightness := `(() => { const c = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number); return Math.round(c[0] * 0.3 + c[1] * 0.6 + c[2] * 0.1); })()`
	b.scheme("dark")
	b.visit("#/board/us-beauty")
	b.ready()
	b.shoot("dark")
	if got := eval[int](b, brightness); got > 60 {
		t.Errorf("dark has a brightness of %d", got)
	}
	b.scheme("light")
	if got := eval[int](b, brightness); got < 200 {
		t.Errorf("light has a brightness of %d", got)
	}
	// A choice of one's own outlasts the system's and a reload.
	b.choose(`[data-theme-of]`, "dark")
	b.until(`document.documentElement.dataset.theme === 'dark'`)
	b.do(chromedp.Reload())
	b.ready()
	if got := eval[int](b, brightness); got > 60 {
		t.Errorf("dark by choice has a brightness of %d after a reload", got)
	}
}

func TestBothLanguages(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.visit("#/board/us-beauty")
	b.ready()
	english := eval[string](b, `document.body.innerText`)
	b.choose(`[lang]`, "zh-CN")
	b.until(`document.documentElement.lang === 'zh-CN'`)
	b.ready()
	chinese := eval[string](b, `document.body.innerText`)
	for _, word := range []string{"排名", "达人", "实时"} {
		if !strings.Contains(chinese, word) {
			t.Errorf("the Chinese page lacks %s", word)
		}
	}
	for _, word := range []string{"Ranks over time", "Followers", "Live events", "Board", "members"} {
		if !strings.Contains(english, word) {
			t.Errorf("the English page lacks %q", word)
		}
		if strings.Contains(chinese, word) {
			t.Errorf("the Chinese page has %q", word)
		}
	}
	b.shoot("chinese")
	b.do(chromedp.Reload())
	b.until(`document.documentElement.lang === 'zh-CN'`)
}

func TestTheKeyboardReachesEverything(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.visit("#/board/us-beauty")
	b.ready()
	b.do(chromedp.KeyEvent("\t"))
	if got := eval[string](b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q, not the skip link", got)
	}
	b.do(chromedp.KeyEvent("\r"))
	b.until(`document.activeElement.id === 'main'`)
	lost := eval[[]string](b, `[...document.querySelectorAll('a[href], button, input, select, summary')]
		.filter((e) => e.offsetParent !== null && e.tabIndex < 0 && !e.closest('.legend')).map((e) => e.outerHTML.slice(0, 80))`)
	if len(lost) > 0 {
		t.Errorf("out of the keyboard's reach: %q", lost)
	}
	// Sorting says so to those who hear it.
	b.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll('[data-board] th button')].at(-1).focus()`), chromedp.KeyEvent("\r"))
	b.until(`document.querySelector('[data-board] th[aria-sort="ascending"], [data-board] th[aria-sort="descending"]') !== null`)
}

// A board that comes by itself puts the lines and the rows in another order;
// whoever stands on one of them still does afterwards.
func TestTheFocusOutlastsNewBoards(t *testing.T) {
	t.Parallel()
	b := open(t, theDemo(t).page)
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	}))
	b.visit("#/board/us-beauty")
	b.ready()
	// Who is pinned stays in the chart, and moves in its list.
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/board/us-beauty?lines=pinned' + [...document.querySelectorAll('tr[data-uid]')].slice(0, 40).map((r) => '&pin=' + encodeURIComponent(r.dataset.uid)).join('')`))
	b.until(`document.querySelector('.plot')?.dataset.lines === '40'`)
	b.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const order = () => [...document.querySelectorAll('.legend button')].map((e) => e.dataset.line);
		window.held = order()[20];
		window.orders = new Set([order().join()]);
		new MutationObserver(() => window.orders.add(order().join())).observe(document.querySelector('.legend'), { childList: true });
		document.querySelectorAll('.legend button')[20].focus();
	})()`))
	b.until(`window.orders.size > 3`)
	if got := eval[string](b, `document.activeElement.dataset.line ?? document.activeElement.tagName`); got != eval[string](b, `window.held`) {
		t.Errorf("the focus went to %s", got)
	}
	b.until(`document.querySelectorAll('.legend button.lit').length === 1 && document.querySelector('.legend button.lit') === document.activeElement`)
}

// axe finds what keeps people from using the page.
func TestAxeFindsNoSeriousFault(t *testing.T) {
	t.Parallel()
	d := theDemo(t)
	path := os.Getenv("RANKWATCH_AXE")
	if path == "" {
		t.Skip("RANKWATCH_AXE names no axe.min.js of npm's axe-core (`bash .ci/page` installs it)")
	}
	axe, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			b := open(t, d.page)
			b.scheme(scheme)
			b.each(func(view string) {
				b.do(chromedp.Evaluate[chromedp.Void](string(axe) + "; undefined"))
				found := eval[[]string](b, `axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations
					.filter((v) => v.impact === 'serious' || v.impact === 'critical')
					.map((v) => v.impact + ' ' + v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 140) + ' ' + n.failureSummary).join(' | ')))`)
				for _, f := range found {
					t.Errorf("%s: %s", view, f)
				}
			})
		})
	}
}
