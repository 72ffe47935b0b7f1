package page

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// maxWeight is what all files together may weigh when compressed, in bytes.
const maxWeight = 500_000

func TestTheFilesAreLight(t *testing.T) {
	t.Parallel()
	total := 0
	each(t, func(_ string, data []byte) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		total += packed.Len()
	})
	t.Logf("%d bytes compressed", total)
	if total > maxWeight {
		t.Errorf("%d bytes compressed, at most %d are allowed", total, maxWeight)
	}
}

// What the policy `script-src 'self'; style-src 'self'` forbids is not there to
// begin with, and nothing is fetched from elsewhere.
func TestTheStrictestPolicySuits(t *testing.T) {
	t.Parallel()
	html := regexp.MustCompile(`(?i)<style|<script>|\son\w+=|\sstyle=|javascript:|<script type="importmap"`)
	script := regexp.MustCompile(`\beval\(|new Function\(`)
	elsewhere := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|@import|url\((?:https?:)?//|from ['"]https?:`)
	each(t, func(name string, data []byte) {
		if m := html.Find(data); m != nil && strings.HasSuffix(name, ".html") {
			t.Errorf("%s has %s", name, m)
		}
		if m := script.Find(data); m != nil && strings.HasSuffix(name, ".js") {
			t.Errorf("%s has %s", name, m)
		}
		if m := elsewhere.Find(data); m != nil {
			t.Errorf("%s asks elsewhere: %s", name, m)
		}
	})
}

func TestTheModulesThatKnowNoDocument(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node.js here, so the page's modules are not tested without a browser")
	}
	cmd := exec.CommandContext(t.Context(), node, "--test", "page.test.mjs")
	cmd.Dir = "testdata"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func each(t *testing.T, fn func(name string, data []byte)) {
	t.Helper()
	files := Files()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		fn(name, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A module that is only found when another one is read waits for it.
func TestAllModulesAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	index, err := fs.ReadFile(Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(name string, data []byte) {
		module := strings.HasSuffix(name, ".js") && regexp.MustCompile(`(?m)^(import|export) `).Match(data)
		if module && !strings.Contains(string(index), `<link rel="modulepreload" href="`+name+`">`) {
			t.Errorf("index.html does not preload %s", name)
		}
	})
}
