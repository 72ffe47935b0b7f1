//go:build linux

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestPageAndHealthAreThereWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	s := newSetup(t, "http://127.0.0.1:1", "watchlists:\n  - {name: us, every: 1s, top: 20, filter: {region: US}}\n")
	s.env["RANKWATCH_NATS_LISTEN"], s.env["RANKWATCH_NATS_URL"], s.env["RANKWATCH_HTTP_LISTEN"] = "", "nats://"+free(t), "127.0.0.1:0"
	w := s.start(t)
	if err := w.say(`"msg":"http listening"`); err != nil {
		t.Fatal(err)
	}
	if err := w.say(`"reason":"bus"`); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/": 200, "/healthz": 200, "/api/v1/watchlists": 200, "/api/v1/openapi.yaml": 200,
		"/api/v1/watchlists/us/board": 503, "/api/v1/watchlists/us/history?top=1": 503, "/api/v1/events": 503,
	} {
		got, err := http.Get("http://" + httpAddress(t, w) + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if path == "/api/v1/watchlists" {
			checkWaits(t, body)
		}
		if got.StatusCode != want || want == 503 && got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d, want %d; Retry-After %q", path, got.StatusCode, want, got.Header.Get("Retry-After"))
		}
	}
	w.stop(t)
}

// checkWaits checks that the one watchlist is said to wait for the bus.
func checkWaits(t *testing.T, answer []byte) {
	t.Helper()
	var a struct {
		Bus        bool
		Watchlists []struct{ Outcome, Reason, Detail, Read string }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Watchlists) != 1 {
		t.Fatalf("%s", answer)
	}
	if w := a.Watchlists[0]; a.Bus || w.Outcome != "paused" || w.Reason != "bus" || !strings.HasPrefix(w.Detail, "waits for NATS") || w.Read != "" {
		t.Errorf("a watchlist that waits for the bus: %s", answer)
	}
}
