package web

import (
	"io/fs"
	"net/http"
	"path"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/api"
)

// types are those of the page's files; the machine's own table may differ.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2", ".json": "application/json",
	".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8",
}

// static serves files by their names, and index.html as `/`. All are read once.
func static(files fs.FS) (http.Handler, error) {
	all := map[string]api.Body{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		kind := types[path.Ext(name)]
		if kind == "" {
			kind = "application/octet-stream"
		}
		all["/"+name] = api.Body{Type: kind, Cache: "no-cache", Tag: api.TagOf(body), Bytes: body}
		return nil
	})
	if index, ok := all["/index.html"]; ok {
		all["/"] = index
		delete(all, "/index.html")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := all[r.URL.Path]
		if !ok {
			(&api.Fault{Status: http.StatusNotFound, Detail: "no such path"}).Write(w)
			return
		}
		api.WriteBody(w, r, a)
	}), err
}
