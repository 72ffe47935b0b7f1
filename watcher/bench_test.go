//go:build unix

package watcher_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
	"github.com/rankwatch/rankwatch/watcher"
	"github.com/rankwatch/rankwatch/watcher/fastmoss"
)

// childEnv makes the test binary play what a worker talks to instead: "source"
// serves the benchmark's board, a directory holds a NATS server. Their CPU time
// is not the worker's.
const childEnv = "WATCHER_TEST_CHILD"

func TestMain(m *testing.M) {
	switch role := os.Getenv(childEnv); role {
	case "":
		os.Exit(m.Run())
	case "source":
		serveBoards()
	default:
		serveNATS(role)
	}
}

func serveNATS(dir string) {
	s, err := publisher.StartServer(publisher.ServerConfig{Embedded: true, StoreDir: dir, Listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	fmt.Println(s.URL())
	// The parent's end closes the pipe.
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
}

const places = 1000

// creator is an item in the documented shape, all fields filled.
type creator struct {
	Creator struct {
		UID             string         `json:"uid"`
		Nickname        string         `json:"nickname"`
		UniqueID        string         `json:"unique_id"`
		Avatar          string         `json:"avatar"`
		Region          string         `json:"region"`
		Category        event.Category `json:"category"`
		FollowerCount   int64          `json:"follower_count"`
		VideoCount      int64          `json:"video_count"`
		FollowerGenders []share        `json:"follower_genders"`
		FollowerAges    []share        `json:"follower_ages"`
	} `json:"creator"`
	UID             string           `json:"uid"`
	VideoCount      int64            `json:"video_count"`
	EcommerceType   int64            `json:"ecommerce_type"`
	PotentialIndex  int64            `json:"potential_index"`
	GMV             float64          `json:"gmv"`
	USDGMV          float64          `json:"usd_gmv"`
	UnitsSold       int64            `json:"units_sold"`
	AvgPlayCount    int64            `json:"avg_play_count"`
	LiveUnitsSold   int64            `json:"live_units_sold"`
	VideoUnitsSold  int64            `json:"video_units_sold"`
	SalesCategoryL3 []event.Category `json:"sales_category_l3"`
}

type share struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type answer struct {
	Code int `json:"code"`
	Data struct {
		List      []creator `json:"list"`
		Total     int       `json:"total"`
		DateType  string    `json:"date_type"`
		DateValue string    `json:"date_value"`
	} `json:"data"`
	Message   string `json:"message"`
	Timestamp int64  `json:"timestamp"`
	RequestID string `json:"request_id"`
}

// boards makes two versions of one board that differ in 100 places.
func boards() [2][places]creator {
	rng := rand.New(rand.NewPCG(3, 3))
	var b [2][places]creator
	for i := range places {
		c := &b[0][i]
		c.UID = strconv.FormatUint(6_700_000_000_000_000_000+rng.Uint64N(1e17), 10)
		c.Creator.UID, c.Creator.Region = c.UID, "US"
		c.Creator.Nickname = fmt.Sprintf("Creator %d ✨", i)
		c.Creator.UniqueID = fmt.Sprintf("creator.%d", rng.Uint32())
		c.Creator.Avatar = fmt.Sprintf("https://p16-sign-va.tiktokcdn.com/tos-maliva-avt-0068/%016x%016x~c5_720x720.jpeg", rng.Uint64(), rng.Uint64())
		c.Creator.Category = event.Category{ID: 4, Name: "Beauty"}
		c.Creator.FollowerCount, c.Creator.VideoCount = rng.Int64N(5e6), rng.Int64N(3000)
		c.Creator.FollowerGenders = []share{{"female", "0.6319"}, {"male", "0.3681"}}
		c.Creator.FollowerAges = []share{{"18-24", "0.3406"}, {"25-34", "0.41"}}
		c.VideoCount, c.EcommerceType = rng.Int64N(300), 3
		c.GMV = float64(rng.Int64N(1e9)) / 100
		c.USDGMV = c.GMV
		c.UnitsSold, c.AvgPlayCount = rng.Int64N(1e5), rng.Int64N(1e6)
		c.LiveUnitsSold, c.VideoUnitsSold = rng.Int64N(1e4), rng.Int64N(1e5)
		c.SalesCategoryL3 = []event.Category{{ID: 601554, Name: "Concealer & Foundation"}}
		c.PotentialIndex = int64(2 * (places - i))
	}
	b[1] = b[0]
	for i := 0; i < 100; i += 2 {
		at := i * (places / 100)
		b[1][at], b[1][at+1] = b[1][at+1], b[1][at]
		b[1][at].PotentialIndex, b[1][at+1].PotentialIndex = b[0][at].PotentialIndex, b[0][at+1].PotentialIndex
	}
	return b
}

// serveBoards answers with one version until POST /turn.
func serveBoards() {
	var pages [2][10][]byte
	for v, b := range boards() {
		for p := range pages[v] {
			var a answer
			a.Data.List, a.Data.Total = b[p*100:(p+1)*100], places
			a.Data.DateType, a.Data.DateValue = "month", "2026-03"
			data, err := json.Marshal(a)
			if err != nil {
				panic(err)
			}
			pages[v][p] = data
		}
	}
	var version atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("http://" + l.Addr().String())
	go func() {
		// The parent's end closes the pipe.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/turn" {
			version.Store(1 - version.Load())
			return
		}
		var q struct {
			Page int `json:"page"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(pages[version.Load()][q.Page-1])
	}))
	panic(err)
}

// startChild runs the test binary in another role and returns its URL.
func startChild(b *testing.B, role string) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// cpu is the CPU time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pipeline is a worker with everything real behind it.
type pipeline struct {
	worker *watcher.Worker
	boards chan uint64 // revisions as a subscriber sees them
}

// startPipeline sets up a worker of one watchlist; natsURL is empty for the
// embedded server.
func startPipeline(b *testing.B, url, natsURL string) *pipeline {
	b.Helper()
	dir := b.TempDir()
	db, err := state.Open(state.Config{Dir: dir, Retention: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	pub, err := publisher.Open(b.Context(), publisher.Config{
		Server: publisher.ServerConfig{Embedded: natsURL == "", StoreDir: dir + "/jetstream", Listen: "127.0.0.1:0", URL: natsURL},
		Stream: "RANKWATCH", Prefix: "rankwatch", Retention: time.Hour, Writer: "bench", Outbox: db,
	})
	if err != nil {
		b.Fatal(err)
	}
	client, err := fastmoss.New(fastmoss.Config{BaseURL: url, Token: fastmoss.StaticToken("t"), Rate: 1e6})
	if err != nil {
		b.Fatal(err)
	}
	lists, err := watcher.ParseWatchlists("bench", []byte(
		"watchlists: [{name: us, every: 24h, top: 1000, filter: {region: US}, period: {type: month, value: 2026-03}}]"))
	if err != nil {
		b.Fatal(err)
	}
	w, err := watcher.New(watcher.Config{
		Watchlists: lists, Source: client, Store: stateStore{db}, Prefix: "rankwatch", Writer: "bench", Concurrency: 1,
		MaxPayload: pub.MaxPayload, Committed: pub.Notify,
		Adopt: func(context.Context, string) error { return nil },
		Observe: func(a watcher.Attempt) {
			if a.Err != nil {
				b.Error(a.Err)
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pub.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	p := &pipeline{worker: w, boards: make(chan uint64, 16)}
	nc, err := nats.Connect(pub.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	_, err = nc.Subscribe("rankwatch.*.us.board", func(*nats.Msg) { p.boards <- 0 })
	if err != nil {
		b.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		b.Fatal(err)
	}
	return p
}

// floor fetches the same pages, the second look at the first included, and
// decodes them with encoding/json into the same structs, and nothing else.
func floor(b *testing.B, url string) {
	b.Helper()
	for _, page := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1} {
		body := fmt.Sprintf(`{"filter":{"region":"US"},"page":%d,"pagesize":100}`, page)
		resp, err := http.Post(url+"/creator/v1/rank/topPotential", "application/json", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		var a answer
		if err := json.Unmarshal(data, &a); err != nil || len(a.Data.List) != 100 {
			b.Fatal(err, len(a.Data.List))
		}
	}
}

// BenchmarkReading makes a reading of 1000 places with 100 changes, from the
// first request until a subscriber has the board message, and beside it the
// floor, by turns. It reports the CPU time of each and their ratio. The source,
// and the NATS server unless it is embedded, are processes of their own.
func BenchmarkReading(b *testing.B) {
	b.Run("nats=external", func(b *testing.B) { benchReading(b, startChild(b, b.TempDir())) })
	b.Run("nats=embedded", func(b *testing.B) { benchReading(b, "") })
}

func benchReading(b *testing.B, natsURL string) {
	url := startChild(b, "source")
	turn := func() {
		resp, err := http.Post(url+"/turn", "text/plain", bytes.NewReader(nil))
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	p := startPipeline(b, url, natsURL)
	read := func() {
		p.worker.ReadNow(b.Context(), "us")
		select {
		case <-p.boards:
		case <-time.After(10 * time.Second):
			b.Fatal("no board")
		}
	}
	read()
	floor(b, url)
	var whole, least time.Duration
	for b.Loop() {
		turn()
		at := cpu(b)
		read()
		mid := cpu(b)
		floor(b, url)
		end := cpu(b)
		whole += mid - at
		least += end - mid
	}
	b.ReportMetric(float64(whole.Microseconds())/float64(b.N)/1000, "whole-cpu-ms/op")
	b.ReportMetric(float64(least.Microseconds())/float64(b.N)/1000, "floor-cpu-ms/op")
	b.ReportMetric(float64(whole)/float64(least), "whole/floor")
}
