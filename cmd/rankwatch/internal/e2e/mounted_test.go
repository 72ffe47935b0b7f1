package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// A ConfigMap mounted as a directory changes by a swap of its link ..data, behind
// which the watchlist file lies, and that reloads. The file's own name never changes.
func TestReloadMounted(t *testing.T) {
	t.Parallel()
	source := newAPI(t)
	us, gb := source.feed("US", 1, 100), source.feed("GB", 1, 100)
	lists := lively(22, 2, 130)
	us.add(lists[0])
	gb.add(in("GB", lists[0]))
	source.open()
	s := newSetup(t, source.URL, "")
	mounted := filepath.Join(s.dir, "mounted")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(version, text string) {
		t.Helper()
		must(os.MkdirAll(filepath.Join(mounted, version), 0o700))
		must(os.WriteFile(filepath.Join(mounted, version, "watchlists.yaml"), []byte(text), 0o600))
		must(os.Symlink(version, filepath.Join(mounted, "..data_tmp")))
		must(os.Rename(filepath.Join(mounted, "..data_tmp"), filepath.Join(mounted, "..data")))
	}
	put("..1", file(entry("one", "US", 1, defaultRules(60))))
	must(os.Symlink(filepath.Join("..data", "watchlists.yaml"), filepath.Join(mounted, "watchlists.yaml")))
	s.env["RANKWATCH_WATCHLISTS"] = filepath.Join("mounted", "watchlists.yaml")
	worker := s.start(t)
	o := observe(t, worker.listening(t), "RANKWATCH", "rankwatch")
	_, err := next(o.messages("one"))
	must(err)
	put("..2", file(entry("one", "US", 1, defaultRules(60)), entry("two", "GB", 1, defaultRules(60))))
	must(os.RemoveAll(filepath.Join(mounted, "..1")))
	_, err = next(o.messages("two"))
	must(err)
	worker.stop(t)
}
