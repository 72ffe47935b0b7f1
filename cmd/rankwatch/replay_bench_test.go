package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// BenchmarkReplay runs the real binary against a server in another process and
// reports how much memory it takes for few messages and for many.
// RANKWATCH_EVENTS says how many.
func BenchmarkReplay(b *testing.B) {
	n := 20_000
	if text := os.Getenv("RANKWATCH_EVENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: b.TempDir(), NoLog: true, NoSigs: true, JetStreamMaxStore: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(patience) {
		b.Fatal("the server does not start")
	}
	for _, share := range []int{10, 1} {
		size := int64(storeEvents(b, srv.ClientURL(), n/share))
		b.Run(fmt.Sprintf("events=%d", n/share), func(b *testing.B) {
			peak := 0
			for b.Loop() {
				file := filepath.Join(b.TempDir(), "history.jsonl")
				peak = max(peak, replayInto(b, file, "RANKWATCH_NATS_URL="+srv.ClientURL()))
				if info, err := os.Stat(file); err != nil || info.Size() != size {
					b.Fatalf("%v; want %d bytes", err, size)
				}
			}
			b.ReportMetric(float64(n/share*b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(peak)/1024, "peak-RssAnon-MiB")
		})
	}
}

// storeEvents makes the stream anew and returns what its events come to as lines.
func storeEvents(b *testing.B, url string, n int) (size int) {
	b.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000))
	if err != nil {
		b.Fatal(err)
	}
	_ = js.DeleteStream(b.Context(), "RANKWATCH") // there is none at first
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "RANKWATCH", Subjects: []string{"_in.rankwatch.>", "_rw.rankwatch.>"}, AllowDirect: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "_in.rankwatch.>", Destination: "rankwatch.>"},
	}); err != nil {
		b.Fatal(err)
	}
	o := event.Origin{Prefix: "rankwatch", Region: "US", Watchlist: "us"}
	for i := range n {
		uid := strconv.Itoa(6787580688797713413 + i%1000)
		m, err := o.Change(event.Moved, event.ReadingID("us", uint64(i/100+1), 1), time.Now(), &event.Change{Reading: string(bytes.Repeat([]byte("x"), 400)), Creator: event.Creator{UID: uid}})
		if err != nil {
			b.Fatal(err)
		}
		size += len(m.Data) + 1
		if _, err := js.PublishAsync("_in."+m.Subject, m.Data, jetstream.WithStallWait(patience)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	return size
}

// replayInto writes all messages to a file and returns the most that the process
// held of memory of its own, in KiB; 0 where the system does not tell.
func replayInto(b *testing.B, path string, env ...string) (peak int) {
	b.Helper()
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var errs bytes.Buffer
	cmd := exec.Command("rankwatch", "replay", "-o", "json")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), file, &errs
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				b.Fatalf("%v: %s", err, &errs)
			}
			return peak
		case <-tick.C:
			peak = max(peak, rssAnon(cmd.Process.Pid))
		}
	}
}

func rssAnon(pid int) (kib int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it has just ended, or this is no Linux
	}
	if _, rest, ok := bytes.Cut(status, []byte("RssAnon:")); ok {
		_, _ = fmt.Sscan(string(rest), &kib)
	}
	return kib
}
