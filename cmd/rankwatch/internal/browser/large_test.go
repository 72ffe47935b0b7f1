package browser

import (
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// How long a person waits for a large board and its chart. The address of a worker
// that has such a board comes from outside:
//
//	RANKWATCH_LARGE=http://127.0.0.1:8080/#/board/NAME go test -v -run TestALargeBoard ./cmd/rankwatch/internal/browser
func TestALargeBoardIsThereAtOnce(t *testing.T) {
	address := os.Getenv("RANKWATCH_LARGE")
	if address == "" {
		t.Skip("RANKWATCH_LARGE names no page to measure")
	}
	if _, err := chromium(); err != nil {
		t.Skip(err)
	}
	var base, hash string
	if _, err := fmt.Sscanf(address, "%s", &base); err != nil {
		t.Fatal(err)
	}
	for i := range base {
		if base[i] == '#' {
			base, hash = base[:i-1], base[i:]
			break
		}
	}
	b := open(t, base)
	for _, lines := range []int{10, 100} {
		b.do(chromedp.Navigate("about:blank"))
		b.do(chromedp.Navigate(fmt.Sprintf("%s/%s?lines=%d", base, hash, lines)))
		b.until(fmt.Sprintf(`document.querySelector('.plot')?.dataset.lines === '%d' && document.querySelectorAll('[data-board] tbody tr').length > 5`, lines))
		t.Logf("%d lines: board and chart %d ms after the navigation; %s", lines, eval[int](b, `Math.round(performance.now())`),
			eval[string](b, `document.querySelector('.chart-notes').innerText.replace(/\s+/g, ' ')`))
		t.Logf("sorted and drawn again in %d ms", eval[int](b, `new Promise((done) => {
			const from = performance.now();
			document.querySelectorAll('[data-board] th button')[4].click();
			requestAnimationFrame(() => setTimeout(() => done(Math.round(performance.now() - from)), 0));
		})`))
		b.shoot(fmt.Sprint(lines))
	}
}
