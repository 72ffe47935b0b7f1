package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const pageToken = "s3cret-page-token-1234"

// served is where a worker's page is. It lets the worker take any port.
func (w *worker) served(t *testing.T) string {
	t.Helper()
	if err := w.say(`"http listening"`); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`"msg":"http listening","url":"([^"]+)/"`).FindStringSubmatch(w.logged.tail(1 << 30))
	if m == nil {
		t.Fatal("no url in the log line `http listening`")
	}
	return m[1]
}

// get asks the worker, with the page's token if there is one.
func get(t *testing.T, url, bearer string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// samples are the values of a scrape by name and labels.
func samples(t *testing.T, text string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[name] = v
	}
	return all
}

// What a scrape counts is what was published, and no secret is in it; without a
// bus the worker is alive and not ready, and what waits is counted.
func TestMetricsAndHealth(t *testing.T) {
	t.Parallel()
	b := newBus(t, nil)
	in := install(t, b, "ONE", "one", lively(71, 8, 130), defaultRules(80))
	in.setup.env["RANKWATCH_HTTP_LISTEN"], in.setup.env["RANKWATCH_HTTP_TOKEN"] = "127.0.0.1:0", pageToken
	in.start(t, b)
	at := in.worker.served(t)
	var events, boards int
	for n := range 5 {
		for _, w := range collect(t, in.watch, n) {
			if err := in.watch.expect([]want{w}); err != nil {
				t.Fatal(err)
			}
			if w.kind == "board" {
				boards++
			} else {
				events++
			}
		}
	}
	if code, _ := get(t, at+"/metrics", ""); code != http.StatusUnauthorized {
		t.Errorf("metrics without the token: %d", code)
	}
	code, text := get(t, at+"/metrics", pageToken)
	if code != http.StatusOK {
		t.Fatalf("metrics: %d %s", code, text)
	}
	for _, secret := range []string{token, pageToken} {
		if strings.Contains(text, secret) {
			t.Error("a secret is in the metrics")
		}
	}
	checkMetrics(t, text)
	m := samples(t, text)
	told := 0.0
	for _, kind := range []string{"entered", "moved", "dropped", "index"} {
		told += m[fmt.Sprintf(`rankwatch_events_total{kind=%q}`, kind)]
	}
	// The second watchlist has a baseline and no events.
	if told != float64(events) || m[`rankwatch_readings_total{outcome="baseline",reason="first"}`] != 2 || m[`rankwatch_readings_total{outcome="changed",reason=""}`] != float64(boards-1) {
		t.Errorf("%v events and %v changed boards are counted, %d and %d were published", told, m[`rankwatch_readings_total{outcome="changed",reason=""}`], events, boards-1)
	}
	if m["rankwatch_watchlists"] != 2 || m["rankwatch_bus_ready"] != 1 || m[`rankwatch_watchlist_overdue{watchlist="list"}`] != 0 || m["rankwatch_state_size_bytes"] <= 0 {
		t.Errorf("watchlists %v, ready %v, overdue %v", m["rankwatch_watchlists"], m["rankwatch_bus_ready"], m[`rankwatch_watchlist_overdue{watchlist="list"}`])
	}
	in.healthAway(t, b, at)
	in.worker.stop(t)
}

func (in *installation) healthAway(t *testing.T, b *bus, at string) {
	t.Helper()
	if code, text := get(t, at+"/readyz", ""); code != http.StatusOK {
		t.Errorf("ready: %d %s", code, text)
	}
	b.stop()
	if err := in.worker.say("nats connection lost"); err != nil {
		t.Fatal(err)
	}
	if code, text := get(t, at+"/readyz", ""); code != http.StatusServiceUnavailable || !strings.Contains(text, "bus") {
		t.Errorf("ready without a bus: %d %s", code, text)
	}
	if code, _ := get(t, at+"/healthz", ""); code != http.StatusOK {
		t.Errorf("alive without a bus: %d", code)
	}
	later := collect(t, in.watch, 5)
	_, text := get(t, at+"/metrics", pageToken)
	m := samples(t, text)
	if m["rankwatch_bus_connected"] != 0 || m["rankwatch_outbox_batches"] != 1 || m["rankwatch_outbox_bytes"] == 0 {
		t.Errorf("away: connected %v, %v batches wait, %v bytes", m["rankwatch_bus_connected"], m["rankwatch_outbox_batches"], m["rankwatch_outbox_bytes"])
	}
	b.start(t)
	if err := in.watch.expect(later); err != nil {
		t.Fatal(err)
	}
	if code, text := get(t, at+"/readyz", ""); code != http.StatusOK {
		t.Errorf("ready again: %d %s", code, text)
	}
}

// checkMetrics asks promtool, where there is one.
func checkMetrics(t *testing.T, text string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("no promtool (Debian's package prometheus): the metrics' form is not checked")
		return
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin, cmd.Env = strings.NewReader(text), os.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
