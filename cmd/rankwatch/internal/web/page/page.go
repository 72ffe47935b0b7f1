// Package page is the web page: static files, part of the binary. They need no
// build step, ask no other host and hold no script or style in the HTML, so the
// strictest content security policy suits them.
package page

import (
	"embed"
	"io/fs"
)

//go:embed assets
var assets embed.FS

// Files are the page's files; index.html is the page.
func Files() fs.FS {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the name is constant and valid
	}
	return files
}
