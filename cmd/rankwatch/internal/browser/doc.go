// Package browser opens the page that the real binary serves in a real browser.
// It has tests only. They need Chromium, and say so where there is none.
package browser
