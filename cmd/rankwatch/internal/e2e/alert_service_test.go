package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A service of the notifier library takes a sample, sent by the real binary's
// helper process. While that waits for the answer, no process has the URL's secret
// in its arguments or the helper's environment.
func TestAlertServiceKeepsItsSecret(t *testing.T) {
	t.Parallel()
	const secret = "tk_s3cretservice"
	var took atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		took.Add(1)
		// Not everywhere is there a /proc.
		args, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range args {
			line, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended
			}
			if bytes.Contains(line, []byte(secret)) {
				t.Errorf("in the arguments of a process: %q", line)
			}
			if !bytes.Contains(line, []byte("alert-helper")) {
				continue
			}
			if env, err := os.ReadFile(filepath.Join(filepath.Dir(path), "environ")); err == nil && bytes.Contains(env, []byte(secret)) {
				t.Error("in the environment of the helper")
			}
		}
		fmt.Fprint(w, `{"id":"x"}`)
	}))
	t.Cleanup(target.Close)
	s := newSetup(t, "http://127.0.0.1:1", "")
	host := strings.TrimPrefix(target.URL, "http://")
	s.env["RANKWATCH_ALERT_SERVICE_URL"] = fmt.Sprintf("ntfy://:%s@%s/topic?scheme=http", secret, host)
	refused := s.verb(t, nil, "alert", "--test")
	refused.want(t, 1, "a private address")
	if !strings.Contains(refused.out, "not a public address") || took.Load() != 0 {
		t.Errorf("%s%s; the target was called %d times", refused.out, refused.errs, took.Load())
	}
	s.env["RANKWATCH_ALERT_ALLOW_PRIVATE"] = "true"
	sent := s.verb(t, nil, "alert", "--test")
	sent.want(t, 0, "a sample")
	if took.Load() != 1 {
		t.Errorf("the target was called %d times", took.Load())
	}
	for _, r := range []result{refused, sent} {
		if strings.Contains(r.out+r.errs, secret) {
			t.Errorf("the secret is in the output: %s%s", r.out, r.errs)
		}
	}
}
