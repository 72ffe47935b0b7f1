package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

var update = flag.Bool("update", false, "write the golden files")

// A scene is a worker as it stands at a scrape.
type scene struct {
	standings []watcher.Standing
	source    fastmoss.Stats
	bus       publisher.Stats
	outbox    state.Depth
	size      int64
	free      int64
}

func (s *scene) Standings() []watcher.Standing { return s.standings }
func (s *scene) Source() fastmoss.Stats        { return s.source }
func (s *scene) Bus() publisher.Stats          { return s.bus }
func (s *scene) Outbox() state.Depth           { return s.outbox }
func (s *scene) StateSize() int64              { return s.size }
func (s *scene) Free() int64                   { return s.free }

// hourly asks for a list of its own, so that no other reading serves it.
func hourly(name string, category int64) watcher.Watchlist {
	return watcher.Watchlist{
		Name: name, Every: time.Hour, Top: 100, Period: watcher.PeriodSpec{None: true},
		Filter: fastmoss.Filter{CreatorCategoryID: fastmoss.Some(category)},
	}
}

// busy has something of everything.
func busy(now time.Time) *scene {
	var l publisher.Latency
	l.Counts[3], l.Counts[5], l.Counts[len(l.Counts)-1], l.Sum = 2, 1, 1, 12500*time.Millisecond
	return &scene{
		standings: []watcher.Standing{
			{Watchlist: hourly("never", 1), Known: now},
			{Watchlist: hourly("old", 2), Read: now.Add(-5 * time.Hour), Next: now.Add(time.Minute), Failures: 3,
				Condition: &watcher.Condition{Status: event.StatusStale, Reason: "unavailable", Since: now}},
			{Watchlist: hourly("well", 3), Read: now, Next: now.Add(time.Hour)},
		},
		source: fastmoss.Stats{Calls: map[string]uint64{"ok": 7, "throttled": 2}, Retries: 2, Skipped: 1, Waiting: 3, Waited: 1500 * time.Millisecond, Rate: 1.5, Status: event.StatusQuota},
		bus: publisher.Stats{
			Connected: true, Ready: true, Batches: 4, Messages: 40, Bytes: 4000, Refusals: map[string]uint64{"fence": 2},
			Adopted: 1, Rewound: 2, Broken: 3, Fenced: 4, LastPublish: time.Unix(1700000000, 0), Latency: l,
		},
		outbox: state.Depth{Batches: 2, Bytes: 2000, Full: true},
		size:   32768,
		free:   1 << 30,
	}
}

func scrape(t testing.TB, w Worker, r *Readings) string {
	t.Helper()
	return scrapeAs(t, Config{Worker: w, Readings: r, Backlog: 1 << 20, Build: Build{Version: "v1", Commit: "c"}})
}

func scrapeAs(t testing.TB, c Config) string {
	t.Helper()
	h, err := Handler(c)
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if rec.Code != http.StatusOK {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// own are the samples of a scrape that are rankwatch's.
func own(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, prefix) {
			all[name] = value
		}
	}
	return all
}

func TestAScrapeTellsWhatTheWorkerTells(t *testing.T) {
	t.Parallel()
	r := NewReadings()
	r.Observe(watcher.Attempt{Outcome: event.OutcomeChanged, Counts: event.Counts{Entered: 1, Moved: 20, Dropped: 3, Index: 4}, Took: 700 * time.Millisecond})
	r.Observe(watcher.Attempt{Outcome: watcher.OutcomeRejected, Reason: watcher.ReasonTorn, Took: time.Minute})
	got := own(scrape(t, busy(time.Now()), r))
	for name, want := range map[string]string{
		`rankwatch_readings_total{outcome="changed",reason=""}`:                                      "1",
		`rankwatch_readings_total{outcome="rejected",reason="torn"}`:                                 "1",
		`rankwatch_readings_total{outcome="stale",reason="unavailable"}`:                             "0",
		`rankwatch_events_total{kind="entered"}`:                                                     "1",
		`rankwatch_events_total{kind="moved"}`:                                                       "20",
		`rankwatch_events_total{kind="dropped"}`:                                                     "3",
		`rankwatch_events_total{kind="index"}`:                                                       "4",
		`rankwatch_reading_duration_seconds_bucket{le="1"}`:                                          "1",
		`rankwatch_reading_duration_seconds_count`:                                                   "2",
		`rankwatch_watchlists`:                                                                       "3",
		`rankwatch_source_planned_calls_per_day`:                                                     "72",
		`rankwatch_watchlist_overdue{watchlist="never"}`:                                             "0",
		`rankwatch_watchlist_overdue{watchlist="old"}`:                                               "1",
		`rankwatch_watchlist_overdue{watchlist="well"}`:                                              "0",
		`rankwatch_watchlist_failures{watchlist="old"}`:                                              "3",
		`rankwatch_watchlist_condition{status="stale",watchlist="old"}`:                              "1",
		`rankwatch_source_calls_total{outcome="throttled"}`:                                          "2",
		`rankwatch_source_retries_total`:                                                             "2",
		`rankwatch_source_skipped_entries_total`:                                                     "1",
		`rankwatch_source_waiting_calls`:                                                             "3",
		`rankwatch_source_wait_seconds_total`:                                                        "1.5",
		`rankwatch_source_rate_calls_per_second`:                                                     "1.5",
		`rankwatch_token_condition{status="ok"}`:                                                     "0",
		`rankwatch_token_condition{status="quota"}`:                                                  "1",
		`rankwatch_outbox_batches`:                                                                   "2",
		`rankwatch_outbox_bytes`:                                                                     "2000",
		`rankwatch_outbox_limit_bytes`:                                                               "1.048576e+06",
		`rankwatch_outbox_full`:                                                                      "1",
		`rankwatch_outbox_oldest_age_seconds`:                                                        "0",
		`rankwatch_state_size_bytes`:                                                                 "32768",
		`rankwatch_data_dir_free_bytes`:                                                              "1.073741824e+09",
		`rankwatch_bus_connected`:                                                                    "1",
		`rankwatch_bus_ready`:                                                                        "1",
		`rankwatch_bus_storage_blocked`:                                                              "0",
		`rankwatch_published_batches_total`:                                                          "4",
		`rankwatch_published_messages_total`:                                                         "40",
		`rankwatch_published_bytes_total`:                                                            "4000",
		`rankwatch_publish_refusals_total{reason="fence"}`:                                           "2",
		`rankwatch_publish_refusals_total{reason="away"}`:                                            "0",
		`rankwatch_stream_conflicts_total{kind="fenced"}`:                                            "4",
		`rankwatch_last_publish_timestamp_seconds`:                                                   "1.7e+09",
		`rankwatch_publish_duration_seconds_bucket{le="0.01"}`:                                       "2",
		`rankwatch_publish_duration_seconds_bucket{le="0.05"}`:                                       "3",
		`rankwatch_publish_duration_seconds_bucket{le="+Inf"}`:                                       "4",
		`rankwatch_publish_duration_seconds_sum`:                                                     "12.5",
		fmt.Sprintf(`rankwatch_build_info{commit="c",goversion=%q,version="v1"}`, runtime.Version()): "1",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
	for _, absent := range []string{
		`rankwatch_watchlist_age_seconds{watchlist="never"}`, `rankwatch_watchlist_last_reading_timestamp_seconds{watchlist="never"}`,
		`rankwatch_watchlist_next_reading_timestamp_seconds{watchlist="never"}`, `rankwatch_watchlist_condition{status="stale",watchlist="well"}`,
	} {
		if v, ok := got[absent]; ok {
			t.Errorf("%s is %s, want it absent", absent, v)
		}
	}
}

func TestSeriesGoWithTheirWatchlist(t *testing.T) {
	t.Parallel()
	s := busy(time.Now())
	h, err := Handler(Config{Worker: s, Readings: NewReadings()})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() map[string]string {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		return own(rec.Body.String())
	}
	if all := ask(); all[`rankwatch_watchlist_overdue{watchlist="old"}`] != "1" {
		t.Fatal("not there before")
	}
	s.standings = s.standings[2:]
	all := ask()
	for name := range all {
		if strings.Contains(name, `"old"`) || strings.Contains(name, `"never"`) {
			t.Errorf("%s is still there", name)
		}
	}
	if all["rankwatch_source_planned_calls_per_day"] != "24" {
		t.Errorf("planned %s calls, want 24 for the one that is left", all["rankwatch_source_planned_calls_per_day"])
	}
}

// Dashboards and alert rules are held against deploy/metrics.txt.
func TestTheListOfMetricsIsUpToDate(t *testing.T) {
	t.Parallel()
	const path = "../../../../deploy/metrics.txt"
	families, err := gather(busy(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prefix) {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		fmt.Fprintf(&got, "%s\t%s\t%s\t%s\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ","), f.GetHelp())
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("deploy/metrics.txt differs; run this test with -update:\n%s", got.String())
	}
}

func TestNamesFollowTheConventions(t *testing.T) {
	t.Parallel()
	text := scrapeAs(t, Config{Worker: busy(time.Now()), Crew: &mates{}, Readings: NewReadings()})
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool (Debian's package prometheus) to ask, too")
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestLabelsAreFixedWordsOrWatchlists(t *testing.T) {
	t.Parallel()
	families, err := gather(busy(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"outcome", "reason", "kind", "status", "watchlist", "version", "commit", "goversion", "code", "handler", "result"}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.HasPrefix(f.GetName(), prefix) && !slices.Contains(allowed, l.GetName()) {
					t.Errorf("%s has the label %s", f.GetName(), l.GetName())
				}
			}
		}
	}
}

func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		s := busy(time.Now())
		for i := range n {
			w := s.standings[1]
			w.Watchlist = hourly(fmt.Sprintf("watchlist-%d", i), int64(i+10))
			s.standings = append(s.standings, w)
		}
		h, err := Handler(Config{Worker: s, Readings: NewReadings()})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
				size = rec.Body.Len()
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

func gather(w Worker) ([]*dto.MetricFamily, error) {
	reg, err := registry(Config{
		Worker: w, Crew: &mates{state: fleet.State{}}, Readings: NewReadings(), Build: Build{Version: "v1", Commit: "c"}, More: NewRequests([]string{"page"}).Collectors(),
	})
	if err != nil {
		return nil, err
	}
	return reg.Gather()
}
